"""How well a segmentation agrees with the true one: the Dice coefficient and the Hausdorff distance (95 %) in mm."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

PERCENT = 95  # of the distances between surfaces


def dice(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    """2 |A ∩ B| / (|A| + |B|) of two masks of the same shape (Dice 1945); NaN if both are empty."""
    total = np.count_nonzero(truth) + np.count_nonzero(found)
    return 2 * np.count_nonzero(truth & found) / total if total else float("nan")


def dice_of_images(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`dice` of each pair of images [n, H, W]: [n]."""
    both, total = (truth & found).sum((1, 2)), truth.sum((1, 2)) + found.sum((1, 2))
    return np.divide(2.0 * both, total, out=np.full(len(total), np.nan), where=total > 0)


def hausdorff95(truth: NDArray[np.bool_], found: NDArray[np.bool_], spacing: Sequence[float]) -> float:
    """The 95 % Hausdorff distance of two masks on one grid, in mm: of each surface the 95th percentile of its voxels'
    distances to the other surface, the larger one of both.

    spacing: mm of a voxel along each axis. NaN if both are empty; the diagonal of the grid if one of them is.
    """
    if not (truth.any() or found.any()):
        return float("nan")
    if not (truth.any() and found.any()):
        return float(np.linalg.norm(np.multiply(truth.shape, spacing)))
    # Nothing outside of the box of both is nearer; a margin keeps surfaces that touch the box.
    box = ndimage.find_objects((truth | found).astype(np.uint8))[0]
    surfaces = [_surface(np.pad(mask[box], 1)) for mask in (truth, found)]
    far = [np.asarray(ndimage.distance_transform_edt(~surface, sampling=spacing)) for surface in surfaces]
    return float(max(np.percentile(far[1][surfaces[0]], PERCENT), np.percentile(far[0][surfaces[1]], PERCENT)))


def _surface(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The voxels of ``mask`` that have a neighbour outside of it, across a face."""
    return mask & ~ndimage.binary_erosion(mask)
