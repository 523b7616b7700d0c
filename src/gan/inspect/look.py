"""Take some subjects of a row through conversion and the slice filter in a temporary folder, one after the other.

It is the code of the study's own data steps, so that what is reported of a row is what the row does.
"""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from gan.data.cut import encode
from gan.data.cut.common import Encoded, Item
from gan.data.cut.whole import fitted, spacing_needed, unfitted
from gan.data.found import Found, channels
from gan.data.ledger import Ledger
from gan.data.nifti import Volume, open_volume
from gan.data.pictures import read_picture
from gan.data.pool import ordered
from gan.data.sheet import contact_sheet
from gan.data.slices import picture_items, sheet_rows, with_tiles
from gan.data.volumes import convert_scan, scans_of
from gan.errors import GanError
from gan.files import atomic_path
from gan.inspect.values import Values, values_of

ALL_TRAIN = {"train": 1.0, "val": 0.0, "test": 0.0, "seed": 0}


class Seen(NamedTuple):
    """One scan: its ``item`` and slices, and the values of each channel that it has, with its grid in RAS."""

    item: Item
    encoded: Encoded
    values: dict[str, Values]
    grids: dict[str, tuple[str, str]]


class Look(NamedTuple):
    """ledger: of the scans that could be read; seen: without their images; errors: of the others."""

    ledger: Ledger
    seen: list[Seen]
    errors: list[str]

    def index(self) -> pd.DataFrame:
        """The index as a store has it; `GanError` if no store can be made."""
        return self.ledger.index()

    def draw(self, row: dict[str, Any], path: Path, splits: dict[str, str] | None = None) -> None:
        """Write the contact sheet of what was seen. splits: of the subjects, if known."""
        split = {seen.item.subject: (splits or {}).get(seen.item.subject, "") for seen in self.seen}
        index = pd.DataFrame({"subject": list(split), "split": list(split.values())})
        place = None if row["mask"] is None else len(row["contrasts"])
        tops = [int(tile[place].max()) for _, of in self.ledger.shown for tile in of.tiles.values() if place]
        with atomic_path(path) as part:
            contact_sheet(sheet_rows(row, index, self.ledger.shown, max(tops, default=0)), part)


def look(row: dict[str, Any], found: Sequence[Found], *, workers: int = 1, scratch: Path | None = None) -> Look:
    """The slices of ``found``, converted in a temporary folder below ``scratch``, where one scan for each of
    ``workers`` lies at a time. Pictures are read where they are."""
    if row["layout"] == "images":
        table = pd.DataFrame(
            [(item.subject, str(item.path.absolute()), item.label, item.split) for item in found],
            columns=["subject", "file", "label", "split"],
        )
        return look_at(row, picture_items(Path(), table), workers=workers)
    scans = scans_of(row, found)
    shown = with_tiles([Item(scan.subject, (), "", "") for scan in scans], row)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="gan-inspect-") as folder:
        tasks = [(scan, item.tiles) for scan, item in zip(scans, shown, strict=True)]
        if unfitted(row):
            measure = partial(_convert, row=row, folder=Path(folder), use=_needed)
            row = _fitted(row, measure, tasks, workers)
        return _collect(row, partial(_convert, row=row, folder=Path(folder), use=_encode), tasks, workers)


def look_at(row: dict[str, Any], items: Sequence[Item], *, workers: int = 1) -> Look:
    """The slices of ``items``: pictures, or volumes that are converted already."""
    if unfitted(row):
        row = _fitted(row, partial(_needed, row=row), items, workers)
    return _collect(row, partial(_encode, row=row), items, workers)


def _fitted(row: dict[str, Any], measure: Any, tasks: Sequence[Any], workers: int) -> dict[str, Any]:
    """``row`` with the spacing of the subjects that can be read; `_collect` names the others."""
    needed = ordered(measure, tasks, workers=workers, label="measure")
    return fitted(row, [of for of in needed if not isinstance(of, str)])


def _needed(item: Item, row: dict[str, Any]) -> float | str:
    try:
        return spacing_needed(item, row)
    except GanError as error:
        return str(error)


def _collect(row: dict[str, Any], work: Any, tasks: Sequence[Any], workers: int) -> Look:
    found = Look(Ledger(row), [], [])
    unit = "image" if row["layout"] == "images" else "subject"
    for seen in ordered(work, tasks, workers=workers, label="read", unit=unit):
        if isinstance(seen, str):
            found.errors.append(seen)
            continue
        found.ledger.add(seen.item, seen.encoded)
        found.seen.append(seen._replace(encoded=seen.encoded._replace(images=seen.encoded.images[:0], tiles={})))
    return found


def _convert(task: tuple[Any, int], row: dict[str, Any], folder: Path, use: Any) -> Any:
    """What ``use`` makes of a scan's volumes, or the text of an error."""
    scan, tiles = task
    try:
        with tempfile.TemporaryDirectory(dir=folder) as part:
            records = convert_scan(scan, row, Path(part))
            first = scan.files[0]
            notes = "; ".join(f"{record['contrast']} {record['notes']}" for record in records if record["notes"])
            written = {record["contrast"]: Path(part) / record["file"] for record in records}
            files = tuple(written.get(name) for name in channels(row))
            return use(Item(scan.subject, files, first.label, first.split, 0, tiles, notes, first.scan), row)
    except GanError as error:
        return str(error).replace(f"{part}/", "")


def _encode(item: Item, row: dict[str, Any]) -> Seen | str:
    try:
        encoded = encode(item, row)
        opened = zip(channels(row), item.files, strict=True)
        volumes = {name: _open(path, row) for name, path in opened if path is not None}
    except GanError as error:
        return str(error)
    values = {name: values_of(volume) for name, volume in volumes.items()}
    grids = {name: _grid(volume, row) for name, volume in volumes.items()}
    return Seen(item, encoded, values, grids)


def _open(path: Path, row: dict[str, Any]) -> Volume:
    if row["layout"] != "images":
        return open_volume(path)
    pixels = read_picture(path)
    return Volume(pixels[..., None], np.eye(4))


def _grid(volume: Volume, row: dict[str, Any]) -> tuple[str, str]:
    if row["layout"] == "images":
        return " x ".join(map(str, volume.data.shape[:2])), ""
    return " x ".join(map(str, volume.data.shape)), " x ".join(f"{mm:.3g}" for mm in volume.spacing)
