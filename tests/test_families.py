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
from driver import copy_workflow, edit, run_snakemake, snakemake

from gan.families.registry import trained

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"


def test_no_other_file_lists_families():
    """One may name the family that it is about; whoever needs all of them asks the registry."""
    for path in [*ROOT.glob("src/**/*.py"), *ROOT.glob("benchmarks/*.py"), *ROOT.glob("workflow/**/*.*")]:
        found = [name for name in trained() if f'"{name}"' in path.read_text(encoding="utf-8", errors="ignore")]
        assert len(found) < 2, f"{path} names {', '.join(found)}"


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
    command, environment = [sys.executable, *arguments], os.environ | {"PYTHONPATH": _path(site)}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment)


def _path(site: Path) -> str:
    return os.pathsep.join([str(site), os.environ.get("PYTHONPATH", ""), str(TESTS)])


# As `python tests/golden.py hinge` and then pytest, which need not import torch again.
RECORD_AND_TEST = """
import sys
import golden, pytest

files, sys.argv = sys.argv[1:], ["golden.py", "hinge"]
try:
    golden.main()
except SystemExit as end:
    if end.code:
        raise
sys.exit(pytest.main(["-p", "no:cacheprovider", *files, "-k", "hinge and not stylegan2"]))
"""


def test_it_passes_the_contract(hinge):
    files = [str(TESTS / name) for name in ("test_variants.py", "test_golden.py", "test_microbatches.py")]
    done = python(hinge, "-c", RECORD_AND_TEST, *files)
    assert done.returncode == 0, done.stdout + done.stderr
    losses = json.loads((hinge / "my_hinge/golden.json").read_text())["cases"]["hinge"]["losses"]
    assert {name: len(values) for name, values in losses.items()} == {"G": 2, "D": 2}
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 15


def test_a_study_trains_it_in_jobs_of_their_own(hinge, study, monkeypatch):
    """In a study whose data and judge are made already."""
    monkeypatch.setenv("PYTHONPATH", _path(hinge))
    row = {"hinge": {"family": "hinge", "options": {"z_dim": 8}}}
    training = {"kimg": 0.008, "snapshot_kimg": 0.008}
    edit(study, {"variants": row, "study": {"variants": ["hinge"]}, "training": training})
    snakemake(study, cell := "results/tiny/phantom/hinge/seed0/generator.pt")
    made = ["--generator", cell, "--n", "2", "--out", "images"]
    done = python(hinge, "-m", "gan", "generate", *made, cwd=study)
    assert done.returncode == 0, done.stderr
    assert json.loads((study / "images/samples.json").read_text())["family"] == "hinge"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"dcgan": "my_hinge"}, "family dcgan of my_hinge: gan.families.dcgan has that name; rename one"),
        ({"hinge": "his_hinge"}, "family hinge of his_hinge: No module named 'his_hinge'; correct it or uninstall"),
    ],
)
def test_a_package_that_is_no_new_family_is_refused_in_one_line(hinge, tmp_path, monkeypatch, entries, message):
    shutil.copytree(hinge / "my_hinge", tmp_path / "my_hinge")
    install(tmp_path, entries)
    monkeypatch.setenv("PYTHONPATH", _path(tmp_path))
    done = run_snakemake(copy_workflow(tmp_path), "--dry-run")
    output = done.stdout + done.stderr
    assert done.returncode == 1 and f"error: {message}" in output and "Traceback" not in output, output
