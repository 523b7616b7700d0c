"""``python -m gan.tracking ui --study results/<study>``: open a study's MLflow store in the browser."""

import argparse
import sys
from pathlib import Path

from gan.errors import command


@command
def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m gan.tracking", description="Look at a study in MLflow.")
    commands = parser.add_subparsers(dest="command", required=True)
    ui = commands.add_parser("ui", help="serve the store on 127.0.0.1 and print the links to its views")
    ui.add_argument("--study", type=Path, required=True, help="folder of the study: results/<study>")
    ui.add_argument("--port", type=int, default=5000, help="default: %(default)s; the next free one when it is taken")
    arguments = parser.parse_args()

    from gan.tracking.ui import serve

    return serve(arguments.study, arguments.port)


if __name__ == "__main__":
    sys.exit(main())
