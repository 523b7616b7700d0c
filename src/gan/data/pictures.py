"""Read a 2-D image file as grey values."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from gan.errors import GanError

_GREY = ("L", "I;16", "I;16B", "I;16L", "I", "F", "1")


def read_picture(path: Path) -> np.ndarray:
    """Grey values [H, W] of an image file: uint8, or the type of a 16-bit or float file.

    Colour becomes luma, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601); transparency is dropped; a rotation in the
    EXIF data is carried out. Raises `GanError` when the file is no image, damaged, or has several frames.
    """
    try:
        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1:
                raise GanError(f"{path}: {image.n_frames} frames in one file; split it into single images")  # type: ignore
            image.load()
            upright = ImageOps.exif_transpose(image)
            grey = upright if upright.mode in _GREY else upright.convert("RGB").convert("L")
            values = np.asarray(grey)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise GanError(f"{path}: not an image, or a damaged one; replace or remove it") from error
    return values.astype(np.uint8) * 255 if values.dtype == bool else values
