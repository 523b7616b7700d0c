"""Read a 2-D image file as grey values."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from gan.errors import GanError

_GREY = ("L", "I;16", "I;16B", "I;16L", "I", "F", "1")
UNREADABLE = (
    *(OSError, EOFError, ValueError, SyntaxError, TypeError, LookupError, ArithmeticError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)  # exceptions of Pillow for damaged files


def read_picture(path: Path) -> np.ndarray:
    """Grey values [H, W] of an image file: uint8, or the type of a 16-bit or float file.

    Colour becomes luma, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601); transparency is dropped; a rotation in the
    EXIF data is carried out. Raises `GanError` when the file is no image, damaged, has several frames,
    or pixels that are no numbers.
    """
    try:
        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1:
                raise GanError(f"{path}: {image.n_frames} frames in one file; split it into single images")  # type: ignore
            image.load()
            upright = ImageOps.exif_transpose(image)
            grey = upright if upright.mode in _GREY else upright.convert("RGB").convert("L")
            values = np.asarray(grey)
    except FileNotFoundError as error:
        raise GanError(f"{path}: the file has gone; if that is right, run again with --forcerun fetch") from error
    except PermissionError as error:
        raise GanError(f"{path}: {error.strerror}; change its permissions") from error
    except UNREADABLE as error:
        raise GanError(f"{path}: not an image, or a damaged one; replace or remove it") from error
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        count = np.count_nonzero(~np.isfinite(values))
        raise GanError(f"{path}: {count} pixels are NaN or infinite; repair or remove it")
    return values.astype(np.uint8) * 255 if values.dtype == bool else values
