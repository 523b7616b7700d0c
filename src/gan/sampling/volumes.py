"""A scan through a translator: its slices, or the whole of it, as in training, and the translations in its pixels."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gan.data.cut.common import Channel, stored
from gan.data.cut.frames import Frame, unplace
from gan.data.planes import upright
from gan.families.contract import Source
from gan.sampling.snapshot import Snapshot
from gan.sampling.tasks import CHUNK, translated
from gan.sampling.write import finite
from gan.scales import generated_to_grey


class Stack(NamedTuple):
    """The slices of a volume, or the whole of it as the only one. channels: one per source contrast of the generator,
    None for a missing one; passing: bool [S], which slices the filter of training keeps; every: distance of neighbours;
    to: the frame of training; backward: as of `Source`."""

    channels: list[Channel | None]
    passing: np.ndarray
    every: int
    to: Frame
    backward: bool = False

    @property
    def whole(self) -> bool:
        return len(self.to.size) == 3


def around(stack: Stack, chosen: np.ndarray, reach: int) -> np.ndarray:
    """For each of the slices ``chosen`` those that the network sees, int64 [n, 2 reach + 1], as in training.

    A neighbour that is not there, or does not pass the filter, is replaced by the slice itself.
    """
    numbers = chosen[:, None] + stack.every * np.arange(-reach, reach + 1)
    inside = (numbers >= 0) & (numbers < len(stack.passing))
    there = inside & stack.passing[np.where(inside, numbers, 0)]
    return np.where(there, numbers, chosen[:, None])


def requests(snapshot: Snapshot, stack: Stack, chosen: np.ndarray, label: int | None = None) -> Iterator[Source]:
    """Requests for the slices ``chosen``, at most 16 each, on the device of the network; label: the class of all."""
    full = torch.tensor(snapshot.data["source_full_scale"], dtype=torch.float32)
    scale = (2 / full).reshape(1, -1, 1, *[1] * len(stack.to.size))
    for first in range(0, len(chosen), CHUNK):
        numbers = around(stack, chosen[first : first + CHUNK], snapshot.shape.neighbours)
        images = stored(stack.channels, numbers.ravel(), stack.to).astype(np.float32)
        by_contrast = torch.from_numpy(images).unflatten(0, numbers.shape).transpose(1, 2).mul(scale).sub(1)
        classes = torch.full((len(numbers),), label or 0)
        images = by_contrast.flatten(1, 2).contiguous().to(snapshot.device)
        yield Source(images, snapshot.one_hot(classes), stack.backward)


def translate(
    snapshot: Snapshot, stack: Stack, chosen: np.ndarray, seed: int, label: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The numbers of some of the slices ``chosen``, and their translations float32 [n, C, *source] on the scale 0..255,
    in the pixels of the volume, as of `gan.data.planes.as_slices`. Cropped pixels are 0."""
    asked = requests(snapshot, stack, chosen, label)
    for place, images in enumerate(translated(snapshot, asked, seed)):
        yield chosen[place * CHUNK :][: len(images)], _native(finite(images), stack.to)


def _native(images: Tensor, to: Frame) -> np.ndarray:
    return upright(unplace(generated_to_grey(images.numpy()), to))
