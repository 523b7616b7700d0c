"""The row of config.yaml that a folder asks for: its contrasts and mask, slices, intensity map and split."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gan.data import splits
from gan.data.heads import Head
from gan.inspect.values import Values

# The defaults of a row, as the schema has them (a test compares).
DEFAULTS: dict[str, Any] = {
    "pattern": None,
    "reference": None,
    "align": False,
    "missing": "refuse",
    "mask": None,
    "labels": None,
    "translate": None,
    "regions": None,
    "detect": None,
    "terms": None,
    "slices": {"axis": "axial", "every": 1, "size": 256, "fit": "resize", "threshold": 50, "fraction": 0.25},
    "volumes": None,
    "intensity": {"map": "percentile", "low": None, "high": None},
    "split": {"train": 0.7, "val": 0.15, "test": 0.15, "seed": 0},
}
ORDER = (
    "source",
    "layout",
    "pattern",
    "contrasts",
    "reference",
    "mask",
    "align",
    "labels",
    "slices",
    "intensity",
    "split",
)
SIZES = (32, 64, 128, 256)
COARSE, FLAT = 1.5, 0.6  # of the finest spacing, of the other extents: slices are cut across such an axis
FRACTIONS = (0.25, 0.1, 0.05, 0.02, 0.0)
ENOUGH = 0.1  # of a subject's slices
NEGATIVE = 0.01  # of the voxels, as in the notes of the data steps
AXES = ("sagittal", "coronal", "axial")  # across x, y, z
RESERVED = ("data", "features", "logs", "benchmarks", "mlflow", "readers", "utility")
PARTS = ((0.7, 0.15), (0.6, 0.2), (0.5, 0.25), (0.4, 0.3), (0.2, 0.4))  # train; val and test each
LEAST = 5  # subjects of which two can be in val and two in test


def complete(row: dict[str, Any]) -> dict[str, Any]:
    """``row`` with all defaults, and its reference."""
    nested = {key: DEFAULTS[key] | row.get(key, {}) for key in ("slices", "intensity", "split")}
    full = DEFAULTS | row | nested
    return full | {"reference": full["reference"] or full["contrasts"][0]}


def name_of(folder: Path) -> str:
    """A name for the row, of the folder's."""
    name = re.sub(r"[^a-z0-9_]+", "_", folder.resolve().name.lower()).strip("_")[:64] or "mine"
    return f"{name}_scans"[:64] if name in RESERVED else name


def plane(heads: Sequence[Head]) -> str:
    """The plane of the slices: across the axis with much thicker voxels than the others, or a much smaller extent;
    axial otherwise."""
    spacing, extent = (np.median([_ras(head)[place] for head in heads], axis=0) for place in (0, 1))
    thick, thin = int(np.argmax(spacing)), int(np.argmin(extent))
    if spacing[thick] >= COARSE * spacing.min():
        return AXES[thick]
    return AXES[thin] if extent[thin] <= FLAT * np.sort(extent)[1] else "axial"


def size(heads: Sequence[Head], axis: str) -> int:
    """Pixels of a side: the smallest size that loses no pixel of most subjects, at most 256."""
    across = AXES.index(axis)
    sides = []
    for head in heads:
        spacing, extent = _ras(head)
        inside = [place for place in range(3) if place != across]
        sides.append(max(extent[place] for place in inside) / min(spacing[place] for place in inside))
    return _edge(sides)


def size_of_pictures(values: Sequence[Values]) -> int:
    """The same for pictures."""
    return _edge([max(of.shape) for of in values])


def _edge(sides: Sequence[float]) -> int:
    return next((edge for edge in SIZES if edge >= 0.9 * float(np.median(sides))), SIZES[-1])


def _ras(head: Head) -> tuple[np.ndarray, np.ndarray]:
    """Spacing and extent in mm along x, y, z."""
    order = [next(place for place, code in enumerate(head.axes) if code in pair) for pair in ("RL", "AP", "SI")]
    spacing = np.array(head.spacing)[order]
    return spacing, spacing * np.array(head.shape)[order]


def intensity(values: Sequence[Values], *, pictures: bool) -> dict[str, Any]:
    """The intensity map that suits ``values``, as far as it is not the default."""
    if pictures:
        kinds, high = {of.dtype for of in values}, max(of.high for of in values)
        if any(kind.kind == "f" for kind in kinds) or high > 65535 or min(of.low for of in values) < 0:
            return {"map": "minmax"}
        bits = 8 if kinds == {np.dtype(np.uint8)} else 12 if high < 2**12 else 16
        return {"map": "window", "low": 0, "high": 2**bits - 1}
    return {"map": "minmax"} if max((of.below for of in values), default=0) > NEGATIVE else {}


def fraction(shares: Sequence[np.ndarray]) -> float:
    """The largest usual ``slices.fraction`` at which every subject keeps `ENOUGH` of its slices. shares: of each
    subject, the fractions of its slices."""
    return next(f for f in FRACTIONS if f == 0 or all((of > f).mean() >= ENOUGH for of in shares))


def split(labels: dict[str, str], fixed: dict[str, str]) -> dict[str, Any]:
    """A split of the subjects that leaves two for val and two for the test, as scores need: the default, or larger
    parts; train alone if they are too few."""
    for train, rest in PARTS if len(labels) >= LEAST else ():
        wanted = {"train": train, "val": rest, "test": rest}
        of = Counter(splits.assign(labels, wanted | {"seed": 0}, fixed).values())
        if min(of["val"], of["test"]) > 1:
            return {} if train == DEFAULTS["split"]["train"] else wanted
    return {"train": 1, "val": 0, "test": 0}


def to_yaml(name: str, row: dict[str, Any], comments: dict[str, str]) -> str:
    """The row as text for config.yaml, without what is default; comments: by key."""
    lines = ["datasets:", f"  {name}:"]
    for key in sorted(row, key=ORDER.index):
        value = row[key]
        mark = f"  # {comments[key]}" if key in comments else ""
        if isinstance(value, dict) and key == "pattern":
            lines.append(f"    {key}:{mark}")
            lines += [f"      {_flow(of)}: {_flow(pattern)}" for of, pattern in value.items()]
        else:
            lines.append(f"    {key}: {_flow(value)}{mark}")
    return "\n".join(lines)


def _flow(value: Any) -> str:
    """``value`` as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(of)}" for key, of in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
