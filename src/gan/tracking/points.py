"""A cell's files as MLflow points. Every value, step and timestamp comes from the files: same files, same points.

MLflow keeps one of several points that agree in name, step, timestamp and value, so publishing twice adds nothing.
"""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false

import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import pandas as pd
from mlflow.entities import Metric

from gan.cells import CLASS, JOINT, CellFiles, last_stats, side_of, stats_lines
from gan.report import two_sample
from gan.report.cost import record
from gan.report.utility import LEADING, mean, tasks
from gan.tracking import names

COST = {
    **{"wall_hours": "cost/wall_h", "gpu_hours": "cost/gpu_h", "cpu_hours": "cost/cpu_h", "gpus": "cost/gpus"},
    **{"peak_mem_gb": "cost/peak_mem_gb", "peak_gpu_mem_gb": "cost/peak_gpu_mem_gb", "resumed": "cost/resumed"},
}


@dataclass
class Progress:
    """Points of ``stats.jsonl`` and where they end: ``offset`` is the byte after them, ``step`` the last one's."""

    points: list[Metric] = field(default_factory=list)
    offset: int = 0
    step: int = -1


def width(total: float) -> int:
    """The images that a point of the statistics means over, in a training of ``total`` kimg: 1000, or less for at least
    100 points."""
    return 10 ** max(0, min(3, math.floor(math.log10(max(total, 0.001)) + 1)))


def progress(cell: CellFiles, start: Progress, durable_kimg: float) -> Progress:
    """Points of ``stats.jsonl`` after ``start``: the mean of each scalar over `width` images, at the first of them; of
    a cost the last value.

    Lines beyond ``durable_kimg`` are left for later, since a resumed run goes back to its checkpoint and MLflow cannot
    take a point back. A file shorter than ``start`` was begun again: it is read from the front, without steps that are
    there already.
    """
    path = cell.folder / "stats.jsonl"
    size = path.stat().st_size if path.exists() else 0
    offset = start.offset if start.offset <= size else 0
    found = Progress(offset=offset, step=start.step)
    each = width((cell.object("recipe.json").get("training") or {}).get("kimg") or 100)
    bucket: dict[str, list[float]] = defaultdict(list)
    step, time, last_end = None, 0.0, offset
    for row, end in stats_lines(path, offset):
        if "kimg" not in row or row["kimg"] > durable_kimg:
            continue
        own = names.step(row["kimg"]) // each * each
        if step is not None and own != step:
            _close(found, bucket, step, time)
            found.offset = last_end
            bucket.clear()
        step, time, last_end = own, row.get("time", 0.0), end
        for name, value in row.items():
            if "/" in name and isinstance(value, int | float) and math.isfinite(value):
                bucket[names.allowed(name)].append(value)
    if step is not None and math.isinf(durable_kimg):
        _close(found, bucket, step, time)
        found.offset = last_end
    return found


def _close(found: Progress, bucket: dict[str, list[float]], step: int, time: float) -> None:
    if step <= found.step:
        return
    found.step = step
    for name, values in bucket.items():
        total = name.startswith("cost/")  # what has been spent so far, not a scalar of the moment
        value = values[-1] if total else sum(values) / len(values)
        found.points.append(Metric(name, value, int(time * 1000), step))


def durable_kimg(cell: CellFiles) -> float:
    """The last kimg that a resumed run cannot fall behind: all of a trained run, else the last checkpoint."""
    if (cell.folder / "generator.pt").exists():
        return math.inf
    return last_stats(cell.folder / "stats.jsonl").get("saved_kimg", 0.0)


def curve(cell: CellFiles) -> list[Metric]:
    """The scores of the snapshots on the validation split, over kimg."""
    time, rows = stamp(cell.folder / "curve.json"), measured(cell, "curve.json", "rows")
    return [Metric(names.curve(row), round(row["value"], 6), time, names.step(row["kimg"])) for row in rows]


def final(cell: CellFiles) -> list[Metric]:
    """The scores of the chosen snapshot on the test split with interval and floor, and what the run cost, at step 0.

    They are stamped with the age of their file, so that a cell scored again shows its newest scores.
    """
    result, time = cell.object("scores.json"), stamp(cell.folder / "scores.json")
    points = []
    for row in measured(cell, "scores.json", "scores"):
        points.append(Metric(names.final(row), round(row["value"], 6), time, 0))
        kinds = ("low", "high", "floor", "above_floor") if row.get("contrast") in (None, names.WHOLE) else ()
        for kind in kinds:
            if finite(row.get(kind)):
                points.append(Metric(names.final(row, kind), round(row[kind], 6), time, 0))
    kimg = (result.get("snapshot") or {}).get("kimg")
    if kimg is not None:
        points.append(Metric("best/kimg", kimg, time, 0))
    return points + _utility(cell) + _cost(cell)


def _utility(cell: CellFiles) -> list[Metric]:
    """The leading score of each arm of each task, ``utility/segment_dice_mixed_50``, and ``utility/two_sample_auc``, at
    step 0."""
    time, points = stamp(cell.folder / "utility.json"), []
    for task in tasks([cell]):
        measure = LEADING[task.name]
        for _, arm in task.arms:
            value = mean(task, arm)
            if math.isfinite(value):
                points.append(Metric(f"utility/{task.name}_{measure}_{arm}", round(value, 6), time, 0))
    told = two_sample.value(cell)
    return points if told is None else [*points, Metric("utility/two_sample_auc", round(told, 6), time, 0)]


def paired(cell: CellFiles, differences: pd.DataFrame, compared: pd.DataFrame, time: int) -> list[Metric]:
    """The scores of a variant against its baseline, at step 0: the ``difference`` of the cell's own seed, and over all
    seeds the mean, ``paired``, with its interval, ``paired_low`` and ``paired_high``.

    differences, compared: `gan.report.pairs.by_seed` and `compare` of the cell's data set; time: their stamp.
    """
    own = differences[(differences.variant == cell.variant) & (differences.seed == cell.seed)]
    mean = compared[(compared.variant == cell.variant) & (compared.status == "compared")]
    found = []
    for rows, kinds in (
        (own, {"difference": "difference"}),
        (mean, {"paired": "difference", "paired_low": "low", "paired_high": "high"}),
    ):
        for row in rows[rows.contrast == names.WHOLE].to_dict("records"):
            found += [(names.final(row, kind), row[column]) for kind, column in kinds.items()]
    return [Metric(name, round(value, 6), time, 0) for name, value in found if math.isfinite(value)]


def _cost(cell: CellFiles) -> list[Metric]:
    """The final cost of the run, at its last kimg: MLflow shows the value of the last step."""
    used, time = record(cell.object("cost.json")), stamp(cell.folder / "cost.json")
    step = names.step(last_stats(cell.folder / "stats.jsonl").get("kimg") or 0)
    return [Metric(COST[key], round(used[key], 4), time, step) for key in COST if math.isfinite(used[key])]


def measured(cell: CellFiles, file: str, key: str) -> list[dict[str, Any]]:
    """The rows with a value in a file of scores; where there is one contrast, without its own, which say the same as
    those of the whole."""
    rows = [row for row in cell.object(file).get(key) or [] if finite(row.get("value"))]
    single = {row.get("contrast") for row in rows if _is_contrast(row.get("contrast"))}
    if len(single) > 1 or not any(row.get("contrast") == names.WHOLE for row in rows):
        return rows
    return [row for row in rows if row.get("contrast") not in single]


def _is_contrast(name: str | None) -> bool:
    return name not in (None, names.WHOLE, JOINT) and not str(name).startswith(CLASS) and not side_of(str(name))


def finite(value: Any) -> TypeGuard[float]:
    """Whether ``value`` is a number that MLflow takes."""
    return isinstance(value, int | float) and math.isfinite(value)


def stamps(cell: CellFiles) -> dict[str, int]:
    """The ages of the files behind `final` and `curve`: when none has changed, neither have their points."""
    return {name: stamp(cell.folder / name) for name in ("scores.json", "curve.json", "cost.json", "utility.json")}


def stamp(path: Path) -> int:
    """Milliseconds since the epoch when ``path`` was written; 0 without it."""
    return path.stat().st_mtime_ns // 1_000_000 if path.exists() else 0
