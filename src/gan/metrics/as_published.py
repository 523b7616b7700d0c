"""Scores as they are published: generated images against all training images, each image for itself.

There are no patients, no floor and no interval in them, and nobody is held out: a copy of the training set has a
distance of 0, and precision and recall of 1. One pass over the pairs of images, 2.5e9 of 50,000, gives all but the
Fréchet distance, in float64 and by blocks, on a GPU if there is one.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from gan.cells import JOINT, WHOLE
from gan.metrics.distances import frechet_distance
from gan.metrics.facts import TRAIN

K = 3  # of the balls of precision and recall (Kynkäänniemi et al. 2019)
ROWS = 1024  # images whose distances to all others are in memory at a time


class Pairs(NamedTuple):
    """kid: squared maximum mean discrepancy with a cubic kernel, unbiased, over all pairs; precision, recall: with
    balls to the ``k``-th nearest image."""

    kid: float
    precision: float
    recall: float


def score_as_published(
    train: dict[str, NDArray], fake: dict[str, NDArray], *, published: bool = False, device: str | torch.device = "cpu"
) -> list[dict[str, Any]]:
    """Rows ``metric, contrast, value, floor``, and ``k`` of neighbours, of features [n, d] and [m, d] by contrast, and
    of their mean.

    published: whether the features are those that FID and KID are defined by. `JOINT` is left out: no publication has
    it. The cost grows with m^2 d.
    """
    fd, kd = ("fid", "kid") if published else ("fd", "kd")
    found: dict[str, dict[str, float]] = {name: {} for name in (fd, kd, "precision", "recall")}
    contrasts = [contrast for contrast in fake if contrast != JOINT]
    k = min(K, *(len(of[contrast]) - 1 for of in (train, fake) for contrast in contrasts))
    for contrast in contrasts:
        real, made = train[contrast], fake[contrast]
        found[fd][contrast] = frechet_distance(real, made)
        found[kd][contrast], found["precision"][contrast], found["recall"][contrast] = pairs(real, made, k, device)
    rows = []
    for name, values in found.items():
        extra = {"k": k} if name in ("precision", "recall") else {}
        for contrast, value in (values | {WHOLE: float(np.mean(list(values.values())))}).items():
            rows.append({"metric": TRAIN + name, "contrast": contrast, "value": value, "floor": None, **extra})
    return rows


def pairs(real: NDArray, fake: NDArray, k: int = K, device: str | torch.device = "cpu") -> Pairs:
    """What the pairs of features ``real`` [n, d] and ``fake`` [m, d] say; both need more than ``k`` images.

    kid: Bińkowski et al. 2018; precision and recall: Kynkäänniemi et al. 2019, eqs. 2 and 3.
    """
    x, y = (torch.from_numpy(np.asarray(of, np.float64)).to(device) for of in (real, fake))
    with tqdm(total=2 * len(x) + len(y), desc="as published", unit="image", leave=False) as bar:
        # Within each set: the mean kernel, and how far each image's ball reaches.
        means, reach = zip(*(_within(of, k, bar) for of in (x, y)), strict=True)
        # Between them: the mean kernel, and which images are in a ball.
        kernels, covered = x.new_zeros(()), 0
        held = torch.zeros(len(y), dtype=torch.bool, device=y.device)
        for part, kernel, distances in _blocks(x, y):
            kernels += kernel.sum()
            held |= (distances <= reach[0][part, None]).any(0)
            covered += int((distances <= reach[1]).any(1).sum())
            bar.update(len(distances))
    kid = sum(means) - 2 * float(kernels) / (len(x) * len(y))
    return Pairs(kid, float(held.double().mean()), covered / len(x))


def _within(x: Tensor, k: int, bar: tqdm) -> tuple[float, Tensor]:
    """The mean kernel of different images of ``x`` [n, d], and the squared distance [n] to the k-th nearest one."""
    total, reach = x.new_zeros(()), x.new_empty(len(x))
    for part, kernel, distances in _blocks(x, x):
        own = torch.arange(len(distances), device=x.device), torch.arange(len(x), device=x.device)[part]
        total += kernel.sum() - kernel[own].sum()
        distances[own] = torch.inf
        reach[part] = distances.kthvalue(k, 1).values
        bar.update(len(distances))
    return float(total) / (len(x) * (len(x) - 1)), reach


def _blocks(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """For each `ROWS` of ``x`` [n, d] the kernel and the squared distance to all ``y`` [m, d], [rows, m] both."""
    squares = (y * y).sum(1)
    for start in range(0, len(x), ROWS):
        part = slice(start, start + ROWS)
        products = x[part] @ y.T
        kernel = (products / x.shape[1] + 1).pow_(3)
        yield part, kernel, products.mul_(-2).add_((x[part] ** 2).sum(1)[:, None]).add_(squares).clamp_(min=0)
