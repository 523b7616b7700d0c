"""The comparison of a study as tables: every score of every seed, and what they add up to per variant.

Two scores share a column only when they are the same measurement: the same metric, extractor, split, numbers of
patients, of their images and of generated ones, truncation, rule by which the snapshot was chosen, and seed of the
generated images. The name of a column says all of these.

How seeds and bootstrap intervals become one interval
    Each seed k gives a value x_k and a 95 % bootstrap interval [l_k, h_k] over the test subjects. Training again (the
    seeds) and other patients (the bootstrap) are two sources of error. The test subjects are the same for all seeds, so
    the bootstrap part does not shrink with more seeds, while the seed part does. With the mean m, the standard
    deviation s over K seeds and Student's t:

        low = m - sqrt((t_{K-1} s / sqrt(K))^2 + mean(x_k - l_k)^2),    high likewise with mean(h_k - x_k).

    With one seed the seed part is unknown and the interval covers the patients alone; the table says so.
"""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import t as student_t

from gan.cells import WHOLE, CellFiles, counted
from gan.errors import GanError
from gan.families.options import Options
from gan.families.registry import make_options
from gan.files import atomic_path, inert
from gan.metrics import facts
from gan.report import cost
from gan.scoring.extractors import registry

MEASURE = [
    *["metric", "extractor", "split", "unit", "n_real", "n_subjects", "n_fake"],
    *["truncation", "choice", "evaluation_seed"],
]
FLOOR = ["floor", "floor_low", "floor_high"]
ABOVE = ["above_floor", "above_floor_low", "above_floor_high"]
WHOLE_NUMBERS = ["n_real", "n_subjects", "n_fake", "evaluation_seed", "n_floor", "n_floor_subjects", "k"]
SEEDS = 3  # of a variant, the fewest of which a claim is made: K signs agree by chance in one of 2^(K - 1) studies
SCORE_COLUMNS = [
    *["dataset", "variant", "contrast", *MEASURE, "seed", "status", "value", "low", "high", *FLOOR, *ABOVE],
    *["n_floor", "n_floor_subjects", "k", "kimg", "device", "cost_hours", *cost.COLUMNS, "run_key", "left_out"],
]
COMPARISON_COLUMNS = [
    *["dataset", "variant", "contrast", *MEASURE, "status", "seeds", "value", "low", "high", "spread", *FLOOR, *ABOVE],
    *["n_floor", "n_floor_subjects", "k", "kimg", "kimg_low", "kimg_high", "device", "cost_hours", *cost.COLUMNS],
    *["left_out", "warnings"],
]


def scores(cells: Iterable[CellFiles]) -> pd.DataFrame:
    """Every score of every cell, a row each (tidy). A cell without scores is one row whose ``status`` says why.

    ``seed`` is the seed of the training, ``evaluation_seed`` that of the generated images; ``kimg`` is the snapshot
    that was scored, ``choice`` the rule by which; ``unit`` is what ``n_real``, ``n_fake`` and ``n_floor`` count;
    ``above_floor`` is the difference of value and floor (`gan.metrics.scores`); ``cost_hours`` counts the hours of
    ``device``, the columns after it are of `cost.record`; ``left_out``: why the variant takes no part in which one is
    better, empty if it does.
    """
    rows = []
    for cell in cells:
        used, recipe = cell.object("cost.json"), cell.object("recipe.json")
        device, hours = cost.device_hours(used)
        base = {
            **{"dataset": cell.dataset, "variant": cell.variant, "seed": cell.seed},
            **{"device": device, "cost_hours": hours, **cost.record(used)},
            "left_out": no_contest(recipe),
        }
        reason = cell.unfinished()
        if reason:
            status = reason if reason.startswith("not scored") else f"not finished: {reason}"
            rows.append({**base, "status": status})
            continue
        result = cell.object("scores.json")
        base |= {"status": "finished", "run_key": result.get("run_key")}
        snapshot = result.get("snapshot") or {}
        base |= {"kimg": snapshot.get("kimg"), "choice": snapshot.get("chosen")}
        for score in result["scores"]:
            own = {key: score.get(key) for key in SCORE_COLUMNS if key in score and key not in base}
            own |= {"contrast": score.get("contrast") or WHOLE, "evaluation_seed": score.get("seed")}
            rows.append({**base, **own, "unit": unit(recipe, score)})
    frame = pd.DataFrame(rows, columns=SCORE_COLUMNS)
    numbers = ["value", "low", "high", *FLOOR, *ABOVE, "truncation", "kimg", "cost_hours", *cost.COLUMNS]
    frame[numbers] = frame[numbers].astype(float)
    frame[WHOLE_NUMBERS] = frame[WHOLE_NUMBERS].astype("Int64")
    return frame


def comparison(seeds: pd.DataFrame) -> pd.DataFrame:
    """One row per dataset x variant x contrast x measurement: mean over seeds with its 95 % interval.

    ``spread`` is the standard deviation between seeds (NaN for one seed), ``seeds`` how many were averaged, ``kimg``,
    ``cost_hours`` and what follows it the mean per seed, of peaks the largest; ``kimg_low`` and ``kimg_high`` the least
    and the most. An interval ends where the range of the metric does. A cell without scores keeps a row with its reason
    in ``status``; a variant of which only some seeds are finished has both. Rows are in the order of ``seeds``, which
    are of `scores`. ``warnings`` is for what `gan.report.trust` says of a variant.
    """
    rows = []
    for keys, group in seeds[seeds.status == "finished"].groupby(
        ["dataset", "variant", "contrast", *MEASURE], sort=False, dropna=False
    ):
        low, high = possible(str(group.metric.iloc[0]), *interval(group))
        above = interval(group, *ABOVE)
        rows.append(
            dict(zip(["dataset", "variant", "contrast", *MEASURE], keys, strict=True))
            | {
                **{"status": "finished", "seeds": len(group), "value": group.value.mean(), "low": low, "high": high},
                **{"spread": group.value.std(ddof=1), **group[FLOOR].mean()},
                **dict(zip(ABOVE, (group.above_floor.mean(), *above), strict=True)),
                **{name: group[name].iloc[0] for name in ("n_floor", "n_floor_subjects", "k")},
                **{"kimg": group.kimg.mean(), "kimg_low": group.kimg.min(), "kimg_high": group.kimg.max()},
                **{"device": group.device.iloc[0], "cost_hours": group.cost_hours.mean()},
                **group[cost.COLUMNS].mean(),
                **group[[*cost.PEAKS]].max(),
                "left_out": group.left_out.iloc[0],
            }
        )
    for _, row in seeds[seeds.status != "finished"].iterrows():
        status = f"seed {row.seed} {row.status}"
        rows.append({**row[["dataset", "variant", "left_out"]].to_dict(), "status": status, "seeds": 0})
    table = pd.DataFrame(rows, columns=COMPARISON_COLUMNS)
    table["warnings"] = ""
    return table.astype(dict.fromkeys([*WHOLE_NUMBERS, "seeds"], "Int64"))


def interval(group: pd.DataFrame, value: str = "value", low: str = "low", high: str = "high") -> tuple[float, float]:
    """The 95 % interval of the mean of a column from seeds and bootstrap together (formula: module docstring).

    NaN twice when there is neither a second seed nor a bootstrap interval.
    """
    count, values = len(group), group[value]
    if group[[low, high]].isna().any().any():
        if count < 2:
            return math.nan, math.nan
        below = above = 0.0
    else:
        below = (values - group[low]).clip(lower=0).mean()
        above = (group[high] - values).clip(lower=0).mean()
    between = 0.0
    if count > 1:
        between = student_t.ppf(0.975, count - 1) * values.std(ddof=1) / math.sqrt(count)
    mean = float(values.mean())
    return mean - math.hypot(between, below), mean + math.hypot(between, above)


def possible(metric: str, *values: float) -> list[float]:
    """``values`` cut off at the ends of the range of ``metric``."""
    known = facts.fact(metric)
    return [min(max(value, known.low), known.high) if known and value == value else value for value in values]


def no_contest(recipe: dict[str, Any]) -> str:
    """Why a variant with this recipe takes no part in which one is better (`gan.families.options.Options.no_contest`);
    empty if it does, or if its family is not known here."""
    options, data = _options(recipe), recipe.get("data")
    return options.no_contest(isinstance(data, dict) and bool(data.get("translate"))) if options else ""


def varies(recipe: dict[str, Any]) -> bool:
    """Whether another seed gives a variant with this recipe another result (`gan.families.options.Options.varies`)."""
    options = _options(recipe)
    return options is None or options.varies()


def _options(recipe: dict[str, Any]) -> Options | None:
    """Those of a recipe; None if its family is not known here."""
    try:
        return make_options(recipe["variant"]["family"], recipe["variant"]["options"])
    except (GanError, KeyError, TypeError, AttributeError):
        return None


def unit(recipe: dict[str, Any], score: dict[str, Any]) -> str:
    """What the numbers of a ``score`` count (`gan.cells.counted`). Of volumes an extractor of images sees slices."""
    data = recipe.get("data")
    images = counted(data if isinstance(data, dict) else {})
    return "slices" if images == "volumes" and not registry.sees_volumes(str(score.get("extractor"))) else images


def contest(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of variants that take part in which one is better."""
    return rows.loc[rows.left_out == ""]


def same(frame: pd.DataFrame, measure: tuple) -> pd.Series:
    """Mask of the rows of ``frame`` with this measurement; unknown numbers match unknown numbers."""
    mask = pd.Series(True, index=frame.index)
    for name, wanted in zip(MEASURE, measure, strict=True):
        mask &= frame[name].isna() if pd.isna(wanted) else frame[name].eq(wanted).fillna(False)
    return mask


def claims(rows: pd.DataFrame) -> bool:
    """Whether variants may be said to differ: each was trained with `SEEDS` seeds or more, whose values differ.

    An interval over patients does not hold the chance of training.
    """
    return all(seeds >= SEEDS and spread > 0 for seeds, spread in zip(rows.seeds, rows.spread, strict=True))


def best(rows: pd.DataFrame) -> int | None:
    """Index label of the row that is better than every other of one measurement, or None.

    Better is claimed only if its interval overlaps no other one, only between two rows or more, only where `claims`
    allows it, and only among those that take part (`contest`).
    """
    rows = contest(rows)
    sign = facts.direction(str(rows.metric.iloc[0])) if len(rows) else 0
    if sign == 0 or len(rows) < 2 or rows[["low", "high"]].isna().any().any() or not claims(rows):
        return None
    leader = rows.value.idxmax() if sign > 0 else rows.value.idxmin()
    others = rows.drop(index=leader)
    clear = rows.low[leader] > others.high.max() if sign > 0 else rows.high[leader] < others.low.min()
    return leader if clear else None


def leads(table: pd.DataFrame, cells: Iterable[CellFiles]) -> dict[str, str | None]:
    """The metric that leads, by data set: the one that chose its snapshots, else `headline`'s. A small data set has no
    encoder of its own, a translation other scores; None without any score."""
    cells = list(cells)
    names = dict.fromkeys(cell.dataset for cell in cells)
    return {
        name: headline(table[table.dataset == name], chosen_by(cell for cell in cells if cell.dataset == name))
        for name in names
    }


def headline(table: pd.DataFrame, wanted: str | None = None) -> str | None:
    """The metric that leads the report: ``wanted`` if there, else the first in the order of `gan.metrics.facts`."""
    metrics = list(table.metric.dropna().unique())
    return wanted if wanted in metrics else min(metrics, key=facts.rank, default=None)


def chosen_by(cells: Iterable[CellFiles]) -> str | None:
    """The metric that chose the snapshots, from the first finished cell."""
    for cell in cells:
        metric = (cell.object("scores.json").get("snapshot") or {}).get("metric")
        if metric:
            return metric
    return None


def measure_label(row: Any) -> str:
    """The header of a column: metric with its direction and k, extractor, numbers of patients and of images, split,
    and what else decides the value."""
    arrow = {-1: " ↓", 0: "", 1: " ↑"}[facts.direction(str(row.metric))]
    k = getattr(row, "k", math.nan)
    name = f"{facts.title(str(row.metric))}{arrow}" + ("" if bool(pd.isna(k)) else f" k={k:.0f}")
    return f"{name} ({'; '.join(conditions(row))})"


def conditions(row: Any) -> list[str]:
    """What a score depends on, in words: everything of `MEASURE` but the metric; what is unknown is left out."""
    real = f"{_count(row.n_subjects)} patients, {_count(row.n_real)} {row.unit}"
    found = [str(row.extractor), real, f"{_count(row.n_fake)} generated", str(row.split)]
    if isinstance(row.choice, str):
        found.append("last snapshot" if row.choice == "final" else f"{row.choice} snapshot")
    if not pd.isna(row.truncation) and row.truncation != 1:
        found.append(f"truncation {row.truncation:g}")
    if not pd.isna(row.evaluation_seed) and row.evaluation_seed != 0:
        found.append(f"images of seed {row.evaluation_seed:.0f}")
    return found


def number(value: float, digits: int = 3) -> str:
    """``value`` to significant digits, without an exponent where it can be read without; a dash for NaN."""
    if value is None or pd.isna(value):
        return "–"
    if value != 0 and (abs(value) < 1e-4 or abs(value) >= 1e6):
        return f"{value:.{digits - 1}e}"
    decimals = 0 if value == 0 else max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def signed(value: float) -> str:
    """A difference as `number` with its sign."""
    return number(value) if pd.isna(value) or value == 0 else f"{'+' if value > 0 else '−'}{number(abs(value))}"


def duration(hours: float, device: str = "") -> str:
    """Hours for people, in s, min or h, of ``device``: ``12 GPU min``, ``3.40 GPU h``; a dash for NaN."""
    if pd.isna(hours):
        return "–"
    seconds = 3600 * hours
    value, unit = (number(hours), "h") if hours >= 2 else (f"{seconds / 60:.0f}", "min")
    if seconds < 90:
        value, unit = f"{seconds:.0f}", "s"
    return " ".join(filter(None, (value, device, unit)))


def leading_contrast(names: Iterable[str]) -> str | None:
    """The contrast of which claims are made: the mean over all, else the first one; None without any."""
    found = list(dict.fromkeys(names))
    return WHOLE if WHOLE in found else next(iter(found), None)


def _count(value: Any) -> str:
    return "?" if pd.isna(value) else f"{value:.0f}"


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a tidy table, whole or not at all."""
    with atomic_path(path) as temporary:
        table.map(inert).to_csv(temporary, index=False)
