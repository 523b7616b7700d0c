"""Do readers agree: with each other (Fleiss, Cohen, Krippendorff), and each with oneself.

Functions take weights of cases, so that a resample is one more axis; NaN where all answers are alike, so that there is
no agreement beyond chance to speak of. Near chance low agreement is expected and no flaw.
"""

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]


def fleiss(called: NDArray[np.int64], categories: int, weights: Weights) -> Weights:
    """Fleiss' kappa (1971) of readers [R, C] who put each case into one of ``categories``; weights [..., C]."""
    readers = len(called)
    votes = np.eye(categories)[called].sum(0)  # [C, k]
    agreed = (votes * (votes - 1)).sum(1) / (readers * (readers - 1))
    total = weights.sum(-1)
    shares = weights @ votes / (readers * total[..., None])
    return _beyond_chance(weights @ agreed / total, (shares**2).sum(-1))


def cohen(one: NDArray[np.int64], other: NDArray[np.int64], categories: int) -> float:
    """Cohen's kappa (1960) of two series of answers to the same cases."""
    table = np.zeros((categories, categories))
    np.add.at(table, (one, other), 1)
    if not table.sum():
        return float("nan")
    table /= table.sum()
    return float(_beyond_chance(np.trace(table), table.sum(0) @ table.sum(1)))


def krippendorff(level: NDArray[np.int64], categories: int, weights: Weights) -> Weights:
    """Krippendorff's alpha (2011) of readers [R, C] for ordered categories; weights [..., C]."""
    readers = len(level)
    votes = np.eye(categories)[level].sum(0)  # [C, k]
    pairs = votes[:, :, None] * votes[:, None] - votes[:, :, None] * np.eye(categories)
    coincidences = np.tensordot(weights, pairs / (readers - 1), 1)  # [..., k, k]
    margins = coincidences.sum(-1)
    total = margins.sum(-1)
    expected = margins[..., :, None] * margins[..., None, :] - margins[..., None] * np.eye(categories)
    distance = _ordinal(margins)
    observed = (coincidences * distance).sum((-1, -2)) / total
    chance = (expected * distance).sum((-1, -2)) / (total * (total - 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(chance > 0, 1 - observed / chance, np.nan)


def _ordinal(margins: Weights) -> Weights:
    """Squared ordinal distances [..., k, k]: how many answers lie between two categories, the ends count half."""
    middle = np.cumsum(margins, -1) - margins / 2
    return (middle[..., :, None] - middle[..., None, :]) ** 2


def _beyond_chance(observed: Weights, chance: Weights) -> Weights:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(chance < 1 - 1e-12, (observed - chance) / (1 - chance), np.nan)
