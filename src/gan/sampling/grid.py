"""What a run shows of itself: real images, and at each snapshot samples of the same classes in the same layout."""

import functools

import numpy as np
from torch import Tensor

from gan.families.contract import Dataset
from gan.grids import layout
from gan.metrics.ssim import similarity_of_set
from gan.scales import generated_to_uint8

PAIRS = 100  # of samples whose likeness is looked at: their mean to 0.01


class Grid:
    """real: images float32 [N, C, *size] that ``seed`` picks out of ``dataset``, on the CPU; labels: their classes [N],
    None without; columns: samples in a row."""

    def __init__(self, dataset: Dataset, seed: int):
        self._shape = dataset.shape
        rows, self.columns = layout(dataset.shape.channels, dataset.shape.size)
        order = np.random.default_rng(seed).permutation(len(dataset))
        batch = dataset.batch(np.resize(order, rows * self.columns))
        self.labels = batch.labels.argmax(1).cpu().numpy() if dataset.shape.labels else None
        self.real = batch.real.float().cpu()

    def similarity(self, images: Tensor) -> float:
        """How alike images of a grid are: their mean MS-SSIM, without a mask."""
        contrasts = self._shape.channels - self._shape.masks
        return similarity_of_set(generated_to_uint8(images[:, :contrasts].numpy()), PAIRS)

    @functools.cached_property
    def similarity_real(self) -> float:
        """As `similarity`, of the real images."""
        return self.similarity(self.real)
