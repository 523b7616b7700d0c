"""What a run shows of itself: real images, and at each snapshot samples of the same classes in the same layout.

Of a translation: the same images each time, as source | translated | target | half of their difference (grey: none).
"""

import functools

import numpy as np
import torch
from torch import Tensor

from gan.families.contract import Dataset, Source
from gan.grids import layout
from gan.masks import collapse
from gan.metrics.ssim import similarity_of_set
from gan.sampling.marks import Mark, first
from gan.sampling.snapshot import Snapshot
from gan.sampling.tasks import available, sample, translated
from gan.scales import generated_to_uint8

PAIRS = 100  # of samples whose likeness is looked at: their mean to 0.01
PAIRS_OF_VOLUMES = 25


class Grid:
    """Pictures of one run. columns: samples in a row of them.

    ``seed`` chooses images of ``dataset``, marked ones first where images are translated.
    """

    def __init__(self, dataset: Dataset, seed: int):
        self._shape, self._seed = dataset.shape, seed
        self._centres = _centres(dataset)
        translates = bool(dataset.shape.sources)
        width = len(self._centres) + 3 * dataset.shape.channels if translates else dataset.shape.shown
        rows, self.columns = layout(width, dataset.shape.size)
        order = np.random.default_rng(seed).permutation(len(dataset))
        if translates:
            order = np.concatenate([order[np.isin(order, dataset.marked)], order[~np.isin(order, dataset.marked)]])
        self._batch = dataset.batch(np.resize(order, rows * self.columns))
        self._labels = self._batch.labels.argmax(1).cpu().numpy() if dataset.shape.labels else None

    @property
    def real(self) -> Tensor:
        """Real images float32 [N, C, *size], on the CPU: sources next to targets where images are translated."""
        target = collapse(self._batch.real.float().cpu(), self._shape.masks)
        return torch.cat([self._shown_sources(), target], 1) if self._shape.sources else target

    def draw(self, snapshot: Snapshot) -> tuple[Tensor, Tensor]:
        """Images of ``snapshot`` [N, C, *size], on the CPU, and the picture of them, [N, C', *size]."""
        target = self._batch.real.float().cpu()
        if (limit := available(snapshot)) is not None:
            images = sample(snapshot, min(limit, len(target)), self._seed)
            return images, images[torch.arange(len(target)) % len(images)]
        if not self._shape.sources:
            images = sample(snapshot, len(target), self._seed, self._labels)
            return images, images
        images = torch.cat(list(translated(snapshot, [Source(self._batch.source, self._batch.labels)], self._seed)))
        shown = [self._shown_sources(), images, target, (images - target) / 2]
        return images, torch.cat(shown, 1)

    def mark(self, snapshot: Snapshot) -> dict[str, str]:
        """Text of the picture of `draw`, for its file."""
        next_to_real = bool(self._shape.sources) and available(snapshot) is None
        return Mark.of(snapshot, self._seed, next_to_real).text(first(len(self._batch.real)))

    def similarity(self, images: Tensor) -> float:
        """How alike images of a grid are: their mean MS-SSIM, without a mask."""
        contrasts = self._shape.channels - self._shape.masks
        most = PAIRS if images.ndim == 4 else PAIRS_OF_VOLUMES
        return similarity_of_set(generated_to_uint8(images[:, :contrasts].numpy()), most)

    @functools.cached_property
    def similarity_real(self) -> float:
        """As `similarity`, of the real images."""
        return self.similarity(self._batch.real.float().cpu())

    def _shown_sources(self) -> Tensor:
        """The sources without their neighbours."""
        return self._batch.source[:, self._centres].float().cpu()


def _centres(dataset: Dataset) -> list[int]:
    """The channels of the source that are the slice itself."""
    slices = 2 * dataset.shape.neighbours + 1
    return list(range(dataset.shape.neighbours, dataset.shape.sources, slices))
