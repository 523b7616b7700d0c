"""The best snapshot of a run by each metric, next to the chosen one: as a tidy and as a readable table."""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from gan.cells import CellFiles
from gan.metrics.facts import direction
from gan.report.table import MEASURE, WHOLE, number
from gan.report.view import (
    AGAINST_TRAINING,
    Column,
    against_training,
    by_conditions,
    column,
    descriptive,
    escape,
    markdown_rows,
)


def best_snapshots(rows: pd.DataFrame, cells: Sequence[CellFiles]) -> pd.DataFrame:
    """The best snapshot of each run by each metric that has a direction, and what the chosen snapshot has in it.

    rows: of `curve_rows`. Columns: dataset, variant, seed, contrast, `MEASURE`, ``kimg`` and ``value`` of the best (the
    earlier of equals; never the untrained one), ``chosen_kimg`` and ``chosen`` (NaN before the run is scored).
    """
    chosen = {
        (cell.dataset, cell.variant, cell.seed): (cell.object("scores.json").get("snapshot") or {}).get("kimg")
        for cell in cells
    }
    found = []
    keys = ["dataset", "variant", "seed", "contrast", *MEASURE]
    for key, run in rows[rows.kimg > 0].groupby(keys, sort=False, dropna=False):
        named = dict(zip(keys, key, strict=True))
        sign = direction(named["metric"])
        if sign == 0:
            continue
        run = run.sort_values("kimg")
        best = run.loc[run.value.idxmax() if sign > 0 else run.value.idxmin()]
        kimg = chosen[named["dataset"], named["variant"], named["seed"]]
        there = run.value[run.kimg == kimg]
        end = {"chosen_kimg": kimg, "chosen": there.iloc[0] if len(there) else math.nan}
        found.append({**named, "kimg": best.kimg, "value": best.value, **end})
    frame = pd.DataFrame(found, columns=[*keys, "kimg", "value", "chosen_kimg", "chosen"])
    return frame.astype({"kimg": float, "value": float, "chosen_kimg": float, "chosen": float})


@dataclass(frozen=True)
class Best:
    """The best snapshot by one metric: its value, its kimg, and the value of the chosen one (empty if that is it)."""

    value: str
    kimg: str
    chosen: str


@dataclass(frozen=True)
class Run:
    """One training run; ``kimg`` is the chosen snapshot, ``entries`` align with the columns."""

    variant: str
    seed: str
    kimg: str
    entries: list[Best | None]


@dataclass(frozen=True)
class Snapshots:
    """The runs of a dataset, scored under the same conditions."""

    conditions: str
    columns: list[Column]
    lines: list[Run]
    note: str = ""


def tables(best: pd.DataFrame, lead: str | None) -> list[Snapshots]:
    """The tables of one dataset for the mean over contrasts, one for each set of conditions; ``lead`` first."""
    return [_table(group, lead) for group in by_conditions(best[best.contrast == WHOLE], lead)]


def _table(rows: pd.DataFrame, lead: str | None) -> Snapshots:
    metrics = sorted(rows.metric.unique(), key=lambda name: name != lead)
    read = descriptive(rows, lead)
    columns = [column(rows[rows.metric == name].iloc[0], read) for name in metrics]
    lines = []
    for (variant, seed), mine in rows.groupby(["variant", "seed"], sort=False):
        kimg = mine.chosen_kimg.iloc[0]
        entries = [_entry(mine[mine.metric == name]) for name in metrics]
        lines.append(Run(str(variant), str(seed), "" if math.isnan(kimg) else f"{kimg:g}", entries))
    note = AGAINST_TRAINING if against_training(rows) else ""
    return Snapshots(", ".join(columns[0].details), columns, lines, note)


def _entry(rows: pd.DataFrame) -> Best | None:
    if rows.empty:
        return None
    row = rows.iloc[0]
    chosen = "" if math.isnan(row.chosen) or row.kimg == row.chosen_kimg else number(row.chosen)
    return Best(number(row.value), f"{row.kimg:g}", chosen)


def markdown(best: pd.DataFrame, lead: str | None) -> str:
    """The tables of one dataset as Markdown; empty without snapshots."""
    parts = []
    for table in tables(best, lead):
        titles = (f"{one.title} ({'; '.join(one.details)})" for one in table.columns)
        rows = [
            [escape(run.variant), run.seed, run.kimg or "–", *map(_markdown_entry, run.entries)] for run in table.lines
        ]
        parts.append(markdown_rows(["variant", "seed", "chosen kimg", *titles], rows))
        parts += [f"{table.note}\n"] if table.note else []
    if not parts:
        return ""
    note = "The best value of each metric, its kimg, and what the chosen snapshot has, where that is another one.\n"
    return "### Best snapshot of each metric\n\n" + "\n".join([*parts, note])


def _markdown_entry(entry: Best | None) -> str:
    if entry is None:
        return "–"
    return f"{entry.value} at {entry.kimg}" + (f", chosen {entry.chosen}" if entry.chosen else "")
