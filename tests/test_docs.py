"""The pages link to what exists, and the commands they show are commands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
EXAMPLES = {
    "src/gan/metrics/energy.py",
    "tests/test_metrics_energy.py",
    "src/gan/variants/hinge.py",
}  # shown, not there
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def names(paths):
    return [path.name for path in paths]


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_files_of_the_project_that_are_named_exist(page):
    named = set(re.findall(r"`((?:src|workflow|benchmarks|tests|docs|envs)/[\w./-]+\.\w+)`", page.read_text()))
    missing = [name for name in named - EXAMPLES if not (REPOSITORY / name).exists()]
    assert not missing


def test_modules_that_the_pages_run_answer_to_help():
    text = "".join(page.read_text() for page in PAGES)
    modules = sorted(set(re.findall(r"python -m (gan(?:\.\w+)+)", text)))
    assert "gan.generate" in modules
    for module in modules:
        done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True)
        assert done.returncode == 0 and "usage:" in done.stdout, module


def test_make_targets_that_the_pages_name_exist():
    text = "".join(page.read_text() for page in PAGES)
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE)) <= targets
