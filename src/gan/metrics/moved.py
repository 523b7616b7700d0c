"""What moved: the standardised mean difference of each feature, generated less real, with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan.metrics.intervals import centred_interval, image_weights, subject_weights


@dataclass(frozen=True)
class FeatureSums:
    """Features summed over the images of each of u units: a patient, or a generated image or volume by itself.

    images [u]: their number; total, squares [u, d]: sums of the features and of their squares.
    """

    images: NDArray[np.float64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray, units: NDArray) -> "FeatureSums":
        """Of ``values`` [n, d] of images that belong to ``units`` [n]."""
        _, codes = np.unique(units, return_inverse=True)
        values, order = values.astype(np.float64), np.argsort(codes, kind="stable")
        starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
        sums = [np.add.reduceat(of[order], starts, 0) for of in (values, values**2)]
        return cls(np.bincount(codes).astype(np.float64), sums[0], sums[1])

    def moments(self, weights: NDArray | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation over all images, [B, d] each; weights [B, u]: how often each unit counts."""
        weights = np.ones((1, len(self.images))) if weights is None else weights
        number = (weights @ self.images)[:, None]
        mean = weights @ self.total / number
        return mean, np.sqrt((weights @ self.squares / number - mean**2).clip(0))


def moved(
    fake: FeatureSums, train: FeatureSums, held_out: FeatureSums, names: Sequence[str], *, bootstrap: int, seed: int
) -> list[dict[str, Any]]:
    """A row of each feature of ``names`` [d]: ``difference``, (mean of generated - of training images) / standard
    deviation of training images, and ``floor``, the same of images of unseen patients in the place of generated ones.

    Intervals, None without a bootstrap, draw training and unseen patients and generated units. Features that are
    constant among the training images have no row. Train and held_out are of 2 patients or more.
    """
    known, seen, unseen = (np.arange(len(of.images)) for of in (fake, train, held_out))
    (mean,), (deviation,) = train.moments()
    there = deviation > 1e-6 * np.abs(mean) + 1e-12
    estimates = {
        "": (fake, image_weights(len(known), bootstrap, seed) if bootstrap else None),
        "floor": (held_out, subject_weights(unseen, bootstrap, [seed, 3]) if bootstrap else None),
    }
    drawn = train.moments(subject_weights(seen, bootstrap, seed)) if bootstrap else None
    rows = [{"feature": name} for name, kept in zip(names, there, strict=True) if kept]
    for prefix, (of, weights) in estimates.items():
        values = ((of.moments()[0][0] - mean)[there]) / deviation[there]
        again = None
        if drawn is not None:
            again = (of.moments(weights)[0] - drawn[0])[:, there] / np.maximum(drawn[1][:, there], 1e-12)
        ends = (prefix or "difference", f"{prefix}_low".lstrip("_"), f"{prefix}_high".lstrip("_"))
        for place, row in enumerate(rows):
            span = (None, None) if again is None else centred_interval(float(values[place]), again[:, place])
            row |= dict(zip(ends, (float(values[place]), *span), strict=True))
    return rows
