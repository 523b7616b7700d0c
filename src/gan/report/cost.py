"""The cost of a study: training runs from their ``cost.json``, other jobs from Snakemake's benchmark files."""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportReturnType=false, reportCallIssue=false

import contextlib
import math
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from gan.cells import CellFiles, number

HOURS = {"wall_hours": "wall_s", "gpu_hours": "gpu_s", "cpu_hours": "cpu_s"}
PEAKS = {"peak_mem_gb": "peak_mem_mb", "peak_gpu_mem_gb": "peak_gpu_mem_mb"}
COUNTS = ["gpus", "resumed"]
COLUMNS = [*HOURS, *PEAKS, *COUNTS]
OF_A_CELL = re.compile(r".+_seed\d+_")


def device_hours(cost: dict[str, Any]) -> tuple[str, float]:
    """Device and device hours of a run, from its ``cost.json``: ("GPU" or "CPU", hours); NaN if not recorded."""
    found = record(cost)
    return ("GPU", found["gpu_hours"]) if found["gpu_hours"] > 0 else ("CPU", found["cpu_hours"])


def record(cost: dict[str, Any]) -> dict[str, float]:
    """`COLUMNS` of one run: hours, peak memory in GiB of its processes and of the fullest GPU, number of GPUs, and how
    often it resumed from a checkpoint. NaN for what is not recorded."""
    found = {name: number(cost.get(key), math.nan) / 3600 for name, key in HOURS.items()}
    found |= {name: number(cost.get(key), math.nan) / 1024 for name, key in PEAKS.items()}
    return found | {name: number(cost.get(name), math.nan) for name in COUNTS}


def runs(cells: Sequence[CellFiles]) -> list[dict[str, Any]]:
    """The cost of each run that has one, with its fraction of the largest for a bar."""
    rows = []
    for cell in cells:
        cost = cell.object("cost.json")
        if cost:
            unit, hours = device_hours(cost)
            names = {"cell": cell, "device": cost.get("device", ""), "threads": cost.get("threads", "")}
            rows.append(names | {"unit": unit, "hours": hours} | record(cost))
    most = max((row["hours"] for row in rows if row["hours"] > 0), default=1.0)
    for row in rows:
        row["part"] = round(100 * row["hours"] / most, 1) if row["hours"] > 0 else 0
    return rows


def total(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Hours and restarts of all ``rows`` of `runs` together, and their largest peaks, as far as they are recorded."""
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame[[*HOURS, "resumed"]].sum().to_dict() | frame[[*PEAKS]].max().to_dict()


def jobs(cells: Sequence[CellFiles]) -> pd.DataFrame:
    """Time and memory of all jobs except training, from ``benchmarks/`` of the study: a row per rule of a data set.

    ``jobs``: how many; ``wall``, ``cpu``: their hours together; ``memory``: the largest resident memory in GiB. Files
    that cannot be read are left out.
    """
    frames = []
    for folder in dict.fromkeys(cell.folder.parents[2] / "benchmarks" for cell in cells):
        for path in sorted(folder.rglob("*.tsv")):
            with contextlib.suppress(OSError, ValueError):
                read = pd.read_csv(path, sep="\t", na_values="-").reindex(columns=["s", "cpu_time", "max_rss"])
                read = read.apply(pd.to_numeric, errors="coerce").dropna(subset="s")
                place = {"dataset": str(path.parent.relative_to(folder)), "rule": OF_A_CELL.sub("", path.stem)}
                frames.append(read.assign(**place))
    if not frames:
        return pd.DataFrame(columns=["dataset", "rule", "jobs", "wall", "cpu", "memory"])
    groups = pd.concat(frames).groupby(["dataset", "rule"], sort=False)
    found = groups.agg(jobs=("s", "size"), wall=("s", "sum"), cpu=("cpu_time", "sum"), memory=("max_rss", "max"))
    return found.assign(wall=found.wall / 3600, cpu=found.cpu / 3600, memory=found.memory / 1024).reset_index()
