"""Each variant against the baseline that it modifies: differences of the same seeds, their intervals, a plain word.

How a difference gets its interval and its p-value
    Seed k gives d_k = variant - baseline, the two trained and scored under the same seed. Training again and other
    patients are two sources of error. The patients are the same in all seeds and in both variants: the bootstrap drew
    the same subjects for both, so the replicates of the difference are differences of replicates, and what makes a
    patient easy or hard for both cancels. With the mean d and standard deviation s of the d_k over K seeds, and the
    standard deviation b of the replicates of d, the half width of the interval at the level 1 - a is

        h(a) = sqrt((t_{K-1, 1-a/2} s / sqrt(K))^2 + (z_{1-a/2} b)^2),

    margins joined in quadrature (Zou and Donner 2008) as in `gan.report.table`. p is the a at which h(a) = abs(d).
    Without replicates it is that of the paired t-test, and the interval covers the seeds alone. A baseline that no seed
    changes, such as a table of grey levels, has one cell, which is that of every seed.

How words are given
    Only the leading metric gets a word, and only for the mean over contrasts: it was named before the results. The
    p-values of all modifications in it are adjusted by Holm (1979), so that the chance of a single false word among
    them stays below 5 %. All other metrics are descriptive: a difference with its interval, which is not adjusted.
    Fewer than three seeds, or seeds without spread, get no word: two seeds agree in sign every other time. Nor does a
    variant that takes no part (`gan.report.table.no_contest`).
"""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm
from scipy.stats import t as student_t

from gan.cells import CellFiles
from gan.metrics.facts import direction, training
from gan.report.context import shown
from gan.report.table import MEASURE, SEEDS, WHOLE_NUMBERS, leading_contrast, no_contest, varies
from gan.study import differences

LEVEL = 0.05
SMALLEST_P = 1e-12
DESCRIPTIVE = "descriptive"  # instead of a word
COLUMNS = [
    *["dataset", "variant", "baseline", "differs", "contrast", *MEASURE, "status", "seeds", "seed_list"],
    *["difference", "low", "high", "spread", "covers", "p", "p_holm", "verdict"],
]


def by_seed(cells: Sequence[CellFiles], seeds: pd.DataFrame, baselines: Mapping[str, str]) -> pd.DataFrame:
    """The difference of every score to that of the baseline under the same seed, a row each.

    seeds: `gan.report.table.scores` of ``cells``. Columns: those of ``seeds``, ``baseline``, ``baseline_seed``, and
    ``difference``, variant minus baseline. Scores pair only within a data set and under the same measurement, contrast
    and seed, that of the training and that of the evaluation; those against the training images do not.
    """
    done = seeds[(seeds.status == "finished") & ~seeds.metric.map(lambda metric: training(str(metric)))]
    mine = done.assign(baseline=done.variant.map(baselines)).dropna(subset="baseline")
    keys = ["dataset", "baseline", "contrast", *MEASURE]
    names = {"variant": "baseline", "value": "baseline_value", "seed": "baseline_seed"}
    theirs = done.rename(columns=names)[[*keys, "baseline_value", "baseline_seed"]]
    joined = mine.merge(theirs, on=keys)
    fixed = {(cell.dataset, cell.variant) for cell in cells if not varies(cell.object("recipe.json"))}
    every = np.array([pair in fixed for pair in zip(joined.dataset, joined.baseline, strict=True)], bool)
    joined = joined[every | (joined.seed == joined.baseline_seed)]
    return joined.assign(difference=joined.value - joined.baseline_value)


def compare(
    cells: Sequence[CellFiles], joined: pd.DataFrame, baselines: Mapping[str, str], leads: Mapping[str, str | None]
) -> pd.DataFrame:
    """A row for each data set x variant with a baseline x contrast x measurement; joined: `by_seed` of ``cells``.

    leads: the metric that leads each data set, whose mean over contrasts alone has ``p``, ``p_holm`` and ``verdict``.

    ``difference``: mean over the ``seeds`` that both have (``seed_list``) with its 95 % interval; ``spread``: standard
    deviation over them; ``covers``: what the interval is over; ``p``: of no difference, NaN where nothing is claimed;
    ``p_holm``: adjusted for all pairs of the measurement; ``verdict``: better, worse, no evidence (higher and lower
    where neither is better); ``differs``: the settings, baseline first. A pair that cannot be compared is one row whose
    ``status`` says why.
    """
    drawn = _Replicates(cells)
    rows = []
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        mine, lead = [cell for cell in cells if cell.dataset == dataset], leads.get(dataset)
        for variant in dict.fromkeys(cell.variant for cell in mine):
            if variant not in baselines:
                continue
            pair = {"dataset": dataset, "variant": variant, "baseline": baselines[variant]}
            pair["differs"] = _differs(mine, variant, baselines[variant])
            own = joined[(joined.dataset == dataset) & (joined.variant == variant)]
            if own.empty:
                rows.append({**pair, "status": _why_not(mine, variant, baselines[variant])})
            claimed = lead, leading_contrast(own.contrast[own.metric == lead])
            aside = any(_no_contest(mine, name) for name in (variant, baselines[variant]))
            for keys, group in own.groupby(["contrast", *MEASURE], sort=False, dropna=False):
                measured = dict(zip(["contrast", *MEASURE], keys, strict=True))
                found = _estimate(group, drawn)
                if aside or (measured["metric"], measured["contrast"]) != claimed:
                    found |= {"p": math.nan, "verdict": DESCRIPTIVE}
                rows.append({**pair, **measured, "status": "compared", **found})
    whole = [name for name in (*WHOLE_NUMBERS, "seeds") if name in COLUMNS]
    table = pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(whole, "Int64"))
    table["p_holm"] = table.groupby(["dataset", "contrast", *MEASURE], dropna=False).p.transform(holm)
    table["verdict"] = [_verdict(row) if row.status == "compared" else None for row in table.itertuples()]
    return table


def half_width(alpha: float, count: int, spread: float, patients: float) -> float:
    """h(a) of the module docstring. spread: s over ``count`` seeds, unused for one; patients: b, 0 if unknown."""
    between = student_t.isf(alpha / 2, count - 1) * spread / math.sqrt(count) if count > 1 else 0.0
    return math.hypot(between, norm.isf(alpha / 2) * patients)


def p_value(difference: float, count: int, spread: float, patients: float) -> float:
    """The level at which the interval just reaches 0, from `SMALLEST_P` to 1; 1 for no difference at all."""
    if difference == 0:
        return 1.0
    if half_width(SMALLEST_P, count, spread, patients) < abs(difference):
        return SMALLEST_P

    def excess(power: float) -> float:
        return half_width(10**power, count, spread, patients) - abs(difference)

    return 10 ** float(brentq(excess, math.log10(SMALLEST_P), 0))


def holm(p: pd.Series) -> pd.Series:
    """p-values adjusted for their number (Holm 1979); NaN is no test and stays NaN."""
    known = p.dropna().sort_values()
    adjusted = known * np.arange(len(known), 0, -1)
    return adjusted.cummax().clip(upper=1).reindex(p.index).astype(float)


def _estimate(group: pd.DataFrame, drawn: "_Replicates") -> dict[str, Any]:
    """The columns of `compare` from ``seeds`` to ``p`` for the seeds of one pair and measurement."""
    count, mean = len(group), float(group.difference.mean())
    spread = float(group.difference.std(ddof=1))
    patients = drawn.deviation(group)
    known = 0.0 if math.isnan(patients) else patients
    sources = ["seeds"] * (count > 1) + ["patients"] * (not math.isnan(patients))
    half = half_width(LEVEL, count, spread, known) if sources else math.nan
    return {
        **{"seeds": count, "seed_list": " ".join(map(str, sorted(group.seed))), "difference": mean},
        **{"low": mean - half, "high": mean + half, "spread": spread, "covers": " and ".join(sources) or "nothing"},
        "p": p_value(mean, count, spread, known) if count >= SEEDS and spread > 0 else math.nan,
    }


def _verdict(row: Any) -> str:
    if row.verdict == DESCRIPTIVE:
        return DESCRIPTIVE
    if row.seeds < SEEDS:
        return f"no evidence ({'one seed' if row.seeds < 2 else 'two seeds'})"
    if math.isnan(row.p):
        return "no evidence (no spread)"
    if row.p_holm >= LEVEL:
        return "no evidence"
    sign = direction(str(row.metric))
    if sign == 0:
        return "higher" if row.difference > 0 else "lower"
    return "better" if sign * row.difference > 0 else "worse"


class _Replicates:
    """The bootstrap replicates of the cells, read once each."""

    NAMED = ("metric", "contrast", "extractor", "n_real", "n_fake", "seed")

    def __init__(self, cells: Sequence[CellFiles]):
        self.cells = {(cell.dataset, cell.variant, cell.seed): cell for cell in cells}
        self.known: dict[tuple, dict[tuple, list[float]]] = {}

    def deviation(self, group: pd.DataFrame) -> float:
        """Standard deviation over resamples of the mean difference of ``group``; NaN unless all its cells have them."""
        found = []
        for row in group.itertuples():
            key = (row.metric, row.contrast, row.extractor, row.n_real, row.n_fake, row.evaluation_seed)
            sides = (row.variant, row.seed), (row.baseline, row.baseline_seed)
            own, other = (self._of(row.dataset, *side).get(key, []) for side in sides)
            if len(own) < 2 or len(own) != len(other):
                return math.nan
            found.append(np.subtract(own, other))
        return _deviation(found)

    def _of(self, *cell: Any) -> dict[tuple, list[float]]:
        if cell not in self.known:
            files = self.cells[cell]
            said = files.object("replicates.json")
            current = said.get("run_key") == files.object("scores.json").get("run_key")
            rows = said.get("rows", []) if current else []
            self.known[cell] = {tuple(row[name] for name in self.NAMED): row["values"] for row in rows}
        return self.known[cell]


def _deviation(differences: Sequence[NDArray]) -> float:
    lengths = {len(one) for one in differences}
    return float(np.mean(differences, 0).std(ddof=1)) if len(lengths) == 1 else math.nan


def _differs(cells: Sequence[CellFiles], variant: str, baseline: str) -> str:
    """``augment: none → mri; training.kimg: 500 → 1000`` by the recipes of the first seed of each; empty without."""
    recipes = []
    for name in (variant, baseline):
        found = (cell.object("recipe.json") for cell in cells if cell.variant == name)
        recipes.append(next(filter(None, found), None))
    if None in recipes:
        return ""
    changed = differences(*recipes)
    return "; ".join(f"{key}: {shown(old)} → {shown(new)}" for key, (old, new) in changed.items()) or "nothing"


def _no_contest(cells: Sequence[CellFiles], variant: str) -> bool:
    recipes = (cell.object("recipe.json") for cell in cells if cell.variant == variant)
    return bool(no_contest(next(filter(None, recipes), {})))


def _why_not(cells: Sequence[CellFiles], variant: str, baseline: str) -> str:
    if all(cell.variant != baseline for cell in cells):
        return f"left out: its baseline {baseline} is not in the study"
    seeds = [
        {cell.seed for cell in cells if cell.variant == name and cell.unfinished() is None}
        for name in (variant, baseline)
    ]
    if not seeds[0] & seeds[1]:
        return f"left out: no seed is finished of both it and its baseline {baseline}"
    return f"left out: it and its baseline {baseline} share no measurement"
