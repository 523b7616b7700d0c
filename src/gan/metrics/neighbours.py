"""Metrics of nearest neighbours in feature space: precision, recall, density, coverage, memorisation.

A ball around each image reaches to its k-th nearest neighbour in its own set; the metrics count which images of the
other set fall into which balls. Weights [B, n] are how often each image counts in each of B resamples (see
`gan.metrics.intervals`); the radii stay those of the whole set, since a copy of an image would be its own neighbour at
distance zero.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray


def distances(x: NDArray, y: NDArray, rows: int = 1024) -> NDArray[np.float32]:
    """Euclidean distances [n, m] of features ``x`` [n, d] and ``y`` [m, d], worked out in float64 by blocks."""
    other = torch.from_numpy(np.asarray(y, np.float64))
    out = np.empty((len(x), len(y)), np.float32)
    for start in range(0, len(x), rows):
        block = torch.from_numpy(np.asarray(x[start : start + rows], np.float64))
        out[start : start + rows] = torch.cdist(block, other).numpy()
    return out


def radii(x: NDArray, k: int) -> NDArray[np.float32]:
    """Distance of each image to its k-th nearest neighbour in the same set. Raises `ValueError` unless n > k."""
    if len(x) <= k:
        raise ValueError(f"the {k}-th neighbour needs more than {k} images, got {len(x)}")
    between = distances(x, x)
    np.fill_diagonal(between, 0)  # rounding must not make an image farther from itself than from its neighbour
    return np.partition(between, k, axis=1)[:, k]


@dataclass(frozen=True)
class Balls:
    """Which image is in whose ball. in_real [n, m]: sample j in the ball of real i; in_fake [m, n]: the reverse."""

    in_real: NDArray[np.float32]
    in_fake: NDArray[np.float32]
    k: int

    @classmethod
    def of(cls, real: NDArray, fake: NDArray, k: int) -> "Balls":
        """The balls of features ``real`` [n, d] and ``fake`` [m, d]; both sets need more than k images."""
        between = distances(real, fake)
        in_real = between <= radii(real, k)[:, None]
        in_fake = (between <= radii(fake, k)).T
        return cls(in_real.astype(np.float32), in_fake.astype(np.float32), k)

    def precision(self, real: NDArray, fake: NDArray) -> NDArray:
        """Share of samples that lie in the ball of a real image (Kynkäänniemi et al. 2019, eq. 2; k = 3)."""
        return _share(_any(real, self.in_real), fake)

    def recall(self, real: NDArray, fake: NDArray) -> NDArray:
        """Share of real images that lie in the ball of a sample (Kynkäänniemi et al. 2019, eq. 3; k = 3)."""
        return _share(_any(fake, self.in_fake), real)

    def density(self, real: NDArray, fake: NDArray) -> NDArray:
        """Mean number of real balls around a sample, over k (Naeem et al. 2020, eq. 4; k = 5). Not bounded by 1."""
        return _share(real.astype(np.float32) @ self.in_real / self.k, fake)

    def coverage(self, real: NDArray, fake: NDArray) -> NDArray:
        """Share of real images with a sample in their ball (Naeem et al. 2020, eq. 5; k = 5)."""
        return _share(_any(fake, self.in_real.T), real)


def nearest(x: NDArray, reference: NDArray) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The nearest image of ``reference`` [m, d] for each of ``x`` [n, d]: distances [n] and indices [n]."""
    between = distances(x, reference)
    index = between.argmin(1)
    return between[np.arange(len(x)), index], index


def memorised(
    fake: NDArray, held_out: NDArray, held_out_weights: NDArray, fake_weights: NDArray, level: float = 0.05
) -> NDArray:
    """Share of samples that are nearer to a training image than all but ``level`` of the held-out real images are.

    fake [m], held_out [n]: distances to the nearest training image (`nearest`). A generator that draws new patients
    gives about ``level``; one that copies its training set gives 1. Weights [B, n] and [B, m] give [B] values.
    """
    order = np.argsort(held_out)
    reached = np.cumsum(held_out_weights[:, order], 1) / held_out_weights.sum(1, keepdims=True)
    limit = held_out[order][(reached >= level - 1e-9).argmax(1)]
    return _share(fake[None] < limit[:, None], fake_weights)


def _any(weights: NDArray, inside: NDArray) -> NDArray[np.bool_]:
    """[B, m]: does any image drawn by the weights [B, n] hold image j in its ball (inside [n, m])?"""
    return (weights > 0).astype(np.float32) @ inside > 0


def _share(values: NDArray, weights: NDArray) -> NDArray:
    """Weighted means [B] of values [B, m]."""
    return (values * weights).sum(1) / weights.sum(1)
