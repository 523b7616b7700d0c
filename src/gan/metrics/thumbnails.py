"""Images as short vectors whose distance says how well they correlate: the second eye of the search for copies."""

import itertools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import adaptive_avg_pool2d, adaptive_avg_pool3d

SIDE, SIDE_OF_VOLUMES = 32, 16  # points of the longest side of a thumbnail
REACH = 1  # points by which a thumbnail is moved, in each direction of each axis


def thumbnails(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means of ``images`` [n, H, W] over squares, the longer side `SIDE` points or its own length: [n, h, w].

    Of volumes [n, D, H, W] over cubes, the longest side `SIDE_OF_VOLUMES` points: [n, d, h, w].
    """
    volumes = images.ndim == 4
    means: Callable[..., torch.Tensor] = adaptive_avg_pool3d if volumes else adaptive_avg_pool2d
    factor = max(1, max(images.shape[1:]) / (SIDE_OF_VOLUMES if volumes else SIDE))
    size = [max(1, round(side / factor)) for side in images.shape[1:]]
    return means(torch.from_numpy(images.astype(np.float32))[:, None], size)[:, 0].numpy()


def correlated(by_contrast: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Vectors [n, d] of mean 0 and length 1 of the thumbnails [n, *size] of all contrasts of the same n samples.

    The squared distance of two of them is 2 (1 - r) with their correlation r, which no gain or offset changes.
    """
    flat = np.concatenate([one.reshape(len(one), -1) for one in by_contrast], 1)
    flat = flat - flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def moved(by_contrast: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """`correlated` of the thumbnails moved by up to `REACH` points along each axis: [9, n, d] of images, [27, n, d] of
    volumes; edges are repeated."""
    axes = by_contrast[0].ndim - 1
    moves = itertools.product(range(-REACH, REACH + 1), repeat=axes)
    return np.stack([correlated([_shift(one, move) for one in by_contrast]) for move in moves])


def _shift(images: NDArray, move: tuple[int, ...]) -> NDArray:
    padded = np.pad(images, ((0, 0), *[(REACH, REACH)] * len(move)), mode="edge")
    within = [slice(REACH + by, REACH + by + side) for by, side in zip(move, images.shape[1:], strict=True)]
    return padded[:, *within]
