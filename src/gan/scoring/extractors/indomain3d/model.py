"""The encoder of `gan.scoring.extractors.indomain` with three axes: it sees a volume as a whole."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gan.scoring.extractors.indomain.model import IndomainFeatures, train_encoder
from gan.scoring.extractors.indomain3d.options import Options


def make(
    options: Options, training_images: Callable[[], NDArray[np.uint8]], device: str | torch.device
) -> dict[str, Any]:
    return train_encoder(training_images(), seed=options.seed, steps=options.steps, dim=options.dim, device=device)


def load(content: dict[str, Any], device: str | torch.device) -> IndomainFeatures:
    return IndomainFeatures(content, device, "indomain3d")
