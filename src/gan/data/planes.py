"""From a RAS volume to slices as radiologists view them, and back."""

from collections.abc import Sequence

import numpy as np

VIEWS = ("axial", "coronal", "sagittal")
ORDER = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}  # axes of the volume in the stack


def as_slices(data: np.ndarray, axis: str) -> np.ndarray:
    """A view [S, H, W] of a RAS volume [X, Y, Z], with coordinates rising along each axis; see `upright`."""
    return data.transpose(ORDER[axis])


def from_slices(stack: np.ndarray, axis: str) -> np.ndarray:
    """The RAS volume [X, Y, Z] of a stack [S, H, W]: the inverse of `as_slices`, a view as well."""
    return stack.transpose(np.argsort(ORDER[axis]))


def upright(stack: np.ndarray) -> np.ndarray:
    """A view of slices [..., H, W] of `as_slices` in viewing orientation.

    axial: anterior up, the patient's left on the right of the image; coronal: superior up, the patient's left on the
    right; sagittal: superior up, anterior on the left.
    """
    return stack[..., ::-1, ::-1]


def three_planes(volume: np.ndarray, spacing: Sequence[float]) -> list[np.ndarray]:
    """The middle axial, coronal and sagittal plane of a stored volume [..., D, H, W], upright, as squares [..., E, E].

    Pixels are squares of the finest of ``spacing`` (mm, D, H, W), by nearest neighbour; what the volume lacks is 0.
    """
    finest = min(spacing)
    for axis, mm in zip((-3, -2, -1), spacing, strict=True):
        count = round(volume.shape[axis] * mm / finest)
        places = ((np.arange(count) + 0.5) * volume.shape[axis] / count).astype(int)
        volume = volume if count == volume.shape[axis] else volume.take(places, axis=axis)
    depth, height, width = (side // 2 for side in volume.shape[-3:])
    up = volume[..., ::-1, :, :]
    edge = max(volume.shape[-3:])
    return [squared(plane, edge) for plane in (volume[..., depth, :, :], up[..., height, :], up[..., width])]


def squared(plane: np.ndarray, edge: int) -> np.ndarray:
    """``plane`` [..., H, W] amid 0, as [..., edge, edge]."""
    height, width = plane.shape[-2:]
    top, left = (edge - height) // 2, (edge - width) // 2
    square = np.zeros((*plane.shape[:-2], edge, edge), dtype=plane.dtype)
    square[..., top : top + height, left : left + width] = plane
    return square


def as_volume(pixels: np.ndarray, axis: str, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """An upright slice [H, W] as a RAS volume of one slice and its affine: the inverse of `as_slices` and `upright`.

    spacing: mm between rows and between columns; the thickness is not known and is written as 1 mm.
    """
    back = np.argsort(ORDER[axis])
    return upright(pixels[None]).transpose(back), np.diag([*np.array([1.0, *spacing])[back], 1.0])


def as_whole(stack: np.ndarray, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """A stored volume [D, H, W], upright axial slices, as a RAS volume [X, Y, Z] and its affine.

    spacing: mm along D, H, W. The centre of the box is at 0: where a generated head would lie is not known.
    """
    data = from_slices(upright(stack), "axial")
    mm = np.array(spacing[::-1])
    affine = np.diag([*mm, 1.0])
    affine[:3, 3] = (1 - np.array(data.shape)) / 2 * mm
    return data, affine


def pixel_spacing(spacing: tuple[float, ...], axis: str) -> tuple[float, float]:
    """Distances (between rows, between columns) in mm of the slices of `as_slices`."""
    x, y, z = spacing
    return {"axial": (y, x), "coronal": (z, x), "sagittal": (z, y)}[axis]
