"""What generated images are good for, as a table: networks trained on them against one trained on real images.

y[k, i] is the score of patient i by the network of seed k, trained on images of the generator of seed k. A difference
to the real arm is of the same patients and the same seed. Its interval adds two margins in quadrature, as that of
`gan.report.pairs`: the spread between seeds, with Student's t, and draws of patients. p is of sign flips over patients
(of areas under a curve: of exchanges), adjusted by Holm over the arms of all variants of a task.

The margin and the primary arm are of the config, named before the results. Fewer than three seeds or ten patients give
no word.
"""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax

from gan.cells import CellFiles
from gan.metrics.contrast import (
    Estimate,
    Mean,
    Outcome,
    Ranked,
    compare,
    draws,
    estimate,
    exchanges,
    filled,
    sign_flips,
)
from gan.metrics.intervals import wilson
from gan.metrics.ranking import mean_of_known
from gan.report.pairs import LEVEL, half_width, holm
from gan.report.table import SEEDS
from gan.utility.options import ARMS, CLASSIFY, DETECT, REAL, SEGMENT, no_task

PATIENTS = 10  # of the test split, the fewest of which a claim is made
RESAMPLES = 1000
EXPLORATORY = "exploratory"
LEADING = {"segment": "dice", "classify": "auc", "detect": "auc"}
COLUMNS = [
    *["dataset", "task", "variant", "arm", "measure", "seeds", "patients", "left_out", "value", "low", "high"],
    *["difference", "difference_low", "difference_high", "p", "p_holm", "margin", "verdict"],
]
EXACT = 1e-9  # below it two numbers are equal
COUNTS = ("seeds", "patients", "left_out")
PERFECT = {"dice": 1.0, "hd95": 0.0}

Scores = dict[int, dict[str, Any]]  # of an arm by seed


@dataclass(frozen=True)
class Task:
    """What is known of a task of a data set: facts of `gan.utility.reference`, and the scores by seed of each variant
    and arm; those of real images have no variant."""

    dataset: str
    name: str
    facts: dict[str, Any]
    arms: dict[tuple[str, str], Scores]


def tasks(cells: Sequence[CellFiles]) -> list[Task]:
    """The tasks of all ``cells`` that have a ``utility.json``."""
    found: dict[tuple[str, str], Task] = {}
    for cell in cells:
        for name, facts in (cell.object("utility.json").get("tasks") or {}).items():
            task = found.setdefault((cell.dataset, name), Task(cell.dataset, name, facts, {}))
            for arm, scores in facts["arms"].items():
                of = cell.variant if arm != REAL and ARMS[arm].generated else ""
                task.arms.setdefault((of, arm), {})[cell.seed] = scores
    return list(found.values())


def table(found: Sequence[Task], section: Mapping[str, Any], others: Sequence[dict[str, Any]] = ()) -> pd.DataFrame:
    """A row for each task, variant, arm and measure; section: ``utility`` of the config; others: further rows, which
    are descriptive.

    ``value``: the mean over seeds and patients with its 95 % interval; ``difference``: to the real arm; ``patients``:
    that have a score; ``left_out``: that have none, as neither the true nor the found region has a voxel. Controls and
    measures that do not lead have no ``p`` and no word.
    """
    rows = []
    for task in found:
        for (variant, arm), scores in task.arms.items():
            real = task.arms["", REAL]
            for measure in measures(task):
                row = {"dataset": task.dataset, "task": task.name, "variant": variant, "arm": arm, "measure": measure}
                rows.append(row | _row(task, measure, scores, None if arm == REAL else real))
    frame = pd.DataFrame([*rows, *others], columns=COLUMNS).astype(dict.fromkeys(COUNTS, "Int64"))
    leads = frame.measure == frame.task.map(LEADING)
    frame.loc[~(leads & frame.arm.map(_claimed)), "p"] = math.nan
    frame["p_holm"] = frame.groupby(["dataset", "task"], sort=False).p.transform(holm)
    frame["margin"] = np.where(leads, section["margin"], np.nan)
    frame["verdict"] = [_verdict(row) for row in frame.itertuples()]
    return frame


def _claimed(arm: str) -> bool:
    return arm in ARMS and not ARMS[arm].control


def measures(task: Task) -> list[str]:
    """The measures of a task, the leading one first: of a segmentation the means over regions, then each region; no
    distance where it has no mm."""
    if task.name != SEGMENT:
        return ["auc", "balanced_accuracy"]
    regions = list(task.facts["regions"]) if len(task.facts["regions"]) > 1 else []
    in_mm = any(value is not None for row in next(iter(task.arms["", REAL].values()))["hd95"] for value in row)
    kinds = ["dice", "hd95"] if in_mm else ["dice"]
    return [*kinds, *(f"{kind} {region}" for region in regions for kind in kinds)]


def patients(task: Task, measure: str, arm: Scores, seeds: Sequence[int]) -> list[NDArray[np.float64]]:
    """Of each seed a score for each patient: the mean over regions; of a classification the probability that a patient
    gets for the own class, of a detection the mean over that of slices with and without it."""
    if task.name != SEGMENT:
        classes, subjects = np.array(task.facts["truth"]), _subjects(task)
        own = [softmax(np.array(arm[seed]["logits"]), 1)[np.arange(len(classes)), classes] for seed in seeds]
        means = [pd.Series(values).groupby([subjects, classes]).mean() for values in own]
        return [np.asarray(of.groupby(level=0).mean(), np.float64) for of in means]
    return [_over_regions(_regions(task, measure, arm[seed])) for seed in seeds]


def _row(task: Task, measure: str, arm: Scores, real: Scores | None) -> dict[str, Any]:
    """The columns from ``seeds`` to ``p``; real: of the real arm, None for itself."""
    seeds = sorted(arm if real is None else set(arm) & set(real))
    strata = np.array(task.facts["truth"]) if task.name == CLASSIFY else None
    drawn = draws(_count(task, arm), RESAMPLES, 0, strata)
    own = estimate(_outcomes(task, measure, arm, seeds), drawn)
    scored = ~np.isnan(np.array(patients(task, measure, arm, seeds))).all(0)
    found = {"seeds": len(seeds), "patients": int(scored.sum()), "left_out": int((~scored).sum())}
    value, low, high = span(own) if task.name == SEGMENT else share_span(own, _units(task))
    found |= {"value": value, "low": max(low, 0.0), "high": high if measure.startswith("hd95") else min(high, 1.0)}
    if real is None:
        return found
    one, other, p = _paired(task, measure, arm, real, seeds)
    against = span(compare(one, other, drawn))
    if task.name != SEGMENT and against[2] - against[1] < EXACT:
        _, least, most = share_span(estimate(other, drawn), _units(task))
        against = against[0], low - most, high - least
    return found | dict(zip(("difference", "difference_low", "difference_high"), against, strict=True)) | {"p": p}


def mean(task: Task, arm: str) -> float:
    """The leading score of an arm, the mean over seeds and patients; of a task of one variant."""
    scores = next(found for (_, name), found in task.arms.items() if name == arm)
    outcomes = _outcomes(task, LEADING[task.name], scores, sorted(scores))
    everyone = np.arange(_count(task, scores))
    return float(np.mean([outcome.values(everyone[None]) for outcome in outcomes]))


def _paired(
    task: Task, measure: str, arm: Scores, real: Scores, seeds: Sequence[int]
) -> tuple[list[Outcome], list[Outcome], float]:
    """The outcomes of an arm and of the real one that are compared, a network each, and the p-value."""
    if task.name != SEGMENT:
        one, other = (_outcomes(task, measure, of, seeds) for of in (arm, real))
        logits = [[np.array(of[seed]["logits"]) for seed in seeds] for of in (arm, real)]
        if measure != LEADING[task.name]:
            return one, other, math.nan
        return one, other, exchanges(*logits, np.array(task.facts["truth"]), 0, _subjects(task))
    pairs = [
        filled(*(_regions(task, measure, of[seed]) for of in (arm, real)), PERFECT[measure.split()[0]])
        for seed in seeds
    ]
    one, other = ([_over_regions(pair[place]) for pair in pairs] for place in (0, 1))
    differences = np.array(one) - np.array(other)
    p = sign_flips(mean_of_known(differences, 0), 0)
    return [Mean(values) for values in one], [Mean(values) for values in other], p


def _outcomes(task: Task, measure: str, arm: Scores, seeds: Sequence[int]) -> list[Outcome]:
    if task.name != SEGMENT:
        classes = np.array(task.facts["truth"])
        logits = [np.array(arm[seed]["logits"]) for seed in seeds]
        return [Ranked(of, classes, measure == "auc", _subjects(task)) for of in logits]
    return [Mean(values) for values in patients(task, measure, arm, seeds)]


def _subjects(task: Task) -> NDArray[np.int64]:
    """The patient of each of the logits of a classification or a detection."""
    found = task.facts["subjects"] if task.name == DETECT else range(len(task.facts["truth"]))
    return np.array(found)


def _count(task: Task, arm: Scores) -> int:
    """Of test patients."""
    return len(next(iter(arm.values()))["dice"]) if task.name == SEGMENT else int(_subjects(task).max()) + 1


def _regions(task: Task, measure: str, scores: dict[str, Any]) -> NDArray[np.float64]:
    """The scores [patients, regions] of a measure, NaN where there is none."""
    kind, _, region = measure.partition(" ")
    values = np.array(scores[kind], np.float64)
    return values[:, [list(task.facts["regions"]).index(region)]] if region else values


def _over_regions(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return mean_of_known(values, 1)


def span(of: Estimate) -> tuple[float, float, float]:
    """Value and 95 % interval, over seeds if there are several, and over patients."""
    count = len(of.by_seed)
    spread = float(of.by_seed.std(ddof=1)) if count > 1 else 0.0
    half = half_width(LEVEL, count, spread, of.deviation)
    return of.value, of.value - half, of.value + half


def share_span(of: Estimate, units: int) -> tuple[float, float, float]:
    """`span` of an area under the curve or an accuracy. Where it is 0 or 1 in every draw of patients, no draw tells how
    far off it may be: then its interval is that of a share of ``units`` patients."""
    value, low, high = span(of)
    if high - low < EXACT and min(value, 1 - value) < EXACT:
        low, high = wilson(round(value), units)
    return value, max(low, 0.0), min(high, 1.0)


def _units(task: Task) -> int:
    """The patients of the class that has fewest of them."""
    classes, subjects = np.array(task.facts["truth"]), _subjects(task)
    return min(len(np.unique(subjects[classes == name])) for name in np.unique(classes))


def _verdict(row: Any) -> str | None:
    """The word of a row; None for what is descriptive."""
    if row.measure != LEADING.get(row.task) or not _claimed(row.arm):
        return None
    if row.seeds < SEEDS or row.patients < PATIENTS:
        return EXPLORATORY
    if row.difference_low > 0 and row.p_holm < LEVEL:
        return "better"
    if row.difference_low > -row.margin:
        return "not worse"
    return "worse" if row.difference_high < 0 else "cannot say"


def without(cells: Sequence[CellFiles]) -> list[tuple[str, str, str]]:
    """Data set, variant and reason of those that have no task, as far as they have begun."""
    found = {}
    for cell in cells:
        recipe = cell.object("recipe.json")
        if recipe and (reason := cell.unscored() or no_task(recipe["data"], recipe["variant"]["options"])):
            found[cell.dataset, cell.variant] = reason
    return [(*key, reason) for key, reason in found.items()]
