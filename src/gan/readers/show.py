"""The result of a reading as text, Markdown, CSV and JSON."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gan.files import atomic_path, inert, write_json
from gan.readers.power import MARGIN
from gan.readers.questions import REAL
from gan.readers.score import ALL
from gan.report.view import escape, markdown_rows

REPORT, TABLE, RESULT = FILES = ("reading.md", "reading.csv", "reading.json")
TITLES = {
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "roc_area": "ROC area",
    "d_prime": "d'",
    "criterion": "criterion",
    "realism_difference": "realism, less real",
}


class Table(NamedTuple):
    """A table with its title and the note below it."""

    title: str
    header: list[str]
    rows: list[list[str]]
    note: str = ""


def write(result: dict[str, Any], folder: Path) -> None:
    """Write the three files of `FILES` into ``folder``."""
    write_json(folder / RESULT, result)
    rows = result["rows"]
    with atomic_path(folder / TABLE) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({key: inert(value) for key, value in row.items()} for row in rows)
    with atomic_path(folder / REPORT) as temporary:
        temporary.write_text(markdown(result), encoding="utf-8")


def text(result: dict[str, Any]) -> str:
    """For a terminal."""
    parts = ["\n".join(verdicts(result))]
    for table in tables(result):
        lines = [table.title, *_aligned([table.header, *table.rows])]
        parts.append("\n".join([*lines, *([table.note] if table.note else [])]))
    return "\n\n".join([*parts, "\n".join(notes(result))])


def markdown(result: dict[str, Any]) -> str:
    """The report."""
    parts = ["# Real or synthetic?\n", *(f"{escape(line)}\n" for line in verdicts(result))]
    for table in tables(result):
        cells = [[escape(cell) for cell in row] for row in [table.header, *table.rows]]
        parts += [f"## {escape(table.title)}\n", markdown_rows(cells[0], cells[1:])]
        parts += [f"{escape(table.note)}\n"] if table.note else []
    return "\n".join([*parts, *(f"{escape(line)}\n" for line in notes(result))])


def verdicts(result: dict[str, Any]) -> list[str]:
    """A sentence for each variant: do readers distinguish its images from real ones?"""
    number = len(result["readers"])
    who = "this reader" if number == 1 else f"these {number} readers"
    lines = []
    for name, of in result["variants"].items():
        bound, margin = f"the upper bound {of['bound']:.2f}", f"below {MARGIN:.2f}"
        said = {
            "indistinguishable": f"indistinguishable from real images: {bound} is {margin}",
            "distinguished by little": f"distinguished from real images, but by little: {bound} is {margin}",
            "distinguished": "distinguished from real images",
            "taken for real": "taken for real more often than real images are",
            "cannot say": f"no answer: the interval holds 0.50, {bound} is not {margin}; no sign of equality",
        }[of["word"]]
        interval = f"{of['accuracy']:.2f} ({of['low']:.2f} to {of['high']:.2f})"
        lines.append(f"{name}: accuracy {interval}. For {who} {said}.")
    return lines


def tables(result: dict[str, Any]) -> list[Table]:
    """All tables of the report."""
    found = [_scores(result, name) for name in result["variants"]]
    return [*found, _agreement(result), _cues(result), _reading(result)]


def _scores(result: dict[str, Any], variant: str) -> Table:
    rows = [row for row in result["rows"] if row["variant"] == variant]
    of = result["variants"][variant]
    lines = []
    for reader in dict.fromkeys(row["reader"] for row in rows):
        mine = [row for row in rows if row["reader"] == reader]
        lines.append([reader, *(f"{row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})" for row in mine)])
    images = result["images"]
    title = f"{variant}: {images[variant]} images and {images[REAL]} real ones of {images['patients']} patients"
    if len(result["readers"]) == 1:
        lines = [line for line in lines if line[0] == ALL]
    note = (
        f"Synthetic is the positive class. Training seed {of['training_seed']}, {of['kimg']:g} kimg, images 0 to "
        f"{images[variant] - 1} of seed {of['seed']}, truncation {of['truncation']:g}."
    )
    return Table(title, ["reader", *TITLES.values()], lines, note)


def _agreement(result: dict[str, Any]) -> Table:
    found, lines = result["agreement"], []
    for name, title in (("fleiss_kappa", "Fleiss' kappa"), ("krippendorff_alpha", "Krippendorff's alpha, 6 levels")):
        if one := found[name]:
            ends = "" if one["value"] is None else f" ({one['low']:.2f} to {one['high']:.2f})"
            lines.append([title, "all", _two(one["value"]) + ends])
    lines += [["Cohen's kappa", " and ".join(pair["readers"]), _two(pair["kappa"])] for pair in found["pairs"]]
    for one in found["again"]:
        same = "" if one["same"] is None else f" (same answer to {100 * one['same']:.0f} % of {one['images']} images)"
        lines.append(["kappa of first and second time", one["reader"], _two(one["kappa"]) + same])
    return Table(
        "Agreement", ["measure", "readers", "value"], lines, "Near chance low agreement is expected and no flaw."
    )


def _cues(result: dict[str, Any]) -> Table:
    names = [REAL, *result["variants"]]
    lines = [[cue, *(f"{100 * shares[name]:.0f} %" for name in names)] for cue, shares in result["cues"].items()]
    return Table("What looks wrong: share of answers that tick it", ["cue", *names], lines)


def _reading(result: dict[str, Any]) -> Table:
    lines = [
        [of["reader"], f"{of['seconds']:.1f}", f"{of['first_half']:.2f}", f"{of['second_half']:.2f}"]
        for of in result["reading"]
    ]
    header = ["reader", "seconds for an image", "right, first half", "right, second half"]
    return Table("Reading", header, lines, "A second half that is better shows that readers learn.")


def notes(result: dict[str, Any]) -> list[str]:
    """The conditions of the reading, and what it can show."""
    can, shown = result["can_show"], result["shown"]
    detects = ", ".join(f"{accuracy} in {100 * share:.0f} %" for accuracy, share in can["detects"].items())
    share = "was stated" if shown["share_stated"] else "was not stated"
    pixels, size = "interpolated" if shown["smooth"] else "each pixel a square", " x ".join(map(str, shown["size"]))
    practice = f"{shown['warm_up']} images to warm up, {'with' if shown['feedback'] else 'without'} feedback"
    return [
        f"With {can['images']} images one reader who guesses gets an upper bound below {MARGIN:.2f} in "
        f"{100 * can['equivalence']:.0f} % of readings; an accuracy of {detects} is found to differ from chance.",
        f"The share of real images {share}; {practice}; images of {size} px enlarged up to {shown['enlarge']} times, "
        f"{pixels}.",
        _record(result),
        "Intervals of all readers draw readers and cases, real images by patient.",
    ]


def _record(result: dict[str, Any]) -> str:
    """Whether key and pages are older than the answers."""
    made, began = result["recorded"], result["began"]
    if made is None:
        return "There is no ledger next to the key: nothing shows that key and pages are older than the answers."
    if result["recorded_before"]:
        return f"Key and pages were recorded on {made}, before the first answer ({began})."
    answers = "the files do not say when answers began" if began is None else f"the first answer is of {began}"
    return f"Key and pages were recorded on {made}, but {answers}: nothing shows that they are older."


def _two(value: float | None) -> str:
    return "not defined (all answers alike)" if value is None else f"{value:.2f}"


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
