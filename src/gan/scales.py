"""Pixel scales: intensities as they are stored and generated, and as they are seen. numpy alone."""

import numpy as np
from numpy.typing import NDArray


def stored_to_uint8(images: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """The 8-bit grey values 0..255 of stored intensities 0..65535: x / 257, rounded."""
    # from 65407 on all round to 255: with that limit the sum fits 16 bits, and no copy is twice as large as the images
    return ((np.minimum(images, np.uint16(65407)) + np.uint16(128)) // np.uint16(257)).astype(np.uint8)


def generated_to_uint8(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The 8-bit grey values of generated intensities: (x + 1) * 127.5, rounded, clipped to 0..255."""
    return np.rint((np.asarray(images, np.float32) + 1) * 127.5).clip(0, 255).astype(np.uint8)
