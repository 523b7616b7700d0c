"""From the tidy comparison to what a person reads: wide tables, plain-word verdicts, Markdown.

HTML and Markdown are made from the same `Wide` tables, so that they cannot say different things.
"""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from gan.cells import CLASS, JOINT, side_of
from gan.metrics.facts import direction, floor_of, training
from gan.report import cost
from gan.report import table as tables
from gan.report.table import MEASURE, WHOLE, measure_label, number, signed
from gan.report.verdict import Trusted, verdict
from gan.scoring.extractors import registry

UNTRAINED = "not trained"  # in the place of a kimg
# Of scores against the training images, as they are published.
AGAINST_TRAINING = (
    "As published: against the training images, where copying them wins. Descriptive; compare variants by the scores "
    "of unseen patients."
)
HEADINGS = {WHOLE: "Mean over contrasts", JOINT: "The contrasts of a sample together"}


@dataclass(frozen=True)
class Column:
    """One measurement: metric with direction (``KID ↓``), and its details (`gan.report.table.conditions`)."""

    title: str
    details: list[str]


@dataclass(frozen=True)
class Entry:
    """One score in a wide table: the mean over seeds, its interval, and its difference to the floor of real images."""

    value: str
    interval: str = ""
    above: str = ""
    best: bool = False


@dataclass
class Line:
    """One variant in a wide table; ``entries`` align with the columns, ``status`` says what is unfinished, ``warnings``
    what speaks against it (`gan.report.trust`), ``note`` why it takes no part in which variant is better."""

    variant: str
    entries: list[Entry | None] = field(default_factory=list)
    seeds: str = ""
    kimg: str = ""
    cost: str = ""
    hours: float = math.nan
    status: str = ""
    warnings: str = ""
    note: str = ""


@dataclass
class Wide:
    """The variants of one dataset and contrast against the metrics measured under the same conditions.

    conditions: of `gan.report.table.conditions`; ``floor`` aligns with ``columns``, floor_of says whose it is; note:
    what has to be said of scores against the training images, which have no floor.
    """

    dataset: str
    contrast: str
    conditions: str
    columns: list[Column]
    lines: list[Line]
    floor: list[str]
    floor_of: str = ""
    note: str = ""


def contrasts(table: pd.DataFrame, dataset: str) -> list[str]:
    """The contrasts scored for ``dataset``: their mean (``all``) first, then what sees them together (``joint``), each,
    the directions of the way back, and classes.

    With a single contrast the mean alone, and the way back, which is in no mean.
    """
    found, back = _scored(table, dataset), way_back(table, dataset)
    classes = [name for name in found if name.startswith(CLASS)]
    single = sorted((name for name in found if name not in (WHOLE, *classes)), key=lambda name: name != JOINT)
    single = [name for name in single if name not in back]
    return [WHOLE] * (WHOLE in found) + (single if len(single) > 1 or WHOLE not in found else []) + back + classes


def way_back(table: pd.DataFrame, dataset: str) -> list[str]:
    """The directions of the way back: a cell's scores begin with those of the way that the data set asks for."""
    names = _scored(table, dataset)
    asked = next((side for name in names if (side := side_of(name))), "")
    return [name for name in names if side_of(name) not in ("", asked)]


def heading(contrast: str, back: Sequence[str]) -> str:
    """What the tables of ``contrast`` are called; back: of `way_back`."""
    way = "Way back, " if contrast in back else "" if contrast.startswith(CLASS) else "Contrast "
    return HEADINGS.get(contrast) or way + contrast


def _scored(table: pd.DataFrame, dataset: str) -> list[str]:
    return list(table[(table.dataset == dataset) & (table.status == "finished")].contrast.unique())


def wide(table: pd.DataFrame, dataset: str, contrast: str, lead: str | None) -> list[Wide]:
    """The tables of one dataset and contrast, one for each set of conditions; those of the metric ``lead`` first."""
    rows = table[table.dataset == dataset]
    done = rows[(rows.status == "finished") & (rows.contrast == contrast)]
    if contrast in way_back(table, dataset):  # families of one way have none
        rows = rows[rows.variant.isin(done.variant)]
    return [_wide(rows, group, dataset, contrast, lead) for group in by_conditions(done, lead)]


def by_conditions(rows: pd.DataFrame, lead: str | None) -> list[pd.DataFrame]:
    """``rows`` apart by all that a score depends on but its metric: descriptive ones, then those of ``lead``; those
    against the training images last."""
    groups = [group for _, group in rows.groupby(MEASURE[1:], dropna=False, sort=False)]

    def place(group: pd.DataFrame) -> tuple[bool, ...]:
        return against_training(group), not descriptive(group, lead), lead not in set(group.metric)

    return sorted(groups, key=place)


def descriptive(rows: pd.DataFrame, lead: str | None) -> bool:
    """Whether ``rows``, of one extractor, are for reading alone: the metric ``lead`` is of another one, or they compare
    with the training images."""
    other = lead not in set(rows.metric) and registry.descriptive(str(rows.extractor.iloc[0]))
    return other or against_training(rows)


def against_training(rows: pd.DataFrame) -> bool:
    """Whether ``rows``, measured under the same conditions, compare with the training images."""
    return any(map(training, rows.metric))


def _wide(rows: pd.DataFrame, done: pd.DataFrame, dataset: str, contrast: str, lead: str | None) -> Wide:
    """``rows``: all of the dataset, for what is not finished; ``done``: scores under the same conditions."""
    metrics = sorted(done.metric.unique(), key=lambda name: name != lead)
    groups = [done[done.metric == name] for name in metrics]
    read, published = descriptive(done, lead), against_training(done)
    claimed = contrast == next(iter(contrasts(rows, dataset)), None)
    winners = [_best(group) if name == lead and claimed else None for name, group in zip(metrics, groups, strict=True)]
    columns = [column(group.iloc[0], read) for group in groups]
    lines = []
    for variant in dict.fromkeys(rows.variant) if published else _ranked(rows, groups[0]):
        mine = done[done.variant == variant]
        entries = [_entry(group[group.variant == variant], win) for group, win in zip(groups, winners, strict=True)]
        open_cells = rows[(rows.variant == variant) & (rows.status != "finished")].status
        if mine.empty and open_cells.empty:  # its scores are under other conditions
            continue
        reasons = rows.left_out[rows.variant == variant]
        line = Line(variant, entries, status="; ".join(open_cells), note=next(filter(None, reasons), ""))
        if len(mine):
            first = mine.iloc[0]
            line.warnings = str(first.warnings)
            line.seeds, line.kimg = str(int(first.seeds)), _kimg(first)
            line.cost, line.hours = tables.duration(first.cost_hours, first.device), first.cost_hours
        lines.append(line)
    conditions = ", ".join(columns[0].details)
    if published:
        return Wide(dataset, contrast, conditions, columns, lines, [], note=AGAINST_TRAINING)
    floors = [_floor(group.iloc[0]) for group in groups]
    return Wide(dataset, contrast, conditions, columns, lines, floors, _floor_of(groups[0].iloc[0]))


def _kimg(row: pd.Series) -> str:
    """The snapshots of the seeds: one kimg, or from the least to the most."""
    if pd.isna(row.kimg):
        return UNTRAINED
    low, high = f"{row.kimg_low:g}", f"{row.kimg_high:g}"
    return low if low == high else f"{low} to {high}"


def _best(rows: pd.DataFrame) -> int | None:
    """`gan.report.table.best`, unless something speaks against it."""
    winner = tables.best(rows)
    return None if winner is None or rows.warnings[winner] else winner


def _floor(row: pd.Series) -> str:
    span = "" if pd.isna(row.floor_low) else f" ({number(row.floor_low)} to {number(row.floor_high)})"
    return number(row.floor) + span


def _floor_of(row: pd.Series) -> str:
    if pd.isna(row.n_floor):
        return f"floor: {floor_of(str(row.metric))}"
    return f"floor: {row.n_floor_subjects} unseen patients, {row.n_floor} {row.unit}"


def _ranked(rows: pd.DataFrame, first: pd.DataFrame) -> list[str]:
    """Variants by the first column, the best first; then those that take no part, last those without a score."""
    order = first.sort_values("value", ascending=direction(str(first.metric.iloc[0])) < 0)
    order = order.sort_values("left_out", key=lambda reasons: reasons != "", kind="stable")
    return list(dict.fromkeys([*order.variant, *rows.variant]))


def column(row: pd.Series, read: bool) -> Column:
    """The column of the measurement of ``row``; read: it is `descriptive`."""
    title, _, details = measure_label(row).partition(" (")
    return Column(title.replace(" ", "\u00a0"), [*details.removesuffix(")").split("; "), *["descriptive"] * read])


def _entry(rows: pd.DataFrame, winner: int | None) -> Entry | None:
    if rows.empty:
        return None
    row = rows.iloc[0]
    span = "" if pd.isna(row.low) else f"{number(row.low)} to {number(row.high)}"
    above = "" if pd.isna(row.above_floor) else f"floor {signed(row.above_floor)}"
    if above and not pd.isna(row.above_floor_low):
        above += f" ({signed(row.above_floor_low)} to {signed(row.above_floor_high)})"
    return Entry(number(row.value), span, above, rows.index[0] == winner)


def markdown_trust(found: Trusted | None) -> str:
    """`trusted` as Markdown."""
    if found is None:
        return ""
    lines = [f"Can {escape(found.variant)} be trusted? {escape(' '.join(found.sentences))}\n"]
    lines += [f"- {escape(variant)} {warnings}." for variant, warnings in found.others]
    return "\n".join(lines) + "\n"


def markdown(
    title: str,
    table: pd.DataFrame,
    leads: Mapping[str, str | None],
    sections: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """The comparison as Markdown: per dataset the verdict, a table per contrast, what is missing, what it cost.

    leads: of each dataset the metric that leads. sections: further parts of each dataset, shown under its first table.
    """
    parts = [f"# {escape(title)}\n"]
    for dataset in table.dataset.unique():
        lead = leads.get(dataset)
        parts.append(f"## {escape(dataset)}\n")
        parts.append(escape(" ".join(verdict(table, dataset, lead))) + "\n")
        names, back = contrasts(table, dataset), way_back(table, dataset)
        for contrast in names:
            grids = "\n".join(_markdown_table(grid) for grid in wide(table, dataset, contrast, lead))
            parts.append(f"### {escape(heading(contrast, back))}\n\n{grids}")
            parts += (sections or {}).get(dataset, []) if contrast == names[0] else []
        missing = table[(table.dataset == dataset) & (table.status != "finished")]
        if len(missing):
            listed = "\n".join(f"- {escape(row.variant)}: {escape(row.status)}" for row in missing.itertuples())
            parts.append(f"### Without scores\n\n{listed}\n")
        parts.append(_markdown_cost(table[(table.dataset == dataset) & (table.status == "finished")]))
    parts.append(
        "Mean over seeds (95 % interval over patients and seeds), difference to the floor. Bold, of the leading metric "
        "alone: its interval overlaps no other one. Floor: real images of unseen patients instead of generated ones; "
        "of a translation's errors, those of a table of grey levels.\n"
    )
    return "\n".join(part for part in parts if part)


def _markdown_cost(done: pd.DataFrame) -> str:
    """The cost of a run of each variant; empty if no run is finished."""
    if done.empty:
        return ""
    header = ["variant", *(name.replace("_", " ") for name in cost.COLUMNS)]
    rows = [
        [escape(row.variant), *(number(row[name]) for name in cost.COLUMNS)]
        for _, row in done.drop_duplicates("variant").iterrows()
    ]
    note = "Means over seeds, of peaks (GiB) the largest; scoring is not in them.\n"
    return f"### Cost per training run\n\n{markdown_rows(header, rows)}\n{note}"


def _markdown_table(grid: Wide) -> str:
    header = [
        "variant",
        *(f"{column.title} ({'; '.join(column.details)})" for column in grid.columns),
        "seeds",
        "kimg",
        "cost per run",
    ]
    rows = []
    for line in grid.lines:
        cells = [_markdown_entry(entry) for entry in line.entries]
        said = ", ".join(filter(None, [line.note, line.warnings]))
        name = f"{line.variant} ({said})" if said else line.variant
        rows.append([escape(name), *cells, line.seeds or "not finished", line.kimg, line.cost])
    if grid.note:
        return f"{markdown_rows(header, rows)}\n{grid.note}\n"
    rows.append([f"*{grid.floor_of}*", *grid.floor, "", "", ""])
    return markdown_rows(header, rows)


def markdown_rows(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, numbers to the right; cells are escaped already."""
    lines = [header, [":--", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines) + "\n"


def _markdown_entry(entry: Entry | None) -> str:
    if entry is None:
        return "–"
    value = f"**{entry.value}**" if entry.best else entry.value
    text = f"{value} ({entry.interval})" if entry.interval else value
    return f"{text}, {entry.above}" if entry.above else text


def escape(text: str) -> str:
    """Names as text: Markdown and HTML of their own do not work."""
    text = str(text).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{char}" if char in "\\`*[]|" else char for char in text).replace("\n", " ")
