"""The pages link to what exists, and the commands they show are commands."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
EXAMPLES = {
    "src/gan/metrics/energy.py",
    "tests/test_metrics_energy.py",
    "src/gan/variants/hinge.py",
    "tests/golden/hinge.json",
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


def test_snakemake_takes_what_the_pages_type():
    """Options with several values swallow a target that stands behind them; runs without a profile need cores."""
    from snakemake.cli import parse_args

    text = "".join(page.read_text() for page in PAGES)
    shown = re.findall(r"^(?: *|.*?`)(?:GAN_REAL_DATA=\S+ )?snakemake( (?:-|all)[^`#\n]*)", text, re.MULTILINE)
    calls = [shlex.split(re.sub(r"<\w+>", "x", call), comments=True) for call in shown]
    assert len(calls) > 15
    for call in calls:
        _, given = parse_args([word for word in call if word not in ("--profile", "slurm")])
        assert ("all" in given.targets) == ("all" in call), call
        assert {"--profile", "--cores", "-n"} & set(call), call


def test_make_targets_that_the_pages_name_exist():
    text = "".join(page.read_text() for page in PAGES)
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE)) <= targets
