"""Where along the axis do generated images lie? What `gan.utility.order` found, in words."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gan.cells import CellFiles
from gan.report.anatomy import difference
from gan.report.table import number, signed
from gan.utility.options import ORDER

NOTE = (
    "The network of real images reads the position of a slice from the image alone, in % of the way through the "
    "volume. Where a generator makes too many slices of one part, or none, the positions in its images lie farther "
    "from those in slices of unseen patients than those of validation patients do. Distance: 1-Wasserstein."
)


def sentences(cells: Sequence[CellFiles]) -> list[str]:
    """What is said of each variant among ``cells``, of one data set; the mean over seeds."""
    found: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        if facts := cell.object("utility.json").get(ORDER):
            found.setdefault(cell.variant, []).append(facts)
    return [_sentence(variant, facts) for variant, facts in found.items()]


def _sentence(variant: str, facts: list[dict[str, Any]]) -> str:
    if any(of["refused"] for of in facts):
        text = f"{variant}: no judgement, the network of real images misses the position of slices of unseen patients "
        return text + f"by {_way(facts, 'real')}, and always naming the middle by {_way(facts, 'middle')}."
    text = f"{variant}: the positions that the network reads in its images are {_way(facts, 'value')} of the way from "
    text += f"those in slices of {facts[0]['patients']} unseen patients, those of validation patients "
    text += f"{_way(facts, 'floor')}; it misses the position of such a slice by {_way(facts, 'real')}. "
    shares = 100 * np.mean([of["quarters"] for of in facts], 0)
    text += f"The four quarters of the slices of patients hold {', '.join(f'{share:.0f}' for share in shares[:3])} and "
    text += f"{shares[3]:.0f} % of the images."
    asked = [of["asked"] for of in facts]
    return text if None in asked else text + " " + _asked(asked)


def _asked(asked: list[dict[str, Any]]) -> str:
    middle, low, high = (signed(100 * value) for value in difference(asked))
    text = f"They lie {_way(asked, 'value')} from the middle of the part that was asked for, slices of unseen patients "
    return text + f"{_way(asked, 'real')} from that of their own: a difference of {middle} ({low} to {high})."


def _way(facts: list[dict[str, Any]], key: str) -> str:
    """The mean of positions or errors in % of the way."""
    return f"{number(100 * float(np.mean([of[key] for of in facts])))} %"
