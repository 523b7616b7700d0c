"""The rules of a data set's row that a schema cannot say."""

import json
from typing import Any

from gan.cells import JOINT, SPLITS, WHOLE
from gan.errors import GanError
from gan.labels import label_of


def sides(row: dict[str, Any]) -> tuple[int, ...]:
    """Pixels along each axis of a stored image of ``row``: (H, W), or of whole volumes (D, H, W)."""
    volumes = row.get("volumes")
    size = volumes["size"] if volumes else row["slices"]["size"]
    return (size,) * (3 if volumes else 2) if isinstance(size, int) else tuple(size)


def check_dataset(name: str, row: dict[str, Any]) -> None:
    """`GanError` if the parts of the complete ``row`` contradict each other."""
    kinds = [key for key in ("path", "url", "phantom") if key in row["source"]]
    if len(kinds) != 1:
        raise GanError(
            f"config: datasets.{name}.source names {kinds or 'nothing'}; give exactly one of path, url, phantom"
        )
    if row["reference"] not in row["contrasts"]:
        allowed = ", ".join(row["contrasts"])
        raise GanError(f"config: datasets.{name}.reference is {row['reference']!r}; allowed: {allowed}")
    for key in ("regions", "detect"):
        if row[key] is not None and row["mask"] is None:
            raise GanError(f"config: datasets.{name}.{key} is set, but mask is null; name the mask, or set it to null")
    if row["mask"] in row["contrasts"]:
        raise GanError(
            f"config: datasets.{name}.mask is {row['mask']!r}, which is among its contrasts; name a label volume"
        )
    if taken := {WHOLE, JOINT} & {*row["contrasts"], row["mask"]}:
        raise GanError(f"config: datasets.{name} has a contrast called {min(taken)!r}, as some scores are; rename it")
    if row["volumes"]:
        _check_volumes(name, row)
    if label_of(row["labels"]) in ("slice", "contrast"):
        _check_slice_labels(name, row)
    if row["translate"]:
        _check_translate(name, row)
    if row["missing"] == "leave":
        _check_missing(name, row)
    parts = sum(row["split"][part] for part in SPLITS)
    if abs(parts - 1) > 1e-6:
        raise GanError(f"config: datasets.{name}.split adds up to {parts:g}; train + val + test must be 1")
    one_series = row["layout"] == "dicom" and len(row["contrasts"]) == 1 and not row["mask"]
    if row["layout"] in ("nifti", "dicom") and row["pattern"] is None and not one_series:
        raise GanError(f"config: datasets.{name}.pattern is null; layout {row['layout']} needs one with {{subject}}")
    window = row["intensity"]
    if window["map"] == "window" and (window["low"] is None or window["high"] is None):
        raise GanError(f"config: datasets.{name}.intensity: map window needs the values low and high")
    low, high = window["low"], window["high"]
    if window["map"] == "percentile":
        low, high = 0.5 if low is None else low, 99.5 if high is None else high
        for key, value in (("low", low), ("high", high)):
            if not 0 <= value <= 100:
                raise GanError(
                    f"config: datasets.{name}.intensity.{key} is {value:g}; a percentile is between 0 and 100 (for "
                    f"intensities themselves set map to window)"
                )
    if low is not None and high is not None and low >= high:
        raise GanError(f"config: datasets.{name}.intensity.low is {low:g}; it must be below high, {high:g}")


def _check_volumes(name: str, row: dict[str, Any]) -> None:
    """Nothing in the row is of slices alone."""
    where = f"config: datasets.{name}.volumes"
    if "slices" in row:
        raise GanError(f"{where}: the row has slices, too; a store has one of them, remove the other")
    if row["layout"] == "images":
        raise GanError(f"{where}: layout images has pictures, which are no volumes; use slices")
    if label_of(row["labels"]) == "slice":
        raise GanError(f"{where}: labels is {json.dumps(row['labels'])}, of slices; give labels of subjects, or null")
    if row["intensity"]["map"] == "slice_minmax":
        raise GanError(f"{where}: intensity.map is slice_minmax, of slices; use percentile, minmax or window")
    if row["translate"] and row["translate"]["neighbours"]:
        raise GanError(
            f"{where}: translate.neighbours is {row['translate']['neighbours']}, but whole volumes have no "
            "neighbouring slices; set it to 0"
        )
    if row["volumes"]["fit"] == "pad" and row["volumes"]["spacing"] is not None:
        raise GanError(f"{where}: fit pad keeps the scan's own voxels; set spacing to null, or fit to resize")


def _check_slice_labels(name: str, row: dict[str, Any]) -> None:
    """Labels of slices or contrasts, of a data set that has such."""
    where = f"config: datasets.{name}.labels is {json.dumps(row['labels'])}"
    if row["layout"] == "images":
        raise GanError(f"{where}, but pictures are no slices of a volume; give folder or a table")
    if row["labels"] == "contrast" and len(row["contrasts"]) == 1:
        raise GanError(f"{where}, but there is one contrast; name more contrasts, or other labels")
    if row["labels"] == "contrast" and row["mask"]:
        raise GanError(f"{where}, so that each image is of one contrast, without the mask; set mask to null")


def _check_translate(name: str, row: dict[str, Any]) -> None:
    """Sources and targets that the store has, none of them both."""
    where, task = f"config: datasets.{name}.translate", row["translate"]
    allowed = {"source": [*row["contrasts"], *filter(None, [row["mask"]])], "target": row["contrasts"]}
    for side, names in allowed.items():
        if unknown := [one for one in task[side] if one not in names]:
            raise GanError(f"{where}.{side} names {unknown[0]!r}; allowed: {', '.join(names)}")
    if both := [one for one in task["target"] if one in task["source"]]:
        raise GanError(f"{where}: {both[0]!r} is source and target; a contrast is translated into another one")
    if row["labels"] == "contrast":
        raise GanError(f"{where}: with labels contrast each image is of one contrast; set labels to null")
    if row["layout"] == "images":
        raise GanError(f"{where}: layout images has one contrast; give volumes of both contrasts")


def _check_missing(name: str, row: dict[str, Any]) -> None:
    """Subjects may lack a contrast where there are several, as channels of an image."""
    where = f"config: datasets.{name}.missing is leave"
    if len(row["contrasts"]) == 1 and not row["mask"]:
        raise GanError(f"{where}, but there is one contrast, which every subject needs; set it to refuse")
    if row["labels"] == "contrast":
        raise GanError(f"{where}, but labels is contrast, so that each image is of one; set one of them to its default")
