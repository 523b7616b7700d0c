"""Grey level co-occurrence: which grey levels are neighbours (Haralick et al. 1973; IBSI 1, section 3.6)."""

import functools

import numpy as np
from numpy.typing import NDArray

from gan.metrics.radiomics.sums import counted, divided, entropy

DIRECTIONS = ((0, 1), (1, 1), (1, 0), (1, -1))  # rows down, columns to the right; each counts both ways


def cooccurrence(levels: NDArray[np.integer], number: int, distance: int) -> NDArray[np.float64]:
    """Shares of pairs of grey levels at ``distance``, in four directions together: [n, number, number], symmetric.

    levels: [n, H, W], 0 to number - 1, and ``number`` outside of the region, whose pairs do not count. An image without
    a pair has zeros.
    """
    height, width = levels.shape[1:]
    rows = levels.astype(np.int64) * (number + 1)
    pairs = np.zeros((len(levels), (number + 1) ** 2), np.int64)
    for down, right in DIRECTIONS:
        down, right = down * distance, right * distance
        if down >= height or abs(right) >= width:
            continue
        one = rows[:, : height - down, max(0, -right) : width - max(0, right)]
        other = levels[:, down:, max(0, right) : width + min(0, right)]
        pairs += counted(one + other, (number + 1) ** 2)
    inside = pairs.reshape(-1, number + 1, number + 1)[:, :number, :number]
    both = inside + inside.transpose(0, 2, 1)
    return divided(both, both.sum((1, 2), keepdims=True))


def of_pairs(shares: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Features of the matrices of `cooccurrence`, [n] each. Most follow from the sums and differences of two levels.

    A constant region has the correlation 1, one without pairs 0 everywhere.
    """
    number = shares.shape[1]
    flat = shares.reshape(len(shares), -1)
    of_sum, of_difference = _folds(number)
    sums, differences = flat @ of_sum, flat @ of_difference
    total, step = np.arange(2 * number - 1, dtype=np.float64), np.arange(number, dtype=np.float64)
    marginal = shares.sum(1)
    mean = marginal @ step
    variance = marginal @ step**2 - mean**2
    apart = total - 2 * mean[:, None]
    contrast = differences @ step**2
    joint, single = entropy(shares), entropy(marginal)
    return {
        **{"maximum": flat.max(1), "energy": (flat**2).sum(1), "entropy": joint},
        **{"contrast": contrast, "dissimilarity": differences @ step},
        **{"homogeneity": differences @ (1 / (1 + step**2)), "difference_entropy": entropy(differences)},
        "correlation": (flat.sum(1) > 0) - divided(contrast, 2 * variance.clip(0)),
        "tendency": (sums * apart**2).sum(1),
        "shade": (sums * apart**3).sum(1),
        "prominence": (sums * apart**4).sum(1),
        # The matrix is symmetric: the entropy of both margins is twice that of one.
        "information": divided(joint - 2 * single, single),
    }


@functools.lru_cache(maxsize=2)
def _folds(number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrices from pairs [number^2] to the sum i + j [2 number - 1] and to the difference |i - j| [number]."""
    one, other = np.divmod(np.arange(number**2), number)
    folds = [np.eye(2 * number - 1)[one + other], np.eye(number)[np.abs(one - other)]]
    return folds[0], folds[1]
