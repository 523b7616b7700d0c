"""Grey tone differences: how far a pixel is from its neighbours (Amadasun and King 1989; IBSI 1, section 3.10)."""

import numpy as np
from numpy.typing import NDArray

from gan.metrics.radiomics.sums import counted, divided

LARGEST = 1e6  # of what has no difference at all, as IBSI has it for coarseness


def of_tones(levels: NDArray[np.integer], number: int) -> dict[str, NDArray[np.float64]]:
    """Features of the difference of each pixel to the mean of its neighbours (8 at most), [n] each.

    levels: [n, H, W], 0 to number - 1, and ``number`` outside of the region. Grey levels count from 1 in the formulas.
    A constant region has the coarseness `LARGEST` and 0 in all others, one without neighbours 0 everywhere.
    """
    inside = levels < number
    value = np.where(inside, levels + 1.0, 0.0)
    around = _block(inside.astype(np.float64)) - inside
    apart = np.abs(value - divided(_block(value) - value, around)) * inside
    known = np.where(inside & (around > 0), levels, number).astype(np.int64)
    counts = counted(known, number + 1)[:, :number].astype(np.float64)
    offsets = (number + 1) * np.arange(len(levels))[:, None, None]
    size = (number + 1) * len(levels)
    sums = np.bincount((known + offsets).ravel(), apart.ravel(), size).reshape(-1, number + 1)[:, :number]
    return _features(counts, sums.astype(np.float64))


def _features(counts: NDArray[np.float64], sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """counts, sums [n, levels]: pixels of each level, and the sum of their differences."""
    pixels = counts.sum(1)
    p, level = divided(counts, pixels[:, None]), np.arange(1.0, counts.shape[1] + 1)
    present = p > 0
    levels = present.sum(1)
    weighted, total = (p * sums).sum(1), sums.sum(1)
    step = np.abs(level[:, None] - level)
    both = present[:, :, None] & present[:, None, :]
    products = p * level
    busy = (np.abs(products[:, :, None] - products[:, None, :]) * both).sum((1, 2))
    shared = (p * sums)[:, :, None] + (p * sums)[:, None, :]
    complexity = step * divided(shared, p[:, :, None] + p[:, None, :]) * both
    strength = (p[:, :, None] + p[:, None, :]) * step**2 * both
    spread = divided(np.einsum("ni,nj,ij->n", p, p, step**2), levels * (levels - 1.0))
    return {
        "coarseness": np.where(weighted > 0, divided(1, weighted), LARGEST * (pixels > 0)),
        "contrast": spread * divided(total, pixels),
        "busyness": divided(weighted, busy),
        "complexity": divided(complexity.sum((1, 2)), pixels),
        "strength": divided(strength.sum((1, 2)), total),
    }


def _block(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over the 3 x 3 pixels around each of [n, H, W]; outside is 0."""
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
