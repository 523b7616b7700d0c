"""The conclusions of a study in plain words: which variant leads, and whether it can be trusted."""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from gan.metrics.facts import direction, title
from gan.report import table as tables
from gan.report.table import MEASURE, number, same
from gan.report.trust import Trust


def verdict(table: pd.DataFrame, dataset: str, lead: str | None) -> list[str]:
    """The conclusions of the leading metric, in plain sentences: first the answer, then its limits."""
    done = table[(table.dataset == dataset) & (table.status == "finished") & (table.metric == lead)]
    if done.empty:
        reasons = table[table.dataset == dataset].status.str.extract("not scored: ([^;]+)")[0]
        wanted = enumerated(list(reasons.unique())) if reasons.notna().all() else None
        return [f"No run is scored: {wanted}." if wanted else "No variant is scored yet."]
    done = done[done.contrast == tables.leading_contrast(done.contrast)]
    aside, done = _aside(table[table.dataset == dataset]), tables.contest(done)
    if done.empty:
        return [f"There is nothing to compare. {aside}"]
    sizes = done.groupby(MEASURE, dropna=False, sort=False).size()
    rows = done[same(done, sizes.idxmax())]
    sentences = [_answer(rows, lead), *filter(None, [aside])]
    first = rows.sort_values("value", ascending=direction(lead) < 0).iloc[0]
    if first.warnings:
        alone = rows.variant.nunique() == 1
        said = "But" if alone else "Not to be called the best without this:"
        sentences[0] += f" {said} {first.variant} {listed(first.warnings)}."
    if len(sizes) > 1:
        sentences.append("Scores under other conditions are in separate columns and are not compared here.")
    if (rows.seeds == 1).any():
        sentences.append(
            "A variant with a single seed has an interval that covers the patients, not the chance of training."
        )
    unfinished = table[(table.dataset == dataset) & (table.status != "finished")]
    if len(unfinished):
        sentences.append(f"{len(unfinished)} of the planned runs {are(len(unfinished))} not finished (listed below).")
    return sentences


def _aside(rows: pd.DataFrame) -> str:
    """Which variants take no part in which one is better, and why."""
    reasons = dict(zip(rows.variant, rows.left_out, strict=True))
    named = [f"{variant} ({reason})" for variant, reason in reasons.items() if reason]
    return f"Left out of this: {enumerated(named)}." if named else ""


def _answer(rows: pd.DataFrame, lead: str) -> str:
    sign = direction(lead)
    name = title(lead)
    if sign == 0 or len(rows) == 1:
        listed = ", ".join(f"{row.variant} {number(row.value)}" for row in rows.itertuples())
        return f"{name}: {listed}. There is nothing to compare."
    order = rows.sort_values("value", ascending=sign < 0)
    first = order.iloc[0]
    extreme = "lowest" if sign < 0 else "highest"
    if order[["low", "high"]].isna().any().any():
        best = f"{first.variant} has the {extreme} {name} ({number(first.value)})"
        return f"{best}; without intervals no difference can be claimed."
    rest = order.iloc[1:]
    overlap = rest[rest.low <= first.high] if sign < 0 else rest[rest.high >= first.low]
    apart = rest.drop(index=overlap.index)
    span = f"{number(first.value)}, 95 % interval {number(first.low)} to {number(first.high)}"
    few = not tables.claims(rows)
    if few and overlap.empty:
        return (
            f"Of these runs, {first.variant}'s have the {extreme} {name} ({span}). No claim about variants can be "
            f"made: not all of them were trained with {tables.SEEDS} seeds or more whose values differ."
        )
    if overlap.empty:
        return f"{first.variant} has the {extreme} {name} ({span}); the intervals of all others lie clear of it."
    alike = enumerated([first.variant, *overlap.variant])
    text = f"No evidence of a difference between {alike}: their {name} intervals overlap."
    if len(apart) and not few:
        text += f" {enumerated(list(apart.variant))} {are(len(apart))} worse than {first.variant}."
    return f"{text} {first.variant} has the {extreme} mean ({span})."


@dataclass
class Trusted:
    """What speaks for and against the variant that leads; of each other variant what speaks against it."""

    variant: str
    sentences: list[str]
    others: list[tuple[str, str]]


def trusted(
    table: pd.DataFrame, dataset: str, lead: str | None, found: Mapping[tuple[str, str], Trust]
) -> Trusted | None:
    """Whether the variant that leads can be trusted; None before there is a score."""
    done = table[(table.dataset == dataset) & (table.status == "finished") & (table.metric == lead)]
    done = tables.contest(done[done.contrast == tables.leading_contrast(done.contrast)])
    if done.empty:
        return None
    order = done.sort_values("value", ascending=direction(str(lead)) < 0)
    first = order.iloc[0]
    seeds = "1 seed" if first.seeds == 1 else f"{first.seeds} seeds"
    basis = f"This rests on {first.n_subjects} patients and {seeds}."
    others = [(row.variant, listed(row.warnings)) for row in order.iloc[1:].itertuples() if row.warnings]
    return Trusted(first.variant, [*found[dataset, first.variant].sentences, basis], list(dict.fromkeys(others)))


def listed(warnings: str) -> str:
    """The warnings of a row of the table as one predicate."""
    return enumerated(warnings.split(", "))


def enumerated(names: list[str]) -> str:
    """``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def are(count: int) -> str:
    return "is" if count == 1 else "are"
