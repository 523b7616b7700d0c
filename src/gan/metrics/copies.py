"""Is a training patient copied? The ratio of the distances to the nearest and to the second nearest patient.

An image in a dense region, or a blurred one, is near to many patients alike; a copy is near to one. What ratio is
suspicious is read off the training images themselves, each against all *other* patients, so no held-out patient is
needed and slices of one patient cannot mislead it. A copy of a neighbouring slice of a patient is a copy of that
patient. All distances are Euclidean, of features or of what `gan.metrics.thumbnails` makes of pixels.

This is a screen and no proof: it says nothing about differential privacy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gan.metrics.intervals import centred_interval, wilson

ALPHA = 0.01  # share of real images, each against other patients, that the limit calls suspicious
FEWEST = 3  # training patients: without the own one, two are left to compare


class Nearest(NamedTuple):
    """The two training patients nearest to each of n images.

    ratio [n]: distance to the nearest patient over that to the second one, 0 to 1; first, second [n]: indices of their
    nearest training images.
    """

    ratio: NDArray[np.float64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]


def nearest_patients(
    images: NDArray, train: NDArray, subjects: NDArray, own: NDArray | None = None, rows: int = 256
) -> Nearest:
    """The two nearest patients of ``images`` [n, d], or of [s, n, d]: in s versions, of which the nearest one counts.

    train [t, d], subjects [t]: training images, and codes that tell which belong to one patient. own [n]: the code of
    each image's own patient, which is left out. Raises `ValueError` unless at least two patients are left.
    """
    names, codes = np.unique(subjects, return_inverse=True)
    if len(names) < 2 + (own is not None):
        raise ValueError(f"two other patients are needed, got {len(names)}")
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    versions = torch.from_numpy(np.asarray(images if images.ndim == 3 else images[None], np.float32))
    other = torch.from_numpy(np.asarray(train[order], np.float32))
    found = []
    for block in range(0, versions.shape[1], rows):
        between = _between(versions[:, block : block + rows], other)
        to_patient = np.minimum.reduceat(between, starts, axis=1)
        if own is not None:
            mine = np.searchsorted(names, own[block : block + rows])
            to_patient[np.arange(len(mine)), mine] = np.inf
        found.append(_two(between, to_patient, starts))
    ratio, first, second = (np.concatenate(part) for part in zip(*found, strict=True))
    return Nearest(ratio, order[first], order[second])


def _between(versions: torch.Tensor, other: torch.Tensor) -> NDArray[np.float32]:
    """Least squared distances [n, t] of the versions [s, n, d] of n images to ``other`` [t, d]."""
    squares = (other**2).sum(1)
    least = torch.full((versions.shape[1], len(other)), torch.inf)
    for version in versions:
        distance = torch.addmm(squares, version, other.T, alpha=-2).add_((version**2).sum(1, keepdim=True))
        torch.minimum(least, distance, out=least)
    return least.clamp_(min=0).numpy()


def _two(between: NDArray, to_patient: NDArray, starts: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """`Nearest` of squared distances [n, t] to images, sorted by patient, and [n, p] to patients."""
    two = np.argpartition(to_patient, 1, axis=1)[:, :2]
    swap = np.take_along_axis(to_patient, two, 1)
    two = np.where((swap[:, :1] <= swap[:, 1:]), two, two[:, ::-1])
    squared = np.sqrt(np.take_along_axis(to_patient, two, 1).astype(np.float64))
    ends = np.append(starts[1:], between.shape[1])
    images = np.empty(two.shape, np.int64)
    for row, patients in enumerate(two):
        for place, patient in enumerate(patients):
            images[row, place] = starts[patient] + between[row, starts[patient] : ends[patient]].argmin()
    ratio = np.divide(squared[:, 0], squared[:, 1], out=np.ones(len(two)), where=squared[:, 1] > 0)
    return ratio, images[:, 0], images[:, 1]


@dataclass(frozen=True)
class Null:
    """Ratios of real images, each against other patients than its own.

    ratios [k], subjects [k]: of training images; held_out [h], held_out_subjects [h]: of images of patients that are
    not in the training set, as a control. panel: by a way to disguise a copy, the ratios of planted copies.
    """

    ratios: NDArray[np.float64]
    subjects: NDArray[np.int64]
    held_out: NDArray[np.float64]
    held_out_subjects: NDArray[np.int64]
    panel: dict[str, NDArray[np.float64]]

    def limit(self, weights: NDArray | None = None) -> NDArray[np.float64]:
        """Ratios [B] below which `ALPHA` of the training images lie; every patient counts equally.

        weights [B, patients]: how often each patient counts in each resample; without them once.
        """
        _, codes, counts = np.unique(self.subjects, return_inverse=True, return_counts=True)
        drawn = np.ones((1, len(counts))) if weights is None else weights
        order = np.argsort(self.ratios, kind="stable")
        of_image = (drawn / counts)[:, codes[order]]
        reached = np.cumsum(of_image, 1) / of_image.sum(1, keepdims=True)
        return self.ratios[order][(reached >= ALPHA - 1e-9).argmax(1)]

    def surprise(self, ratios: NDArray) -> NDArray[np.float64]:
        """For each of ``ratios`` [n] the share of the training images whose ratio is not above it, patients equal."""
        _, codes, counts = np.unique(self.subjects, return_inverse=True, return_counts=True)
        order = np.argsort(self.ratios, kind="stable")
        reached = np.append(0, np.cumsum((1 / counts)[codes[order]])) / len(counts)
        return reached[np.searchsorted(self.ratios[order], ratios, side="right")]

    @classmethod
    def of_either(cls, nulls: "Sequence[Null]") -> "Null":
        """Of several eyes that saw the same images: the least `surprise` takes the place of the ratio."""
        one = nulls[0]
        ratios, held_out = (
            np.min([null.surprise(getattr(null, name)) for null in nulls], 0) for name in ("ratios", "held_out")
        )
        panel = {name: np.min([null.surprise(null.panel[name]) for null in nulls], 0) for name in one.panel}
        return cls(ratios, one.subjects, held_out, one.held_out_subjects, panel)

    def power(self) -> dict[str, float]:
        """The share of the planted copies that is found, by their disguise."""
        limit = self.limit()[0]
        return {name: float((ratios < limit).mean()) for name, ratios in self.panel.items()}

    def control(self, bootstrap: int, seed: int) -> tuple[float, float | None, float | None]:
        """The share of the held-out images that would be called copies, about `ALPHA`, with its 95 % interval.

        Every patient counts equally, in the share and in the resamples.
        """
        _, codes, counts = np.unique(self.held_out_subjects, return_inverse=True, return_counts=True)
        by_patient = np.bincount(codes, self.held_out < self.limit()[0]) / counts
        value, patients = float(by_patient.mean()), len(counts)
        if not bootstrap or patients < FEWEST:
            return value, None, None
        if value == 0:  # no replicate can tell how much there might be
            return value, *wilson(value, patients)
        drawn = _draws(patients, bootstrap, [seed, 5]) @ by_patient / patients
        return value, *centred_interval(value, drawn, 0, 1)


class Rate(NamedTuple):
    """copies: estimated share of copies among the generated images, with its 95 % interval, None without a bootstrap;
    suspicious: which images lie below the limit, bool [m] of each group; replicates [B] of ``copies``."""

    copies: float
    low: float | None
    high: float | None
    suspicious: list[NDArray[np.bool_]]
    replicates: NDArray[np.float64]


def rate(
    ratios: Sequence[NDArray], nulls: Sequence[Null], bootstrap: int, seed: int, units: NDArray | None = None
) -> Rate:
    """How many generated images are copies, from the ``ratios`` [m] to training patients of each group of them.

    Of p suspicious ones `ALPHA` would be so by chance if they were real: (p - ALPHA) / (1 - ALPHA), at least 0. The
    upper end of the interval is that of p itself, since fewer images of a blurred generator are suspicious by chance.
    Resamples draw training patients, for the limit, and generated images; units [m]: codes of images that are drawn
    together, if any. A group has its own limit; all have as many images and the same patients.
    """
    suspicious = [of < null.limit()[0] for of, null in zip(ratios, nulls, strict=True)]
    share = float(np.mean(suspicious))
    if not bootstrap:
        return Rate(_excess(share), None, None, suspicious, np.empty(0))
    codes = np.arange(len(ratios[0])) if units is None else np.unique(units, return_inverse=True)[1]
    patients, number = len(np.unique(nulls[0].subjects)), int(codes.max()) + 1
    of_null = _draws(patients, bootstrap, [seed, 5])
    drawn = _draws(number, bootstrap, [seed, 1])[:, codes]
    below = [of[None] < null.limit(of_null)[:, None] for of, null in zip(ratios, nulls, strict=True)]
    shares = np.mean([(found * drawn).sum(1) / drawn.sum(1) for found in below], 0)
    low, high = centred_interval(share, shares, 0, 1)
    if share * number < 1:  # nothing found: replicates cannot tell how much there might be
        high = max(high, wilson(share, number)[1])
    replicates = np.array([_excess(value) for value in shares])
    return Rate(_excess(share), _excess(low), high, suspicious, replicates)


def rates_of_classes(
    ratios: NDArray, asked: NDArray, null: Null, known: NDArray, bootstrap: Sequence[int], seed: int, each: int = 1
) -> dict[int, Rate]:
    """`rate` of the images of each class: those that were ``asked`` [m] for it, by their ``ratios`` [m] to training
    patients of any class and the limit of its own training images.

    known [k]: the class of each ratio of the null; bootstrap: resamples by class; each: successive images that are
    drawn together. A class of fewer than `FEWEST` training patients, or without an image, has none.
    """
    found = {}
    for name, resamples in enumerate(bootstrap):
        mine, own = known == name, ratios[asked == name]
        if len(np.unique(null.subjects[mine])) < FEWEST or not len(own):
            continue
        of_class = replace(null, ratios=null.ratios[mine], subjects=null.subjects[mine])
        found[name] = rate([own], [of_class], resamples, seed, np.arange(len(own)) // each)
    return found


def _excess(share: float) -> float:
    return max(0.0, (share - ALPHA) / (1 - ALPHA))


def _draws(number: int, resamples: int, seed: list[int]) -> NDArray[np.float64]:
    """How often each of ``number`` units is drawn, [resamples, number]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(number, np.full(number, 1 / number), size=resamples).astype(np.float64)
