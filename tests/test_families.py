"""A family outside the tree: the example of docs/variants.md as an installed package, and no edit anywhere else."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
from test_train import make_store

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"


@pytest.fixture(scope="module")
def hinge(tmp_path_factory) -> Path:
    """A folder for PYTHONPATH: the package and its dist-info, as pip leaves them."""
    site = tmp_path_factory.mktemp("site")
    page = (ROOT / "docs/variants.md").read_text(encoding="utf-8")
    options, model = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (golden,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    files = {"__init__.py": "", "options.py": options, "model.py": model, "golden.json": golden}
    (site / "my_hinge").mkdir()
    for name, text in files.items():
        (site / "my_hinge" / name).write_text(textwrap.dedent(text))
    project = tomllib.loads(re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[-1])["project"]
    install(site, project["entry-points"]["gan.families"])
    return site


def install(site: Path, entries: dict[str, str]) -> None:
    info = site / "my_hinge-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_hinge\nVersion: 1.0\n")
    lines = [f"{name} = {package}" for name, package in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(["[gan.families]", *lines, ""]))


def python(site: Path, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", ""), str(TESTS)])
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})


def test_it_passes_the_contract(hinge):
    recorded = python(hinge, str(TESTS / "golden.py"), "hinge")
    assert recorded.returncode == 0, recorded.stderr
    losses = json.loads((hinge / "my_hinge/golden.json").read_text())["cases"]["hinge"]["losses"]
    assert {name: len(values) for name, values in losses.items()} == {"G": 2, "D": 2}
    files = [str(TESTS / name) for name in ("test_variants.py", "test_golden.py", "test_microbatches.py")]
    done = python(hinge, "-m", "pytest", "-p", "no:cacheprovider", *files, "-k", "hinge and not stylegan2")
    assert done.returncode == 0, done.stdout
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 15


RECIPE = {
    "data": {"dataset": "phantom"},
    "variant": {"name": "hinge", "family": "hinge", "revision": 1, "options": {"z_dim": 8}},
    "training": {"kimg": 0.016, "batch": 8, "snapshot_kimg": 0.016, "precision": "fp32"},
    "seed": 0,
}
PLACES = ["--store", "store", "--folder", "cell", "--checkpoints", "state"]
RUN = ["-m", "gan.run", "--recipe", json.dumps(RECIPE), *PLACES]


def test_it_trains_and_generates(hinge, tmp_path):
    make_store(tmp_path / "store")
    done = python(hinge, *RUN, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = ["--generator", "cell/generator.pt", "--n", "2", "--out", "images"]
    done = python(hinge, "-m", "gan.generate", *made, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "images/samples.json").read_text())["family"] == "hinge"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"dcgan": "my_hinge"}, "family dcgan of my_hinge: gan.families.dcgan has that name; rename one"),
        ({"hinge": "his_hinge"}, "family hinge of his_hinge: No module named 'his_hinge'; correct it or uninstall"),
        ({"hinge": "json"}, "family hinge of json: No module named 'json.options'; correct it"),
    ],
)
def test_a_package_that_is_no_new_family_is_refused_in_one_line(hinge, tmp_path, entries, message):
    shutil.copytree(hinge / "my_hinge", tmp_path / "my_hinge")
    install(tmp_path, entries)
    make_store(tmp_path / "store")
    done = python(tmp_path, *RUN, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith(f"error: {message}"), done.stderr
    assert "Traceback" not in done.stderr
