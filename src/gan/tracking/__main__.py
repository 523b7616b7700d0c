"""``python -m gan.tracking ui|publish --study results/<study>``: look at a study in MLflow, also while it runs."""

import argparse
import sys
from pathlib import Path

from gan.cells import CellFiles
from gan.errors import GanError, command


@command
def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m gan.tracking", description="Look at a study in MLflow.")
    commands = parser.add_subparsers(dest="command", required=True)
    ui = commands.add_parser("ui", help="serve the store on 127.0.0.1 and print the links to its views")
    ui.add_argument("--port", type=int, default=5000, help="default: %(default)s; the next free one when it is taken")
    send = commands.add_parser("publish", help="bring what is on disk to MLflow, unfinished cells as well")
    send.add_argument("--uri", help="tracking server; without it the store in the study's folder")
    for each in (ui, send):
        each.add_argument("--study", type=Path, required=True, help="folder of the study: results/<study>")
    given = parser.parse_args(argv)
    return _publish(given.study, given.uri) if given.command == "publish" else _serve(given.study, given.port)


def _serve(study: Path, port: int) -> int:
    from gan.tracking.ui import serve

    return serve(study, port)


def _publish(study: Path, uri: str | None) -> int:
    from gan.tracking import publish

    cells = CellFiles.below(study)
    if not cells:
        raise GanError(f"{study}: no cell has begun there; name results/<study> of a study that runs or has run")
    result = publish(cells, uri=uri, folder=study, study=study.resolve().name)
    print(result.message, *result.links, sep="\n")
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(main())
