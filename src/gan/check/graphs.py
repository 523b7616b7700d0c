"""A short training whose phases are replayed as CUDA graphs, against one that runs them operation by operation."""

import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from gan import ops
from gan.check.phases import OPTIONS
from gan.check.rows import Row
from gan.errors import GanError
from gan.families.contract import Batch, ImageShape
from gan.train.graphs import WARM_UP, Graphs
from gan.train.trainer import Trainer

TOLERANCE = 1e-3  # of a loss, float32: kernels may add in another order each time, and steps add that up
EVERY = 2  # steps from one penalty to the next
STEPS = EVERY * (WARM_UP + 4)  # four of each penalty, the recorded one among them, come from graphs
RECIPE: dict[str, Any] = {
    "variant": {"family": "stylegan2", "options": OPTIONS | {"pl_every": EVERY, "r1_every": EVERY}},
    "training": {"precision": "fp32", "batch": 4, "kimg": 1},
    "seed": 0,
}


class Noise:
    """Random images on the device."""

    shape = ImageShape(3, (16, 16))
    meta: dict[str, Any] = {}

    def __init__(self, device: torch.device):
        self.images = torch.rand(len(self), 3, 16, 16, generator=torch.Generator().manual_seed(0)).to(device) * 2 - 1

    @property
    def marked(self) -> np.ndarray:
        return np.empty(0, np.int64)

    def __len__(self) -> int:
        return 16

    def batch(self, indices: np.ndarray) -> Batch:
        """See `gan.train.trainer.Dataset`."""
        images = self.images[torch.from_numpy(indices).to(self.images.device)]
        return Batch(images, images.new_zeros(len(images), 0))


def losses(device: torch.device, graphs: Graphs | None) -> dict[str, float]:
    """The loss of each phase by its name, as the mean over the steps in which graphs are replayed."""
    trainer = Trainer(RECIPE, Noise(device), device, graphs=graphs)
    for _ in range(STEPS):
        if trainer.step == EVERY * WARM_UP:
            trainer.meter.read()
        trainer.advance(measure=False)
    return {name: value for name, value in trainer.meter.read().items() if name.startswith("phase/")}


def compare(device: torch.device) -> Iterator[Row]:
    """A row for each phase; only for a GPU, since other devices have no graphs."""
    if device.type != "cuda":
        return
    ops.use("cuda")
    expected = losses(device, None)
    try:
        got = losses(device, Graphs(device))
    except torch.OutOfMemoryError:
        raise  # which says nothing about graphs
    except (GanError, RuntimeError) as error:
        print(f"with CUDA graphs: {error}", file=sys.stderr)
        got = {}
    for name, right in expected.items():
        error = abs(got.get(name, math.nan) - right) / max(abs(right), 1e-3)
        subject = f"graph of {name.removeprefix('phase/')}"
        yield Row(subject, "losses", "float32", math.inf if math.isnan(error) else error, TOLERANCE)
