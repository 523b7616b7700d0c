"""``gan ui|publish --study results/<study>``: look at a study in MLflow, also while it runs."""

import argparse
from pathlib import Path

from gan.cells import CellFiles
from gan.errors import GanError, command


@command
def ui(argv: list[str] | None = None) -> int:
    """Entry point of ``gan ui``."""
    parser = argparse.ArgumentParser(
        prog="gan ui", description="Serve the study's MLflow store on 127.0.0.1 and print the links to its views."
    )
    parser.add_argument("--port", type=int, default=5000, help="default: %(default)s; the next free one if it is taken")
    _add_study(parser)
    given = parser.parse_args(argv)
    from gan.tracking.ui import serve

    return serve(given.study, given.port)


@command
def publish(argv: list[str] | None = None) -> int:
    """Entry point of ``gan publish``."""
    parser = argparse.ArgumentParser(
        prog="gan publish", description="Bring what is on disk to MLflow, unfinished cells as well."
    )
    parser.add_argument("--uri", help="tracking server; without it the store in the study's folder")
    _add_study(parser)
    given = parser.parse_args(argv)
    study, cells = given.study, CellFiles.below(given.study)
    if not cells:
        raise GanError(f"{study}: no cell has begun there; name results/<study> of a study that runs or has run")
    from gan.tracking import publisher

    result = publisher.publish(cells, uri=given.uri, folder=study, study=study.resolve().name)
    print(result.message, *result.links, sep="\n")
    return 0 if result.ok else 1


def _add_study(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, required=True, help="folder of the study: results/<study>")
