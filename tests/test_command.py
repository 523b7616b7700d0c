"""The command `gan`: its help, what it hands on, and what it leaves alone."""

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from types import SimpleNamespace

import pytest
from conftest import REPOSITORY

import gan.__main__ as program


def answer(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "gan", *words], capture_output=True, text=True)


def test_the_help_page_has_a_line_for_each(capsys):
    assert program.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, (_, text) in program.COMMANDS.items():
        assert f"\n  {name} " in shown and text in shown
    assert program.main([]) == 2
    assert capsys.readouterr().err == shown


def test_an_unknown_one_is_one_line_with_those_that_there_are(capsys):
    assert program.main(["train", "--help"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: gan train: no such command; allowed: init, run, ") and error.count("\n") == 1


def test_words_and_exit_codes_go_through(monkeypatch):
    asked = []
    module = SimpleNamespace(main=lambda words: asked.append(words) or 143)
    monkeypatch.setattr(program.importlib, "import_module", {"gan.generate": module}.__getitem__)
    monkeypatch.setattr(sys, "argv", ["gan", "generate", "--n", "4"])
    assert program.main() == 143 and asked == [["--n", "4"]]


def test_all_are_there():
    for target, _ in program.COMMANDS.values():
        module, _, function = target.partition(":")
        assert callable(getattr(import_module(module), function))


def test_the_console_script_is_this_one():
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"gan": "gan.__main__:main"} and program.__name__ == "gan.__main__"


@pytest.mark.parametrize("name", ["inspect", "status", "report", "ui", "publish"])
def test_what_reads_files_starts_without_torch_and_pandas(name):
    heavy = ("torch", "numpy", "pandas", "scipy", "mlflow", "snakemake")
    code = "import sys, gan.__main__ as g\n"
    code += f"try: g.main([{name!r}, '--help'])\nexcept SystemExit: pass\n"
    code += f"print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"usage: gan {name} ") and done.stdout.endswith("[]\n")


def test_a_reader_that_goes_away_ends_the_status_in_silence(tmp_path):
    """As ``| head`` does."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "gan", "status", "--help"], stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert done.stderr == ""
