"""The files of one cell on disk. A missing, broken or half-written file raises no error."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan.cells import stats_lines
from gan.errors import GanError
from gan.files import read_json, take_lock
from gan.study import Cell

LAST_ROWS = 2**16  # bytes at the end of stats.jsonl that are read


@dataclass(frozen=True)
class Run:
    """Where the files of one cell are. ``state``: folder of its checkpoints; ``places``: that one, and the cell's own
    unless that holds results of another recipe; ``logs``: of the study; ``rule``: train or make, as the log of the job
    that makes its generator is called; ``resources``: the section of the config with what that job asks for."""

    cell: Cell
    key: str
    state: Path
    places: list[Path]
    logs: Path
    rule: str
    resources: str

    def object(self, name: str) -> dict[str, Any]:
        """A JSON object of the run, from either folder; empty if it is missing or broken."""
        return next((found for place in self.places if (found := read_object(place / name))), {})

    def rows(self) -> list[dict[str, Any]]:
        """The last rows of its statistics."""
        return next((found for place in self.places if (found := last_rows(place / "stats.jsonl"))), [])

    def log(self, rule: str) -> Path:
        return self.logs / self.cell.dataset / f"{self.cell.variant}_seed{self.cell.seed}_{rule}.log"

    def done(self) -> bool:
        """True once it has its scores."""
        scores = self.object("scores.json")
        return scores.get("run_key") == self.key and bool(scores.get("scores"))

    def curved(self) -> bool:
        """True once its snapshots are scored."""
        return self.object("curve.json").get("run_key") == self.key

    def useful(self, tasks: list[str]) -> bool:
        """True once networks were trained on its images for all ``tasks``."""
        found = self.object("utility.json")
        known = found.get("tasks")
        return found.get("run_key") == self.key and isinstance(known, dict) and {*tasks} <= {*known}

    def trained(self) -> bool:
        """True once training has ended: in its state before Snakemake knows, in the cell's folder afterwards; what is
        made and not trained has no such state."""
        if self.rule == "train" and self.state.is_dir():
            return (self.state / "cost.json").exists()
        return any((place / "generator.pt").exists() for place in self.places)


def held(lock: Path) -> bool:
    """True while a process of any machine holds the lock of a run. Looking takes a shared lock and gives it back."""
    try:
        with open(lock, "rb") as file:
            return not take_lock(file, shared=True)
    except OSError:  # no such file; training refuses to start where there are no locks
        return False


def last_rows(path: Path) -> list[dict[str, Any]]:
    """The last rows of a ``stats.jsonl``."""
    try:
        return [row for row, _ in stats_lines(path, max(0, path.stat().st_size - LAST_ROWS))]
    except OSError:
        return []


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; empty when it is missing or broken."""
    with contextlib.suppress(GanError, OSError):
        value = read_json(path)
        return value if isinstance(value, dict) else {}
    return {}


def modified(path: Path) -> float:
    """When ``path`` was last written, in s since the epoch; 0 without it."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
