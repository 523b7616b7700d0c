"""95 % intervals by bootstrap: real images are drawn by subject, generated images one by one.

Slices of one patient are alike, so drawing images instead of patients would make the intervals far too narrow.
docs/protocol.md tells why the interval is centred and how often it held the truth in a simulation.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NORMAL = 1.959964  # the 97.5 % quantile


def subject_weights(subjects: NDArray, resamples: int, seed: int | Sequence[int]) -> NDArray[np.float64]:
    """How often each image counts in each resample of subjects with replacement: [resamples, n].

    subjects: one code for each image [n]. A resample of a single subject is drawn again: it has no pair of subjects.
    Raises `ValueError` for a single subject, of which nothing can be learnt.
    """
    _, codes = np.unique(subjects, return_inverse=True)
    count = codes.max() + 1
    if count < 2:
        raise ValueError("a bootstrap over subjects needs at least 2 of them")
    rng = np.random.default_rng(seed)
    return _drawn(rng, int(count), resamples)[:, codes].astype(np.float64)


def image_weights(images: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each of ``images`` independent images counts in each resample: [resamples, images].

    A resample of a single image is drawn again, as far as there are two: it has no pair either.
    """
    return _drawn(np.random.default_rng([seed, 1]), images, resamples).astype(np.float64)


def _drawn(rng: np.random.Generator, count: int, resamples: int) -> NDArray[np.int64]:
    """How often each of ``count`` units is drawn, [resamples, count]; two different ones at least, if there are two."""
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    while count > 1 and len(single := np.flatnonzero((drawn > 0).sum(1) < 2)):
        drawn[single] = rng.multinomial(count, np.full(count, 1 / count), size=len(single))
    return drawn


def centred_interval(
    value: float, replicates: NDArray, low: float = -np.inf, high: float = np.inf, level: float = 0.95
) -> tuple[float, float]:
    """Quantiles of the bootstrap replicates, shifted so that their mean is ``value``, within [low, high].

    A resample holds fewer different images than the set it is drawn from, which raises a Fréchet distance and lowers
    recall and coverage in every replicate. The shift takes that off; plain percentiles may not even hold ``value``.
    """
    tail = (1 - level) / 2
    ends = np.quantile(replicates, [tail, 1 - tail]) - replicates.mean() + value
    return float(min(max(ends[0], low), value)), float(max(min(ends[1], high), value))


def wilson(share: float, units: int) -> tuple[float, float]:
    """The 95 % interval of a share of ``units`` independent units (Wilson 1927); for 0 it ends at about 3 / units."""
    middle = share + NORMAL**2 / (2 * units)
    half = NORMAL * np.sqrt(share * (1 - share) / units + NORMAL**2 / (4 * units**2))
    whole = 1 + NORMAL**2 / units
    return float(max(0.0, (middle - half) / whole)), float(min(1.0, (middle + half) / whole))


class Estimate(NamedTuple):
    """A value with its replicates [B], None without a bootstrap.

    units: of a share, the number of independent units that it is a share of; None for any other metric. known: a number
    that is declared, not estimated.
    """

    value: float
    replicates: NDArray | None = None
    units: int | None = None
    known: bool = False

    @property
    def rare(self) -> bool:
        """Whether a share has less than one unit on one of its sides: its replicates cannot tell how much there is."""
        return self.units is not None and min(self.value, 1 - self.value) * self.units < 1

    def interval(self, low: float = -np.inf, high: float = np.inf) -> tuple[float, float] | tuple[None, None]:
        """`centred_interval`; of a `rare` share its union with that of `wilson`."""
        if self.replicates is None:
            return None, None
        found = centred_interval(self.value, self.replicates, low, high)
        return _union(found, wilson(self.value, self.units)) if self.rare and self.units else found

    def _margins(self) -> tuple[float, float]:
        """How far the interval of a share reaches below and above it; 0 for a number that is known."""
        low, high = self.interval(0, 1)
        return (0.0, 0.0) if low is None or high is None else (self.value - low, high - self.value)


def difference(one: Estimate, other: Estimate) -> tuple[float, float | None, float | None]:
    """``one - other`` with its interval: replicates of both are of the same subjects, so what moves both cancels.

    None twice where one of the two has no replicates; ``other`` may be a known number.
    With a `rare` share the interval also holds the one that adds those of the two shares in quadrature (Newcombe
    1998).
    """
    value = one.value - other.value
    if one.replicates is None or (other.replicates is None and not other.known):
        return value, None, None
    found = centred_interval(value, one.replicates - (0 if other.replicates is None else other.replicates))
    if one.rare or other.rare:
        (below, above), (other_below, other_above) = one._margins(), other._margins()
        found = _union(found, (value - np.hypot(below, other_above), value + np.hypot(above, other_below)))
    return value, float(found[0]), float(found[1])


def _union(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return min(one[0], other[0]), max(one[1], other[1])
