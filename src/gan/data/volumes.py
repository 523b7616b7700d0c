"""From a source to canonical volumes: a RAS NIfTI per subject and contrast, without patient data."""

import os
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import median
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
from gan.data.register import Movement, check_movement, register
from gan.errors import GanError
from gan.files import inert

TABLE = "volumes.csv"
COLUMNS = ["subject", "contrast", "file", "label", "split", "shape", "spacing"]
MOVED = ["degrees", "mm", "transform", "information", "correlation"]  # of a registration
RIGID = "rigid"
DOUBT = 0.8  # of the median mutual information of a data set's pairs: below it a warning names the pair


class Scan(NamedTuple):
    """A scan of a subject, its only one or a session, and its files in the order of the channels, those it has."""

    subject: str
    files: tuple[Found, ...]


def convert(row: dict[str, Any], raw: Path, folder: Path, *, workers: int = 1) -> None:
    """Convert the files that the layout of ``row`` finds below ``raw`` into canonical volumes in ``folder``.

    Writes ``<subject>[_<scan>]_<contrast>.nii`` (RAS, integers kept with their slope, else float32, a header of its
    own) and ``volumes.csv``: subject, contrast, file (relative to ``folder``), label, split, shape (voxels), spacing
    (mm), ``scan`` where subjects have several, `MOVED` where contrasts are registered, ``notes`` where there is
    something to say, such as what of a folder is not in its stack of DICOM slices. A warning names the first that have
    notes. For layout ``images`` each file is checked and listed where it is; nothing is copied.

    ``folder`` appears whole or not at all. The errors of all subjects are reported in one `GanError`.
    """
    found = layouts.find(row, Path(raw))
    with atomic_folder(Path(folder)) as part:
        if row["layout"] == "images":
            work = partial(_check_picture, folder=Path(folder).absolute())
            records = list(ordered(work, found, workers=workers, label="check images", unit="image"))
        else:
            work = partial(convert_scan, row=row, folder=part)
            rows = ordered(work, scans_of(row, found), workers=workers, label="convert")
            records = [record for of_subject in rows for record in of_subject]
        if row["align"] == RIGID:
            _doubt(records)
        notes = [record.get("notes", "") for record in records]
        named = [f"{record['subject']} {record['contrast']} {record.get('scan', '')}".strip() for record in records]
        notices.warn_of(list(zip(named, notes, strict=True)), "volumes", TABLE)
        columns = COLUMNS + ["scan"] * any(record.get("scan") for record in records)
        columns += MOVED * (row["align"] == RIGID) + ["notes"] * any(notes)
        pd.DataFrame(records, columns=columns).map(inert).to_csv(part / TABLE, index=False)


def scans_of(row: dict[str, Any], found: Sequence[Found]) -> list[Scan]:
    """``found`` by subject and scan; `GanError` if two volumes would get the same file name."""

    def key(item: Found) -> tuple[str, str]:
        return item.subject, item.scan

    scans = []
    for (name, scan), items in groupby(sorted(found, key=key), key=key):
        if Path(name + scan).name != name + scan or name.startswith("."):
            raise GanError(f"subject {name + scan!r}: not usable as a file name; rename it, or change the pattern")
        of_contrast = {item.contrast: item for item in items}
        scans.append(Scan(name, tuple(of_contrast[name] for name in channels(row) if name in of_contrast)))
    names = Counter(_file_name(item) for item in found)
    for name, count in names.items():
        if count > 1:
            raise GanError(f"{name}: {count} volumes would get this name; rename a subject or a contrast")
    return scans


def _file_name(item: Found) -> str:
    return f"{item.name}_{item.contrast}.nii"


def convert_scan(scan: Scan, row: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Read, check, align and write one scan; its rows of the table."""
    volumes = {item.contrast: _read(item, is_mask=item.contrast == row["mask"]) for item in scan.files}
    notes = {contrast: volume.notes for contrast, volume in volumes.items()}
    reference, moved = _reference(row, volumes), {}
    if row["align"] == RIGID:
        volumes, moved = _registered(scan, volumes, reference, row["mask"])
    for item in scan.files:
        if not same_grid(volumes[item.contrast], volumes[reference]):
            volumes[item.contrast] = _aligned(item, volumes[item.contrast], volumes[reference], reference, row)
    records = []
    for item in scan.files:
        write_nifti(volumes[item.contrast], folder / _file_name(item))
        record = _record(item, volumes[item.contrast])
        if movement := moved.get(item.contrast):
            record |= dict(zip(MOVED, movement.columns(), strict=True))
        records.append(record | {"notes": notes[item.contrast]})
    return records


def _doubt(records: list[dict[str, Any]]) -> None:
    """Note the pairs that share much less information than those of the other subjects do."""
    by_contrast: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if "information" in record:
            by_contrast.setdefault(record["contrast"], []).append(record)
    for pairs in by_contrast.values():
        usual = median(record["information"] for record in pairs)
        for record in pairs:
            if record["information"] < DOUBT * usual:
                said = f"looks misregistered (mutual information {record['information']}, median {usual:.4g}; "
                said += f"correlation of edges {record['correlation']})"
                record["notes"] = "; ".join(filter(None, (record["notes"], said)))


def _reference(row: dict[str, Any], volumes: dict[str, Volume]) -> str:
    """The contrast on whose grid the others are: the reference, or where a scan lacks it, the first it has."""
    wanted = row["reference"] or row["contrasts"][0]
    return wanted if wanted in volumes else next(name for name in row["contrasts"] if name in volumes)


def _registered(
    scan: Scan, volumes: dict[str, Volume], reference: str, mask: str | None
) -> tuple[dict[str, Volume], dict[str, Movement]]:
    """All volumes on the grid of ``reference``, each interpolated once, and how those of contrasts were moved."""
    moved, found = {}, {reference: volumes[reference]}
    drawn = {item.contrast: _drawn_on(item, volumes, reference) for item in scan.files if item.contrast == mask}
    for item in scan.files:
        if item.contrast in (reference, mask):
            continue
        try:
            movement = register(volumes[item.contrast], volumes[reference])
            check_movement(movement)
        except GanError as error:
            raise GanError(f"{item.path}: {item.contrast} to {reference}: {error}") from error
        target = resample(volumes[item.contrast], volumes[reference], transform=movement.transform)
        found[item.contrast], moved[item.contrast] = target, movement.compared(target, volumes[reference])
    for name, contrast in drawn.items():
        found[name] = volumes[name]
        if contrast != reference:
            transform = moved[contrast].transform
            found[name] = resample(volumes[name], volumes[reference], labels=True, transform=transform)
    return found, moved


def _drawn_on(item: Found, volumes: dict[str, Volume], reference: str) -> str:
    """The contrast whose grid a mask has, with which it moves."""
    for contrast in dict.fromkeys([reference, *volumes]):
        if contrast != item.contrast and same_grid(volumes[item.contrast], volumes[contrast]):
            return contrast
    raise GanError(
        f"{item.path}: the mask is on the grid of none of the contrasts, so that align: rigid cannot tell with which "
        f"one it moves; resample it to the grid of the scan it was drawn on"
    )


def _read(item: Found, *, is_mask: bool) -> Volume:
    volume = canonical(_series(item) if item.path.is_dir() else read_volume(item.path))
    return check_mask(volume, item.path) if is_mask else check_image(volume, item.path)


def _series(item: Found) -> Volume:
    name = f"{item.path}: series {item.series} of {item.name}" if item.files else ""
    series = read_series(item.path, item.files, name)
    left_out = f"left out {listed(series.left_out)}" if series.left_out else ""
    return Volume(series.data, series.affine, notes=left_out)


def _aligned(item: Found, moving: Volume, reference: Volume, name: str, row: dict[str, Any]) -> Volume:
    if not row["align"]:
        grids = " and ".join(f"{_shape(volume)} of {_spacing(volume)} mm" for volume in (moving, reference))
        remedy = "set align: true to resample it, or leave the contrast out"
        raise GanError(f"{item.path}: {item.contrast} is on another grid than {name} ({grids}); {remedy}")
    if item.contrast == row["mask"]:
        return resample(moving, reference, labels=True)
    moved = resample(moving, reference)
    if moved.data.min() == moved.data.max():
        raise GanError(f"{item.path}: does not overlap {name} in space; check both headers or remove the subject")
    return moved


def _record(item: Found, volume: Volume) -> dict[str, Any]:
    place = {"subject": item.subject, "contrast": item.contrast, "file": _file_name(item), "scan": item.scan}
    return place | {"label": item.label, "split": item.split, "shape": _shape(volume), "spacing": _spacing(volume)}


def _check_picture(item: Found, folder: Path) -> dict[str, Any]:
    height, width = read_picture(item.path).shape
    place = {"subject": item.subject, "contrast": item.contrast, "file": os.path.relpath(item.path, folder)}
    return place | {"label": item.label, "split": item.split, "shape": f"{height}x{width}", "spacing": ""}


def _shape(volume: Volume) -> str:
    return "x".join(map(str, volume.data.shape))


def _spacing(volume: Volume) -> str:
    return "x".join(f"{mm:.6g}" for mm in volume.spacing)
