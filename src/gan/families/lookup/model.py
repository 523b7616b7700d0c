"""A translation that looks at one voxel alone: what a network has to beat to have learned anything spatial.

One source: for each of 256 levels the mean of the target there in the training images. Several sources: linear least
squares on them and their squares.
"""

from typing import Any

import torch
from torch import Tensor, nn

from gan.families.contract import Dataset, Given, ImageShape, Made, Source
from gan.families.lookup.options import LookupOptions

LEVELS = 256
CHUNK = 64  # training images at a time; volumes one by one


class Lookup(Made):
    """See the module."""

    request = Source

    @staticmethod
    def build_kept(options: LookupOptions, shape: ImageShape) -> "Table | Squares":
        return Table(shape.channels) if shape.sources == 1 else Squares(shape.sources, shape.channels)

    @staticmethod
    def make(options: LookupOptions, dataset: Dataset, given: Given) -> nn.Module:
        kept = Lookup.build_kept(options, dataset.shape)
        sums = None
        for indices in torch.arange(len(dataset)).split(CHUNK if len(dataset.shape.size) == 2 else 1):
            batch = dataset.batch(indices.numpy())
            # Voxels as rows, in double precision: the sums are over millions.
            source = batch.source.movedim(1, -1).reshape(-1, batch.source.shape[1]).double()
            target = batch.real.movedim(1, -1).reshape(-1, batch.real.shape[1]).double()
            found = kept.count(source, target)
            sums = found if sums is None else (sums[0] + found[0], sums[1] + found[1])
        assert sums is not None
        kept.solve(*sums)
        return kept

    @staticmethod
    def draw(kept: nn.Module, request: Any) -> Tensor:
        return kept(request.images)


class Table(nn.Module):
    """values [channels, 256]: the target of each level of one source."""

    values: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("values", torch.zeros(channels, LEVELS))

    def count(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Voxels of each level, and the sum of their targets [channels, 256]."""
        levels = _level(source[:, 0])
        numbers = torch.bincount(levels, minlength=LEVELS).double()
        columns = [torch.bincount(levels, weights=column, minlength=LEVELS) for column in target.T]
        return numbers, torch.stack(columns)

    def solve(self, numbers: Tensor, sums: Tensor) -> None:
        """Set the means; a level that no voxel has lies on the line between its neighbours."""
        known = numbers.nonzero()[:, 0]
        means = sums[:, known] / numbers[known]
        every = torch.arange(LEVELS, device=known.device)
        right = torch.searchsorted(known, every).clamp(max=len(known) - 1)
        left = (torch.searchsorted(known, every, right=True) - 1).clamp(min=0)
        width = (known[right] - known[left]).clamp(min=1)
        part = ((every - known[left]) / width).clamp(0, 1)
        self.values = means[:, left].lerp(means[:, right], part.double()).float()

    def forward(self, images: Tensor) -> Tensor:
        return self.values[:, _level(images[:, 0])].movedim(0, 1)


class Squares(nn.Module):
    """weights [1 + 2 sources, channels] of a constant, the sources and their squares."""

    weights: Tensor

    def __init__(self, sources: int, channels: int):
        super().__init__()
        self.register_buffer("weights", torch.zeros(1 + 2 * sources, channels))

    def count(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The two sides of the normal equations."""
        terms = _terms(source)
        return terms.T @ terms, terms.T @ target

    def solve(self, left: Tensor, right: Tensor) -> None:
        """Set the weights of least squares; of equal sources those of the smallest norm."""
        self.weights = (torch.linalg.pinv(left, hermitian=True, rtol=1e-10) @ right).float()

    def forward(self, images: Tensor) -> Tensor:
        return (_terms(images.movedim(1, -1)) @ self.weights).clamp(-1, 1).movedim(-1, 1)


def _level(values: Tensor) -> Tensor:
    return ((values + 1) * ((LEVELS - 1) / 2)).round().clamp(0, LEVELS - 1).long()


def _terms(sources: Tensor) -> Tensor:
    """1, x and x^2 of sources [..., sources]."""
    return torch.cat([torch.ones_like(sources[..., :1]), sources, sources.square()], -1)
