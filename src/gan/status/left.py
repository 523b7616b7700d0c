"""How long a study takes yet, and what its other jobs have cost: from the speed of its cells and its benchmarks."""

import csv
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gan.status.states import Row
from gan.status.steps import Shared

QUICK = ("judge", "baselines", "compare", "publish")  # jobs of seconds, which have no benchmark


@dataclass(frozen=True)
class Left:
    """seconds: until all jobs have ended; at_once: jobs at a time, as many as run now; unknown: jobs that are not
    counted, as none of their kind has ended yet."""

    seconds: float
    at_once: int
    unknown: tuple[str, ...] = ()


class Benchmarks:
    """What jobs took, from the folder ``benchmarks`` of a study; a file that cannot be read is left out."""

    def __init__(self, folder: Path):
        self._taken: dict[str, list[float]] = {}
        self.cpu_h = 0.0
        """CPU hours of all jobs; of a cell that is made they are the cost of the cell and are not counted here."""
        for path in folder.rglob("*.tsv"):
            row, kind = _row(path), kind_of(path)
            if (seconds := row.get("s")) is not None:
                self._taken.setdefault(kind, []).append(seconds)
                self.cpu_h += 0 if kind == "make" else row.get("cpu_time", 0.0) / 3600

    def median(self, kind: str) -> float | None:
        """What a job of ``kind`` took, in s; None while none has ended."""
        return statistics.median(self._taken[kind]) if kind in self._taken else None


def kind_of(path: Path) -> str:
    """What sort of a job a log or a benchmark is of: the end of its name."""
    return path.stem.rpartition("_")[2]


def time_left(rows: Sequence[Row], shared: Sequence[Shared], benchmarks: Benchmarks) -> Left | None:
    """For all jobs of a study; None if no cell has to be made or scored yet, or while one that is trained has no speed
    to go by: its own, else that of its variant on the same data, else that of the data set's cells."""
    spans, unknown = [], {}
    for row in rows:
        rate = _rate(row, rows) if "train" in row.ahead else 0.0
        if rate is None:
            return None
        taken = {kind: benchmarks.median(kind) for kind in row.ahead if kind != "train"}
        unknown |= {kind: None for kind, seconds in taken.items() if seconds is None}
        if row.ahead:
            spans.append((row.total - (row.kimg or 0)) * rate + sum(filter(None, taken.values())))
    if not spans:
        return None
    for job in shared:
        if job.state != "done" and job.step.rule not in QUICK:
            seconds = benchmarks.median(kind_of(job.step.log))
            unknown |= {job.step.rule: None} if seconds is None else {}
            spans.append(seconds or 0.0)
    at_once = max(1, sum(row.busy for row in rows) + sum(job.state == "running" for job in shared))
    return Left(max(*spans, sum(spans) / at_once) if len(spans) > 1 else spans[0], at_once, tuple(unknown))


def _rate(row: Row, rows: Sequence[Row]) -> float | None:
    """s/kimg."""
    if row.rate is not None:
        return row.rate
    same = [other for other in rows if other.cell.dataset == row.cell.dataset]
    alike = [other.rate for other in same if other.cell.variant == row.cell.variant and other.rate is not None]
    known = alike or [other.rate for other in same if other.rate is not None]
    return statistics.median(known) if known else None


def _row(path: Path) -> dict[str, float]:
    """The numbers of a benchmark by their names."""
    try:
        with open(path, encoding="utf-8") as file:
            row = next(csv.DictReader(file, delimiter="\t"), {})
    except (OSError, ValueError):
        return {}
    found = {}
    for name in ("s", "cpu_time"):
        try:
            found[name] = float(row.get(name) or "")
        except ValueError:  # a job too short to be measured has a dash
            continue
    return found
