"""The page of pairs: suspicious generated images next to the training images that they are nearest to.

It shows patients, so it is a file of its own that no other page embeds.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gan.files import atomic_path
from gan.report.template import template

GAP = 2  # px between the pictures of a row
SHOWN_SIDE = 128  # px at least on the page, by enlarging each pixel a whole number of times


@dataclass(frozen=True)
class Pair:
    """An image and the nearest images of the two nearest training patients, uint8 [H, W] by contrast; ratios: by eye
    the distance to the nearest patient over that to the second one; surprise: the share of real images with as low a
    ratio, by the eye that is more surprised."""

    image: Mapping[str, NDArray[np.uint8]]
    first: Mapping[str, NDArray[np.uint8]]
    second: Mapping[str, NDArray[np.uint8]]
    ratios: Mapping[str, float]
    surprise: float


def write_pairs(
    path: Path, title: str, summary: Mapping[str, Any], generated: Sequence[Pair], held_out: Sequence[Pair]
) -> None:
    """Write the page: ``generated`` images and, ranked alike, ``held_out`` real ones; summary: that of copies.json."""
    tables = [("Generated images, the most suspicious first", "generated", list(map(_shown, generated)))]
    tables.append(("Real images of held-out patients, ranked alike", "real", list(map(_shown, held_out))))
    text = template("pairs.html").render(title=title, summary=summary, tables=tables)
    with atomic_path(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")


def _shown(pair: Pair) -> dict[str, Any]:
    pixels = strip(pair)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    times = max(1, -(-SHOWN_SIDE // pixels.shape[0]))
    source = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return {"source": source, "width": pixels.shape[1] * times, "ratios": dict(pair.ratios), "surprise": pair.surprise}


def strip(pair: Pair) -> NDArray[np.uint8]:
    """One picture [H, W'] of the image, the nearest patient, the second one, and half of the difference to the nearest
    (grey: none), each with its contrasts side by side."""
    image, first, second = (np.concatenate(list(of.values()), 1) for of in (pair.image, pair.first, pair.second))
    difference = 127.5 + (image.astype(np.float32) - first) / 2
    gap = np.full((len(image), GAP), 128, np.uint8)
    parts = [image, gap, first, gap, second, gap, difference.round().clip(0, 255).astype(np.uint8)]
    return np.concatenate(parts, 1)
