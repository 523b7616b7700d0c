"""Metrics of nearest neighbours in feature space: precision, recall, density, coverage.

A ball around each image reaches to its k-th nearest neighbour among *other subjects*, each of which counts once, by its
nearest image: the next slice of the same patient says how finely the volume was cut, not how far patients lie apart.
The metrics count which images of the other set fall into which balls. Every generated image is a subject of its own.
Weights [B, n] are how often each image counts in each of B resamples (see `gan.metrics.intervals`); images of a subject
always count equally often. The radii stay those of the whole set, since a copy of an image would be its own neighbour
at distance zero.
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


def radii(x: NDArray, k: int, subjects: NDArray | None = None, rows: int = 1024) -> NDArray[np.float32]:
    """Distance [n] of each image ``x`` [n, d] to the k-th nearest other subject, which is as near as its nearest image.

    subjects: codes [n]; without them every image is a subject. Raises `ValueError` unless there are more than k.
    """
    codes = np.arange(len(x)) if subjects is None else np.unique(subjects, return_inverse=True)[1]
    number = codes.max() + 1
    if number <= k:
        raise ValueError(f"the {k}-th neighbour needs more than {k} subjects, got {number}")
    order = np.argsort(codes, kind="stable")
    first = np.flatnonzero(np.diff(codes[order], prepend=-1))
    out = np.empty(len(x), np.float32)
    for start in range(0, len(x), rows):
        block = slice(start, start + rows)
        to_subject = np.minimum.reduceat(distances(x[block], x[order]), first, axis=1)
        to_subject[np.arange(len(to_subject)), codes[block]] = np.inf
        out[block] = np.partition(to_subject, k - 1, axis=1)[:, k - 1]
    return out


def expected_coverage(k: int, subjects: int, fakes: int) -> float:
    """Coverage of ``subjects`` independent real images by as good ``fakes`` ones: 1 - prod_i (N - i) / (N + M - i).

    Of the N - 1 other real and M generated images around a real one, the k nearest must not all be real.
    """
    i = np.arange(1, k + 1)
    return float(1 - np.prod((subjects - i) / (subjects + fakes - i)))


def choose_k(subjects: int, fakes: int, wanted: float = 0.95) -> int:
    """The smallest k at which a perfect generator is expected to cover ``wanted`` of the real images.

    A larger one covers all of them by worse generators too (Naeem et al. 2020 take 5 for 10 000 images of each kind).
    """
    return next((k for k in range(1, subjects) if expected_coverage(k, subjects, fakes) >= wanted), subjects - 1)


@dataclass(frozen=True)
class Balls:
    """Which image is in whose ball, by subject: a subject's balls are those of its images.

    of_real [S, m]: is sample j in a ball of real subject s; of_fake [F, n]: is real image i in a ball of subject f of
    the samples; covered [n, F]: is an image of f in the ball of real image i; first, fake_first: an image of each
    subject, for its weight.
    """

    of_real: NDArray[np.float32]
    of_fake: NDArray[np.float32]
    covered: NDArray[np.float32]
    first: NDArray[np.int64]
    fake_first: NDArray[np.int64]
    k: int

    @classmethod
    def of(
        cls,
        real: NDArray,
        fake: NDArray,
        k: int,
        subjects: NDArray | None = None,
        fake_subjects: NDArray | None = None,
        recall: bool = True,
    ) -> "Balls":
        """The balls of features ``real`` [n, d] and ``fake`` [m, d]; both sets need more than k subjects.

        recall: whether the balls of ``fake`` are needed too, which only recall counts; without them it has any number.
        """
        between = distances(real, fake)
        in_real = between <= radii(real, k, subjects)[:, None]
        in_fake = between <= radii(fake, k, fake_subjects) if recall else np.zeros_like(in_real)
        of_real, first = _by_subject(in_real, subjects)
        of_fake, fake_first = _by_subject(in_fake.T, fake_subjects)
        covered = _by_subject(in_real.T, fake_subjects)[0].T
        return cls(of_real, of_fake, covered, first, fake_first, k)

    def precision(self, real: NDArray, fake: NDArray) -> NDArray:
        """Share of samples that lie in the ball of a real image (Kynkäänniemi et al. 2019, eq. 2)."""
        return _share(_any(real[:, self.first], self.of_real), fake)

    def recall(self, real: NDArray, fake: NDArray) -> NDArray:
        """Share of real images that lie in the ball of a sample (Kynkäänniemi et al. 2019, eq. 3)."""
        return _share(_any(fake[:, self.fake_first], self.of_fake), real)

    def density(self, real: NDArray, fake: NDArray) -> NDArray:
        """Mean number of real subjects around a sample, over k (Naeem et al. 2020, eq. 4). Not bounded by 1."""
        return _share(real[:, self.first].astype(np.float32) @ self.of_real / self.k, fake)

    def coverage(self, real: NDArray, fake: NDArray) -> NDArray:
        """Share of real images with a sample in their ball (Naeem et al. 2020, eq. 5)."""
        return _share(_any(fake[:, self.fake_first], self.covered.T), real)


def _by_subject(inside: NDArray[np.bool_], subjects: NDArray | None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Whether any image of each subject has image j inside, [S, m] of [n, m], and the index of an image of each."""
    if subjects is None:
        return inside.astype(np.float32), np.arange(len(inside))
    _, first, codes = np.unique(subjects, return_index=True, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    return np.logical_or.reduceat(inside[order], starts, axis=0).astype(np.float32), first


def _any(weights: NDArray, inside: NDArray) -> NDArray[np.bool_]:
    """[B, m]: does any subject drawn by the weights [B, S] hold image j in a ball (inside [S, m])?"""
    return (weights > 0).astype(np.float32) @ inside > 0


def _share(values: NDArray, weights: NDArray) -> NDArray:
    """Weighted means [B] of values [B, m]."""
    return (values * weights).sum(1) / weights.sum(1)
