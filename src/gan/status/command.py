"""``gan status [--study results/demo] [--watch 30]``: the state of each cell of a study, while jobs run."""

import argparse
import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from gan import project
from gan.errors import GanError, command
from gan.status.last import last
from gan.status.left import Benchmarks, time_left
from gan.status.show import render
from gan.status.states import survey
from gan.study import Study, load
from gan.syntax import check_syntax

CONFIG = Path("config.yaml")
CLEAR = "\033[H\033[J"
PAGE = 100  # characters, where there is no terminal to ask


@command
def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="gan status", description="The state of each cell of a study.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--study", type=Path, help="folder results/<study>; default: of the study that was started last")
    which.add_argument(
        "--configfile", type=Path, nargs="+", help="instead: the study of config.yaml with these overlays"
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the results (%(default)s)")
    parser.add_argument("--watch", type=float, metavar="SECONDS", help="show it again every so many seconds")
    given = parser.parse_args(argv)
    if given.watch is not None and given.watch <= 0:
        parser.error("--watch takes seconds above 0")
    title, study = find(given.study, given.configfile)
    with contextlib.suppress(KeyboardInterrupt):
        while given.watch is not None:
            text = _text(title, study, given.results)
            print(f"{CLEAR if sys.stdout.isatty() else ''}{text}\n{time.strftime('%F %T')}", flush=True)
            time.sleep(given.watch)
        print(_text(title, study, given.results))
    return 0


def find(folder: Path | None, overlays: list[Path] | None) -> tuple[str, Study]:
    """A title and the study of ``folder``, of config.yaml with ``overlays``, or else the one that was started last; of
    config.yaml, if none was. `GanError` if there is no such study."""
    if overlays is None:
        if found := last(folder.name if folder else None):
            return found.title(), found.study
        if folder:
            raise GanError(f"{folder}: no such study was started from here; name its files by --configfile")
    study = read_study(overlays or [])
    return f"{study.name}, of {', '.join(map(str, [CONFIG, *(overlays or [])]))}", study


def _text(title: str, study: Study, results: Path) -> str:
    terminal = sys.stdout.isatty()
    seen, benchmarks = survey(study, results), Benchmarks(results / study.name / "benchmarks")
    table = render(
        seen.rows,
        shutil.get_terminal_size((PAGE, 24)).columns if terminal else PAGE,
        time_left(seen.rows, seen.shared, benchmarks),
        seen.shared,
        cpu_h=benchmarks.cpu_h,
        utf8=(sys.stdout.encoding or "").lower().replace("-", "") == "utf8",
        bar=terminal,
        colour=terminal and "NO_COLOR" not in os.environ,
    )
    return f"{title}\n{table}"


def read_study(overlays: list[Path]) -> Study:
    """The study of ``config.yaml`` in this folder with ``overlays`` merged into it, by Snakemake's own rules.

    `GanError` if a file is missing, is not YAML, or does not fit the schema.
    """
    from snakemake.common.configfile import load_configfile
    from snakemake.utils import update_config

    config: dict[str, Any] = {}
    for path in [CONFIG, *overlays]:
        if path == CONFIG and not path.exists():
            raise GanError(f"{path}: no such file here; go to the folder of a study, or make one: gan init my_study")
        if not path.exists():
            raise GanError(f"{path}: no such file; name overlays as for snakemake --configfile")
        check_syntax(path)
        try:
            update_config(config, load_configfile(path))
        except Exception as error:  # Snakemake's own, of many kinds
            raise GanError(f"{path}: {error}") from error
    return load(config, project.schema())


def program(argv: list[str] | None = None) -> int:
    """`main` as a process of its own, which ``| head`` ends in silence."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    return main(argv)
