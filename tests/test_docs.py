"""The pages link to what exists, and the commands they show are commands."""

import re
import shlex
from pathlib import Path

import pytest

from gan import run
from gan.__main__ import COMMANDS, main
from gan.status import command as status

REPOSITORY = Path(__file__).resolve().parent.parent
EXAMPLES = {
    "src/gan/metrics/energy.py",
    "tests/test_metrics_energy.py",
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


def test_sub_commands_and_options_that_the_pages_type_exist(capsys, monkeypatch):
    for module in (run, status):  # what a process of its own settles does not concern this one
        monkeypatch.setattr(module, "program", module.main)
    text = "".join(page.read_text() for page in PAGES).replace("\\\n", "")
    assert "python -m gan." not in text
    shown: dict[tuple[str, ...], set[str]] = {}
    for name, rest in re.findall(r"(?:^|`|python -m |: )gan ([a-z][\w-]*)([^`#\n]*)", text, re.MULTILINE):
        call = name, *(rest.split()[:1] if name in ("evaluate", "readers") else [])  # steps have options of their own
        shown.setdefault(call, set()).update(re.findall(r"--[a-z-]+", rest))
    assert set(COMMANDS) == {name for name, *_ in shown} and "--runtime" in shown["run",]
    for call, options in shown.items():
        with pytest.raises(SystemExit) as ended:
            main([*call, "--help"])
        said = capsys.readouterr().out
        assert ended.value.code == 0 and said.startswith(f"usage: gan {' '.join(call)} "), call
        assert options <= set(re.findall(r"--[a-z-]+", said)), call


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
