"""Networks see batches of one size, so that the features of an image depend on that image alone."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

BATCH = 16  # the fastest size for both networks on a CPU, and as many as a generator draws at a time


def in_full_batches(
    images: NDArray[np.uint8], dim: int, features: Callable[[NDArray[np.uint8]], Tensor]
) -> NDArray[np.float32]:
    """Features [N, dim] of images [N, *size] by ``features``, which gets `BATCH` images at a time, whatever N is.

    How a convolution or a product rounds depends on the size of its batch, in a way of each CPU's own. So the last
    batch repeats its last image until it is full.
    """
    out = np.empty((len(images), dim), np.float32)
    for start in range(0, len(images), BATCH):
        batch = images.take(range(start, start + BATCH), axis=0, mode="clip")
        out[start : start + BATCH] = features(batch)[: len(images) - start].cpu().numpy()
    return out
