"""The workflow in a folder, and calls of Snakemake there."""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import IO

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent


def copy_workflow(folder: Path) -> Path:
    for name in ("workflow", "slurm", "profiles"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml", "tests/tiny.yaml"):
        shutil.copy(REPOSITORY / name, folder)
    return folder


def merge(base: dict, over: dict) -> dict:
    return base | {k: merge(base.get(k, {}), v) if isinstance(v, dict) else v for k, v in over.items()}


def edit(folder: Path, changes: dict) -> None:
    """Merge ``changes`` into tiny.yaml."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(merge(yaml.safe_load(path.read_text()), changes)))


def run_snakemake(
    folder: Path, *arguments: str, overlays: tuple[str, ...] = ("tiny.yaml",), fresh: bool = False
) -> subprocess.CompletedProcess[str]:
    """A call of Snakemake: a new process, or for a dry run, unless ``fresh``, a fork that has imported it."""
    words = ["--cores", "2", *arguments, "--configfile", *overlays]
    if "--dry-run" in arguments and not fresh:
        return _forked(folder, words)
    return subprocess.run([sys.executable, "-m", "snakemake", *words], cwd=folder, capture_output=True, text=True)


def snakemake(folder: Path, *arguments: str, fresh: bool = False) -> str:
    done = run_snakemake(folder, *arguments, fresh=fresh)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def planned(folder: Path, *arguments: str, fresh: bool = False) -> Counter:
    """Jobs of a dry run as (rule, its wildcards)."""
    output = snakemake(folder, "--dry-run", *arguments, fresh=fresh)
    jobs = Counter()
    for block in re.split(r"\n(?=(?:local)?rule \w+:)", output):
        if found := re.match(r"(?:local)?rule (\w+):", block):
            wildcards = re.search(r"^    wildcards: (.*)$", block, re.MULTILINE)
            values = dict(part.split("=") for part in wildcards[1].split(", ")) if wildcards else {}
            jobs[found[1], values.get("variant"), values.get("seed")] += 1
    return jobs


def _forked(folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    import snakemake.cli  # here: most tests do without it

    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if child == 0:
            _become(snakemake.cli.main, folder, words, out, err)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read())
    return subprocess.CompletedProcess(words, code, *texts)


def _become(main, folder: Path, words: list[str], out: IO[str], err: IO[str]) -> None:
    """In the child of a fork: ``main`` with its output in the two files, and the end of the process."""
    code = 1
    path = [str(folder), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    try:
        sys.path[:0] = path
        for name in [name for name in sys.modules if name.split(".")[0] in ("gan", "torch")]:
            del sys.modules[name]  # imported again from the path, or not at all
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        sys.stdout, sys.stderr, sys.argv = out, err, ["snakemake", *words]
        os.chdir(folder)
        main(words)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=err)
    except BaseException:
        traceback.print_exc(file=err)
    finally:
        with contextlib.suppress(OSError):
            out.flush()
            err.flush()
        os._exit(code)


def finished_study(base: Path) -> Path:
    """A folder below ``base`` in which the tiny study has run to the end; processes that ask for it share it."""
    folder = base / "a finished study"  # with spaces, as in users' own folders
    with open(base / "finished.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            made = copy_workflow(base / "being made")
            snakemake(made, "all")
            made.rename(folder)
    return folder
