"""From features to rows of scores: each metric with its interval, its floor and everything that it depends on.

A metric of features is a function in `METRICS`, of a `Comparison` and of how often each image counts, and a line in
`gan.metrics.facts`. The same function gives the value (every image once) and its bootstrap replicates.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gan.cells import CLASS, JOINT, WHOLE
from gan.errors import GanError
from gan.metrics.distances import frechet_distances, kernel_distances
from gan.metrics.facts import FACTS, fact
from gan.metrics.intervals import Estimate, difference, image_weights, subject_weights
from gan.metrics.neighbours import Balls, choose_k
from gan.metrics.vendi import vendi_scores

PRECISION_K = 3  # as published by Kynkäänniemi et al. 2019, if there are as many other subjects
JOINT_FRECHET = 2048  # most joint features whose Fréchet distance is taken: those of one image by Inception
FRECHET_RESAMPLES = 200  # of a Fréchet distance at most; one takes as long as all those of another metric


@dataclass(frozen=True)
class Comparison:
    """Features of one contrast: held-out ``real`` [n, d], ``fake`` [m, d], and all training images ``train`` [t, d].

    subjects [n], fake_subjects [m]: which images belong to one patient; without fake_subjects every image is a patient
    of its own. near, wide: k of precision and recall, and of density and coverage. translated: the fake images are
    translations of images of the ``subjects``.
    """

    real: NDArray
    fake: NDArray
    train: NDArray
    subjects: NDArray
    fake_subjects: NDArray | None = None
    near: int = PRECISION_K
    wide: int = 1
    translated: bool = False

    @functools.cached_property
    def near_balls(self) -> Balls:
        return Balls.of(self.real, self.fake, self.near, self.subjects, self.fake_subjects)

    @functools.cached_property
    def wide_balls(self) -> Balls:
        return Balls.of(self.real, self.fake, self.wide, self.subjects, self.fake_subjects, recall=False)


Statistic = Callable[[Comparison, NDArray, NDArray], NDArray]
# From weights [B, n] of real and [B, m] of fake images to values [B] within the range of the metric's facts.
METRICS: dict[str, Statistic] = {
    "kd": lambda c, real, fake: kernel_distances(
        c.real, c.fake, real, fake, c.subjects, c.fake_subjects, shared=c.translated
    ),
    "fd": lambda c, real, fake: frechet_distances(c.real, c.fake, real, fake),
    "precision": lambda c, real, fake: c.near_balls.precision(real, fake),
    "recall": lambda c, real, fake: c.near_balls.recall(real, fake),
    "density": lambda c, real, fake: c.wide_balls.density(real, fake),
    "coverage": lambda c, real, fake: c.wide_balls.coverage(real, fake),
    # Features that are never negative, as Inception's, are all alike unless seen from their mean.
    "vendi": lambda c, real, fake: vendi_scores(c.fake - c.train.mean(0), fake),
}
# As published: with the extractor of their publication alone, from all pairs of images.
PUBLISHED: dict[str, Statistic] = {
    "kid": lambda c, real, fake: kernel_distances(c.real, c.fake, real, fake),
    "fid": METRICS["fd"],
}
CURVE = tuple(name for name in METRICS if FACTS[name].curve)  # of each snapshot; the first one chooses the best
# Of the images of each class, with the most resamples: are they of that class, and are they different?
BY_CLASS = {CURVE[0]: 10**6, "vendi": 200}
DRAWN_SUBJECTS = 3  # of a set, the fewest of which there is an interval: of two, every resample with a pair is the set
CLASS_SUBJECTS = 10  # of a class in the split, the fewest of which its score has an interval
NEIGHBOURS = {"precision": "near", "recall": "near", "density": "wide", "coverage": "wide"}


@dataclass(frozen=True)
class Sets:
    """What is compared, by contrast: features ``real`` [n, d] of a held-out split and ``fake`` [m, d].

    subjects [n] tells which real images belong together. train: features of all real training images; unseen [u, d]
    with unseen_subjects [u]: real images of other subjects that neither generator nor encoder has seen, for the floor.
    fake_subjects [m]: from which of the ``subjects`` the images were translated, None if each is a patient of its own,
    or ``each`` successive ones, the slices of a generated volume.
    """

    real: dict[str, NDArray]
    fake: dict[str, NDArray]
    subjects: NDArray
    train: dict[str, NDArray]
    unseen: dict[str, NDArray]
    unseen_subjects: NDArray
    fake_subjects: NDArray | None = None
    each: int = 1

    @property
    def number(self) -> int:
        """Of generated images."""
        return len(next(iter(self.fake.values())))

    @property
    def samples(self) -> int:
        """Of generated images, or volumes."""
        return self.number // self.each


class Found(NamedTuple):
    """What was found of one metric: of the generated images, of unseen real ones instead of them, and of as many
    generated as unseen ones, None where the number does not matter."""

    value: Estimate
    floor: Estimate | None = None
    matched: Estimate | None = None


@dataclass(frozen=True)
class Side:
    """A comparison and how often its images count in each resample: real [B, n], fake [B, m], None without a bootstrap.

    units: how many independent units the real and the fake images are.
    """

    compared: Comparison
    real: NDArray | None
    fake: NDArray | None
    units: dict[str | None, int]

    def find(self, name: str, statistic: Statistic) -> Estimate:
        once = np.ones((1, len(self.compared.real))), np.ones((1, len(self.compared.fake)))
        value, replicates = float(statistic(self.compared, *once)[0]), None
        if self.real is not None and self.fake is not None:
            most = FRECHET_RESAMPLES if name in ("fd", "fid") else None
            replicates = statistic(self.compared, self.real[:most], self.fake[:most])
        return Estimate(value, replicates, self.units.get(FACTS[name].share))


def join(features: dict[str, NDArray]) -> dict[str, NDArray]:
    """``features`` [n, d] of several contrasts, whose rows are the same samples, and as `JOINT` all side by side.

    Distances between joint features [n, C * d] depend on which images of the contrasts belong to one sample.
    """
    return features | {JOINT: np.concatenate(list(features.values()), 1)}


def score(sets: Sets, *, bootstrap: int, seed: int, published: bool = False) -> list[dict[str, Any]]:
    """Every metric for every contrast and for their mean, a row each; ``metric`` is a key of `METRICS` or `PUBLISHED`.

    published: whether the features are those that published scores are defined by; `PUBLISHED` then replaces ``fd``.
    A row has ``metric, contrast, value, low, high``: the 95 % interval of a bootstrap over subjects, None if
    ``bootstrap`` is 0 or there are fewer than `DRAWN_SUBJECTS`; ``floor, floor_low, floor_high``: of ``n_floor`` real
    images of ``n_floor_subjects`` unseen subjects instead of the fake ones; ``above_floor, above_floor_low,
    above_floor_high``: the difference of the two under the same draws of subjects, of a metric that depends on their
    number with as many fake images as the floor has; ``k`` of a metric of neighbours; ``replicates``: the values of the
    resamples, which all generators scored under the same seed share, so that their differences have intervals too.
    `JOINT` is no part of the mean, and has no Fréchet distance beyond `JOINT_FRECHET` features: from as few images as
    there are it would be bias for the most part, and cost more than all else. Raises `GanError` for too few images.
    """
    _enough(sets)
    sets = _as_many(sets)
    statistics = statistics_of(published)
    found: dict[str, dict[str, Found]] = {name: {} for name in statistics}
    with tqdm(total=len(statistics) * len(sets.real), desc="scores", unit="metric", leave=False) as bar:
        for contrast in sets.real:
            sides = _sides(sets, contrast, bootstrap, seed)
            for name, statistic in statistics.items():
                bar.update()
                if _affordable(name, contrast, sides[0].compared):
                    found[name][contrast] = _found(name, statistic, *sides)
    numbers = {"n_floor": len(sets.unseen_subjects), "n_floor_subjects": len(np.unique(sets.unseen_subjects))}
    k = _neighbours(sets)
    return [
        row | numbers | ({"k": k[NEIGHBOURS[name]]} if name in NEIGHBOURS else {})
        for name, of_name in found.items()
        for row in metric_rows(name, of_name)
    ]


def score_curve(sets: Sets, published: bool = False) -> list[dict[str, Any]]:
    """The metrics with a curve without intervals: rows ``metric, contrast, value, floor``, and ``k`` of neighbours.

    The floor is None where the value depends on the number of generated images.
    """
    _enough(sets)
    k = _neighbours(sets)
    statistics = {name: of for name, of in statistics_of(published).items() if FACTS[name].curve}
    found: dict[str, dict[str, list[float]]] = {name: {} for name in statistics}
    for contrast in sets.real:
        generated, floor, _ = _sides(sets, contrast, 0, 0)
        for name, statistic in statistics.items():
            if not _affordable(name, contrast, generated.compared):
                continue
            bare = FACTS[name].published or FACTS[name].sized
            of_floor = np.nan if bare else floor.find(name, statistic).value
            found[name][contrast] = [generated.find(name, statistic).value, of_floor]
    rows = []
    for name, of_name in found.items():
        of_name[WHOLE] = np.mean([pair for contrast, pair in of_name.items() if contrast != JOINT], 0).tolist()
        extra = {"k": k[NEIGHBOURS[name]]} if name in NEIGHBOURS else {}
        for contrast, (value, of_floor) in of_name.items():
            lowest = None if np.isnan(of_floor) else of_floor
            rows.append({"metric": name, "contrast": contrast, "value": value, "floor": lowest, **extra})
    return rows


def score_classes(
    sets: Sets,
    real: NDArray,
    fake: NDArray,
    unseen: NDArray,
    names: list[str],
    *,
    bootstrap: int,
    seed: int,
) -> list[dict[str, Any]]:
    """`BY_CLASS` of the images of each class alone, a row each: a generator that ignores what class was asked of it, or
    makes one image of each, scores well when all classes are pooled.

    real [n], fake [m], unseen [u]: the class of each image, an index in ``names``. Rows are as of `score`, with the
    contrast `CLASS` and the name, and their own ``n_real, n_subjects, n_fake``. A class of fewer than `CLASS_SUBJECTS`
    subjects has no interval, one of fewer than 2 in either split or of fewer than 2 generated images no row.
    """
    rows = []
    for index, name in enumerate(names):
        mine = [codes == index for codes in (real, fake, unseen)]
        subjects, others = sets.subjects[mine[0]], sets.unseen_subjects[mine[2]]
        number = len(np.unique(subjects))
        if min(number, len(np.unique(others)), mine[1].sum() // sets.each) < 2:
            continue
        of_real, of_fake, of_unseen = (
            {contrast: features[chosen] for contrast, features in of.items() if contrast != JOINT}
            for of, chosen in zip((sets.real, sets.fake, sets.unseen), mine, strict=True)
        )
        part = _as_many(Sets(of_real, of_fake, subjects, sets.train, of_unseen, others, each=sets.each))
        draws = bootstrap if number >= CLASS_SUBJECTS else 0
        numbers = {"n_real": len(subjects), "n_subjects": number, "n_fake": part.number}
        numbers |= {"n_floor": len(part.unseen_subjects), "n_floor_subjects": len(np.unique(part.unseen_subjects))}
        for metric, most in BY_CLASS.items():
            sides = {contrast: _sides(part, contrast, min(draws, most), seed) for contrast in of_real}
            found = {contrast: _found(metric, METRICS[metric], *of_side) for contrast, of_side in sides.items()}
            whole = next(row for row in metric_rows(metric, found) if row["contrast"] == WHOLE)
            rows.append(whole | {"contrast": CLASS + name} | numbers)
    return rows


def statistics_of(published: bool) -> dict[str, Statistic]:
    """The metrics of features; published: of those that published scores are defined by."""
    if not published:
        return METRICS
    return {name: of for name, of in METRICS.items() if name != "fd"} | PUBLISHED


def _neighbours(sets: Sets) -> dict[str, int]:
    """k of precision and recall, which needs as many other subjects in each set, and of density and coverage."""
    subjects, unseen = (len(np.unique(of)) for of in (sets.subjects, sets.unseen_subjects))
    near = min(PRECISION_K, subjects - 1, unseen - 1, sets.samples - 1)
    return {"near": near, "wide": choose_k(subjects, sets.samples)}


def _as_many(sets: Sets) -> Sets:
    """``sets`` with at most as many unseen images as generated ones, evenly chosen; of volumes all slices."""
    unseen = len(sets.unseen_subjects) // sets.each
    if unseen <= sets.samples:
        return sets
    whole = np.linspace(0, unseen - 1, sets.samples).round().astype(int)
    rows = (whole[:, None] * sets.each + np.arange(sets.each)).ravel()
    chosen = {contrast: of[rows] for contrast, of in sets.unseen.items()}
    return replace(sets, unseen=chosen, unseen_subjects=sets.unseen_subjects[rows])


def _sides(sets: Sets, contrast: str, bootstrap: int, seed: int) -> tuple[Side, Side, Side]:
    """The generated images, the unseen ones in their place, and as many generated as unseen ones; all share the draws
    of subjects."""
    real, fake, unseen = sets.real[contrast], sets.fake[contrast], sets.unseen[contrast]
    subjects, k = len(np.unique(sets.subjects)), _neighbours(sets)
    drawn = subject_weights(sets.subjects, bootstrap, seed) if bootstrap and subjects >= DRAWN_SUBJECTS else None

    def side(images: NDArray, belong: NDArray | None) -> Side:
        translated = sets.fake_subjects is not None and belong is not sets.unseen_subjects
        compared = Comparison(real, images, sets.train[contrast], sets.subjects, belong, translated=translated, **k)
        units: dict[str | None, int] = {"real": subjects, "fake": len(images if belong is None else np.unique(belong))}
        if drawn is None or (belong is not None and units["fake"] < DRAWN_SUBJECTS):
            return Side(compared, None, None, units)
        if belong is None:
            return Side(compared, drawn, image_weights(len(images), bootstrap, seed), units)
        own = seed if translated else [seed, 3] if belong is sets.unseen_subjects else [seed, 4]
        return Side(compared, drawn, subject_weights(belong, bootstrap, own), units)

    of = sets.fake_subjects
    if of is None and sets.each > 1:
        of = np.arange(len(fake)) // sets.each
    generated = side(fake, of)
    if len(unseen) == len(fake):
        matched = generated
    else:
        matched = side(fake[: len(unseen)], None if of is None else of[: len(unseen)])
    return generated, side(unseen, sets.unseen_subjects), matched


def _found(name: str, statistic: Statistic, generated: Side, floor: Side, matched: Side) -> Found:
    known, value = FACTS[name], generated.find(name, statistic)
    if known.published:
        return Found(value)
    if known.floor is not None:
        return Found(value, Estimate(known.floor, known=True))
    same = not known.sized or matched is generated
    return Found(value, floor.find(name, statistic), None if same else matched.find(name, statistic))


def _affordable(metric: str, contrast: str, compared: Comparison) -> bool:
    return metric not in ("fd", "fid") or contrast != JOINT or compared.fake.shape[1] <= JOINT_FRECHET


def score_similarity(
    fake: dict[str, NDArray], real: dict[str, NDArray], subjects: NDArray, *, bootstrap: int, seed: int
) -> list[dict[str, Any]]:
    """Mean MS-SSIM of independent pairs of generated images: rows as of `score`, by contrast, and the mean of all.

    fake, real: MS-SSIM of pairs [pairs] by contrast (`gan.metrics.ssim`); subjects [pairs, 2]: of the real ones. The
    floor is the mean over real pairs; intervals are of a bootstrap over the generated pairs and over the subjects.
    """
    count = len(next(iter(fake.values())))
    drawn = weights = None
    if bootstrap:
        drawn = image_weights(count, bootstrap, seed) / count
        of_image = subject_weights(subjects.ravel(), bootstrap, [seed, 3]).reshape(bootstrap, -1, 2)
        weights = of_image.prod(2)
        weights = weights[weights.sum(1) > 0]
    found = {
        contrast: Found(
            Estimate(float(pairs.mean()), None if drawn is None else drawn @ pairs),
            Estimate(float(real[contrast].mean()), _weighted(real[contrast], weights)),
        )
        for contrast, pairs in fake.items()
    }
    return metric_rows("ms_ssim", found)


def score_areas(
    fake: NDArray, real: NDArray, subjects: NDArray, mask: str, *, bootstrap: int, seed: int
) -> list[dict[str, Any]]:
    """Rows of a generated ``mask`` from areas [n, L] of its L labels in % of an image (`gan.metrics.areas`).

    ``labelled`` is the part of the images that have a label, ``area_<k>`` the mean area of label k over all images, in
    %; the floor is that of the ``real`` images, of which ``subjects`` [n] belong together.
    """
    drawn = image_weights(len(fake), bootstrap, seed) / len(fake) if bootstrap else None
    weights = subject_weights(subjects, bootstrap, [seed, 3]) if bootstrap else None
    rows = []
    for name, column in [("labelled", None), *((f"area_{k + 1}", k) for k in range(fake.shape[1]))]:
        ours, theirs = (of.any(1).astype(float) if column is None else of[:, column] for of in (fake, real))
        units = (len(fake), len(np.unique(subjects))) if name == "labelled" else (None, None)
        value = Estimate(float(ours.mean()), None if drawn is None else drawn @ ours, units[0])
        floor = Estimate(float(theirs.mean()), _weighted(theirs, weights), units[1])
        rows += [row for row in metric_rows(name, {mask: Found(value, floor)}) if row["contrast"] == mask]
    return rows


def _weighted(values: NDArray, weights: NDArray | None) -> NDArray | None:
    """Means [B] of ``values`` [n] under ``weights`` [B, n]."""
    return None if weights is None else weights @ values / weights.sum(1)


def metric_rows(name: str, found: dict[str, Found]) -> list[dict[str, Any]]:
    """A row of `score` per contrast, and their mean: contrasts share their resamples, so replicates may be averaged."""
    known = fact(name)
    assert known is not None, name
    single = [measured for contrast, measured in found.items() if contrast != JOINT]
    whole = Found(*(_mean(of) for of in zip(*single, strict=True)))  # type: ignore[arg-type]
    rows = []
    for contrast, (value, floor, matched) in (found | {WHOLE: whole}).items():
        low, high = value.interval(known.low, known.high)
        row = {"metric": name, "contrast": contrast, "value": value.value, "low": low, "high": high}
        ends = (None, None) if floor is None else floor.interval(known.low, known.high)
        above = (None, None, None) if floor is None else difference(matched or value, floor)
        row |= {"floor": None if floor is None else floor.value, "floor_low": ends[0], "floor_high": ends[1]}
        row |= dict(zip(("above_floor", "above_floor_low", "above_floor_high"), above, strict=True))
        draws = [] if value.replicates is None else value.replicates
        rows.append(row | {"replicates": [float(f"{draw:.6g}") for draw in draws]})
    return rows


def _mean(estimates: tuple[Estimate | None, ...]) -> Estimate | None:
    """The mean over contrasts, which share their resamples and their subjects."""
    known = [estimate for estimate in estimates if estimate is not None]
    if not known:
        return None
    replicates = [estimate.replicates for estimate in known if estimate.replicates is not None]
    value = float(np.mean([estimate.value for estimate in known]))
    return Estimate(value, np.mean(replicates, 0) if replicates else None, known[0].units, known[0].known)


def _enough(sets: Sets) -> None:
    """Refuse sets that are too small, with their numbers."""
    if sets.samples < 2:
        raise GanError(
            f"too few images for a score: {sets.samples} generated, 2 are needed; raise metrics.n_fake, or add images "
            f"to the row"
        )
    for kind, codes in (("split", sets.subjects), ("other held-out split", sets.unseen_subjects)):
        if (subjects := len(np.unique(codes))) < 2:
            raise GanError(
                f"a score needs images of 2 subjects, the {kind} has {subjects}; give the splits val and test more "
                f"subjects"
            )
