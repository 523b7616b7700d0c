"""What the network of real images says of generated ones: does the mask fit, does it show, is the class right."""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan.cells import CellFiles
from gan.metrics.shapes import SHAPES
from gan.report.pairs import LEVEL, half_width
from gan.report.table import number, signed
from gan.utility.options import CLASSIFY, DETECT, SEGMENT

SEES = {CLASSIFY: "sees the class that was asked for", DETECT: "agrees with the mask on whether anything shows"}


@dataclass(frozen=True)
class Anatomy:
    """Of one variant: sentences; shapes: (region, shape, median of generated and real masks, distance, floor);
    confusion: rows (asked class, counts of seen classes) under the names ``classes``."""

    variant: str
    sentences: list[str]
    shapes: list[tuple[str, ...]]
    classes: list[str]
    confusion: list[tuple[str, list[int]]]


def anatomies(cells: Sequence[CellFiles], task: str) -> list[Anatomy]:
    """What was judged of the variants among ``cells``, of one data set, in one task."""
    by_variant: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        facts = (cell.object("utility.json").get("tasks") or {}).get(task) or {}
        if "judge" in facts:
            by_variant.setdefault(cell.variant, []).append(facts)
    if task == SEGMENT:
        return [_segmented(variant, found) for variant, found in by_variant.items()]
    return [_classified(variant, found, task) for variant, found in by_variant.items()]


def _segmented(variant: str, found: list[dict[str, Any]]) -> Anatomy:
    sentences, shapes = [], []
    for region in found[0]["regions"]:
        fits = [facts["judge"]["fit"][region] for facts in found]
        sentences.append(_fit(region, fits))
        for shape, title in SHAPES.items():
            values = [facts["judge"]["shapes"][region][shape] for facts in found]
            columns = [_mean([value[key] for value in values]) for key in ("median", "real", "value", "floor")]
            shapes.append((region, title, *("–" if value is None else number(value) for value in columns)))
    sentences += _copies([facts["judge"]["copies"] for facts in found if facts["judge"].get("copies")])
    return Anatomy(variant, sentences, shapes, [], [])


def _fit(region: str, fits: list[dict[str, Any]]) -> str:
    real = _mean([fit["real"] for fit in fits])
    if any(fit["refused"] for fit in fits):
        reached = "nothing" if real is None else f"a Dice of {number(real)}"
        return f"{region}: no judgement, the network of real images reaches {reached} on images of unseen patients."
    known = [fit for fit in fits if fit["value"] is not None]
    if not known:
        return f"{region}: no image has it, in its mask or for the network of real images."
    middle, low, high = map(signed, difference(known))
    text = f"{region}: the network of real images and the generated mask agree with a Dice of "
    text += f"{number(_mean([fit['value'] for fit in known]))}, on images of unseen patients it is {number(real)}: "
    return text + f"a difference of {middle} ({low} to {high})."


def difference(found: list[dict[str, Any]]) -> tuple[float, float, float]:
    """The mean ``difference`` of the seeds and its 95 % interval, by their spread and by the ``deviation`` over draws
    of images and patients."""
    of_seeds = np.array([of["difference"] for of in found])
    spread = float(of_seeds.std(ddof=1)) if len(found) > 1 else 0.0
    half = half_width(LEVEL, len(found), spread, float(np.mean([of["deviation"] for of in found])))
    middle = float(of_seeds.mean())
    return middle, middle - half, middle + half


def _copies(found: list[dict[str, Any]]) -> list[str]:
    """What the seed with the most copied masks says; nothing where none was searched."""
    if not found:
        return []
    worst = max(found, key=lambda of: of["copies"])
    text = f"Masks alone: {_percent(worst['copies'])} ({_percent(worst['low'])} to {_percent(worst['high'])}) of "
    text += f"{worst['n_fake']} are nearer to one training patient than 99 % of real masks are to another patient; "
    return [f"{text}of masks of unseen patients {_percent(worst['control'])}."]


def _classified(variant: str, found: list[dict[str, Any]], task: str) -> Anatomy:
    judged, classes, sees = [facts["judge"]["classes"] for facts in found], found[0]["classes"], SEES[task]
    real = _mean([of["real"] for of in judged])
    if any(of["refused"] for of in judged):
        text = f"No judgement: the network of real images {sees} in {_percent(real)} of images of unseen patients."
        return Anatomy(variant, [text], [], [], [])
    value = _mean([of["value"] for of in judged])
    text = f"The network of real images {sees} in {_percent(value)} of the images, each class counting equally; in "
    text += f"images of unseen patients in {_percent(real)}."
    counts = np.sum([of["confusion"] for of in judged], 0)
    sentences = [text, *([_shows(counts, found[0]["truth"])] if task == DETECT else [])]
    return Anatomy(variant, sentences, [], classes, list(zip(classes, counts.tolist(), strict=True)))


def _shows(counts: NDArray[np.int64], truth: list[int]) -> str:
    """How often masks show; counts: of images by what their masks say and what the network sees."""
    made, real = _percent(counts[1].sum() / counts.sum()), _percent(float(np.mean(truth)))
    return f"Its mask shows in {made} of the images, in {real} of images of unseen patients."


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.3g} %"


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
