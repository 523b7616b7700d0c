"""Images as PNG: grids of samples and single images, 8 bit, lossless, without windowing.

Every image is mapped linearly from [-1, 1] to 0..255 and clipped; nothing is stretched to its own minimum and maximum,
so brightness can be compared across a grid and between grids. The PNG says so in its ``Description``.
"""

import os

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gan.files import atomic_path

NORMALISATION = "linear from [-1, 1] to 0..255, clipped"
GRID_WIDTH, GRID_HEIGHT = 1024, 768  # px, at most, of a sample grid
MOST_COLUMNS, MOST_ROWS = 12, 8  # samples; more tell the eye no more


def layout(channels: int, size: tuple[int, ...]) -> tuple[int, int]:
    """(rows, columns) of samples in a grid of at most 1024 x 768 px; a column holds all contrasts of a sample."""
    height, width = size[-2:]
    rows, columns = GRID_HEIGHT // height, GRID_WIDTH // (width * channels)
    return min(MOST_ROWS, max(1, rows)), min(MOST_COLUMNS, max(1, columns))


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """One picture uint8 [H', W'] of ``images`` [N, C, H, W] in [-1, 1], row by row, ``columns`` samples in a row.

    The contrasts of a sample stand side by side; the last row is filled up with black. Of a volume [N, C, D, H, W] the
    middle slice is shown.
    """
    pixels = to_uint8(images[:, :, images.shape[2] // 2] if images.ndim == 5 else images)
    number, channels, height, width = pixels.shape
    rows = -(-number // columns)
    picture = np.zeros((rows * columns, channels, height, width), dtype=np.uint8)
    picture[:number] = pixels
    picture = picture.reshape(rows, columns, channels, height, width)
    return picture.transpose(0, 3, 1, 2, 4).reshape(rows * height, columns * channels * width)


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Grey values 0..255 of intensities in [-1, 1]; what lies outside is clipped."""
    return np.clip(np.rint((np.asarray(images, dtype=np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)


def write_png(path: str | os.PathLike, pixels: np.ndarray, description: str = f"grey values: {NORMALISATION}") -> None:
    """Write ``pixels`` [H, W], uint8 or uint16, as a greyscale PNG, atomically. Equal pixels give equal bytes."""
    info = PngInfo()
    info.add_text("Description", description)
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", pnginfo=info)


def write_grid(path: str | os.PathLike, images: np.ndarray, columns: int) -> None:
    """Write `tile` of ``images`` as a PNG."""
    write_png(path, tile(images, columns))
