"""The command ``gan``, also ``python -m gan``: one sub-command for each thing that is done by hand or by a rule.

A sub-command is imported when it is called: most need torch, which takes seconds.
"""

import importlib
import sys
from collections.abc import Sequence

# By name: the function that takes the other words of the command line and returns the exit code; what it does.
COMMANDS = {
    "init": ("gan.init:main", "a folder for a study of your own, with its Snakefile and config"),
    "run": ("gan.run:program", "train one cell of a study"),
    "generate": ("gan.generate:main", "images from a trained generator"),
    "translate": ("gan.translate.command:main", "a scan of one contrast into another, in its own geometry"),
    "evaluate": ("gan.evaluate:main", "the steps of scoring by hand"),
    "inspect": ("gan.inspect.command:program", "what lies in a folder, or in a configured data set"),
    "status": ("gan.status.command:program", "the state of each cell of a study, while jobs run"),
    "readers": ("gan.readers.command:main", "pages on which people say what is real, and what their answers say"),
    "report": ("gan.report.command:main", "compare the cells that have scores so far"),
    "export": (
        "gan.governance.command:main",
        "a trained cell as a folder to pass on: weights, images, card, checklists",
    ),
    "ui": ("gan.tracking.command:ui", "look at a study in MLflow"),
    "publish": ("gan.tracking.command:publish", "bring a study to MLflow, unfinished cells as well"),
    "build-ops": ("gan.ops.build:main", "build the CUDA kernels"),
    "check": ("gan.check.command:main", "compare the kernels with the reference on this GPU"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Exit codes: those of the sub-command; 2 without one."""
    name, *rest = [*(sys.argv[1:] if argv is None else argv)] or [""]
    if name in COMMANDS:
        module, _, function = COMMANDS[name][0].partition(":")
        return getattr(importlib.import_module(module), function)(rest)
    if name in ("-h", "--help"):
        print(page())
        return 0
    known = f"gan {name}: no such command; allowed: {', '.join(COMMANDS)}"
    print(f"error: {known}" if name else page(), file=sys.stderr)
    return 2


def page() -> str:
    """The help page."""
    lines = [f"  {name:<10} {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(["usage: gan COMMAND ...", "", *lines, "", "gan COMMAND --help has the options of each."])


if __name__ == "__main__":
    sys.exit(main())
