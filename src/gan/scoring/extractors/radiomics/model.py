"""Radiomic features, standardised by the training images of the data set; those that are constant there are dropped."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gan.errors import GanError
from gan.metrics.radiomics import SMALLEST, of_images
from gan.scoring.extractors.radiomics.options import Options
from gan.study import METRICS_REVISION, canonical

CONSTANT = 1e-9  # of the largest value: a standard deviation below it is rounding


def make(
    options: Options, training_images: Callable[[], NDArray[np.uint8]], device: str | torch.device
) -> dict[str, Any]:
    """Names, means and standard deviations of the features of the training images, and the names of those dropped."""
    images = training_images()
    _check(images)
    found = of_images(images)
    mean, deviation = found.values.mean(0), found.values.std(0)
    kept = deviation > CONSTANT * np.maximum(np.abs(found.values).max(0), 1)
    if not kept.any():
        raise GanError("all radiomic features of the training images are constant; look at the data set's images")
    names = np.array(found.names)
    content = {"names": names[kept].tolist(), "dropped": names[~kept].tolist(), "revision": METRICS_REVISION}
    return content | {"mean": mean[kept].tolist(), "deviation": deviation[kept].tolist()}


def load(content: dict[str, Any], device: str | torch.device) -> "RadiomicFeatures":
    return RadiomicFeatures(content)


class RadiomicFeatures:
    """Features float32 [N, dim] of uint8 images [N, H, W], in standard deviations from the mean of training images.

    names, dropped: of `gan.metrics.radiomics.of_images`, kept and not; deviation [dim]: in their own units.
    """

    name = "radiomics"

    def __init__(self, content: dict[str, Any]):
        self.names, self.dropped = tuple(content["names"]), tuple(content["dropped"])
        self.mean, self.deviation = np.array(content["mean"]), np.array(content["deviation"])
        self.dim = len(self.names)
        self.id = f"radiomics-{hashlib.sha256(canonical(content).encode()).hexdigest()[:8]}"

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        if not len(images):
            return np.empty((0, self.dim), np.float32)
        _check(images)
        found = of_images(images)
        columns = [found.names.index(name) for name in self.names]
        return ((found.values[:, columns] - self.mean) / self.deviation).astype(np.float32)


def _check(images: NDArray[np.uint8]) -> None:
    if min(images.shape[1:]) < SMALLEST:
        size = " x ".join(map(str, images.shape[1:]))
        raise GanError(f"radiomic features need images of {SMALLEST} pixels a side or more, not of {size}")
