"""The pages link to what exists, and the commands they show are commands."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from driver import merge

from gan import run
from gan.__main__ import COMMANDS, main
from gan.status import command as status
from gan.study import load, run_key

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
    for name, rest in re.findall(r"(?:^|^\$ |`|python -m |: )gan ([a-z][\w-]*)([^`#\n]*)", text, re.MULTILINE):
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
    shown = re.findall(
        r"^(?: *|\$ |.*?`)(?:GAN_REAL_DATA=\S+ )?snakemake( (?:-|all [^`])[^`#&\n]*)", text, re.MULTILINE
    )
    calls = [shlex.split(re.sub(r"<\w+>", "x", call), comments=True) for call in shown]
    assert len(calls) > 25
    written = {name for page in PAGES for name in overlays(page)}
    for call in calls:
        _, given = parse_args([word for word in call if word not in ("--profile", "slurm")])
        assert ("all" in given.targets) == ("all" in call), call
        assert {"--profile", "--cores", "-n"} & set(call), call
        for path in map(str, given.configfile or ()):
            assert path in written or (REPOSITORY / path).exists(), call


def overlays(page):
    """The files of settings that the reader of ``page`` writes: blocks of YAML, named in the first line or above it."""
    named = r"(?:^<!-- file: (\S+) -->\n)?^```yaml\n(?:# (\S+\.yaml)\n)?(.*?)^```"
    found = re.findall(named, page.read_text(), re.MULTILINE | re.DOTALL)
    return {above or inside: text for above, inside, text in found if above or inside}


@pytest.mark.parametrize("name", ["my_study.yaml", "with_mine.yaml", "t1_to_t2.yaml", "heads3d.yaml", "offline.yaml"])
def test_files_that_the_reader_writes_are_studies(name, tmp_path, monkeypatch):
    written = {name: text for page in PAGES for name, text in overlays(page).items()}
    (tmp_path / "data/my_gan/seed0").mkdir(parents=True)
    (tmp_path / "data/my_gan/seed0/00000.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    base = [REPOSITORY / "config.yaml", *([REPOSITORY / "demo.yaml"] if name == "with_mine.yaml" else [])]
    config = {}
    for text in (*(path.read_text() for path in base), written[name]):
        config = merge(config, yaml.safe_load(text))
    study = load(config, REPOSITORY / "workflow/schemas/config.schema.yaml")
    assert len({run_key(study.recipe(cell)) for cell in study.cells()}) == len(study.cells()) > 0
    assert set(written) <= {"my_study.yaml", "with_mine.yaml", "t1_to_t2.yaml", "heads3d.yaml", "offline.yaml"}


def test_make_targets_that_the_pages_name_exist():
    text = "".join(page.read_text() for page in PAGES)
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE)) <= targets
