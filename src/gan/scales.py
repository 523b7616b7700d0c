"""Pixel scales: intensities as they are stored, generated and seen, and label numbers. numpy alone."""

import numpy as np
from numpy.typing import NDArray

FULL_SCALE = 65535  # of the store's 16 bits
STEP = 257  # 65535 / 255: steps of the store in one unit of the scale 0..255
HALF = 127.5  # of the scale 0..255 in one unit of the scale [-1, 1]


def stored_to_uint8(images: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """The 8-bit grey values 0..255 of stored intensities 0..65535: x / 257, rounded."""
    # from 65407 on all round to 255: with that limit the sum fits 16 bits, and no copy is twice as large as the images
    return ((np.minimum(images, np.uint16(65407)) + np.uint16(128)) // np.uint16(STEP)).astype(np.uint8)


def generated_to_grey(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Generated intensities [-1, 1] on the scale 0..255 of the intensity map; what lies outside stays outside."""
    return (np.asarray(images, np.float32) + 1) * np.float32(HALF)


def generated_to_uint8(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The 8-bit grey values of generated intensities: `generated_to_grey`, rounded, clipped to 0..255."""
    return np.rint(generated_to_grey(images)).clip(0, 255).astype(np.uint8)


def generated_to_labels(values: NDArray[np.float32], largest: int) -> NDArray[np.uint8 | np.uint16]:
    """Label numbers of a mask whose labels 0 to ``largest`` are spread over [-1, 1]: the nearest, of 8 or 16 bits."""
    return np.clip(np.rint((values + 1) / 2 * largest), 0, largest).astype(np.uint8 if largest < 256 else np.uint16)
