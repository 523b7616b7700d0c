"""How well readers tell synthetic images from real ones: from how often each level was said to numbers.

A level goes from 0, surely real, to 5, surely synthetic; from the middle up an image was called synthetic. Synthetic is
the positive class. All functions take counts [..., 6] of generated and of real images, so that a resample is one more
axis.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from gan.readers.questions import LEVELS

REALISM = "realism_difference"  # mean realism of generated images less that of real ones
RANGES: dict[str, tuple[float, float]]  # of the others 0 to 1
RANGES = dict.fromkeys(("d_prime", "criterion", REALISM), (-np.inf, np.inf))

Weights = NDArray[np.float64]


def counts(level: NDArray[np.int64], weights: Weights) -> Weights:
    """How often each level was said: ``level`` [R, n] of readers and images, ``weights`` [B, n] -> [B, R, 6]."""
    one_hot = np.eye(LEVELS)[level]  # [R, n, 6]
    return np.tensordot(weights, one_hot, (1, 1))


def measures(fake: Weights, real: Weights) -> dict[str, Weights]:
    """Measures of counts [..., 6]: sensitivity is the share of generated images called synthetic, specificity that of
    real images called real, and accuracy their mean, so that 0.5 is chance whatever a reader says more often.

    d' = z(H) - z(F) and the criterion -(z(H) + z(F)) / 2 (above 0: says real more often) with H and F the shares called
    synthetic, as (k + 0.5) / (n + 1) (Hautus 1995). roc_area: Mann-Whitney on the levels, ties count half.
    """
    half = LEVELS // 2
    n_fake, n_real = fake.sum(-1), real.sum(-1)
    hits, alarms = fake[..., half:].sum(-1), real[..., half:].sum(-1)
    sensitivity, specificity = hits / n_fake, 1 - alarms / n_real
    hit, alarm = ndtri((hits + 0.5) / (n_fake + 1)), ndtri((alarms + 0.5) / (n_real + 1))
    below = np.cumsum(real, -1) - real
    return {
        "accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "roc_area": (fake * (below + real / 2)).sum(-1) / (n_fake * n_real),
        "d_prime": hit - alarm,
        "criterion": -(hit + alarm) / 2,
    }


class Draws:
    """Resamples of readers and cases: readers are drawn, real images by patient, and generated images one by one.

    With one reader the cases alone are drawn, and what is found is true of this reader. Both at once counts the noise
    of single answers in each of the two, so with readers who do not differ the intervals are too wide, never too narrow
    (Owen 2007); docs/readers.md has what was measured.
    """

    def __init__(self, readers: int, patients: NDArray[np.int64], fakes: dict[str, int], resamples: int, seed: int):
        """patients: a code for each real image; fakes: the number of images of each variant."""
        rng = np.random.default_rng(seed)
        _, codes = np.unique(patients, return_inverse=True)
        self.readers = _drawn(rng, readers, resamples)
        self.real = _drawn(rng, int(codes.max()) + 1, resamples)[:, codes]
        self.fake = {name: _drawn(rng, number, resamples) for name, number in fakes.items()}

    def mean(self, by_reader: Weights) -> Weights:
        """The means [B] over the readers that were drawn of ``by_reader`` [B, R]."""
        return (by_reader * self.readers).sum(1) / self.readers.sum(1)


def _drawn(rng: np.random.Generator, count: int, resamples: int) -> Weights:
    """How often each of ``count`` units is drawn, [resamples, count]."""
    return rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)
