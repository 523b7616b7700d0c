"""From a RAS volume to slices as radiologists view them, and back."""

from collections.abc import Sequence

import numpy as np

ORDER = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}  # axes of the volume in the stack


def as_slices(data: np.ndarray, axis: str) -> np.ndarray:
    """A view [S, H, W] of a RAS volume [X, Y, Z], with coordinates rising along each axis; see `upright`."""
    return data.transpose(ORDER[axis])


def from_slices(stack: np.ndarray, axis: str) -> np.ndarray:
    """The RAS volume [X, Y, Z] of a stack [S, H, W]: the inverse of `as_slices`, a view as well."""
    return stack.transpose(np.argsort(ORDER[axis]))


def upright(stack: np.ndarray) -> np.ndarray:
    """A view of slices [S, H, W] of `as_slices` in viewing orientation.

    axial: anterior up, the patient's left on the right of the image; coronal: superior up, the patient's left on the
    right; sagittal: superior up, anterior on the left.
    """
    return stack[:, ::-1, ::-1]


def as_volume(pixels: np.ndarray, axis: str, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """An upright slice [H, W] as a RAS volume of one slice and its affine: the inverse of `as_slices` and `upright`.

    spacing: mm between rows and between columns; the thickness is not known and is written as 1 mm.
    """
    back = np.argsort(ORDER[axis])
    return upright(pixels[None]).transpose(back), np.diag([*np.array([1.0, *spacing])[back], 1.0])


def pixel_spacing(spacing: tuple[float, ...], axis: str) -> tuple[float, float]:
    """Distances (between rows, between columns) in mm of the slices of `as_slices`."""
    x, y, z = spacing
    return {"axial": (y, x), "coronal": (z, x), "sagittal": (z, y)}[axis]
