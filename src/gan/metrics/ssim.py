"""MS-SSIM, how alike two images are (Wang et al. 2003), and its use on a set: are its images all the same?

The mean over pairs of generated images is high when a generator makes few different ones (Odena et al. 2017; Karras et
al. 2018). It says nothing without that of real images, which are alike themselves: heads more so than rooms.
"""

import itertools
import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from gan.errors import GanError

WINDOW, SIGMA = 11, 1.5  # pixels, of the Gaussian
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # keep flat regions from a division by 0
BORDER = WINDOW // 2  # pixels at the edge of an image that are the centre of no whole window
PAIRS = 500  # of real and of generated images in a score: a mean to 0.005 where values spread by 0.1
PAIRS_OF_VOLUMES = 100  # a pair of 128^3 voxels takes 2 s
BLOCK = 16  # images at a time, or 2 volumes, for the memory
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, from fine to coarse


def ms_ssim(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Multi-scale structural similarity of grey images ``x`` and ``y`` on the scale 0..255, [N, H, W] or volumes
    [N, D, H, W]: float64 [N].

    From 0 to 1, which equal images have: the product over scales of cs^weight, the coarsest with luminance (Wang et al.
    2003, equation 7). cs = (2 s_xy + C2) / (s_x^2 + s_y^2 + C2) in Gaussian windows is averaged over those that lie
    within the image; a scale halves the image by means of 2 x 2 pixels (2 x 2 x 2 voxels). Five scales need 176 pixels.
    Smaller images have as many as hold a window (128: 4, 64: 3, 32: 2, 16: 1), with the weights divided by their sum,
    so values of different sizes do not compare; below 11 pixels the window shrinks to the image, as in the program of
    Karras et al. 2018. A negative mean counts as 0, since its power would be no number.
    """
    x, y = (torch.as_tensor(images).double()[:, None] for images in (x, y))
    halve = functional.avg_pool2d if x.ndim == 4 else functional.avg_pool3d
    weights = WEIGHTS[: _scales(min(x.shape[2:]))]
    found = torch.ones(len(x), dtype=torch.float64)
    for scale, weight in enumerate(weights, start=1):
        structure, luminance = _similarity(x, y)
        both = structure * luminance if scale == len(weights) else structure
        found *= both.mean(dim=tuple(range(1, x.ndim))).clamp(min=0) ** (weight / sum(weights))
        x, y = halve(x, 2), halve(y, 2)
    return found


def ssim_map(x: ArrayLike, y: ArrayLike) -> Tensor:
    """SSIM of each window of grey images ``x`` and ``y`` on the scale 0..255, [N, H, W] or volumes [N, D, H, W].

    float64, 10 fewer along each axis.

    Wang et al. 2004, equation 13: Gaussian windows of 11 pixels, variances divided by n. Only windows within the image
    have a value; it belongs to their centre. `ValueError` below 11 pixels.
    """
    x, y = (torch.as_tensor(images).double()[:, None] for images in (x, y))
    if min(x.shape[2:]) < WINDOW:
        raise ValueError(f"SSIM needs {WINDOW} pixels a side, the images have {min(x.shape[2:])}")
    blocks = (images.split(_at_once(x.ndim - 2)) for images in (x, y))
    found = [structure * luminance for structure, luminance in map(_similarity, *blocks)]
    return torch.cat(found)[:, 0]


def similarity_of_pairs(images: NDArray) -> NDArray[np.float64]:
    """`ms_ssim` of the first of ``images`` [n, *size] with the second, the third with the fourth, ...: [n // 2]."""
    count, at_once = len(images) // 2 * 2, _at_once(images.ndim - 1)
    found = [np.empty(0)]
    for start in range(0, count, at_once):
        block = images[start : min(start + at_once, count)]
        found.append(ms_ssim(block[0::2], block[1::2]).numpy())
    return np.concatenate(found)


def similarity_of_set(images: NDArray, most: int) -> float:
    """Mean `ms_ssim` of all pairs of ``images`` [N, C, *size], 0..255, or of about ``most``, evenly chosen among them.

    Channels are compared each with its like. NaN with fewer than two images.
    """
    pairs = list(itertools.combinations(range(len(images)), 2))
    if not pairs:
        return math.nan
    chosen = images[np.ravel(pairs[:: -(-len(pairs) // most)])]
    return float(np.mean([similarity_of_pairs(channel) for channel in chosen.swapaxes(0, 1)]))


def pairs_of_subjects(subjects: NDArray, number: int = PAIRS, seed: int = 0) -> NDArray[np.int64]:
    """``number`` random pairs of images of different subjects: [number, 2]. subjects: a code for each image [n].

    `GanError` if all images are of one subject.
    """
    if len(np.unique(subjects)) < 2:
        raise GanError("the split train has one subject, two are needed to say how alike images are; raise split.train")
    rng = np.random.default_rng(seed)
    first = rng.integers(len(subjects), size=number)
    return np.array([(one, rng.choice(np.flatnonzero(subjects != subjects[one]))) for one in first])


def _at_once(axes: int) -> int:
    return BLOCK if axes == 2 else 2


def _scales(side: int) -> int:
    """Scales of an image of ``side`` pixels that hold a window, 1 to 5."""
    return max([1, *(scale + 1 for scale in range(len(WEIGHTS)) if side >> scale >= WINDOW)])


def _similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Contrast with structure, and luminance, in each window of images [N, 1, *size] (equations 1 to 3)."""
    mean_x, mean_y, xx, yy, xy = _blur(torch.cat([x, y, x * x, y * y, x * y], dim=1)).split(1, dim=1)
    covariance, variances = xy - mean_x * mean_y, xx - mean_x**2 + yy - mean_y**2
    return (2 * covariance + C2) / (variances + C2), (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)


def _blur(images: Tensor) -> Tensor:
    """Gaussian means of images [N, C, *size] where the window fits within them, one axis after the other."""
    found = images.numpy()
    for axis, side in enumerate(images.shape[2:], start=2):
        window = _gaussian(side).numpy()
        # a ninth of the time of torch's convolution in double
        found = ndimage.correlate1d(found, window, axis)[(slice(None),) * axis + (_whole(window),)]
    return torch.from_numpy(found)


def _whole(window: NDArray) -> slice:
    """The places where ``window`` does not reach over an end, of what `correlate1d` returns."""
    before, after = len(window) // 2, (len(window) - 1) // 2
    return slice(before, -after or None)


def _gaussian(side: int) -> Tensor:
    """The window along an axis of ``side`` pixels, [window], with the sum 1."""
    window = min(WINDOW, side)
    place = torch.arange(window, dtype=torch.float64) - (window - 1) / 2
    weights = torch.exp(-(place**2) / (2 * (SIGMA * window / WINDOW) ** 2))
    return weights / weights.sum()
