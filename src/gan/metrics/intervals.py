"""95 % intervals by bootstrap: real images are drawn by subject, generated images one by one.

Slices of one patient are alike, so drawing images instead of patients would make the intervals far too narrow.
docs/protocol.md tells why the interval is centred and how often it held the truth in a simulation.
"""

import numpy as np
from numpy.typing import NDArray


def subject_weights(subjects: NDArray, resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each image counts in each resample of subjects with replacement: [resamples, n].

    subjects: one code for each image [n]. Raises `ValueError` for a single subject, of which nothing can be learnt.
    """
    _, codes = np.unique(subjects, return_inverse=True)
    count = codes.max() + 1
    if count < 2:
        raise ValueError("a bootstrap over subjects needs at least 2 of them")
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    return drawn[:, codes].astype(np.float64)


def image_weights(images: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each of ``images`` independent images counts in each resample: [resamples, images]."""
    rng = np.random.default_rng([seed, 1])
    return rng.multinomial(images, np.full(images, 1 / images), size=resamples).astype(np.float64)


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
