"""Scores of the pixels themselves, without an extractor: power spectrum, histogram, background noise, asymmetry."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan.cells import WHOLE
from gan.metrics.frames import asymmetry, background_noise
from gan.metrics.histogram import histograms, wasserstein
from gan.metrics.intervals import Estimate, image_weights, subject_weights
from gan.metrics.scores import Found, metric_rows
from gan.metrics.spectrum import log_ratios, power_spectra


@dataclass(frozen=True)
class PixelSums:
    """Facts of images, summed over those of each of u units: a patient, or a generated image by itself.

    images [u]: their number; power [u, bands]: `power_spectra`; histogram [u, 256]: `histograms`; noise, asymmetry [u]:
    `background_noise` and `asymmetry`.
    """

    images: NDArray[np.float64]
    power: NDArray[np.float64]
    histogram: NDArray[np.float64]
    noise: NDArray[np.float64]
    asymmetry: NDArray[np.float64]

    @classmethod
    def of(cls, images: NDArray[np.uint8]) -> "PixelSums":
        """Of ``images`` [n, *size], each by itself."""
        counts = histograms(images).astype(np.float64)
        return cls(np.ones(len(images)), power_spectra(images), counts, background_noise(images), asymmetry(images))

    @classmethod
    def together(cls, parts: list["PixelSums"]) -> "PixelSums":
        """The units of all ``parts``, one after the other."""
        return cls(*(np.concatenate(arrays) for arrays in zip(*map(_arrays, parts), strict=True)))

    def by(self, subjects: NDArray[np.int64]) -> "PixelSums":
        """Summed by ``subjects`` [u], codes 0 to the number of subjects - 1."""
        of = np.arange(subjects.max() + 1)[:, None] == subjects
        return PixelSums(*(of @ array for array in _arrays(self)))

    def means(self, weights: NDArray | None = None) -> dict[str, NDArray]:
        """Means over all images, [B, ...] by field; weights: how often each unit counts [B, u], once without them."""
        weights = np.ones((1, len(self.images))) if weights is None else weights
        number = weights @ self.images
        names = ("power", "histogram", "noise", "asymmetry")
        totals = {name: weights @ getattr(self, name) for name in names}
        return {name: (total.T / number).T for name, total in totals.items()}


def score_pixels(
    fake: dict[str, PixelSums],
    train: dict[str, PixelSums],
    held_out: dict[str, PixelSums],
    *,
    bootstrap: int,
    seed: int,
    sides: Collection[str] | None = None,
) -> list[dict[str, Any]]:
    """Rows of generated images by contrast, and the mean over contrasts, as of `gan.metrics.scores.score`.

    fake: a unit an image; train, held_out: a unit a subject. sides: the contrasts that have an
    ``asymmetry``, all by default. ``spectrum`` and ``histogram`` are distances to the
    training images, those of `PLAIN` are means. The floor is the value of the images ``held_out``. Intervals are of a
    bootstrap over generated images and subjects. A row of ``spectrum`` has ``bands``: the log ratio of each.
    """
    images, known, unseen = (len(next(iter(of.values())).images) for of in (fake, train, held_out))
    drawn: list[NDArray] | None = None
    if bootstrap:
        drawn = [image_weights(images, bootstrap, seed), subject_weights(np.arange(known), bootstrap, seed)]
        drawn.append(subject_weights(np.arange(unseen), bootstrap, [seed, 3]))
    found: dict[str, dict[str, Found]] = {name: {} for name in STATISTICS}
    bands: dict[str, NDArray] = {}
    for contrast, ours in fake.items():
        sums = ours, train[contrast], held_out[contrast]
        once = [of.means() for of in sums]
        again = [of.means(weights) for of, weights in zip(sums, drawn, strict=True)] if drawn else None
        for name, statistic in STATISTICS.items():
            if name == "asymmetry" and sides is not None and contrast not in sides:
                continue
            both = [
                Estimate(float(statistic(once[side], once[1])[0]), statistic(again[side], again[1]) if again else None)
                for side in (0, 2)
            ]
            found[name][contrast] = Found(*both)
        bands[contrast] = log_ratios(once[0]["power"], once[1]["power"])[0]
    rows = [row for name, measured in found.items() if measured for row in metric_rows(name, measured)]
    bands[WHOLE] = np.mean(list(bands.values()), 0)
    for row in rows:
        if row["metric"] == "spectrum":
            row["bands"] = [round(float(ratio), 4) for ratio in bands[row["contrast"]]]
    return rows


Means = dict[str, NDArray]
# From means [B, ...] of generated and of training images to values [B].
STATISTICS: dict[str, Callable[[Means, Means], NDArray]] = {
    "spectrum": lambda fake, train: np.abs(log_ratios(fake["power"], train["power"])).mean(-1),
    "histogram": lambda fake, train: wasserstein(fake["histogram"], train["histogram"]),
    "noise": lambda fake, train: fake["noise"],
    "asymmetry": lambda fake, train: fake["asymmetry"],
}
PLAIN = ("noise", "asymmetry")  # plain means, which need no training images


def _arrays(of: PixelSums) -> list[NDArray]:
    return [getattr(of, field.name) for field in fields(of)]
