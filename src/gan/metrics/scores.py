"""From features to rows of scores: each metric with its interval, its floor and everything that it depends on.

A metric of features is a function in `METRICS`, of a `Comparison` and of how often each image counts, and a line in
`gan.metrics.facts`. The same function gives the value (every image once) and its bootstrap replicates.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gan.cells import JOINT, WHOLE
from gan.errors import GanError
from gan.metrics.distances import frechet_distances, kernel_distances
from gan.metrics.facts import FACTS, MEMORISED, fact
from gan.metrics.intervals import centred_interval, image_weights, subject_weights
from gan.metrics.neighbours import Balls, memorised, nearest

PRECISION_K, DENSITY_K = 3, 5  # as published by Kynkäänniemi et al. 2019 and Naeem et al. 2020
JOINT_FRECHET = 2048  # most joint features whose Fréchet distance is taken: those of one image by Inception


@dataclass(frozen=True)
class Comparison:
    """Features of one contrast: held-out ``real`` [n, d], ``fake`` [m, d], and all training images ``train`` [t, d]."""

    real: NDArray
    fake: NDArray
    train: NDArray

    @functools.cached_property
    def near(self) -> Balls:
        return Balls.of(self.real, self.fake, PRECISION_K)

    @functools.cached_property
    def wide(self) -> Balls:
        return Balls.of(self.real, self.fake, DENSITY_K)

    @functools.cached_property
    def to_train(self) -> tuple[NDArray, NDArray]:
        """Distance to the nearest training image, of each fake and of each real image."""
        return nearest(self.fake, self.train)[0], nearest(self.real, self.train)[0]


def _memorised(c: Comparison, real: NDArray, fake: NDArray) -> NDArray:
    fakes, held_out = c.to_train
    return memorised(fakes, held_out, real, fake, MEMORISED)


# From weights [B, n] of real and [B, m] of fake images to values [B] within the range of the metric's facts.
METRICS: dict[str, Callable[[Comparison, NDArray, NDArray], NDArray]] = {
    "kd": lambda c, real, fake: kernel_distances(c.real, c.fake, real, fake),
    "fd": lambda c, real, fake: frechet_distances(c.real, c.fake, real, fake),
    "precision": lambda c, real, fake: c.near.precision(real, fake),
    "recall": lambda c, real, fake: c.near.recall(real, fake),
    "density": lambda c, real, fake: c.wide.density(real, fake),
    "coverage": lambda c, real, fake: c.wide.coverage(real, fake),
    "memorised": _memorised,
}
CURVE = tuple(name for name in METRICS if FACTS[name].curve)  # of each snapshot; the first one chooses the best


@dataclass(frozen=True)
class Sets:
    """What is compared, by contrast: features ``real`` [n, d] of a held-out split and ``fake`` [m, d].

    subjects [n] tells which real images belong together. train: features of all real training images; reference: as
    many of them as there are fake ones, for the floor.
    """

    real: dict[str, NDArray]
    fake: dict[str, NDArray]
    subjects: NDArray
    train: dict[str, NDArray]
    reference: dict[str, NDArray]


def join(features: dict[str, NDArray]) -> dict[str, NDArray]:
    """``features`` [n, d] of several contrasts, whose rows are the same samples, and as `JOINT` all side by side.

    Distances between joint features [n, C * d] depend on which images of the contrasts belong to one sample.
    """
    return features | {JOINT: np.concatenate(list(features.values()), 1)}


def score(sets: Sets, *, bootstrap: int, seed: int) -> list[dict[str, Any]]:
    """Every metric for every contrast and for their mean: ``metric, contrast, value, low, high, floor, relative``.

    ``low`` and ``high`` are a 95 % bootstrap interval over subjects, None if ``bootstrap`` is 0. ``floor`` is the value
    of real training images instead of the fake ones, in the same numbers; ``relative`` is value / floor,
    None where the floor is not above 0. ``replicates``: the values of the resamples, which all generators scored under
    the same seed share, so that their differences have intervals too. ``metric`` is a key of `METRICS`.
    `JOINT` is no part of the mean, and has no Fréchet distance beyond `JOINT_FRECHET` features: from as few images as
    there are it would be bias for the most part, and cost more than all else. Raises `GanError` for too few images.
    """
    _enough(sets, bootstrap)
    contrasts = list(sets.real)
    n, m = len(sets.subjects), len(next(iter(sets.fake.values())))
    once = np.ones((1, n)), np.ones((1, m))
    drawn = (subject_weights(sets.subjects, bootstrap, seed), image_weights(m, bootstrap, seed)) if bootstrap else None
    rows = []
    with tqdm(total=len(METRICS) * len(contrasts), desc="scores", unit="metric", leave=False) as bar:
        pairs = {
            c: (
                Comparison(sets.real[c], sets.fake[c], sets.train[c]),
                Comparison(sets.real[c], sets.reference[c], sets.train[c]),
            )
            for c in contrasts
        }
        for name, statistic in METRICS.items():
            found, known = {}, FACTS[name].floor
            for contrast, (generated, real) in pairs.items():
                bar.update()
                if not _affordable(name, contrast, generated):
                    continue
                value = float(statistic(generated, *once)[0])
                floor = known if known is not None else float(statistic(real, *once)[0])
                found[contrast] = value, floor, statistic(generated, *drawn) if drawn else None
            rows += _rows(name, found)
    return rows


def score_curve(sets: Sets) -> list[dict[str, Any]]:
    """The metrics of `CURVE` without intervals: rows ``metric, contrast, value, floor``."""
    _enough(sets, 0)
    once = np.ones((1, len(sets.subjects))), np.ones((1, len(next(iter(sets.fake.values())))))
    pairs = {
        contrast: [Comparison(real, others[contrast], real) for others in (sets.fake, sets.reference)]
        for contrast, real in sets.real.items()
    }
    rows = []
    for name in CURVE:
        found = {
            contrast: [float(METRICS[name](compared, *once)[0]) for compared in pair]
            for contrast, pair in pairs.items()
            if _affordable(name, contrast, pair[0])
        }
        found[WHOLE] = np.mean([pair for contrast, pair in found.items() if contrast != JOINT], 0).tolist()
        rows += [{"metric": name, "contrast": contrast, "value": v, "floor": f} for contrast, (v, f) in found.items()]
    return rows


def _affordable(metric: str, contrast: str, compared: Comparison) -> bool:
    return (metric, contrast) != ("fd", JOINT) or compared.fake.shape[1] <= JOINT_FRECHET


def score_similarity(
    fake: dict[str, NDArray], real: dict[str, NDArray], *, bootstrap: int, seed: int
) -> list[dict[str, Any]]:
    """Mean MS-SSIM of independent pairs of generated images: rows as of `score`, by contrast, and the mean of all.

    fake, real: MS-SSIM of pairs [pairs] by contrast (`gan.metrics.ssim`). The floor is the mean over real pairs, the
    interval is of a bootstrap over the generated ones.
    """
    count = len(next(iter(fake.values())))
    drawn = image_weights(count, bootstrap, seed) / count if bootstrap else None
    found = {
        contrast: (pairs.mean(), real[contrast].mean(), None if drawn is None else drawn @ pairs)
        for contrast, pairs in fake.items()
    }
    return _rows("ms_ssim", found)


def score_areas(fake: NDArray, real: NDArray, mask: str, *, bootstrap: int, seed: int) -> list[dict[str, Any]]:
    """Rows of a generated ``mask`` from areas [n, L] of its L labels in % of an image (`gan.metrics.areas`).

    ``labelled`` is the part of the images that have a label, ``area_<k>`` the mean area of label k over all images, in
    %; the floor is that of the ``real`` images. The interval is of a bootstrap over the generated images.
    """
    drawn = image_weights(len(fake), bootstrap, seed) / len(fake) if bootstrap else None
    rows = []
    for name, column in [("labelled", None), *((f"area_{k + 1}", k) for k in range(fake.shape[1]))]:
        ours, theirs = (of.any(1).astype(float) if column is None else of[:, column] for of in (fake, real))
        found = {mask: (ours.mean(), theirs.mean(), None if drawn is None else drawn @ ours)}
        rows += [row for row in _rows(name, found) if row["contrast"] == mask]
    return rows


def _rows(name: str, found: dict[str, tuple]) -> list[dict[str, Any]]:
    """A row per contrast, and their mean. All contrasts share their resamples, so replicates may be averaged."""
    known = fact(name)
    assert known is not None, name
    single = [measured for contrast, measured in found.items() if contrast != JOINT]
    values, floors, replicates = zip(*single, strict=True)
    whole = np.mean(values), np.mean(floors), None if replicates[0] is None else np.mean(replicates, 0)
    rows = []
    for contrast, (value, floor, draws) in (found | {WHOLE: whole}).items():
        low, high = (None, None) if draws is None else centred_interval(float(value), draws, known.low, known.high)
        rows.append(
            {
                **{"metric": name, "contrast": contrast, "value": float(value), "low": low, "high": high},
                **{"floor": float(floor), "relative": float(value / floor) if floor > 0 else None},
                "replicates": [] if draws is None else [float(f"{draw:.6g}") for draw in draws],
            }
        )
    return rows


def _enough(sets: Sets, bootstrap: int) -> None:
    """Refuse sets that are too small, with their numbers."""
    need = DENSITY_K + 1
    numbers = {"real": len(sets.subjects), "generated": len(next(iter(sets.fake.values())))}
    for kind, number in numbers.items():
        if number < need:
            raise GanError(
                f"too few images for a score: {number} {kind} in the split, {need} are needed (the {DENSITY_K}-th "
                f"neighbour of each); give the split more subjects or raise metrics.n_fake"
            )
    subjects = len(np.unique(sets.subjects))
    if bootstrap and subjects < 2:
        raise GanError(
            f"a bootstrap over subjects needs 2 of them, the split has {subjects}; give the split more subjects or set "
            f"metrics.bootstrap: 0"
        )
