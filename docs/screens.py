"""Pictures for the documentation: pages in Chromium, MLflow, and pictures that a study has written.

    python docs/screens.py "html results/demo/comparison.html 1200x1010" docs/images/page.png

=================================  =============================================================================
``html PATH WxH``                  the first screen of a page
``html PATH W HEADING``            of a page the section with that heading, as high as it is
``mlflow STUDY WxH [VIEW]``        what `gan ui` shows at its bare address, or the saved view of that name
``png PATH xN``                    a picture, each of its pixels N x N
``png PATH W``                     a picture, at most W pixels wide
=================================  =============================================================================
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bs4 import BeautifulSoup
from PIL import Image, ImageChops

CHROMIUM = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
TALLEST = 4000  # pixels of a section
PATIENCE = 300  # s
ASSISTANT = 1.35  # times the width: the rest is MLflow's assistant, which is open in a new browser


def make(asked: str, target: Path, folder: Path, environment: Mapping[str, str] = os.environ) -> None:
    """Write the picture ``asked`` for (see above) to ``target``, a PNG of 256 colours. folder: where paths start."""
    kind, place, *rest = asked.split(maxsplit=3)
    if kind == "html" and "x" in rest[0]:
        image = screen((folder / place).resolve().as_uri(), *map(int, rest[0].split("x")))
    elif kind == "html":
        image = section(folder / place, int(rest[0]), rest[1])
    elif kind == "mlflow":
        image = mlflow(place, *map(int, rest[0].split("x")), rest[1:], folder, environment)
    elif kind == "png":
        image = sized(Image.open(folder / place), rest[0])
    else:
        raise SystemExit(f"error: picture {asked!r}: {kind} is not known; allowed: html, mlflow, png")
    image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)


def screen(address: str, width: int, height: int, wait: int = 20000) -> Image.Image:
    """What a window of that size shows of the page at ``address``, after ``wait`` milliseconds of its own time."""
    with tempfile.TemporaryDirectory() as scratch:
        shot = Path(scratch) / "shot.png"
        size = (f"--window-size={width},{height}", f"--user-data-dir={scratch}/profile")
        command = [*CHROMIUM, *size, f"--virtual-time-budget={wait}", f"--screenshot={shot}", address]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
        image = Image.open(shot)
        image.load()
    return image


def section(page: Path, width: int, heading: str) -> Image.Image:
    """The section of ``page`` whose heading contains ``heading``."""
    soup = BeautifulSoup(page.read_text(), "html.parser")
    found = next((title for title in soup.find_all(["h2", "h3"]) if heading in title.get_text()), None)
    if found is None or found.parent is None or soup.main is None:
        titles = [title.get_text(strip=True) for title in soup.find_all(["h2", "h3"])]
        raise SystemExit(f"error: {page}: no section {heading!r}; there are {', '.join(titles)}")
    part = found.parent.extract()
    for other in soup.find_all(["header", "footer"]):
        other.decompose()
    soup.main.clear()
    soup.main.append(part)
    with tempfile.NamedTemporaryFile("w", suffix=".html", dir=page.parent) as alone:
        alone.write(str(soup))
        alone.flush()
        return trimmed(screen(Path(alone.name).as_uri(), width, TALLEST))


def trimmed(image: Image.Image, margin: int = 12) -> Image.Image:
    """``image`` without the empty rows at its end."""
    image = image.convert("RGB")
    empty = Image.new("RGB", image.size, image.getpixel((0, image.height - 1)))  # type: ignore[arg-type]
    box = ImageChops.difference(image, empty).getbbox()
    return image.crop((0, 0, image.width, min(image.height, box[3] + margin))) if box else image


def sized(image: Image.Image, how: str) -> Image.Image:
    """``xN``: each pixel N x N; a number: at most so many pixels wide."""
    if how.startswith("x"):
        return image.resize((image.width * int(how[1:]), image.height * int(how[1:])), Image.Resampling.NEAREST)
    width = min(int(how), image.width)
    return image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)


def mlflow(
    study: str, width: int, height: int, view: list[str], folder: Path, environment: Mapping[str, str]
) -> Image.Image:
    """MLflow with ``study`` (a folder), served for the time of one picture."""
    command = [sys.executable, "-u", "-m", "gan", "ui", "--study", study]
    with subprocess.Popen(command, cwd=folder, env=dict(environment), text=True, stdout=-1, stderr=-2) as server:
        try:
            assert server.stdout
            said = []
            for line in server.stdout:
                said.append(line)
                if "Ctrl-C" in line:
                    break
            addresses = re.findall(r"http://127\S+", "".join(line for line in said if not view or view[0] in line))
            if not addresses:
                raise SystemExit(f"error: gan ui printed no address of {view or study}:\n{''.join(said)}")
            address = addresses[0] if view else re.sub(r"(:\d+).*", r"\1", addresses[0])
            return screen(address, round(width * ASSISTANT), height, 120000).crop((0, 0, width, height))
        finally:
            server.terminate()


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]), Path.cwd())
