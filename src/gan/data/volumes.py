"""From what a source holds to canonical volumes: a RAS NIfTI per subject and contrast, nothing of the patient in it."""

import os
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from gan.data import layouts, notices
from gan.data.align import resample, same_grid
from gan.data.dicom import read_series
from gan.data.dicom_headers import listed
from gan.data.folders import atomic_folder
from gan.data.formats import read_volume
from gan.data.layouts import Found, channels
from gan.data.nifti import Volume, canonical, check_image, check_mask, write_nifti
from gan.data.pictures import read_picture
from gan.data.pool import ordered
from gan.errors import GanError

TABLE = "volumes.csv"
COLUMNS = ["subject", "contrast", "file", "label", "split", "shape", "spacing"]


class Subject(NamedTuple):
    """A subject and its files, in the order of the channels."""

    name: str
    files: tuple[Found, ...]


def convert(row: dict[str, Any], raw: Path, folder: Path, *, workers: int = 1) -> None:
    """Convert what the layout of ``row`` finds below ``raw`` into canonical volumes in ``folder``.

    Writes ``<subject>_<contrast>.nii`` (RAS, integers kept with their slope, else float32, a header of its own) and
    ``volumes.csv``: subject, contrast, file (relative to ``folder``), label, split, shape (voxels), spacing (mm).
    For layout ``images`` each file is checked and listed where it is; nothing is copied.

    Where a reader has something to say, such as what of a DICOM folder is not in the stack, there is a last column
    ``notes``, and a warning names the first subjects. ``folder`` appears whole or not at all. The errors of all
    subjects are reported in one `GanError`.
    """
    found = layouts.find(row, Path(raw))
    with atomic_folder(Path(folder)) as part:
        if row["layout"] == "images":
            work = partial(_check_picture, folder=Path(folder).absolute())
            records = list(ordered(work, found, workers=workers, label="check images", unit="image"))
        else:
            work = partial(_convert_subject, row=row, folder=part)
            rows = ordered(work, _subjects(row, found), workers=workers, label="convert")
            records = [record for of_subject in rows for record in of_subject]
        notes = [record.get("notes", "") for record in records]
        named = [f"{record['subject']} {record['contrast']}" for record in records]
        notices.warn_of(list(zip(named, notes, strict=True)), "volumes", TABLE)
        columns = COLUMNS + ["notes"] * any(notes)
        pd.DataFrame(records, columns=columns).to_csv(part / TABLE, index=False)


def _subjects(row: dict[str, Any], found: Sequence[Found]) -> list[Subject]:
    """Group by subject; no two volumes may get the same file name."""
    subjects = []
    for name, items in groupby(sorted(found, key=lambda item: item.subject), key=lambda item: item.subject):
        if Path(name).name != name or name.startswith("."):
            raise GanError(f"subject {name!r}: not usable as a file name; rename it, or change the pattern")
        of_contrast = {item.contrast: item for item in items}
        subjects.append(Subject(name, tuple(of_contrast[contrast] for contrast in channels(row))))
    names = Counter(_file_name(item) for item in found)
    for name, count in names.items():
        if count > 1:
            raise GanError(f"{name}: {count} volumes would get this name; rename a subject or a contrast")
    return subjects


def _file_name(item: Found) -> str:
    return f"{item.subject}_{item.contrast}.nii"


def _convert_subject(subject: Subject, row: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Read, check, align and write one subject; its rows of the table."""
    volumes = {item.contrast: _read(item, is_mask=item.contrast == row["mask"]) for item in subject.files}
    notes = {contrast: volume.notes for contrast, volume in volumes.items()}
    reference = row["reference"] or row["contrasts"][0]
    for item in subject.files:
        if not same_grid(volumes[item.contrast], volumes[reference]):
            volumes[item.contrast] = _aligned(item, volumes[item.contrast], volumes[reference], row)
    for item in subject.files:
        write_nifti(volumes[item.contrast], folder / _file_name(item))
    return [_record(item, volumes[item.contrast]) | {"notes": notes[item.contrast]} for item in subject.files]


def _read(item: Found, *, is_mask: bool) -> Volume:
    volume = canonical(_series(item.path) if item.path.is_dir() else read_volume(item.path))
    return check_mask(volume, item.path) if is_mask else check_image(volume, item.path)


def _series(folder: Path) -> Volume:
    series = read_series(folder)
    left_out = f"left out {listed(series.left_out)}" if series.left_out else ""
    return Volume(series.data, series.affine, notes=left_out)


def _aligned(item: Found, moving: Volume, reference: Volume, row: dict[str, Any]) -> Volume:
    name = row["reference"] or row["contrasts"][0]
    if not row["align"]:
        grids = " and ".join(f"{_shape(volume)} of {_spacing(volume)} mm" for volume in (moving, reference))
        remedy = "set align: true to resample it, or leave the contrast out"
        raise GanError(f"{item.path}: {item.contrast} lies on another grid than {name} ({grids}); {remedy}")
    if item.contrast == row["mask"]:
        return resample(moving, reference, labels=True)
    moved = resample(moving, reference)
    if moved.data.min() == moved.data.max():
        raise GanError(f"{item.path}: does not overlap {name} in space; check both headers or remove the subject")
    return moved


def _record(item: Found, volume: Volume) -> dict[str, Any]:
    place = {"subject": item.subject, "contrast": item.contrast, "file": _file_name(item)}
    return place | {"label": item.label, "split": item.split, "shape": _shape(volume), "spacing": _spacing(volume)}


def _check_picture(item: Found, folder: Path) -> dict[str, Any]:
    height, width = read_picture(item.path).shape
    place = {"subject": item.subject, "contrast": item.contrast, "file": os.path.relpath(item.path, folder)}
    return place | {"label": item.label, "split": item.split, "shape": f"{height}x{width}", "spacing": ""}


def _shape(volume: Volume) -> str:
    return "x".join(map(str, volume.data.shape))


def _spacing(volume: Volume) -> str:
    return "x".join(f"{mm:.6g}" for mm in volume.spacing)
