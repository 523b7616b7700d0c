"""Conversion and slicing beside the bare time of reading the same volumes with nibabel, in turns in one run.

    python benchmarks/data.py                                                   # on a phantom that it makes
    python benchmarks/data.py --data ~/ixi --pattern '{subject}-{contrast}.nii.gz' --contrasts T1 --json data.json

Bare reading is ``np.asarray(nibabel.load(file).dataobj)`` for every file, on as many processes as the stages get. All
sides are warm (modules loaded, files in the page cache), outputs go to new folders; times are the median of the
repeats: process CPU time over all processes, and wall time, of which only the first means something on a busy machine.
The aim is a ratio below 1.5. The stages write as well: volumes, store, index, contact sheet and 64 previews.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from gan.data import layouts
from gan.data.pool import ordered
from gan.data.slices import build_store
from gan.data.sources import fetch
from gan.data.volumes import convert

WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
PHANTOM = {"subjects": 8, "matrix": 192, "spacing": 1.0, "tumours": 0.5, "seed": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of NIfTI files; without it a phantom is made")
    parser.add_argument("--pattern", default="{subject}_{contrast}.nii.gz", help="of the files below --data")
    parser.add_argument("--contrasts", nargs="+", default=["t1"], help="names of {contrast}")
    parser.add_argument("--size", type=int, default=64, help="pixels along an edge of a stored slice")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        raw = args.data or fetch({"phantom": PHANTOM}, Path(name) / "raw", workers=args.workers)
        result = measure(row_of(args), raw, Path(name), args.workers, args.repeats)
    print("".join(f"{key:>20}  {value}\n" for key, value in result.items()), end="")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


def row_of(args: argparse.Namespace) -> dict[str, Any]:
    """The data set's row, with the defaults of config.yaml."""
    nifti = {"layout": "nifti", "pattern": args.pattern, "contrasts": args.contrasts}
    phantom = {"layout": "brats", "pattern": None, "contrasts": ["t1n", "t1c", "t2w", "t2f"]}
    return (nifti if args.data else phantom) | {
        "reference": None,
        "align": False,
        "mask": None,
        "labels": None,
        "slices": {"axis": "axial", "every": 1, "size": args.size, "fit": "resize", "threshold": 50, "fraction": 0.25},
        "intensity": {"map": "percentile", "low": None, "high": None},
        "split": {"train": 1, "val": 0, "test": 0, "seed": 0},
    }


def read(path: Path) -> int:
    """The bare reading of one file; the number of its voxels."""
    return np.asarray(nib.load(path).dataobj).size  # type: ignore[attr-defined]


def measure(row: dict[str, Any], raw: Path, scratch: Path, workers: int, repeats: int) -> dict[str, Any]:
    """Median seconds of each side, and their ratios; the first round only warms up."""
    files = [item.path for item in layouts.find(row, raw)]
    rounds: dict[str, list[tuple[float, float]]] = {"read": [], "convert": [], "slices": []}
    for place in range(repeats + 1):
        volumes, store = scratch / f"volumes{place}", scratch / f"store{place}"
        sides: dict[str, Callable[[], Any]] = {
            "read": lambda: list(ordered(read, files, workers=workers, label="read", unit="file")),
            "convert": partial(convert, row, raw, volumes, workers=workers),
            "slices": partial(build_store, row, volumes, store, workers=workers),
        }
        for side, work in sides.items():
            rounds[side].append(timed(work))
    result: dict[str, Any] = {"volumes": len(files), "megavoxels": round(sum(map(read, files)) / 1e6, 1)}
    for kind, place in (("cpu", 0), ("wall", 1)):
        middle = {side: statistics.median(times[place] for times in rounds[side][1:]) for side in rounds}
        result |= {f"{side}_{kind}_s": round(value, 4) for side, value in middle.items()}
        result[f"ratio_{kind}"] = round((middle["convert"] + middle["slices"]) / middle["read"], 3)
    peak = max(resource.getrusage(who).ru_maxrss for who in WHO)
    versions = {"python": platform.python_version(), "numpy": np.__version__, "nibabel": nib.__version__}
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    return result | {"workers": workers, "peak_mb_of_a_process": round(peak / 1024), **versions, "machine": machine}


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of CPU, over all processes, and of the clock."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    work()
    return cpu_seconds() - cpu, time.perf_counter() - wall


def cpu_seconds() -> float:
    usage = [resource.getrusage(who) for who in WHO]
    return sum(each.ru_utime + each.ru_stime for each in usage)


if __name__ == "__main__":
    main()
