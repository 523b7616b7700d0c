"""Is one training set as good as another one? Differences between networks on the same patients.

The patient is the unit. A network trained under seed k on other images gives y[k, i] for patient i; the difference to
the network of real images is of the same seed and the same patient, so what makes a patient easy cancels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from gan.metrics.ranking import balanced_accuracy, class_auc, margins, mean_of_known, sides, wins

FLIPS, EXCHANGES = 5000, 1000  # at most; all there are, if they are not more


class Outcome(Protocol):
    """What one network is worth on some patients."""

    def values(self, drawn: NDArray[np.int64], /) -> NDArray[np.float64]:
        """[B], of each of B draws of patients [B, n], by index; one that was drawn twice counts twice."""
        ...


@dataclass(frozen=True)
class Mean:
    """The mean of the scores ``of`` patients [n], NaN left out."""

    of: NDArray[np.float64]

    def values(self, drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        return mean_of_known(self.of[drawn], 1)


@dataclass(frozen=True)
class Ranked:
    """How well logits [N, K] of images tell ``classes`` [N] apart: the area under the ROC curve, or the balanced
    accuracy. subjects [N]: the patient of each image, codes from 0 on; None: each is a patient's only one."""

    logits: NDArray[np.float64]
    classes: NDArray[np.int64]
    area: bool = True
    subjects: NDArray[np.int64] | None = None

    def values(self, drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        score = class_auc if self.area else balanced_accuracy
        subjects = np.arange(len(self.classes)) if self.subjects is None else self.subjects
        return score(self.logits, self.classes, subjects, _counts(drawn, int(subjects.max()) + 1))


def _counts(drawn: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """How often each of ``count`` patients is in each draw, [B, count]."""
    places = drawn + count * np.arange(len(drawn))[:, None]
    return np.bincount(places.ravel(), minlength=len(drawn) * count).reshape(-1, count).astype(np.float64)


class Estimate(NamedTuple):
    """value: the mean over seeds; by_seed: [K]; deviation: standard deviation of ``value`` over draws of patients."""

    value: float
    by_seed: NDArray[np.float64]
    deviation: float


def draws(count: int, resamples: int, seed: int, strata: NDArray | None = None) -> NDArray[np.int64]:
    """Patients drawn with replacement, [resamples, count]; of each of ``strata`` [count] as many as it has."""
    rng = np.random.default_rng([seed, 11])
    if strata is None:
        return rng.integers(count, size=(resamples, count))
    parts = [np.flatnonzero(strata == name) for name in np.unique(strata)]
    return np.concatenate([part[rng.integers(len(part), size=(resamples, len(part)))] for part in parts], 1)


def estimate(outcomes: Sequence[Outcome], drawn: NDArray[np.int64]) -> Estimate:
    """What the networks of one arm, a seed each, are worth; drawn: of `draws`."""
    return _estimate([outcome.values(_with_all(drawn)) for outcome in outcomes])


def compare(arm: Sequence[Outcome], real: Sequence[Outcome], drawn: NDArray[np.int64]) -> Estimate:
    """``arm`` less ``real``, network by network of the same seed, on the same draws of patients."""
    asked = _with_all(drawn)
    return _estimate([one.values(asked) - other.values(asked) for one, other in zip(arm, real, strict=True)])


def _with_all(drawn: NDArray[np.int64]) -> NDArray[np.int64]:
    """All patients once, then the draws."""
    return np.concatenate([np.arange(drawn.shape[1])[None], drawn])


def _estimate(values: Sequence[NDArray[np.float64]]) -> Estimate:
    """From the values of each seed, of all patients and of the draws of them."""
    found = np.array(values)
    return Estimate(float(found[:, 0].mean()), found[:, 0], float(np.nanstd(found[:, 1:].mean(0), ddof=1)))


def filled(arm: NDArray, real: NDArray, perfect: float) -> tuple[NDArray, NDArray]:
    """Scores of patients and regions, NaN where a region is empty in truth and prediction: if it is so in one of the
    two, that one gets the ``perfect`` score, or the false find of the other would not count."""
    one, other = np.isnan(arm), np.isnan(real)
    return np.where(one & ~other, perfect, arm), np.where(other & ~one, perfect, real)


def sign_flips(differences: NDArray[np.float64], seed: int) -> float:
    """The two-sided p-value of differences [n] of patients that have no preferred sign, by flipping signs. 1 without
    patients."""
    known = differences[~np.isnan(differences)]
    if not len(known):
        return 1.0
    flips = _flips(len(known), FLIPS, seed)
    return _share(np.abs(flips @ known), abs(known.sum()), len(known))


def exchanges(
    arm: Sequence[NDArray], real: Sequence[NDArray], classes: NDArray, seed: int, subjects: NDArray | None = None
) -> float:
    """The two-sided p-value of a difference of areas under the curve between two lists of logits [N, K], a seed each,
    by exchanging both networks' results of a patient (Bandos et al. 2005). To be exchangeable, scores become ranks;
    class by class. subjects: as of `Ranked`."""
    who = np.arange(len(classes)) if subjects is None else subjects
    count = int(who.max()) + 1
    swapped = (np.concatenate([np.ones((1, count)), _flips(count, EXCHANGES, seed)]) < 0).astype(np.float64)
    differences = []
    for pair in zip(arm, real, strict=True):
        one, other = map(margins, pair)
        for name in one:
            own, ranks = classes == name, (rankdata(one[name]), rankdata(other[name]))
            if own.any() and not own.all():
                differences.append(_exchanged(ranks, own, who, swapped))
    found = np.abs(np.mean(differences, 0))
    return _share(found[1:], found[0], count)


def _exchanged(
    scores: tuple[NDArray, NDArray], own: NDArray[np.bool_], subjects: NDArray, swapped: NDArray
) -> NDArray[np.float64]:
    """The differences [B] of the areas under the curve by the ``scores`` [N] of two networks, which exchange the
    patients of ``swapped`` [B, n]."""
    mine, others = ((1 - swapped[:, of], swapped[:, of]) for of in sides(own, subjects))
    total = np.zeros(len(swapped))
    for a, above in enumerate(scores):  # the first network uses them of the patients of mine[a], the second of the rest
        for b, below in enumerate(scores):
            found = wins(above, below, own, subjects)
            total += ((mine[a] @ found) * others[b] - (mine[1 - a] @ found) * others[1 - b]).sum(1)
    return total / found.size


def _flips(count: int, most: int, seed: int) -> NDArray[np.float64]:
    """Signs [flips, count]: all of them, or ``most`` random ones."""
    if 2**count <= most:
        return 1.0 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
    return np.random.default_rng([seed, 12]).choice([-1.0, 1.0], size=(most, count))


def _share(found: NDArray, observed: float, count: int) -> float:
    """The share of ``found`` that is as large as ``observed``; with random flips that one is one of them, too."""
    as_large, exact = np.count_nonzero(found >= observed - 1e-12), len(found) == 2**count
    return float(as_large / len(found)) if exact else float((as_large + 1) / (len(found) + 1))
