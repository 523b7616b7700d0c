"""Radial power spectra: are images too smooth, too noisy, or marked by the grid of an upsampling?

Frequencies are in cycles per pixel: 0.5 is the finest that an axis holds, 0.71 the finest of a diagonal.
"""

import functools

import numpy as np
from numpy.typing import NDArray
from scipy import fft

BANDS = 8  # of equal width up to 0.5 cycles per pixel; one more holds the diagonals beyond
ROUNDING = 1 / 12  # power of rounding to whole grey values, at every frequency


def power_spectra(images: NDArray) -> NDArray[np.float64]:
    """Mean power in each band of images [n, H, W], at least 2 x 2: [n, bands], from coarse to fine.

    Power is |FFT|^2 / (H W): white noise of variance v has v in every band. The mean of an image is in none of them.
    There is no window: an image is taken as periodic. A side below 16 pixels has fewer than `BANDS` + 1 bands.
    """
    height, width = images.shape[1:]
    spectra: NDArray = np.asarray(fft.rfft2(np.asarray(images, np.float32), axes=(1, 2)))
    power = np.square(np.abs(spectra)).reshape(len(images), -1)
    return power @ _members(height, width) / (height * width)


def log_ratios(fake: NDArray, real: NDArray) -> NDArray[np.float64]:
    """ln(fake / real) of the power [..., bands] of two sets: 0 is equal, below 0 smoother, above 0 rougher.

    Both are raised by `ROUNDING`, so that a band with less power than rounding leaves does not count.
    """
    return np.log((fake + ROUNDING) / (real + ROUNDING))


def band_edges(height: int, width: int) -> NDArray[np.float64]:
    """Edges of the bands [bands + 1] of images of that size, in cycles per pixel; a band holds its upper edge."""
    bands = min(BANDS, height // 2, width // 2)
    return np.append(np.arange(bands + 1) / (2 * bands), np.hypot(0.5, 0.5))


@functools.lru_cache(maxsize=8)
def _members(height: int, width: int) -> NDArray[np.float64]:
    """Weights [H * (W // 2 + 1), bands] that average the half plane of `rfft2` within each band."""
    columns = fft.rfftfreq(width)
    frequency = np.hypot(fft.fftfreq(height)[:, None], columns)
    # A column of the half plane counts twice, for itself and its mirror image, unless it is its own.
    twice = np.where((columns == 0) | (columns == 0.5), 1.0, 2.0)
    band = np.searchsorted(band_edges(height, width), frequency - 1e-9) - 1
    members = (band[..., None] == np.arange(len(band_edges(height, width)) - 1)) * twice[:, None]
    members = members.reshape(height * len(columns), -1)
    return members / members.sum(0)
