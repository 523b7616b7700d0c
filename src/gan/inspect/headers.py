"""The headers of a folder's files: grids of volumes, and series of DICOM folders. At most `MOST` unless all are asked
for, evenly spread."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from gan.data.dicom_export import DATE, DESCRIPTION, PATIENT, STUDY, TIME, tags_of
from gan.data.dicom_headers import SERIES_UID, read_headers
from gan.data.found import Found, check_files
from gan.data.heads import Head, read_head
from gan.errors import GanError
from gan.inspect.inventory import Inventory
from gan.inspect.values import MANY

MOST = 1000
FEW = 3  # of a DICOM folder, at least


def spread(things: Sequence[Any], most: int) -> list[Any]:
    """At most ``most`` of ``things``, evenly spread."""
    if len(things) <= most:
        return list(things)
    return [things[place] for place in np.linspace(0, len(things) - 1, most).round().astype(int)]


def heads_of(root: Path, paths: Sequence[str]) -> Iterator[tuple[str, Head | str]]:
    """The head of each of ``paths`` of volumes, or why it cannot be read."""
    for path in tqdm(paths, desc="headers", unit="file", disable=len(paths) < MANY):
        try:
            check_files([Found("", "", root / path)])
            yield path, read_head(root / path)
        except GanError as error:
            yield path, str(error)


def tags_of_folders(files: Inventory, *, everything: bool) -> dict[str, list[Any]]:
    """(patient, study, series, words of the description) of files in each DICOM folder: of all, or of a few each.

    These are for grouping: they are identifiers, and never shown.
    """
    each = None if everything else max(FEW, MOST // len(files.dicom))
    wanted = [(folder, name) for folder, names in files.dicom.items() for name in spread(names, each or len(names))]
    found: dict[str, list[Any]] = {folder: [] for folder in files.dicom}
    for folder, name in tqdm(wanted, desc="headers", unit="file", disable=len(wanted) < MANY):
        try:
            tags = tags_of(files.root / folder / name)
        except (RuntimeError, GanError):
            continue
        words = re.findall(r"[a-z0-9]+", tags.get(DESCRIPTION, "").lower())
        study = (tags.get(DATE, ""), tags.get(TIME, ""), tags.get(STUDY, ""))
        found[folder].append((tags.get(PATIENT) or tags.get(STUDY, ""), study, tags.get(SERIES_UID, ""), words))
    return found


def head_of_series(folder: Path, names: Sequence[str]) -> Head | str:
    """The head of the slices in ``folder``, from the first and the last file, or why it cannot be read."""
    try:
        slices = read_headers(str(folder), [folder / name for name in spread(names, 3)], Counter())
    except GanError as error:
        return str(error)
    first, last = slices[0], slices[-1]
    thick = abs(float((last.position - first.position) @ first.normal)) / max(1, len(names) - 1)
    axes = "".join(_code(direction) for direction in (first.orientation[:3], first.orientation[3:], first.normal))
    if any(len({*axes} & {*pair}) != 1 for pair in ("LR", "PA", "SI")):
        return f"{folder}: its planes are oblique by 45 degrees"
    rows, columns = first.spacing
    return Head((*first.size, len(names)), (columns, rows, thick or 1.0), axes, np.dtype(np.int16))


def _code(direction: np.ndarray) -> str:
    """Where a direction in LPS leads."""
    axis = int(np.argmax(np.abs(direction)))
    return ("LR", "PA", "SI")[axis][int(direction[axis] < 0)]
