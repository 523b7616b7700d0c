"""Images as short vectors whose distance says how well they correlate: the second eye of the search for copies."""

import numpy as np
import torch
from numpy.typing import NDArray

SIDE = 32  # points of the longer side of a thumbnail
REACH = 1  # points by which a thumbnail is moved, in each direction of each axis


def thumbnails(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means of ``images`` [n, H, W] over squares, the longer side `SIDE` points or its own length: [n, h, w]."""
    height, width = images.shape[1:]
    factor = max(1, max(height, width) / SIDE)
    size = (max(1, round(height / factor)), max(1, round(width / factor)))
    pixels = torch.from_numpy(images.astype(np.float32))[:, None]
    return torch.nn.functional.adaptive_avg_pool2d(pixels, size)[:, 0].numpy()


def correlated(by_contrast: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Vectors [n, d] of mean 0 and length 1 of the thumbnails [n, h, w] of all contrasts of the same n samples.

    The squared distance of two of them is 2 (1 - r) with their correlation r, which no gain or offset changes.
    """
    flat = np.concatenate([one.reshape(len(one), -1) for one in by_contrast], 1)
    flat = flat - flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def moved(by_contrast: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """`correlated` of the thumbnails moved by up to `REACH` points along each axis: [9, n, d]; edges are repeated."""
    reach = range(-REACH, REACH + 1)
    return np.stack([correlated([_shift(one, y, x) for one in by_contrast]) for y in reach for x in reach])


def _shift(images: NDArray, y: int, x: int) -> NDArray:
    height, width = images.shape[1:]
    padded = np.pad(images, ((0, 0), (REACH, REACH), (REACH, REACH)), mode="edge")
    return padded[:, REACH + y : REACH + y + height, REACH + x : REACH + x + width]
