"""Pictures of a store for the eye: a contact sheet and single previews."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gan.data.store import STEP

WIDTH = 1800  # pixels of a sheet, about
LINE, GAP, RED = 14, 8, (200, 40, 40)


class Tile(NamedTuple):
    """One candidate slice. images: uint8 [C, H, W]; a slice that is not ``kept`` is dimmed, in a red frame."""

    images: np.ndarray
    caption: str
    kept: bool


class Row(NamedTuple):
    """A line of tiles below a title."""

    title: str
    tiles: Sequence[Tile]


def as_grey(images: np.ndarray, mask: int | None, top: int) -> np.ndarray:
    """Stored pixels [..., C, H, W], uint16, as uint8; labels of channel ``mask``, 0 to ``top``, spread over 0..255."""
    grey = ((images.astype(np.uint32) + STEP // 2) // STEP).astype(np.uint8)
    if mask is not None:
        labels = images[..., mask, :, :]
        grey[..., mask, :, :] = labels.astype(np.uint32) * 255 // max(1, top)
    return grey


def contact_sheet(rows: Sequence[Row], path: Path) -> None:
    """Draw ``rows`` below each other into a PNG: contrasts side by side, each slice captioned."""
    most = max(len(row.tiles) for row in rows)
    contrasts, height, width = rows[0].tiles[0].images.shape
    edge = int(np.clip((WIDTH / most - GAP) / contrasts, 48, 160))
    scale = edge / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    cell = (size[0] * contrasts + GAP, size[1] + LINE + GAP)
    sheet = Image.new("RGB", (most * cell[0] + GAP, len(rows) * (cell[1] + LINE) + GAP), "black")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    top = GAP
    for row in rows:
        draw.text((GAP, top), row.title, "white", font)
        for place, tile in enumerate(row.tiles):
            left = GAP + place * cell[0]
            strip = _strip(tile, size)
            sheet.paste(strip, (left, top + LINE))
            draw.text((left, top + LINE + size[1]), tile.caption, "white" if tile.kept else RED, font)
        top += cell[1] + LINE
    sheet.save(path, compress_level=1)


def _strip(tile: Tile, size: tuple[int, int]) -> Image.Image:
    resized = [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)) for image in tile.images]
    strip = Image.fromarray(np.hstack(resized) // (1 if tile.kept else 3)).convert("RGB")
    if not tile.kept:
        ImageDraw.Draw(strip).rectangle((0, 0, strip.width - 1, strip.height - 1), outline=RED)
    return strip


def preview(image: np.ndarray, path: Path) -> None:
    """Write ``image``, uint8 [H, W], as a lossless grey PNG."""
    Image.fromarray(image).save(path, compress_level=1)
