"""The source as its own translation."""

from typing import Any

import torch
from torch import Tensor, nn

from gan.families.contract import Dataset, Given, ImageShape, Made, Source
from gan.families.copy.options import CopyOptions


class Copy(Made):
    """Each target is the source of the same place in the list, or the last one where there are fewer."""

    request = Source
    copies = True

    @staticmethod
    def build_kept(options: CopyOptions, shape: ImageShape) -> nn.Module:
        return Chosen(shape)

    @staticmethod
    def make(options: CopyOptions, dataset: Dataset, given: Given) -> nn.Module:
        return Chosen(dataset.shape)

    @staticmethod
    def draw(kept: nn.Module, request: Any) -> Tensor:
        return kept(request.images)


class Chosen(nn.Module):
    """channels [targets]: the channel of the source for each target, the slice itself among its neighbours."""

    channels: Tensor

    def __init__(self, shape: ImageShape):
        super().__init__()
        slices = 2 * shape.neighbours + 1
        contrasts = torch.arange(shape.channels).clamp(max=shape.sources // slices - 1)
        self.register_buffer("channels", contrasts * slices + shape.neighbours)

    def forward(self, images: Tensor) -> Tensor:
        return images[:, self.channels]
