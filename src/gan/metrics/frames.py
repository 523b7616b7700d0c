"""Plain numbers of single images: the noise of their background, and how unlike their left and right halves are."""

import itertools

import numpy as np
from numpy.typing import NDArray

CORNER = 8  # a corner is this part of a side


def background_noise(images: NDArray) -> NDArray[np.float64]:
    """Standard deviation of the grey values in the quieter half of the corners of each of images [n, *size]: [n].

    A corner is an eighth of each side, and 2 pixels at least. Half of them, two of an image and four of a volume, are
    left out because a neck or an arm may reach into them. 0 where the background was cut away.
    """
    axes = tuple(range(1, images.ndim))
    ends = [_ends(max(2, side // CORNER)) for side in images.shape[1:]]
    corners = [images[:, *corner] for corner in itertools.product(*ends)]
    variances = np.stack([corner.var(axes, ddof=1, dtype=np.float64) for corner in corners], 1)
    return np.sqrt(np.sort(variances, 1)[:, : len(corners) // 2].mean(1))


def asymmetry(images: NDArray) -> NDArray[np.float64]:
    """How unlike each of images [n, *size] is its mirror image along the last axis, left to right: [n], from 0 to 1.

    sum |x - mirrored x| / sum (x + mirrored x) for grey values x from 0: 0 if equal or black, 1 if one half is black.
    A gain changes nothing, and a mirrored image has the same value.
    """
    x = images.astype(np.float32)
    axes = tuple(range(1, images.ndim))
    apart, whole = np.abs(x - x[..., ::-1]).sum(axes, np.float64), 2 * x.sum(axes, np.float64)
    return np.divide(apart, whole, out=np.zeros(len(x)), where=whole > 0)


def _ends(length: int) -> tuple[slice, slice]:
    return slice(None, length), slice(-length, None)
