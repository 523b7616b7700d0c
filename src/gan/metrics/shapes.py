"""The shape of a region of a mask, in numbers that a physician can check."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SHAPES = {
    "area": "area, % of the image",
    "pieces": "separate pieces",
    "compactness": "compactness, 4 pi area / perimeter^2 (a disc: 1)",
    "border": "share of it on the border of the image",
}


def shapes(masks: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """Of each of masks [n, H, W] that has a pixel the numbers of `SHAPES`, [m] each."""
    found = [_shape(mask) for mask in masks if mask.any()]
    columns = np.array(found).reshape(-1, len(SHAPES)).T
    return dict(zip(SHAPES, columns, strict=True))


def _shape(mask: NDArray[np.bool_]) -> tuple[float, ...]:
    area = np.count_nonzero(mask)
    border = np.count_nonzero(mask) - np.count_nonzero(mask[1:-1, 1:-1])
    _, pieces = ndimage.label(mask, np.ones((3, 3)))  # type: ignore[misc]
    return 100 * area / mask.size, pieces, 4 * np.pi * area / perimeter(mask) ** 2, border / area


def perimeter(mask: NDArray[np.bool_]) -> float:
    """The length of the outline in pixels, by the Cauchy-Crofton formula in four directions: crossings along rows and
    columns, and along both diagonals, whose lines are nearer to each other by sqrt(2)."""
    padded = np.pad(mask, 1)
    straight = sum(np.count_nonzero(np.diff(padded.astype(np.int8), axis=axis)) for axis in (0, 1))
    diagonal = np.count_nonzero(padded[1:, 1:] != padded[:-1, :-1]) + np.count_nonzero(
        padded[1:, :-1] != padded[:-1, 1:]
    )
    return float(np.pi / 8 * (straight + diagonal / np.sqrt(2)))
