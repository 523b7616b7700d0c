"""Where the workflow lies, in the package of a wheel or on top of the clone; and which code runs."""

import functools
import hashlib
import importlib.metadata
import platform
import zipfile
from pathlib import Path

from gan.errors import GanError

PACKAGE = Path(__file__).resolve().parent
SOURCES = (".py", ".cu", ".h", ".cpp")
STANDS_ON = ("gan-study", "torch", "numpy")


def root() -> Path:
    """The folder of Snakefile, config.yaml and workflow/. `GanError` if there is none."""
    for folder in (PACKAGE / "bundle", PACKAGE.parents[1]):
        if (folder / "Snakefile").is_file() and (folder / "workflow").is_dir():
            return folder
    raise GanError(f"{PACKAGE}: no workflow in the package or above it; install the package again, from a wheel")


def snakefile() -> str:
    """The workflow, for ``include:`` of a Snakefile elsewhere."""
    return str(root() / "Snakefile")


def schema() -> Path:
    """The schema of a config."""
    return root() / "workflow/schemas/config.schema.yaml"


@functools.cache
def code() -> dict[str, str]:
    """What decides a result besides its recipe: ``sources``, the SHA-256 of this package's code, of which one changed
    character makes another; and the versions of Python and of what computes."""
    known = {"python": platform.python_version()}
    for package in STANDS_ON:
        try:
            known[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    digest = hashlib.sha256()
    found = {path.relative_to(PACKAGE): path for path in PACKAGE.rglob("*") if path.suffix in SOURCES}
    for name, path in sorted(found.items()):
        if name.parts[0] == "bundle":  # of a wheel: the workflow, which a clone has on top
            continue
        digest.update(f"{name.as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return {"sources": digest.hexdigest(), **known}


def installable(folder: Path) -> Path:
    """What ``pip install`` puts this package into another environment from: the clone, or a wheel made in ``folder`` of
    the files that were installed."""
    if root() == PACKAGE.parents[1]:
        return root()
    found = importlib.metadata.distribution("gan-study")
    wheel = folder / f"gan_study-{found.version}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in found.files or ():
            if path.parts[0].startswith(("gan", "gan_study-")) and path.suffix != ".pyc":
                archive.write(str(path.locate()), str(path))
    return wheel
