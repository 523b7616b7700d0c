"""Can a network tell generated images from those of unseen patients? Descriptive: no margin, no word, no p.

The area under the curve is the chance that a generated image scores above a slice of a patient, every patient counting
equally. Its interval draws patients and generated images, and adds the spread between seeds.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gan.cells import CellFiles
from gan.metrics.contrast import Ranked, draws, estimate
from gan.report.table import number
from gan.report.utility import RESAMPLES, share_span
from gan.utility.options import TWO_SAMPLE

MEASURES = {"auc": True, "balanced_accuracy": False}
NOTE = (
    "A high value is usual, and no verdict on the images: a network needs one habit of a generator that every image "
    "has, such as noise that is too smooth, or a grid, be it too faint for the eye and without effect on a task. 0.5 "
    "says that this small network found none in these steps. Copies of training images reach that, too: read the "
    "search for copies. A larger network would tell more apart."
)


def rows(cells: Sequence[CellFiles]) -> list[dict[str, Any]]:
    """Rows of the table of utility of each data set and variant that was asked: `MEASURES` with their intervals."""
    found = []
    for (dataset, variant), facts in _asked(cells).items():
        real, made = facts[0]["real"], min(len(of["generated"]) for of in facts)
        drawn = draws(len(real) + made, RESAMPLES, 0, np.repeat([0, 1], [len(real), made]))
        row = {"dataset": dataset, "task": TWO_SAMPLE, "variant": variant, "arm": "", "seeds": len(facts)}
        for measure, area in MEASURES.items():
            value, low, high = share_span(estimate([outcome(of, area, made) for of in facts], drawn), len(real))
            entry = {"measure": measure, "value": value, "low": low, "high": high}
            found.append(row | entry | {"patients": len(real), "left_out": 0})
    return found


def value(cell: CellFiles) -> float | None:
    """The area under the curve of a cell; None if it was not asked."""
    facts = cell.object("utility.json").get(TWO_SAMPLE)
    if not facts:
        return None
    everyone = np.arange(len(facts["real"]) + len(facts["generated"]))
    return float(outcome(facts).values(everyone[None])[0])


def outcome(facts: dict[str, Any], area: bool = True, made: int | None = None) -> Ranked:
    """Of what `gan.utility.two_sample` found: patients come first, each generated image counts as one. made: so many
    of them."""
    of_real, of_made = facts["real"], facts["generated"][:made]
    scores = np.concatenate([*map(np.asarray, of_real), of_made])
    patients = np.repeat(np.arange(len(of_real)), [len(slices) for slices in of_real])
    subjects = np.concatenate([patients, len(of_real) + np.arange(len(of_made))])
    classes = (subjects >= len(of_real)).astype(np.int64)
    return Ranked(np.stack([-scores, scores], 1) / 2, classes, area, subjects)


def sentences(cells: Sequence[CellFiles]) -> list[str]:
    """What is said of each variant among ``cells``, of one data set."""
    found, of_cells = [], rows(cells)
    for area, right in zip(of_cells[::2], of_cells[1::2], strict=True):
        text = f"A network tells images of {area['variant']} from slices of {area['patients']} unseen patients with an "
        text += f"AUC of {number(area['value'])} ({number(area['low'])} to {number(area['high'])}), and is right in "
        text += f"{100 * right['value']:.3g} %; where it cannot these are 0.5 and 50 %."
        found.append(text + (" The interval holds 0.5." if area["low"] <= 0.5 else ""))
    return found


def _asked(cells: Sequence[CellFiles]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """By data set and variant what was found of each seed."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for cell in cells:
        if facts := cell.object("utility.json").get(TWO_SAMPLE):
            found.setdefault((cell.dataset, cell.variant), []).append(facts)
    return found
