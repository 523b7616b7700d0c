"""A folder of DICOM files as one volume: which slices belong together, in which order, and where they lie.

File names and instance numbers say nothing reliable about order, so position and orientation of each slice do
(DICOM PS3.3, C.7.6.2, Image Plane Module). Messages give numbers and geometry only: descriptions can name a person.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from gan.errors import GanError

SERIES_UID, SERIES_NUMBER, POSITION, ORIENTATION = "0020|000e", "0020|0011", "0020|0032", "0020|0037"
PIXEL_SPACING, SLOPE, INTERCEPT, FRAMES = "0028|0030", "0028|1053", "0028|1052", "0028|0008"
UNEVEN = 0.05  # of the slice distance: rounding in headers is far below it
_SUFFIXES = {".dcm", ".ima", ".dicom"}
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


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


def read_series(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The one stack of slices in ``folder`` as ``(array [columns, rows, slices], affine [4, 4] to RAS in mm)``.

    Rescale slope and intercept are applied: integers where every slice allows it, else float32. Single slices of
    another orientation (localisers) are left out, and so are exact copies of a slice.

    Raises `GanError`: no DICOM, a damaged file, several stacks, two different images at one position, a missing slice
    or uneven distances, enhanced (multi-frame) or colour files.
    """
    folder = Path(folder)
    slices = _one_stack(folder, _headers(folder))
    slices = sorted(slices, key=lambda item: (float(item.position @ slices[0].normal), item.path.name))
    slices = _without_copies(folder, slices)
    _check_distances(folder, slices)
    return _read(slices).T, _affine(slices)


def _headers(folder: Path) -> list[Slice]:
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    slices = [item for path in files if path.name != "DICOMDIR" if (item := _header(path))]
    if not slices:
        raise GanError(f"{folder}: no DICOM images in it; check the pattern of the data set")
    return slices


def _header(path: Path) -> Slice | None:
    """The header of ``path``, or None when the file makes no claim to be DICOM."""
    reader = _reader(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if path.suffix.lower() not in _SUFFIXES and not _has_magic(path):
            return None
        raise GanError(f"{path}: damaged DICOM file; restore it from its source") from error

    def tag(key: str, default: str | None = None) -> str:
        if reader.HasMetaDataKey(key):
            return reader.GetMetaData(key).strip().strip("\0")
        if default is None:
            raise GanError(f"{path}: no DICOM tag ({key.replace('|', ',')}); convert it to NIfTI, e.g. with dcm2niix")
        return default

    try:
        return _slice(path, reader, tag)
    except ValueError as error:
        raise GanError(f"{path}: a number in its DICOM header is damaged; restore it from its source") from error


def _slice(path: Path, reader: sitk.ImageFileReader, tag: Callable[..., str]) -> Slice:
    """The header from its tags; `ValueError` when one is not the numbers that it should be."""
    if int(tag(FRAMES, "1") or 1) > 1:
        raise GanError(f"{path}: multi-frame DICOM is not read; convert it to NIfTI, e.g. with dcm2niix")
    if reader.GetNumberOfComponents() > 1:
        raise GanError(f"{path}: a colour image, not a scan; remove it")
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


def _reader(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    return reader


def _has_magic(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def _numbers(text: str) -> np.ndarray:
    return np.array([float(part) for part in text.split("\\")])


def _one_stack(folder: Path, slices: Sequence[Slice]) -> list[Slice]:
    """The slices that share series, orientation, matrix and spacing; refuses a choice between two such stacks."""
    stacks: dict[tuple, list[Slice]] = defaultdict(list)
    for item in slices:
        plane = tuple(np.round(item.orientation, 3) + 0.0)
        stacks[item.series, plane, item.size, tuple(np.round(item.spacing, 4))].append(item)
    deep = [stack for stack in stacks.values() if len(stack) > 1]
    if len(deep) == 1:
        return deep[0]
    if not deep:
        raise GanError(f"{folder}: single slices only, no stack to make a volume of; check the pattern of the data set")
    listed = ", ".join(
        f"series {stack[0].number}: {len(stack)} slices of {stack[0].size[0]} x {stack[0].size[1]}" for stack in deep
    )
    remedy = "give each a folder of its own, or a pattern that leads to one of them"
    raise GanError(f"{folder}: {len(deep)} stacks of slices in one folder ({listed}); {remedy}")


def _without_copies(folder: Path, slices: Sequence[Slice]) -> list[Slice]:
    """Drop slices that repeat the one before them in place and pixels."""
    kept = [slices[0]]
    for item in slices[1:]:
        if np.abs(item.position - kept[-1].position).max() > 1e-3:
            kept.append(item)
            continue
        first, second = (sitk.GetArrayFromImage(_reader(path).Execute()) for path in (kept[-1].path, item.path))
        if not np.array_equal(first, second):
            names = f"{kept[-1].path.name} and {item.path.name}"
            raise GanError(
                f"{folder}: {names} are different images at one position (two echoes or time points?); "
                "give each its own folder"
            )
    return kept


def _check_distances(folder: Path, slices: Sequence[Slice]) -> None:
    if len(slices) < 2:
        raise GanError(f"{folder}: one slice only, no volume; check the pattern of the data set")
    places = np.array([item.position @ slices[0].normal for item in slices])
    gaps = np.diff(places)
    usual = float(np.quantile(gaps, 0.5, method="lower"))  # of two gaps the small one
    worst = int(np.argmax(np.abs(gaps - usual)))
    between = f"between {places[worst]:.1f} and {places[worst + 1]:.1f} mm"
    if gaps[worst] > 1.5 * usual:
        raise GanError(f"{folder}: a slice is missing {between} (usual distance {usual:.2f} mm); restore it")
    if abs(gaps[worst] - usual) > UNEVEN * usual:
        found = f"{gaps[worst]:.2f} mm {between}, {usual:.2f} mm elsewhere"
        raise GanError(f"{folder}: slices at uneven distances ({found}); remove the ones that do not belong")
    line = np.linspace(slices[0].position, slices[-1].position, len(slices))
    drift = np.linalg.norm([item.position - on for item, on in zip(slices, line, strict=True)], axis=1)
    if drift.max() > UNEVEN * usual:
        raise GanError(f"{folder}: slices shifted sideways against each other by {drift.max():.2f} mm; restore them")


def _read(slices: Sequence[Slice]) -> np.ndarray:
    """Pixels [slices, rows, columns] in the given order."""
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(item.path) for item in slices])
    scales = {item.rescale for item in slices}
    if len(scales) > 1 or any(part % 1 for scale in scales for part in scale):  # the first slice would decide the type
        reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        return sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        folder = slices[0].path.parent
        raise GanError(f"{folder}: a DICOM file has a damaged image; restore the series from its source") from error


def _affine(slices: Sequence[Slice]) -> np.ndarray:
    """Voxel (column, row, slice) to RAS, from equation C.7.6.2.1-1 with the mean step between slices."""
    first, last = slices[0], slices[-1]
    row_spacing, column_spacing = first.spacing
    affine = np.eye(4)
    affine[:3, 0] = first.orientation[:3] * column_spacing
    affine[:3, 1] = first.orientation[3:] * row_spacing
    affine[:3, 2] = (last.position - first.position) / (len(slices) - 1)
    affine[:3, 3] = first.position
    return _LPS_TO_RAS @ affine
