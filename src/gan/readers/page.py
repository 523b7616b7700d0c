"""The page of a reader: one HTML file with its images inside, which needs no network and says nothing of the truth."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from gan.readers.design import WARM_UP, Item
from gan.readers.questions import ANSWERS, CONFIDENCE, CUES, REAL, REALISM, SYNTHETIC
from gan.report.template import template

SHOWN_WIDTH, SHOWN_HEIGHT = 1024, 512  # px that an image may take on a large screen, unless ``--enlarge`` says more


@dataclass(frozen=True)
class Look:
    """How all images of a reading are shown. enlarge: pixels of the screen for one of the image, along each axis, fewer
    on a screen that is too small; smooth: interpolated by the browser, else each pixel a square."""

    enlarge: int
    smooth: bool


@dataclass(frozen=True)
class Rules:
    """What the page says. feedback: the truth after each image of the warm-up; share: how many images are real."""

    feedback: bool
    share: bool


def fitting(height: int, width: int) -> int:
    """The largest whole factor at which an image fits a large screen."""
    return max(1, min(SHOWN_WIDTH // width, SHOWN_HEIGHT // height))


def png(picture: NDArray[np.uint8]) -> bytes:
    """``picture`` [H, W] as PNG without compression and without text: its length depends on its size alone."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def render(
    page: str,
    reader: str,
    items: Sequence[Item],
    pictures: NDArray[np.uint8],
    synthetic: Sequence[bool],
    look: Look,
    rules: Rules,
) -> str:
    """The page as text. page: its id; pictures [cases, H, W] and whether each is ``synthetic``, which the page holds of
    the warm-up alone, and only with feedback."""
    shown = []
    for item in items:
        entry: dict[str, str | bool] = {"id": item.id, "image": base64.b64encode(png(pictures[item.case])).decode()}
        if item.role == WARM_UP:
            entry["warmup"] = True
            if rules.feedback:
                entry["truth"] = SYNTHETIC if synthetic[item.case] else REAL
        shown.append(entry)
    height, width = pictures.shape[1:]
    reading = {"format": ANSWERS, "page": page, "reader": reader, "width": width, "height": height}
    reading |= {"enlarge": look.enlarge, "smooth": look.smooth, "items": shown}
    counted = [synthetic[item.case] for item in items if item.role != WARM_UP]
    return template("reader.html", "gan.readers").render(
        reader=reader,
        look=look,
        rules=rules,
        warm_up=len(items) - len(counted),
        images=len(counted),
        real=len(counted) - sum(counted),
        confidence=CONFIDENCE,
        realism=REALISM,
        cues=CUES,
        reading=Markup(json.dumps(reading).replace("<", "\\u003c")),
    )
