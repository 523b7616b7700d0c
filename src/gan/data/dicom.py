"""A folder of DICOM files as one volume: which slices belong together, their order and their positions.

File names and instance numbers say nothing reliable about order, so position and orientation of each slice do
(DICOM PS3.3, C.7.6.2, Image Plane Module). Messages give numbers and geometry only: descriptions can name a person.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from gan.data.dicom_headers import Slice, open_image, read_headers
from gan.data.patterns import JUNK
from gan.errors import GanError

UNEVEN = 0.05  # of the slice distance: rounding in headers is far below it
ANGLE = 2e-3  # rad between planes of one stack: half a pixel over 256, and headers of 4 digits are within 1e-4
SPACING = 1e-3  # of a pixel: the same limit over 256 pixels
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class Series(NamedTuple):
    """data: [columns, rows, slices]; affine: [4, 4] to RAS in mm; left_out: kind of file -> how many are not in it."""

    data: np.ndarray
    affine: np.ndarray
    left_out: Counter[str]


def read_series(folder: Path, files: Sequence[Path] = (), name: str = "") -> Series:
    """The one stack of slices in ``folder``, or of ``files``; errors call these ``name``.

    Rescale slope and intercept are applied: integers where every slice allows it, else float32. Slices belong together
    when series and matrix are the same, and plane and pixel spacing to within rounding (`ANGLE`, `SPACING`). Counted in
    ``left_out``: single slices that are not of the stack (localisers), exact copies of a slice, and objects without an
    image of a stack (reports, screen captures, empty files).

    Raises `GanError`: no DICOM, a damaged slice, several stacks, two different images at one position, a missing slice
    or uneven distances, enhanced (multi-frame) files.
    """
    left_out, where = Counter[str](), name or str(folder)
    paths = files or [path for path in Path(folder).iterdir() if path.is_file() and not JUNK.fullmatch(path.name)]
    slices = _one_stack(where, read_headers(where, sorted(paths), left_out), left_out)
    slices = sorted(slices, key=lambda item: (float(item.position @ slices[0].normal), item.path.name))
    slices = _without_copies(where, slices, left_out)
    _check_distances(where, slices)
    return Series(_read(slices).T, _affine(slices), left_out)


def _one_stack(where: str, slices: Sequence[Slice], left_out: Counter[str]) -> list[Slice]:
    """The slices that belong together; two such stacks are refused."""
    stacks: list[list[Slice]] = []
    for item in slices:
        home = next((stack for stack in stacks if not _difference(item, stack[0])), None)
        if home is None:
            stacks.append([item])
        else:
            home.append(item)
    deep = [stack for stack in stacks if len(stack) > 1]
    if len(deep) == 1:
        left_out.update(_difference(stack[0], deep[0][0]) for stack in stacks if len(stack) == 1)
        return deep[0]
    if not deep:
        raise GanError(f"{where}: single slices only, no stack to make a volume of; check the pattern of the data set")
    listed = ", ".join(
        f"series {stack[0].number}: {len(stack)} slices of {stack[0].size[0]} x {stack[0].size[1]}" for stack in deep
    )
    remedy = "give each a folder of its own, or a pattern that leads to one of them"
    raise GanError(f"{where}: {len(deep)} stacks of slices in one folder ({listed}); {remedy}")


def _difference(item: Slice, of: Slice) -> str:
    """Why ``item`` is not in the stack of the slice ``of``; empty if it is."""
    if item.series != of.series:
        return "slices of another series"
    angles = [np.linalg.norm(item.orientation[axis] - of.orientation[axis]) for axis in (slice(3), slice(3, 6))]
    if max(angles) > ANGLE:
        return "slices of another plane"
    if item.size != of.size or not np.allclose(item.spacing, of.spacing, rtol=SPACING, atol=0):
        return "slices of another matrix or pixel spacing"
    return ""


def _without_copies(where: str, slices: Sequence[Slice], left_out: Counter[str]) -> list[Slice]:
    """Drop slices that repeat the previous one in position and pixels."""
    kept = [slices[0]]
    for item in slices[1:]:
        if np.abs(item.position - kept[-1].position).max() > 1e-3:
            kept.append(item)
            continue
        first, second = (sitk.GetArrayFromImage(open_image(path).Execute()) for path in (kept[-1].path, item.path))
        if not np.array_equal(first, second):
            names = f"{kept[-1].path.name} and {item.path.name}"
            raise GanError(
                f"{where}: {names} are different images at one position (two echoes or time points?); "
                "give each its own folder"
            )
        left_out["copies of a slice"] += 1
    return kept


def _check_distances(where: str, slices: Sequence[Slice]) -> None:
    if len(slices) < 2:
        raise GanError(f"{where}: one slice only, no volume; check the pattern of the data set")
    places = np.array([item.position @ slices[0].normal for item in slices])
    gaps = np.diff(places)
    usual = float(np.quantile(gaps, 0.5, method="lower"))  # of two gaps the small one
    worst = int(np.argmax(np.abs(gaps - usual)))
    between = f"between {places[worst]:.1f} and {places[worst + 1]:.1f} mm"
    if gaps[worst] > 1.5 * usual:
        raise GanError(f"{where}: a slice is missing {between} (usual distance {usual:.2f} mm); restore it")
    if abs(gaps[worst] - usual) > UNEVEN * usual:
        found = f"{gaps[worst]:.2f} mm {between}, {usual:.2f} mm elsewhere"
        raise GanError(f"{where}: slices at uneven distances ({found}); remove the ones that do not belong")
    line = np.linspace(slices[0].position, slices[-1].position, len(slices))
    drift = np.linalg.norm([item.position - on for item, on in zip(slices, line, strict=True)], axis=1)
    if drift.max() > UNEVEN * usual:
        raise GanError(f"{where}: slices shifted sideways against each other by {drift.max():.2f} mm; restore them")


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
        raise GanError(
            f"{slices[0].path.parent}: a DICOM file has a damaged image; restore the series from its source"
        ) from error


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
