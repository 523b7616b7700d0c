"""What moved: the features in which generated images differ from real ones, in words, as a table and in sentences."""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from gan.cells import CellFiles
from gan.metrics.radiomics.words import WORDS, Words
from gan.report.table import interval, signed

KEYS = ["dataset", "variant", "contrast", "region", "feature"]
FLOOR = ["floor", "floor_low", "floor_high"]
COUNTS = ["n_fake", "n_real", "n_subjects", "n_floor", "n_floor_subjects"]
COLUMNS = [*KEYS, "label", "words", "seeds", "difference", "low", "high", *FLOOR, "clear", *COUNTS]
SHOWN = 10  # features of a variant in its table


@dataclass(frozen=True)
class Line:
    """A feature: where, what it is called, what the images are, its difference and the floor, with their intervals."""

    where: str
    label: str
    words: str
    value: str
    floor: str
    clear: bool


@dataclass(frozen=True)
class Moved:
    """Of one variant: a sentence, and its lines, those that moved most first."""

    variant: str
    sentence: str
    lines: list[Line]


def of_study(cells: Sequence[CellFiles]) -> pd.DataFrame:
    """A row per data set, variant, contrast, region and feature: mean over seeds, of ``moved.json`` of each cell.

    Sorted by size within each variant. ``clear``: the interval holds neither 0 nor any difference that the interval of
    unseen patients holds.
    """
    rows = []
    for cell in cells:
        base = {"dataset": cell.dataset, "variant": cell.variant}
        rows += [base | row for row in cell.object("moved.json").get("rows", []) if row["feature"] in WORDS]
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    seeds, found = pd.DataFrame(rows).astype({"difference": float, "low": float, "high": float}), []
    for keys, group in seeds.groupby(KEYS, sort=False):
        low, high = interval(group, "difference", "low", "high")
        row = dict(zip(KEYS, keys, strict=True)) | group[[*FLOOR, *COUNTS]].iloc[0].to_dict()
        row |= {"seeds": len(group), "difference": group.difference.mean(), "low": low, "high": high}
        words = WORDS[row["feature"]]
        found.append(row | {"label": words.label, "words": said(words, row["difference"]), "clear": _clear(row)})
    frame = pd.DataFrame(found, columns=COLUMNS).astype(dict.fromkeys([*COUNTS, "seeds"], "Int64"))
    order = frame.assign(size=frame.difference.abs(), place=frame.groupby(KEYS[:2], sort=False).ngroup())
    return frame.loc[order.sort_values(["place", "size"], ascending=[True, False], kind="stable").index]


def said(words: Words, difference: float) -> str:
    """``0.8 sd smoother``."""
    return f"{abs(difference):.1f} sd {words.more if difference > 0 else words.less}"


def section(frame: pd.DataFrame, dataset: str) -> list[Moved]:
    """What the page shows of one data set; frame: of `of_study`."""
    found = []
    for variant, rows in frame[frame.dataset == dataset].groupby("variant", sort=False):
        several = rows.contrast.nunique() > 1
        lines = [_line(row, several) for _, row in rows.head(SHOWN).iterrows()]
        found.append(Moved(str(variant), _sentence(rows), lines))
    return found


def markdown(frame: pd.DataFrame, dataset: str) -> str:
    """The sentences as Markdown; empty without any."""
    lines = [f"- {one.variant}: {one.sentence}" for one in section(frame, dataset)]
    return "### What moved\n\n" + "\n".join(lines) + "\n" if lines else ""


def _clear(row: dict) -> bool:
    low, high = row["low"], row["high"]
    if pd.isna(low) or pd.isna(row["floor_low"]):
        return False
    return low > max(0, row["floor_high"]) or high < min(0, row["floor_low"])


def _sentence(rows: pd.DataFrame) -> str:
    """The properties that moved beyond what unseen patients differ by, those of images first."""
    clear = rows[rows.clear & rows.feature.map(lambda name: WORDS[name].leads)]
    parts = []
    for region, group in clear.groupby("region", sort=False):
        several = rows.contrast.nunique() > 1
        words = [f"{row.words}{f' ({row.contrast})' if several else ''}" for row in group.itertuples()]
        parts.append(f"{_where(str(region))} {', '.join(words)}")
    number = f"{int(rows.clear.sum())} of {len(rows)} features moved beyond what unseen patients differ by"
    return f"{'; '.join(parts).capitalize()}. {number}." if parts else f"{number}."


def _where(region: str) -> str:
    return "images are" if region == "image" else f"within the {region} they are"


def _line(row: pd.Series, several: bool) -> Line:
    where = [row.contrast] * several + [row.region] * (row.region != "image")
    spans = _span(row, "difference", ["low", "high"]), _span(row, "floor", FLOOR[1:])
    return Line(" ".join(where) or "image", row.label, row.words, *spans, row.clear)


def _span(row: pd.Series, value: str, ends: list[str]) -> str:
    low, high = row[ends]
    text = signed(row[value])
    return text if pd.isna(low) else f"{text} ({signed(low)} to {signed(high)})"
