"""The exported images: drawn, written, and listed with their checksums."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from gan.files import checksum, inert
from gan.governance.dicom import write_dicom
from gan.sampling.snapshot import Snapshot
from gan.sampling.tasks import available, chunks, classes_of
from gan.sampling.write import channel_names, write_images

FORMS = ("png", "nifti", "dicom")
FOLDER, LIST = "images", "images.csv"
COLUMNS = ("file", "index", "contrast", "label", "sha256")


@dataclass(frozen=True)
class Exported:
    """number images of ``seed``; size: pixels of each; spacing: mm; files: rows of ``images.csv`` (`COLUMNS`)."""

    number: int
    seed: int
    form: str
    kimg: float
    truncation: float
    channels: list[str]
    size: list[int]
    spacing: list[float] | None
    labels: list[str]
    files: list[dict[str, str]]


def export_images(snapshot: Snapshot, folder: Path, number: int, seed: int, form: str) -> Exported:
    """Draw ``number`` images of ``seed`` into ``folder``/images as ``form`` and list them in ``images.csv``."""
    limit = available(snapshot)
    number = number if limit is None else min(number, limit)
    drawn = chunks(snapshot, number, seed)
    _write(snapshot, drawn, number, folder / FOLDER, seed, form)
    classes, names = classes_of(snapshot, number, seed, None).tolist(), snapshot.labels
    rows = []
    for path in sorted((folder / FOLDER).iterdir()):
        stem = path.name.split(".")[0]
        index, _, contrast = stem.partition("_")
        label = names[classes[int(index)]] if names else ""
        row = (f"{FOLDER}/{path.name}", str(int(index)), contrast, label, checksum(path))
        rows.append(dict(zip(COLUMNS, row, strict=True)))
    with open(folder / LIST, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: inert(value) for key, value in row.items()} for row in rows)
    spacing = snapshot.data.get("spacing")
    return Exported(
        *(number, seed, form, snapshot.kimg, 1.0, channel_names(snapshot), list(snapshot.shape.size), spacing),
        *(names, rows),
    )


def _write(snapshot: Snapshot, drawn: Iterator[Tensor], number: int, folder: Path, seed: int, form: str) -> None:
    if form == "dicom":
        write_dicom(snapshot, drawn, folder, seed)
    else:
        write_images(snapshot, drawn, number, folder, form, seed)
