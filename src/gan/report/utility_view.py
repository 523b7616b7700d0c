"""The table of `gan.report.utility` as a person reads it: sentences, a figure for each task, Markdown."""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gan.cells import CellFiles
from gan.metrics.ranking import mean_of_known
from gan.report import order, two_sample
from gan.report.anatomy import Anatomy, anatomies
from gan.report.figures import FAINT, INK, PALETTE, STYLE, plain, svg
from gan.report.table import number, signed
from gan.report.utility import EXPLORATORY, LEADING, Task, patients, table, tasks, without
from gan.report.view import escape, markdown_rows
from gan.utility.options import ARMS, DETECT, REAL

NAMES = {"dice": "Dice", "hd95": "HD95 (mm)", "auc": "AUC", "balanced_accuracy": "balanced accuracy"}
HEADINGS = {
    "segment": "Segmentation",
    "classify": "Classification",
    "detect": "Detection of the mask in a slice",
}
QUESTIONS = {
    "segment": "Do masks fit their images?",
    "classify": "Is the class the one that was asked for?",
    "detect": "Does the image show what its mask says?",
}
SCORES_SHOWN = {
    "segment": "Dice of each patient",
    "classify": "probability of each patient's own class",
    "detect": "probability of the right answer, of each patient",
}
TRAINED = {
    "synthetic": "on images of {variant} alone",
    "mixed_25": "on a quarter of images of {variant} and real ones",
    "mixed_50": "half on images of {variant}, half on real ones",
    "mixed_75": "on three quarters of images of {variant} and real ones",
    "held": "half on images of as many new patients",
}
WORDS = {
    "better": "better than real",
    "not worse": "not worse than real by more than {margin}",
    "worse": "worse than real",
    "cannot say": "cannot say whether it is worse than real by more than {margin}",
}


@dataclass(frozen=True)
class Line:
    """One arm in the table of a task; entries: (value, interval, difference with its interval) of each measure."""

    variant: str
    arm: str
    entries: list[tuple[str, str, str]]
    seeds: str
    p: str
    word: str


@dataclass(frozen=True)
class Shown:
    """A task of a data set on the page."""

    task: Task
    heading: str
    numbers: str
    sentences: list[str]
    columns: list[str]
    lines: list[Line]
    anatomies: list[Anatomy]

    def figure(self) -> Markup:
        return Markup(figure(self.task))

    @property
    def question(self) -> str:
        return QUESTIONS[self.task.name]

    @property
    def asked(self) -> str:
        """What the rows of a confusion matrix are."""
        return "its mask" if self.task.name == DETECT else "asked for"


@dataclass(frozen=True)
class Further:
    """A question without arms: a sentence or more of each variant, and how to read them."""

    heading: str
    sentences: list[str]
    note: str


@dataclass(frozen=True)
class Utility:
    """tasks, table: of `gan.report.utility`; section: ``utility`` of the config; without: of each variant without a
    task its data set, name and reason."""

    cells: Sequence[CellFiles]
    tasks: list[Task]
    table: pd.DataFrame
    section: Mapping[str, Any]
    without: list[tuple[str, str, str]]

    @classmethod
    def of(cls, cells: Sequence[CellFiles], section: Mapping[str, Any] | None) -> "Utility | None":
        """What ``cells`` have; None unless the config asks for it."""
        if section is None:
            return None
        found = tasks(cells)
        return cls(cells, found, table(found, section, two_sample.rows(cells)), section, without(cells))

    def shown(self, dataset: str) -> dict[str, Any]:
        """``tasks`` of a data set, answers to ``further`` questions, and of variants ``without`` a task the name and
        the reason."""
        parts = [self._task(task) for task in self.tasks if task.dataset == dataset]
        without = [known[1:] for known in self.without if known[0] == dataset]
        return {"tasks": parts, "further": self._further(dataset), "without": without}

    def _further(self, dataset: str) -> list[Further]:
        mine = [cell for cell in self.cells if cell.dataset == dataset]
        found = [
            Further("Where along the axis do they lie?", order.sentences(mine), order.NOTE),
            Further("Can they be told from real ones?", two_sample.sentences(mine), two_sample.NOTE),
        ]
        return [one for one in found if one.sentences]

    def _task(self, task: Task) -> Shown:
        rows = self.table[(self.table.dataset == task.dataset) & (self.table.task == task.name)]
        columns = list(dict.fromkeys(rows.measure))
        return Shown(
            task,
            HEADINGS[task.name],
            _numbers(task, rows),
            sentences(rows, self.section["primary"]),
            [_title(name) for name in columns],
            [_line(group, columns) for _, group in rows.groupby(["variant", "arm"], sort=False)],
            anatomies([cell for cell in self.cells if cell.dataset == task.dataset], task.name),
        )

    def markdown(self, dataset: str) -> str:
        """The section of a data set; empty if there is nothing to say."""
        found = self.shown(dataset)
        return _markdown(**found) if any(found.values()) else ""


def _title(measure: str) -> str:
    kind, _, region = measure.partition(" ")
    return f"{NAMES[kind]} {region}".strip()


def _numbers(task: Task, rows: pd.DataFrame) -> str:
    counts, first = task.facts["numbers"], rows.iloc[0]
    text = f"{counts['test']['patients']} unseen patients ({counts['test']['images']} images), trained on "
    text += f"{counts['train']['patients']} ({counts['train']['images']} images)"
    if task.name == DETECT:
        shows = sum(task.facts["truth"])
        text += f"; {shows} images have a mask on more than {task.facts['least']:g} % of them"
    if first.left_out:
        text += f"; {first.left_out} have nothing to segment and are left out where nothing was found"
    return text


def sentences(rows: pd.DataFrame, primary: str) -> list[str]:
    """What the primary arm of each variant says, in words; rows: of one task."""
    found, leads = [], rows[rows.measure == rows.task.map(LEADING)]
    real = leads[leads.arm == REAL].iloc[0]
    for row in leads[leads.arm == primary].itertuples():
        name = NAMES[str(row.measure)]
        text = f"Trained {TRAINED[primary].format(variant=row.variant or 'patients')}, a network reaches {name} "
        text += f"{number(row.value)} on {row.patients} unseen patients, on real images alone {number(real.value)}: "
        text += f"a difference of {_difference(row)}, "
        if row.verdict == EXPLORATORY:
            seeds = f"{row.seeds} seed{'s' if row.seeds != 1 else ''}"
            text += f"exploratory, as there are {seeds} and {row.patients} patients."
        else:
            text += WORDS[row.verdict].format(margin=f"{row.margin:g}") + "."
        found.append(text)
    return found


def _difference(row: Any) -> str:
    return f"{signed(row.difference)} ({signed(row.difference_low)} to {signed(row.difference_high)})"


def _line(rows: pd.DataFrame, columns: list[str]) -> Line:
    entries = []
    for measure in columns:
        row = next(rows[rows.measure == measure].itertuples())
        against = "" if math.isnan(row.difference) else _difference(row)
        entries.append((number(row.value), f"{number(row.low)} to {number(row.high)}", against))
    first = rows.iloc[0]
    p = "" if pd.isna(first.p_holm) else number(first.p_holm, 2)
    control = first.arm != REAL and ARMS[first.arm].control
    word = "control" if control else "" if pd.isna(first.verdict) else first.verdict
    return Line(first.variant or "real images", first.arm, entries, str(first.seeds), p, word)


def figure(task: Task) -> str:
    """A column of axes for each variant: its arms next to the real one, a line per patient, the mean over patients with
    a bar over the draws of patients and seeds."""
    variants = list(dict.fromkeys(variant for variant, _ in task.arms if variant)) or [""]
    with matplotlib.rc_context(STYLE):
        size = (min(9.2, 2.2 + 2.6 * len(variants)), 3.4)
        panels = Figure(figsize=size, layout="constrained")
        grid = panels.subplots(1, len(variants), sharey=True, squeeze=False)[0]
        for axes, variant in zip(grid, variants, strict=True):
            _panel(axes, task, variant)
        name = SCORES_SHOWN[task.name]
        grid[0].set_ylabel(name)
        return svg(panels, name)


def _panel(axes: Axes, task: Task, variant: str) -> None:
    arms = [REAL, *(arm for of, arm in task.arms if of == variant and arm != REAL)]
    columns = []
    for arm in arms:
        scores = task.arms["" if arm == REAL else variant, arm]
        by_seed = np.array(patients(task, LEADING[task.name], scores, sorted(scores)))
        columns.append(mean_of_known(by_seed, 0))
    values = np.stack(columns)
    places = np.arange(len(arms))
    axes.plot(places, values, color=FAINT, linewidth=0.7, alpha=0.7, marker="o", markersize=2.5)
    for place, column in zip(places, values, strict=True):
        known = column[~np.isnan(column)]
        half = 1.96 * known.std(ddof=1) / math.sqrt(len(known)) if len(known) > 1 else 0.0
        axes.errorbar([place], [known.mean()], [half], fmt="o", color=PALETTE[place % len(PALETTE)], markersize=7)
    axes.set_xticks(places, [plain(arm) for arm in arms])
    axes.set_xlim(-0.4, len(arms) - 0.6)
    axes.set_ylim(-0.03, 1.03)
    axes.set_title(plain(variant), color=INK)
    axes.grid(axis="x", visible=False)


def _markdown(tasks: Sequence[Shown], further: Sequence[Further], without: Sequence[tuple[str, str]]) -> str:
    text = ["### Utility\n"]
    for part in tasks:
        text.append(f"{part.heading}: {escape(part.numbers)}.\n")
        text += [f"- {escape(sentence)}" for sentence in part.sentences]
        header = ["variant", "trained on", *part.columns, "seeds", "p (Holm)", ""]
        rows = []
        for line in part.lines:
            entries = [
                f"{value} ({span}){f', real {against}' if against else ''}" for value, span, against in line.entries
            ]
            rows.append([escape(line.variant), line.arm, *entries, line.seeds, line.p or "–", line.word])
        text.append("\n" + markdown_rows(header, rows))
        text += [f"- {escape(one.variant)}: {escape(' '.join(one.sentences))}" for one in part.anatomies]
        text.append("")
    for one in further:
        text += [f"{one.heading}\n", *(f"- {escape(sentence)}" for sentence in one.sentences), f"\n{one.note}\n"]
    text += [f"- {escape(variant)}: no task, {escape(reason)}" for variant, reason in without]
    return "\n".join(text) + "\n"
