"""Pictures of a store for the eye: a contact sheet and single previews."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gan.scales import stored_to_uint8

WIDTH = 1800  # pixels of a sheet, about
LINE, GAP = 14, 8
WHITE, RED = 254, 255  # places in the palette; 0 to 254 are greys
PALETTE = [value for grey in range(255) for value in (grey, grey, grey)] + [200, 40, 40]


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
    grey = stored_to_uint8(images)
    if mask is not None:
        labels = images[..., mask, :, :]
        grey[..., mask, :, :] = labels.astype(np.uint32) * 255 // max(1, top)
    return grey


def contact_sheet(rows: Sequence[Row], path: Path) -> None:
    """Draw ``rows`` below each other into a PNG: contrasts side by side, each slice captioned."""
    most = max(len(row.tiles) for row in rows)
    contrasts, height, width = rows[0].tiles[0].images.shape
    edge = int(np.clip((WIDTH / most - GAP) / contrasts, 48, 128))
    scale = edge / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    cell = (size[0] * contrasts + GAP, size[1] + LINE + GAP)
    sheet = Image.new("P", (most * cell[0] + GAP, len(rows) * (cell[1] + LINE) + GAP), 0)
    sheet.putpalette(PALETTE)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    top = GAP
    for row in rows:
        draw.text((GAP, top), row.title, WHITE, font)
        for place, tile in enumerate(row.tiles):
            left = GAP + place * cell[0]
            strip = _strip(tile, size)
            sheet.paste(strip, (left, top + LINE))
            draw.text((left, top + LINE + size[1]), tile.caption, WHITE if tile.kept else RED, font)
        top += cell[1] + LINE
    sheet.save(path, compress_level=1)


def _strip(tile: Tile, size: tuple[int, int]) -> Image.Image:
    resized = [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)) for image in tile.images]
    strip = np.minimum(np.hstack(resized) // (1 if tile.kept else 3), WHITE)
    if not tile.kept:
        strip[[0, -1]], strip[:, [0, -1]] = RED, RED
    return Image.fromarray(strip)


def preview(image: np.ndarray, path: Path) -> None:
    """Write ``image``, uint8 [H, W], as a lossless grey PNG."""
    Image.fromarray(image).save(path, compress_level=1)
