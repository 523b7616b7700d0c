"""One subject's volumes, or one picture, as candidate slices and the stored pixels of those that are kept."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gan.config.datasets import sides
from gan.data import intensity
from gan.data.cut.common import (
    Channel,
    Encoded,
    Item,
    apart,
    channel_of,
    digest_of,
    limits_of,
    mapped,
    notes_of,
    reference_of,
    stored,
)
from gan.data.cut.frames import frame
from gan.data.nifti import open_volume
from gan.data.pictures import read_picture
from gan.data.planes import upright
from gan.errors import GanError
from gan.labels import label_of


def cut_slices(item: Item, row: dict[str, Any]) -> Encoded:
    """Apply intensity map, filter and frame of ``row`` to ``item``.

    The filter looks at the reference contrast on its native pixels, before padding and resampling: a slice is kept
    when more than ``slices.fraction`` of them exceed ``slices.threshold`` on the scale 0..255. Of a subject that lacks
    that contrast it looks at the first one there is; what is missing is stored as 0.
    """
    spec = row["slices"]
    opened = [
        None if path is None else _channel(path, row, mask=place >= len(row["contrasts"]))
        for place, path in enumerate(item.files)
    ]
    every = slice(None, None, spec["every"])
    reference = reference_of(opened, row)
    low, high = reference.low[every], reference.high[every]  # type: ignore[index]
    fractions = intensity.fraction_above(reference.stack[every], spec["threshold"], low, high)
    unfiltered = row["layout"] == "images" and spec["fraction"] == 0
    kept = np.ones(len(fractions), dtype=bool) if unfiltered else fractions > spec["fraction"]
    count = len(reference.stack)
    slices = np.arange(count)[every]
    to = frame(reference.stack.shape[1:], reference.spacing, sides(row), spec["fit"])
    images = stored(opened, slices[kept], to)
    shown = _shown(kept, item.tiles)
    parts = row["labels"]["slice"] if label_of(row["labels"]) == "slice" else 0
    encoded = Encoded(
        images=images,
        slices=slices + item.first,
        positions=slices / max(1, count - 1),
        fractions=fractions,
        kept=kept,
        labels=part_names(kept, parts) if parts else np.full(len(kept), item.label, dtype=object),
        digests=[digest_of(image, row) for image in images],
        limits=[limits_of(channel, row["intensity"]) for channel in opened[: len(row["contrasts"])]],
        tiles=dict(zip(shown.tolist(), stored(opened, slices[shown], to), strict=True)),
        shape=reference.stack.shape,
        frame=to,
        notes=notes_of(opened, row),
    )
    return apart(encoded, row["contrasts"]) if row["labels"] == "contrast" else encoded


def part_names(kept: np.ndarray, parts: int) -> np.ndarray:
    """Which of ``parts`` equal parts of the ``kept`` slices [S] each slice is in, from the first: names [S]."""
    places = (np.cumsum(kept) - 1) * parts // max(1, np.count_nonzero(kept))
    digits = len(str(parts))
    names = [f"part{place + 1:0{digits}d}of{parts}" if here else "" for place, here in zip(places, kept, strict=True)]
    return np.array(names, dtype=object)


def _shown(kept: np.ndarray, most: int) -> np.ndarray:
    """At most ``most`` candidates over the kept range and a sixth of it beyond, to show the filter's limits."""
    places = np.flatnonzero(kept) if kept.any() else np.arange(len(kept))
    beyond = 1 + (places[-1] - places[0]) // 6
    first, last = max(0, places[0] - beyond), min(len(kept) - 1, places[-1] + beyond)
    return np.unique(np.linspace(first, last, most).round().astype(int))


def _channel(path: Path, row: dict[str, Any], *, mask: bool) -> Channel:
    axis, spec = row["slices"]["axis"], row["intensity"]
    if row["layout"] == "images":
        values = read_picture(path)
        _check_window(path, values, spec)
        stack = upright(values[None])  # pictures are upright as they are; `stored` turns every stack
        make = partial(mapped, values, stack, (1.0, 1.0), spec)
    else:
        make = partial(channel_of, open_volume(path), axis, spec)
    try:
        return make(mask=mask)
    except GanError as error:
        raise GanError(f"{path}: {error}") from error


def _check_window(path: Path, values: np.ndarray, spec: dict[str, Any]) -> None:
    """Raise `GanError` if a window for 8 bits meets a picture of more bits: nearly all of it would be white."""
    if spec["map"] == "window" and values.dtype != np.uint8 and spec["high"] <= 255 < values.max():
        high = next((2**bits - 1 for bits in (12, 16) if values.max() < 2**bits), values.max())
        raise GanError(
            f"{path}: values up to {values.max():g}, but intensity.high is {spec['high']:g}; set intensity.high to "
            f"{high:g}, or to what is white in this data set"
        )
