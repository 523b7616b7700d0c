"""What each file of a DICOM folder is: a slice with its position, or an object without an image of a stack."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from gan.errors import GanError

CLASS, SERIES_UID, SERIES_NUMBER = "0008|0016", "0020|000e", "0020|0011"
POSITION, ORIENTATION, PIXEL_SPACING = "0020|0032", "0020|0037", "0028|0030"
SLOPE, INTERCEPT, FRAMES = "0028|1053", "0028|1052", "0028|0008"
_SUFFIXES = {".dcm", ".ima", ".dicom"}

# Storage classes whose objects are images of a scanner (PS3.4, B.5): CT, MR, PET. A file of another class that is no
# slice (report, presentation state, screen capture) is no loss; one of these is.
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_SCANS = {_STORAGE + end for end in ("2", "2.1", "2.2", "4", "4.1", "4.3", "4.4", "128", "128.1", "130")}


class Slice(NamedTuple):
    """The header of one file. position in mm, LPS; spacing: (row, column) in mm; size: (columns, rows);
    rescale: slope and intercept."""

    path: Path
    series: str
    number: str
    position: np.ndarray
    orientation: np.ndarray
    spacing: tuple[float, float]
    size: tuple[int, int]
    rescale: tuple[float, float]

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.orientation[:3], self.orientation[3:])


def read_headers(where: str, paths: Sequence[Path], left_out: Counter[str]) -> list[Slice]:
    """The slices among the files ``paths`` of ``where``; others are counted in ``left_out`` by their kind.

    Raises `GanError` that names a damaged or multi-frame image of a scanner, or when no slice is there.
    """
    slices = []
    for path in paths:
        item = "DICOM directories" if path.name.upper() == "DICOMDIR" else _header(path)
        if isinstance(item, Slice):
            slices.append(item)
        else:
            left_out[item] += 1
    if not slices:
        there = f" ({listed(left_out)})" if left_out else ""
        raise GanError(f"{where}: no DICOM images in it{there}; check the pattern of the data set")
    return slices


def listed(left_out: Counter[str]) -> str:
    """``copies of a slice: 2, empty files: 1``."""
    return ", ".join(f"{kind}: {count}" for kind, count in sorted(left_out.items()))


def open_image(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    return reader


def _header(path: Path) -> Slice | str:
    """The header of a slice, or the kind of file in words."""
    reader = open_image(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        return no_image(path, error)

    def tag(key: str, default: str | None = None) -> str:
        if reader.HasMetaDataKey(key):
            return reader.GetMetaData(key).strip().strip("\0")
        if default is None:
            raise GanError(f"{path}: no DICOM tag ({key.replace('|', ',')}); convert it to NIfTI, e.g. with dcm2niix")
        return default

    scan = tag(CLASS, "") in _SCANS
    if reader.GetNumberOfComponents() > 1:
        return "colour images"
    if not scan and not all(reader.HasMetaDataKey(key) for key in (POSITION, ORIENTATION, PIXEL_SPACING)):
        return "images without a place, such as screen captures"
    try:
        return _slice(path, reader, tag)
    except ValueError as error:
        raise GanError(f"{path}: a number in its DICOM header is damaged; restore it from its source") from error


def no_image(path: Path, error: RuntimeError) -> str:
    """The kind of a file without an image; `GanError` if it is a damaged image of a scanner."""
    start = _start(path)
    claims = start[128:132] == b"DICM"
    if not start:
        return "empty files"
    if not claims and path.suffix.lower() not in _SUFFIXES:
        return "files that are not DICOM"
    kind = _storage_class(start) if claims else ""
    if kind and kind not in _SCANS:
        return "objects without an image, such as reports"
    raise GanError(f"{path}: damaged DICOM file; restore it from its source") from error


def _start(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(4096)


def _storage_class(start: bytes) -> str:
    """The storage class (0002,0002) in the first bytes of a file, empty without one (PS3.10, 7.1)."""
    place = start.find(b"\x02\x00\x02\x00UI", 132)
    if place < 0:
        return ""
    length = int.from_bytes(start[place + 6 : place + 8], "little")
    return start[place + 8 : place + 8 + length].decode("ascii", "replace").strip("\0 ")


def _slice(path: Path, reader: sitk.ImageFileReader, tag: Callable[..., str]) -> Slice:
    """The header from its tags; `ValueError` if one has invalid numbers."""
    if int(tag(FRAMES, "1") or 1) > 1:
        raise GanError(f"{path}: multi-frame DICOM is not read; convert it to NIfTI, e.g. with dcm2niix")
    row, column = _numbers(tag(PIXEL_SPACING))
    return Slice(
        path=path,
        series=tag(SERIES_UID),
        number=tag(SERIES_NUMBER, "?"),
        position=_numbers(tag(POSITION)).reshape(3),
        orientation=_numbers(tag(ORIENTATION)).reshape(6),
        spacing=(row, column),
        size=reader.GetSize()[:2],
        rescale=(float(tag(SLOPE, "1") or 1), float(tag(INTERCEPT, "0") or 0)),
    )


def _numbers(text: str) -> np.ndarray:
    return np.array([float(part) for part in text.split("\\")])
