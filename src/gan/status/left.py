"""How long a study takes yet, from the speed of its cells and what scoring took so far."""

import csv
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gan.status.states import Row

SCORING = ("curve", "score")  # the rules


@dataclass(frozen=True)
class Left:
    """seconds: until all cells are scored; at_once: cells at a time, as many as run now; scoring: whether what scoring
    takes is known and counted."""

    seconds: float
    at_once: int
    scoring: bool


def time_left(rows: Sequence[Row], benchmarks: Path) -> Left | None:
    """For the cells of a study; None if all is done, or while a cell has no speed to go by: its own, else that of its
    variant on the same data, else that of the data set's cells. benchmarks: those of the study."""
    scoring, spans = _scoring(benchmarks), []
    for row in rows:
        if row.state == "done":
            continue
        rate = 0.0 if row.trained else _rate(row, rows)
        if rate is None:
            return None
        spans.append((row.total - (row.kimg or 0)) * rate + (scoring or 0))
    if not spans:
        return None
    at_once = max(1, sum(row.state == "running" for row in rows))
    return Left(max(*spans, sum(spans) / at_once) if len(spans) > 1 else spans[0], at_once, scoring is not None)


def _rate(row: Row, rows: Sequence[Row]) -> float | None:
    """s/kimg."""
    if row.rate is not None:
        return row.rate
    same = [other for other in rows if other.cell.dataset == row.cell.dataset]
    alike = [other.rate for other in same if other.cell.variant == row.cell.variant and other.rate is not None]
    known = alike or [other.rate for other in same if other.rate is not None]
    return statistics.median(known) if known else None


def _scoring(benchmarks: Path) -> float | None:
    """What the scoring of a cell took, in s: the median over cells of each rule, in all."""
    taken = {rule: [*filter(None, map(_seconds, benchmarks.glob(f"*/*_seed*_{rule}.tsv")))] for rule in SCORING}
    return sum(map(statistics.median, taken.values())) if all(taken.values()) else None


def _seconds(path: Path) -> float | None:
    try:
        with open(path, encoding="utf-8") as file:
            return float(next(csv.DictReader(file, delimiter="\t"))["s"])
    except (OSError, ValueError, KeyError, StopIteration):
        return None
