"""Histograms of grey values, and the distance between two of them."""

import numpy as np
from numpy.typing import NDArray

LEVELS = 256


def histograms(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many pixels of each of images [n, *size] have each grey value: [n, 256]."""
    offsets = LEVELS * np.arange(len(images))[:, None]
    values = images.reshape(len(images), -1) + offsets
    return np.bincount(values.ravel(), minlength=LEVELS * len(images)).reshape(-1, LEVELS)


def wasserstein(first: NDArray, second: NDArray) -> NDArray[np.float64]:
    """1-Wasserstein distance of histograms [..., 256], as a fraction of the grey range: sum |F - G| / 255.

    F and G are the cumulative shares. A shift of all grey values by s has s / 255, black against white has 1.
    """
    shares = [np.cumsum(counts, -1) / counts.sum(-1, keepdims=True) for counts in (first, second)]
    return np.abs(shares[0] - shares[1]).sum(-1) / (LEVELS - 1)
