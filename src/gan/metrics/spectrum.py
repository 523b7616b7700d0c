"""Radial power spectra: are images too smooth, too noisy, or marked by the grid of an upsampling?

Frequencies are in cycles per pixel: 0.5 is the finest that an axis holds, 0.71 the finest of a diagonal (0.87 in 3D).
"""

import functools
import math

import numpy as np
from numpy.typing import NDArray
from scipy import fft

BANDS = 8  # of equal width up to 0.5 cycles per pixel; one more holds the diagonals beyond
ROUNDING = 1 / 12  # power of rounding to whole grey values, at every frequency


def power_spectra(images: NDArray) -> NDArray[np.float64]:
    """Mean power in each band of images [n, H, W] or volumes [n, D, H, W], sides of 2 at least: [n, bands], from coarse
    to fine.

    Power is |FFT|^2 / number of pixels: white noise of variance v has v in every band. The mean of an image is in none
    of them. There is no window: an image is taken as periodic. A side below 16 pixels has fewer than `BANDS` + 1 bands.
    """
    size = images.shape[1:]
    spectra: NDArray = np.asarray(fft.rfftn(np.asarray(images, np.float32), axes=range(1, images.ndim)))
    power = np.square(np.abs(spectra)).reshape(len(images), -1)
    return power @ _members(*size) / math.prod(size)


def log_ratios(fake: NDArray, real: NDArray) -> NDArray[np.float64]:
    """ln(fake / real) of the power [..., bands] of two sets: 0 is equal, below 0 smoother, above 0 rougher.

    Both are raised by `ROUNDING`, so that a band with less power than rounding leaves does not count.
    """
    return np.log((fake + ROUNDING) / (real + ROUNDING))


def band_edges(*size: int) -> NDArray[np.float64]:
    """Edges of the bands [bands + 1] of images of that size, in cycles per pixel; a band holds its upper edge."""
    bands = min(BANDS, min(size) // 2)
    return np.append(np.arange(bands + 1) / (2 * bands), math.hypot(*[0.5] * len(size)))


@functools.lru_cache(maxsize=8)
def _members(*size: int) -> NDArray[np.float64]:
    """Weights [frequencies, bands] that average the half space of `rfftn`, flattened, within each band."""
    columns = fft.rfftfreq(size[-1])
    axes = np.meshgrid(*map(fft.fftfreq, size[:-1]), columns, indexing="ij")
    frequency = functools.reduce(np.hypot, axes)
    # A column of the half space counts twice, for itself and its mirror image, unless it is its own.
    twice = np.where((columns == 0) | (columns == 0.5), 1.0, 2.0)
    edges = band_edges(*size)
    band = np.searchsorted(edges, frequency - 1e-9) - 1
    members = (band[..., None] == np.arange(len(edges) - 1)) * twice[:, None]
    members = members.reshape(frequency.size, -1)
    return members / members.sum(0)
