"""The page in a browser: axe-core finds no violation of WCAG 2, level A and AA; its script works by keyboard."""

import html
import json
import re
import shutil
import subprocess

import pytest
from fake_study import make_study
from test_report import make_index

from gan.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
# Opens what is folded, runs axe, and leaves what it found in the page, where --dump-dom shows it.
RUN = """
for (const folded of document.querySelectorAll("details")) folded.open = true;
axe.run({ runOnly: { type: "tag", values: %s } }).then((found) => {
  const places = (rule) => rule.nodes.map((node) => node.target.join(" ") + ": " + node.failureSummary);
  const said = Object.fromEntries(found.violations.map((rule) => [rule.id, places(rule)]));
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const left = document.createElement("pre");
  left.id = "axe";
  left.textContent = JSON.stringify({ said, dark, width: innerWidth, passes: found.passes.map((rule) => rule.id) });
  document.body.append(left);
});
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    cells = make_study(folder / "demo", seeds=2, variants={"stylegan2": 0.05, "stylegan2_ada": 0.01})
    (cells[0].folder / "pairs.html").write_text("<title>pairs</title>")
    with open(cells[0].folder / "stats.jsonl", "a") as file:
        file.write('{"kimg": 20, "event": "collapse", "message": "the images became alike"}\n')
    baselines = {"stylegan2_ada": "stylegan2"}
    write_report("Demo", cells, folder, stores={"phantom": make_index(folder / "store")}, baselines=baselines)
    return (folder / "comparison.html").read_text()


def browse(page: str, script: str, folder, *flags: str) -> dict:
    """What ``script`` left in the element ``axe`` of the page."""
    path = folder / "page.html"
    path.write_text(page.replace("</body>", f"<script>{script}</script></body>"))
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'browser'}"]
    command += ["--virtual-time-budget=60000", "--dump-dom", *flags, path.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True).stdout
    left = re.search(r'<pre id="axe">(.*?)</pre>', dom, re.DOTALL)
    assert left, dom[-2000:]
    return json.loads(html.unescape(left[1]))


@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 500)], ids=["wide and light", "narrow and dark"])
def test_no_violation_of_level_a_and_aa(page, tmp_path, dark, width):
    axe_core = pytest.importorskip("axe_core_python.base", reason="pip install -e '.[dev]' installs axe-core")
    flags = [f"--window-size={width},900", f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    script = axe_core.AXE_SCRIPT + RUN % json.dumps(LEVELS)
    found = browse(page, script, tmp_path, *flags)
    assert (found["dark"], found["width"]) == (dark, width)
    assert {"color-contrast", "image-alt", "label", "svg-img-alt"} <= set(found["passes"]), "axe has looked"
    assert found["said"] == {}


USE = """{
const left = document.createElement("pre");
left.id = "axe";
const rows = () => [...document.querySelectorAll("table.scores tbody")[0].rows];
const names = () => rows().map((row) => row.cells[0].firstChild.textContent);
const head = document.querySelectorAll("table.scores thead .sort")[1];
const picture = document.querySelector("a.picture");
const slider = document.querySelector(".slider input");
const seen = (run) => [...run.children].filter((frame) => !frame.hidden).length;
const shown = () => [...document.querySelectorAll(".frames")].map(seen);
const said = { before: names(), all: shown() };
head.click();
said.up = names();
head.click();
said.down = names();
said.sorted = head.closest("th").getAttribute("aria-sort");
picture.focus();
picture.click();
const large = document.querySelector("#viewer img");
said.open = document.getElementById("viewer").open;
said.times = large.width / picture.firstElementChild.dataset.width;
document.getElementById("viewer").dispatchEvent(new KeyboardEvent("keydown", { key: "+" }));
said.larger = large.width / picture.firstElementChild.dataset.width;
slider.value = 0;
slider.dispatchEvent(new Event("input"));
said.one = shown();
const filter = document.querySelector(".tools input");
const rowsOf = filter.closest(".tools").nextElementSibling.querySelector("tbody").rows;
filter.value = "in no row";
filter.dispatchEvent(new Event("input"));
said.left = [filter.closest(".tools").querySelector("output").textContent, rowsOf.length];
const drawings = [...document.querySelectorAll("figure.drawing")].filter((figure) => figure.clientWidth);
said.stops = drawings.filter((figure) => figure.tabIndex === 0).length;
document.body.style.width = "360px";
const controls = document.querySelector(".slider");
said.over = controls.scrollWidth - controls.clientWidth;
const texts = [];
HTMLAnchorElement.prototype.click = () => {};
URL.createObjectURL = (blob) => { texts.push(blob); return "#"; };
document.querySelector("table.scores").closest(".scroll").previousElementSibling.querySelector("button").click();
document.querySelector("figure > .tools button").click();
Promise.all(texts.map((blob) => blob.text())).then((found) => {
  left.textContent = JSON.stringify({ ...said, csv: found[0], svg: found[1].slice(0, 4000) });
  document.body.append(left);
});
}"""


def test_the_script_sorts_enlarges_slides_and_saves(page, tmp_path):
    found = browse(page, USE, tmp_path, "--window-size=1280,900")
    assert found["up"] == ["stylegan2_ada", "stylegan2"] and found["down"] == found["up"][::-1]
    assert found["sorted"] == "descending"
    assert found["open"] and found["times"] == int(found["times"]) > 1 and found["larger"] == found["times"] + 1
    assert found["left"][0] == f"0 of {found['left'][1]} rows" and found["left"][1] > 3
    assert found["stops"] == 0, "no figure scrolls in a wide window"
    assert found["over"] == 0, "the slider wraps on a phone"
    assert found["all"] == [5, 5] and found["one"] == [1, 1]
    assert found["csv"].startswith('"variant","KD-indomain') and "stylegan2_ada" in found["csv"]
    assert found["svg"].startswith("<svg") and "var(--" not in found["svg"]
