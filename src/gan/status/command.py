"""``gan status [--configfile demo.yaml] [--watch 30]``: the state of each cell of a study, while jobs run."""

import argparse
import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from gan.errors import GanError, command
from gan.status.show import render
from gan.status.states import survey
from gan.study import Study, load
from gan.syntax import check_syntax

CONFIG, SCHEMA = Path("config.yaml"), Path("workflow/schemas/config.schema.yaml")
CLEAR = "\033[H\033[J"
PAGE = 100  # characters, where there is no terminal to ask


@command
def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="gan status", description="The state of each cell of a study.")
    parser.add_argument(
        "--configfile", type=Path, nargs="+", default=[], help="overlays of config.yaml, the same as for snakemake"
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the results (%(default)s)")
    parser.add_argument("--watch", type=float, metavar="SECONDS", help="show it again every so many seconds")
    given = parser.parse_args(argv)
    if given.watch is not None and given.watch <= 0:
        parser.error("--watch takes seconds above 0")
    study = read_study(given.configfile)
    with contextlib.suppress(KeyboardInterrupt):
        while given.watch is not None:
            text = _text(study, given.results)
            print(f"{CLEAR if sys.stdout.isatty() else ''}{text}\n{time.strftime('%F %T')}", flush=True)
            time.sleep(given.watch)
        print(_text(study, given.results))
    return 0


def _text(study: Study, results: Path) -> str:
    terminal = sys.stdout.isatty()
    return render(
        survey(study, results),
        shutil.get_terminal_size((PAGE, 24)).columns if terminal else PAGE,
        utf8=(sys.stdout.encoding or "").lower().replace("-", "") == "utf8",
        bar=terminal,
        colour=terminal and "NO_COLOR" not in os.environ,
    )


def read_study(overlays: list[Path]) -> Study:
    """The study of ``config.yaml`` in this folder with ``overlays`` merged into it, by Snakemake's own rules.

    `GanError` if a file is missing, is not YAML, or does not fit the schema.
    """
    from snakemake.common.configfile import load_configfile
    from snakemake.utils import update_config

    if not SCHEMA.exists():
        raise GanError(f"{SCHEMA}: no such file; run this in the folder of config.yaml and workflow/")
    config: dict[str, Any] = {}
    for path in [CONFIG, *overlays]:
        if not path.exists():
            raise GanError(f"{path}: no such file; name overlays as for snakemake --configfile")
        check_syntax(path)
        try:
            update_config(config, load_configfile(path))
        except Exception as error:  # Snakemake's own, of many kinds
            raise GanError(f"{path}: {error}") from error
    return load(config, SCHEMA)


def program(argv: list[str] | None = None) -> int:
    """`main` as a process of its own, which ``| head`` ends in silence."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    return main(argv)
