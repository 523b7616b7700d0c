"""Which contrasts of a data set are scored, and which of its images have them."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gan.data.store import Store
from gan.scoring.planes import named


class Scored(NamedTuple):
    """A contrast and its position: the channel of an image, and the class of the image if classes are contrasts."""

    name: str
    channel: int
    label: int | None = None


def to_score(meta: dict[str, Any], axes: int = 3) -> list[Scored]:
    """The contrasts of images that ``meta`` of their store describes: all channels but the mask, or all classes.

    axes: of what sees them. Where volumes are seen as images each plane of a contrast is one (`gan.scoring.planes`).
    """
    apart = meta.get("label_of") == "contrast"
    names = meta["labels"] if apart else [name for name in meta["channels"] if name != meta.get("mask")]
    if not meta.get("volumes") or axes == 3:
        return [Scored(name, 0, place) if apart else Scored(name, place) for place, name in enumerate(names)]
    planes = [named(name) for name in names]
    if apart:
        return [Scored(name, place, label) for label, of in enumerate(planes) for place, name in enumerate(of)]
    return [Scored(name, place) for place, name in enumerate(itertools.chain.from_iterable(planes))]


def sided(meta: dict[str, Any]) -> list[str]:
    """The contrasts of `to_score` whose left and right are those of the patient."""
    return [] if meta.get("axis") == "sagittal" else [one.name for one in to_score(meta)]


def joint(contrasts: Sequence[Scored]) -> bool:
    """Whether a sample has several contrasts, as its channels."""
    return len(contrasts) > 1 and contrasts[0].label is None


def rows_of(store: Store, split: str, label: int | None) -> NDArray[np.int64]:
    """Rows of the images of ``split`` that have every contrast; label: of that class alone."""
    rows = store.rows(split)
    if label is not None:
        return rows[store.labels(rows) == label]
    return rows[store.present(rows, store.meta["channels"])]
