"""The outputs of a run: kept next to the checkpoint and linked into the cell's folder, which a scheduler may clear.

A finished run stays there, without its checkpoints, until its scores are written, so a job that finished after the
workflow was killed is not trained again.
"""

import contextlib
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from gan.errors import GanError
from gan.files import read_json, write_json
from gan.train.checkpoint import CURRENT, PREVIOUS, publish
from gan.train.cost import Cost
from gan.train.lock import acquire
from gan.train.schedule import stem

COST, WEIGHTS, STATS = "cost.json", "weights.pt", "stats.jsonl"
OUTPUTS = ("recipe.json", "real.png", STATS, "snapshots/kimg*.*", WEIGHTS, COST)


@dataclass(frozen=True)
class Paths:
    """Folders of one run. cell: folder that gets ``recipe.json``, ``generator.pt``, ``weights.pt``, ``real.png``,
    ``stats.jsonl``, ``cost.json`` and ``snapshots/kimg<00040>.pt, .png`` (kimg 0 and the end included); earlier ones
    there are replaced. checkpoints: folder of this run alone; holds the state and all outputs, which thus survive a
    scheduler that clears ``cell``. init_from: the weights that the recipe starts from (`gan.train.transfer`), which a
    resumed run does not read."""

    cell: Path
    checkpoints: Path
    init_from: Path | None = None


def show(state: Path, folder: Path) -> None:
    """Link all outputs in ``state`` into ``folder``."""
    for pattern in OUTPUTS:
        for path in state.glob(pattern):
            publish(path, folder / path.relative_to(state))


def clear(folder: Path) -> None:
    """Remove the outputs of an earlier run from ``folder``."""
    for old in [*(folder / name for name in ("generator.pt", WEIGHTS, COST)), *(folder / "snapshots").glob("kimg*.*")]:
        old.unlink(missing_ok=True)


def close(state: Path, folder: Path, last_kimg: float, cost: Cost) -> None:
    """End the run: its last snapshot becomes the generator, and its checkpoints are deleted."""
    write_json(state / COST, asdict(cost))
    reopen(state, folder, last_kimg)


def reopen(state: Path, folder: Path, last_kimg: float) -> Cost | None:
    """Link the outputs of a finished run again and return its cost; None if it has not ended. `GanError` if its
    generator or its weights are gone."""
    if not (state / COST).exists():
        return None
    cost, last = Cost(**read_json(state / COST)), state / f"snapshots/{stem(last_kimg)}.pt"
    for path in (last, state / WEIGHTS):
        if not path.exists():
            raise GanError(f"{path}: gone, though its run has ended; put it back, or delete {state} to train again")
    clear(folder)
    show(state, folder)
    publish(last, folder / "generator.pt")
    for path in [folder / "generator.pt", *(found for pattern in OUTPUTS for found in folder.glob(pattern))]:
        os.utime(path)  # newer than their inputs, also if those were made again meanwhile
    for name in (CURRENT, PREVIOUS):
        (state / name).unlink(missing_ok=True)
    return cost


def release(state: Path) -> None:
    """Delete the state of a run whose cell is complete, unless a process works on it. Files that resist stay."""
    gone = state.with_name(f".gone-{state.name}")
    shutil.rmtree(gone, ignore_errors=True)
    if state.exists() and (lock := acquire(state / "lock")):
        with lock, contextlib.suppress(OSError):
            state.rename(gone)  # atomic: a new start of the same run finds all of it or none
        shutil.rmtree(gone, ignore_errors=True)
