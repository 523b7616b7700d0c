"""The pairs of `gan.report.pairs` as a person reads them: tables, a sentence, Markdown."""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

import math
from dataclasses import dataclass

import pandas as pd

from gan.metrics.facts import title
from gan.report.pairs import DESCRIPTIVE
from gan.report.table import MEASURE, leading_contrast, signed
from gan.report.verdict import enumerated
from gan.report.view import Column, by_conditions, column, descriptive, escape, markdown_rows

# In the order of a sentence.
WORDS = (
    *("better", "worse", "higher", "lower", "no evidence", "no evidence (one seed)", "no evidence (two seeds)"),
    "no evidence (no spread)",
)


@dataclass(frozen=True)
class Difference:
    """The difference of one metric: its mean over seeds, the interval (empty if unknown), and the word of the leading
    one (empty of others)."""

    value: str
    interval: str
    verdict: str


@dataclass(frozen=True)
class Pair:
    """One variant and its baseline; ``entries`` align with the columns, ``differs`` has a setting each."""

    variant: str
    baseline: str
    differs: list[str]
    seeds: str
    entries: list[Difference | None]


@dataclass(frozen=True)
class Pairs:
    """The pairs of one dataset and contrast under the same conditions."""

    conditions: str
    columns: list[Column]
    lines: list[Pair]


def tables(pairs: pd.DataFrame, dataset: str, contrast: str, lead: str | None) -> list[Pairs]:
    """The tables of one dataset and contrast, one for each set of conditions, the metric ``lead`` first."""
    rows = pairs[(pairs.dataset == dataset) & (pairs.contrast == contrast) & (pairs.status == "compared")]
    return [_table(group, lead) for group in by_conditions(rows, lead)]


def _table(rows: pd.DataFrame, lead: str | None) -> Pairs:
    metrics = sorted(rows.metric.unique(), key=lambda name: name != lead)
    read = descriptive(rows, lead)
    columns = [column(rows[rows.metric == name].iloc[0], read) for name in metrics]
    lines = []
    for variant, mine in rows.groupby("variant", sort=False):
        first = mine.iloc[0]
        entries = [_entry(mine[mine.metric == name]) for name in metrics]
        lines.append(Pair(str(variant), first.baseline, first.differs.split("; "), str(first.seeds), entries))
    return Pairs(", ".join(columns[0].details), columns, lines)


def _entry(rows: pd.DataFrame) -> Difference | None:
    if rows.empty:
        return None
    row = rows.iloc[0]
    word = "" if row.verdict == DESCRIPTIVE else row.verdict
    if pd.isna(row.low) or row.low == row.high:
        return Difference(signed(row.difference), "", word)
    # digits beyond the second of the half width have no meaning
    decimals = max(0, 1 - math.floor(math.log10((row.high - row.low) / 2)))
    low, difference, high = (f"{value:.{decimals}f}".replace("-", "−") for value in (row.low, row.difference, row.high))
    return Difference(f"{'+' if row.difference > 0 else ''}{difference}", f"{low} to {high}", word)


def left_out(pairs: pd.DataFrame, dataset: str) -> list[tuple[str, str]]:
    """(variant, reason) of each pair that is not compared."""
    rows = pairs[(pairs.dataset == dataset) & (pairs.status != "compared")]
    return list(zip(rows.variant, rows.status, strict=True))


def sentence(pairs: pd.DataFrame, dataset: str, lead: str | None) -> str:
    """Verdicts of the leading metric on all pairs: ``Against its baseline: better: a; no evidence: b and c (KID).``"""
    rows = pairs[(pairs.dataset == dataset) & (pairs.metric == lead) & (pairs.status == "compared")]
    if rows.empty:
        return ""
    rows = rows[rows.contrast == leading_contrast(rows.contrast)]
    parts = []
    for word in WORDS:
        names = list(dict.fromkeys(rows.variant[rows.verdict == word]))
        parts += [f"{word}: {enumerated(names)}"] if names else []
    return f"{title(str(lead))} of each variant against its baseline, same seeds: {'; '.join(parts)}."


def caption(pairs: pd.DataFrame, dataset: str) -> str:
    """Explain the numbers of the tables, and for how many comparisons the verdicts were adjusted."""
    rows = pairs[(pairs.dataset == dataset) & (pairs.status == "compared")]
    family = rows[rows.p.notna()].value_counts(["contrast", *MEASURE], dropna=False).max()
    covers = " or ".join(sorted(set(rows.covers) - {"nothing"}, reverse=True)) or "nothing"
    text = (
        f"Variant minus baseline of the same seed: mean and 95 % interval over {covers}; a word for the leading metric,"
        f" the others are descriptive."
    )
    if family > 1:
        text += (
            f" The words take into account that {family} modifications are looked at (Holm): an interval can exclude 0"
            f" and the word still be “no evidence”."
        )
    if (rows.seeds == 2).any():
        text += " Two seeds carry no claim: the t of their spread is 12.7, of three seeds 4.3, of five 2.8."
    return text


def markdown(pairs: pd.DataFrame, dataset: str, contrast: str, lead: str | None) -> str:
    """The pairs of one dataset and contrast as Markdown; empty without any."""
    parts = [_markdown_table(table) for table in tables(pairs, dataset, contrast, lead)]
    parts += [f"- {escape(variant)} {escape(reason)}" for variant, reason in left_out(pairs, dataset)]
    if not parts:
        return ""
    note = f"{caption(pairs, dataset)}\n" if tables(pairs, dataset, contrast, lead) else ""
    return "### Against the baseline\n\n" + "\n".join(parts) + f"\n{note}"


def _markdown_table(table: Pairs) -> str:
    titles = (f"{one.title} ({'; '.join(one.details)})" for one in table.columns)
    rows = []
    for line in table.lines:
        entries = [_markdown_entry(entry) for entry in line.entries]
        settings = escape("; ".join(line.differs))
        rows.append([escape(line.variant), escape(line.baseline), settings, line.seeds, *entries])
    return markdown_rows(["variant", "baseline", "differs in", "seeds", *titles], rows)


def _markdown_entry(entry: Difference | None) -> str:
    if entry is None:
        return "–"
    span = f" ({entry.interval})" if entry.interval else ""
    return f"{entry.value}{span} {entry.verdict}".rstrip()
