"""How large and how bright what volumes show is, as distributions over volumes.

A generator that makes the mean head, or one head again and again, has the right mean and the wrong distribution.

Tissues are told apart by grey values alone, with the same limits for all volumes, so they are no segmentation.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gan.metrics.histogram import LEVELS
from gan.metrics.intervals import Estimate, image_weights, subject_weights
from gan.metrics.pixels import PixelSums
from gan.metrics.scores import Found, metric_rows

BACKGROUND = 25  # grey values up to it: a tenth of the intensity map
GREYS = np.arange(LEVELS)


class Draws(NamedTuple):
    """How often each generated volume, training and held-out image counts in each resample, [B, n] each."""

    fake: NDArray
    train: NDArray
    held_out: NDArray

    @classmethod
    def of(cls, fake: int, train: NDArray, held_out: NDArray, bootstrap: int, seed: int) -> "Draws | None":
        """fake: their number; train, held_out [n]: whose images these are. None without a ``bootstrap``."""
        if not bootstrap:
            return None
        real = subject_weights(train, bootstrap, seed), subject_weights(held_out, bootstrap, [seed, 3])
        return cls(image_weights(fake, bootstrap, seed), *real)


def tissue_limits(histogram: NDArray) -> tuple[int, int]:
    """The highest grey values of the dark and of the middle one of three classes of the body, from counts [256].

    They make the squared distance of grey values to the mean of their class least: k-means, by trying all limits.
    """
    body = np.where(GREYS > BACKGROUND, histogram, 0)
    counts, sums = np.cumsum(body), np.cumsum(body * GREYS)
    best, found = -np.inf, (BACKGROUND + 1, BACKGROUND + 2)
    for low in range(BACKGROUND + 1, LEVELS - 2):
        high = np.arange(low + 1, LEVELS - 1)
        parts = [np.broadcast_to(of[low], high.shape) for of in (counts, sums)]
        number = np.stack([parts[0], counts[high] - counts[low], counts[-1] - counts[high]])
        total = np.stack([parts[1], sums[high] - sums[low], sums[-1] - sums[high]])
        between = (total**2 / np.maximum(number, 1)).sum(0)
        if between.max() > best:
            best, found = between.max(), (low, int(high[between.argmax()]))
    return found


def sizes(sums: PixelSums, limits: tuple[int, int], voxel: float) -> dict[str, NDArray[np.float64]]:
    """Of each unit of ``sums`` the mean volume of its body and of three tissues in ml, and the mean and the standard
    deviation of the body's grey values, [u] by metric. voxel: in ml; limits: of `tissue_limits`."""
    counts = sums.histogram / sums.images[:, None]
    body = np.where(GREYS > BACKGROUND, counts, 0)
    dark, middle, bright = np.split(body, [limits[0] + 1, limits[1] + 1], axis=1)
    volumes = {"body": body, "dark": dark, "middle": middle, "bright": bright}
    found = {f"volume_{name}": voxel * of.sum(1) for name, of in volumes.items()}
    number = np.maximum(body.sum(1), 1e-9)
    mean = body @ GREYS / number
    variance = (body * (GREYS - mean[:, None]) ** 2).sum(1) / number
    return found | {"brightness": mean, "grey_width": np.sqrt(variance)}


def score_sizes(
    fake: Mapping[str, PixelSums],
    train: Mapping[str, PixelSums],
    held_out: Mapping[str, PixelSums],
    voxel: float,
    *,
    bootstrap: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Rows of `sizes` as of `gan.metrics.scores.score`, by contrast, and the mean over contrasts.

    The value is the `transport` between generated and training volumes, the floor that between ``held_out`` and
    training volumes. fake: a unit a volume; train, held_out: a unit a subject; voxel: in ml.
    """
    units = [len(next(iter(of.values())).images) for of in (fake, train, held_out)]
    draws = Draws.of(units[0], np.arange(units[1]), np.arange(units[2]), bootstrap, seed)
    found: dict[str, dict[str, Found]] = {}
    for contrast, ours in fake.items():
        limits = tissue_limits(train[contrast].histogram.sum(0))
        each = [sizes(of, limits, voxel) for of in (ours, train[contrast], held_out[contrast])]
        for metric in each[0]:
            values, known, unseen = (of[metric] for of in each)
            found.setdefault(metric, {})[contrast] = compare(values, known, unseen, draws)
    return [row for metric, measured in found.items() for row in metric_rows(metric, measured)]


def score_label_sizes(
    fake: NDArray,
    train: NDArray,
    held_out: NDArray,
    subjects: NDArray,
    others: NDArray,
    mask: str,
    *,
    bootstrap: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Rows of the volumes of labels in ml, [n, L] of generated, [t, L] of training and [h, L] of held-out masks, as of
    `score_sizes`; ``mask`` is what it is called. subjects [t], others [h]: whose images these are."""
    draws, rows = Draws.of(len(fake), subjects, others, bootstrap, seed), []
    for label in range(fake.shape[1]):
        found = compare(fake[:, label], train[:, label], held_out[:, label], draws)
        rows += metric_rows(f"volume_label_{label + 1}", {mask: found})
    return [row for row in rows if row["contrast"] == mask]


def compare(fake: NDArray, train: NDArray, held_out: NDArray, draws: Draws | None) -> Found:
    """The `transport` from values [n] of generated volumes to those of training images, and from held-out ones."""
    once = [np.ones((1, len(values))) for values in (fake, train, held_out)]
    value, floor = transport(fake, train, once[0], once[1]), transport(held_out, train, once[2], once[1])
    if draws is None:
        return Found(Estimate(float(value[0]), None), Estimate(float(floor[0]), None))
    drawn = transport(fake, train, draws.fake, draws.train), transport(held_out, train, draws.held_out, draws.train)
    return Found(Estimate(float(value[0]), drawn[0]), Estimate(float(floor[0]), drawn[1]))


def transport(first: NDArray, second: NDArray, first_weights: NDArray, second_weights: NDArray) -> NDArray[np.float64]:
    """1-Wasserstein distances [B] of two sets of numbers, [n] with weights [B, n] and [m] with [B, m].

    The area between their cumulative shares: by how much a number has to change in the mean, in its own unit.
    """
    values = np.concatenate([first, second])
    order = np.argsort(values, kind="stable")
    gaps = np.diff(values[order])
    ours, theirs = (of / of.sum(1, keepdims=True) for of in (first_weights, second_weights))
    signed = np.concatenate([ours, -theirs], 1)[:, order]
    apart = np.cumsum(signed, 1)[:, :-1]
    return np.abs(apart) @ gaps
