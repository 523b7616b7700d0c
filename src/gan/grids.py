"""Images as PNG: grids of samples and single images, 8 bit, lossless, without windowing.

Every image is mapped linearly from [-1, 1] to 0..255 and clipped; nothing is stretched to its own minimum and maximum,
so brightness can be compared across a grid and between grids. The PNG says so in its ``Description``. A mask is next
to its contrasts in colours, one for each label; each value in [-1, 1] is shown as its nearest label.
"""

import json
import os
from collections.abc import Mapping

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gan.files import atomic_path
from gan.scales import generated_to_labels, generated_to_uint8

NORMALISATION = "linear from [-1, 1] to 0..255, clipped"
GRID_WIDTH, GRID_HEIGHT = 1024, 768  # px, at most, of a sample grid
MOST_COLUMNS, MOST_ROWS = 12, 8  # samples; more tell the eye no more
MOST_VOLUMES = 8  # samples
ENLARGED, MOST_TIMES = (1400, 1400), 6  # px of a grid of volumes whose voxels are enlarged, and at most so many times
GEOMETRY = "Grid"  # keyword of a grid's text: `geometry` as JSON
GAP, GAP_GREY = 2, 128  # px between samples of several channels, and their grey
# Of labels 0, 1, 2, ...; after the last the second follows again (Okabe and Ito 2008: safe for the colour-blind).
COLOURS = np.array(
    [(0, 0, 0), (213, 94, 0), (86, 180, 233), (240, 228, 66), (0, 158, 115), (204, 121, 167), (0, 114, 178)], np.uint8
)


def layout(channels: int, size: tuple[int, ...]) -> tuple[int, int]:
    """(rows, columns) of samples in a grid of at most 1024 x 768 px; a column holds all contrasts of a sample.

    Of volumes, (D, H, W), at most `MOST_VOLUMES` in twice as many px a side, those of several contrasts in two rows.
    """
    gap = GAP if channels > 1 else 0
    if len(size) == 2:
        (height, width), scale, most_columns, most_rows = size, 1, MOST_COLUMNS, MOST_ROWS
    else:
        (height, width), scale, most_rows = (size[1] + 2 * size[0], max(size[1:])), 2, 1 if channels == 1 else 2
        most_columns = MOST_VOLUMES // most_rows
    rows, columns = scale * GRID_HEIGHT // height, (scale * GRID_WIDTH + gap) // (width * channels + gap)
    return min(most_rows, max(1, rows)), min(most_columns, max(1, columns))


def tile(images: np.ndarray, columns: int, labels: int = 0) -> np.ndarray:
    """One picture uint8 [H', W'] of ``images`` [N, C, H, W] in [-1, 1], row by row, ``columns`` samples in a row.

    The contrasts of a sample are side by side, with a gap to the next sample; the last row is filled up with black.
    Of a volume [N, C, D, H, W] three `planes` are shown, their pixels enlarged (`ENLARGED`). labels: the largest label
    of the mask that the last channel is, 0 without a mask; with one the picture has colours, [H', W', 3].
    """
    volumes, images = images.ndim == 5, planes(images) if images.ndim == 5 else images
    pixels = generated_to_uint8(images)[..., None]
    if labels:
        pixels = pixels.repeat(3, -1)
        found = generated_to_labels(images[:, -1], labels).astype(np.int64)
        pixels[:, -1] = COLOURS[np.where(found > 0, 1 + (found - 1) % (len(COLOURS) - 1), 0)]
    number, channels, height, width, colours = pixels.shape
    gap, rows = GAP if channels > 1 else 0, -(-number // columns)
    strips = pixels.transpose(0, 2, 1, 3, 4).reshape(number, height, channels * width, colours)
    picture = np.zeros((rows * columns, height, channels * width + gap, colours), dtype=np.uint8)
    picture[:number, :, : channels * width] = strips
    picture[:, :, channels * width :] = GAP_GREY
    picture = picture.reshape(rows, columns, height, -1, colours).swapaxes(1, 2).reshape(rows * height, -1, colours)
    picture = picture[:, : picture.shape[1] - gap, slice(None) if labels else 0]
    times = _times(*picture.shape[:2]) if volumes else 1
    return picture if times == 1 else picture.repeat(times, 0).repeat(times, 1)


def _times(height: int, width: int) -> int:
    """By how much a picture of volumes of so many px is enlarged."""
    return max(1, min(MOST_TIMES, ENLARGED[0] // height, ENLARGED[1] // width))


def geometry(shape: tuple[int, ...], columns: int) -> dict[str, int]:
    """Where the samples of `tile` are, of ``shape`` [N, C, H, W] or [N, C, D, H, W]: their number, ``columns`` in a
    row, ``panels`` of ``height`` x ``width`` px in a sample, and ``gap`` px after each sample but the last of a row."""
    number, panels, *size = shape
    height, width = size if len(size) == 2 else (size[1] + 2 * size[0], max(size[1:]))
    gap, rows, times = GAP if panels > 1 else 0, -(-number // columns), 1
    if len(size) == 3:
        times = _times(rows * height, columns * (panels * width + gap) - gap)
    places = {"height": height * times, "width": width * times, "gap": gap * times}
    return {"number": number, "columns": columns, "panels": panels, **places}


def planes(volumes: np.ndarray) -> np.ndarray:
    """The middles of volumes [N, C, D, H, W] in [-1, 1] -> [N, C, H + 2 D, max(H, W)]: axial on coronal on sagittal.

    The rest is black. D is from inferior to superior, which is up in both lower planes.
    """
    depth, height, width = volumes.shape[2:]
    shown = (
        volumes[:, :, depth // 2],
        volumes[:, :, ::-1, height // 2],
        volumes[:, :, ::-1, :, width // 2],
    )
    wide = max(height, width)
    return np.concatenate(
        [np.pad(plane, [*[(0, 0)] * 3, (0, wide - plane.shape[3])], constant_values=-1) for plane in shown], axis=2
    )


def write_png(
    path: str | os.PathLike,
    pixels: np.ndarray,
    description: str = f"grey values: {NORMALISATION}",
    text: Mapping[str, str] | None = None,
) -> None:
    """Write ``pixels``, [H, W] of 8 or 16 bits or colours [H, W, 3], as PNG, atomically. Equal pixels, equal bytes.

    text: more that the file says of itself, by keyword; ``XML:com.adobe.xmp`` is XMP.
    """
    info = png_text({"Description": description, **(text or {})})
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", pnginfo=info)


def png_text(text: Mapping[str, str]) -> PngInfo:
    """Text by keyword for `PIL.Image.Image.save`."""
    info = PngInfo()
    for keyword, said in text.items():
        add = info.add_itxt if keyword.startswith("XML:") else info.add_text
        add(keyword, said)
    return info


def write_grid(
    path: str | os.PathLike, images: np.ndarray, columns: int, labels: int = 0, text: Mapping[str, str] | None = None
) -> None:
    """Write `tile` of ``images`` as a PNG that says where its samples are (`geometry`); text: as of `write_png`."""
    where = {GEOMETRY: json.dumps(geometry(images.shape, columns))}
    write_png(path, tile(images, columns, labels), text={**(text or {}), **where})
