"""``gan check``: compare the kernels with the reference on this GPU, in seconds, and store the result.

Then steps of a training that are replayed as CUDA graphs with steps that are not, which is noted apart, and
convolutions of volumes in bfloat16, which are cuDNN's.

Exit codes: 0 all equal; 1 something differs, or the kernels are not built; 3 nothing was found out, as the GPU could
not be used or has no memory left.
"""

import argparse
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from gan.check import graphs, kernels, phases, volumes
from gan.check.rows import Row, table
from gan.check.trust import UNCHECKED, note
from gan.errors import GanError, command
from gan.ops import extension
from gan.train.device import pick_device

# The checks, in this order; add an entry for another one.
CHECKS: dict[str, Callable[[torch.device], Iterator[Row]]] = {
    **{name: functools.partial(kernels.compare, name) for name in kernels.CASES},
    "stylegan2": phases.compare,
}


def run(device: torch.device) -> list[Row]:
    """All rows of all checks."""
    return [row for check in CHECKS.values() for row in check(device)]


@command
def main(argv: list[str] | None = None) -> int:
    """Entry point; see the module for the exit codes."""
    parser = argparse.ArgumentParser(
        prog="gan check", description="Compare the kernels of gan.ops with the reference on this GPU."
    )
    parser.add_argument("--device", default="cuda", help="cuda, or one of several GPUs as cuda:1 (%(default)s)")
    parser.add_argument("--library", type=Path, help="the built kernels (those of this GPU in the cache)")
    given = parser.parse_args(argv)
    device = torch.device(given.device)
    if device.type == "cuda":
        pick_device("cuda")  # requires a GPU
    library = given.library or extension.find()
    try:
        torch.zeros(1, device=device)
        extension.load(library)
    except (
        RuntimeError,
        OSError,
    ) as error:  # a GPU held by another process, a library that does not load
        return _unchecked(error)
    try:
        rows = run(device)
        path = note(library, device, refused := _reason(rows), rows, graphs="their check has not ended")
        replayed, convolved = list(graphs.compare(device)), list(volumes.compare(device))
    except torch.OutOfMemoryError as error:
        return _unchecked(error)
    rows += replayed + convolved
    note(library, device, refused, rows, graphs=(unlike := _reason(replayed)))
    print(table(rows))
    print(path or "not noted: the folder of the library cannot be written to")
    if refused:
        raise GanError(f"the kernels of gan.ops compute wrong results on this GPU ({refused})")
    if unlike:
        raise GanError(f"steps replayed as CUDA graphs compute wrong results on this GPU ({unlike})")
    if wrong := _reason(convolved):
        raise GanError(
            f"convolutions of volumes in bfloat16 are wrong here ({wrong}), cuDNN is {torch.backends.cudnn.version()}; "
            f"install a torch with cuDNN 9.15 or later, or train volumes with training.precision fp32"
        )
    return 0


def _reason(rows: Sequence[Row]) -> str:
    """The differences, in words; empty if there are none."""
    wrong = [row.said() for row in rows if not row.ok]
    return f"{wrong[0]}{f', and {len(wrong) - 1} more' if wrong[1:] else ''}" if wrong else ""


def _unchecked(error: Exception) -> int:
    print(f"error: the check could not be done: {str(error).splitlines()[0]}", file=sys.stderr)
    return UNCHECKED
