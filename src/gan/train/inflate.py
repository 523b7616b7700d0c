"""Weights of networks of images as those of networks of volumes: kernels are inflated (Carreira and Zisserman 2017).

Of a volume that is constant along its first axis the inflated networks make in each slice what the networks of images
make of the image. At the ends of that axis filters find zeros outside, and moments over all voxels include those ends.

- An odd kernel lies in the middle of the new axis. A kernel of 4 that halves the image has one half in each of the two
  middle places, and one that doubles it the whole in both, so that every place gets it once.
- What has a value at each position (a learned constant, constant noise) is repeated. A layer that reads all positions
  takes their mean along the new axis.
- A layer that divides its weights by the root of the number of its inputs when it runs gets them larger by as much.

Vectors, and the layers before there are positions, have equal shapes in both.
"""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from gan.nn.plain import LAYERS
from gan.pyramid import Pyramid

_CONV, _TRANSPOSED = LAYERS[3]


def inflated(source: Mapping[str, Tensor], network: nn.Module, size: tuple[int, ...]) -> dict[str, Tensor]:
    """``source``, the state of the networks of images, for ``network``, of volumes of ``size`` (D, H, W).

    A tensor that differs from that of ``network`` in more than the new axis stays as it is.
    """
    owners = {
        f"{prefix}.{name}" if prefix else name: module
        for prefix, module in network.named_modules()
        for name, _ in module.named_parameters(recurse=False)
    }
    found = dict(source)
    for name, target in network.state_dict().items():
        if name in source and source[name].shape != target.shape:
            found[name] = _inflated(source[name], target, owners.get(name), size)
    return found


def _inflated(source: Tensor, target: Tensor, owner: nn.Module | None, size: tuple[int, ...]) -> Tensor:
    if source.shape == (*target.shape[:-3], *target.shape[-2:]):
        repeated = source.unsqueeze(-3).expand(target.shape)
        return _kernel(repeated, owner) if target.ndim == 5 and hasattr(owner, "weight") else repeated
    if source.ndim == target.ndim == 2:
        depth, *plane = Pyramid.of(size).grid
        positions = math.prod(plane)
        if target.shape == (len(source), source.shape[1] * depth):  # reads all positions
            mean = source.unflatten(1, (-1, 1, positions)).expand(-1, -1, depth, -1) / depth
            return mean.flatten(1) * math.sqrt(depth)
        if target.shape == (len(source) * depth, source.shape[1]):  # makes all positions
            return source.unflatten(0, (-1, 1, positions)).expand(-1, depth, -1, -1).flatten(0, 2)
    return source


def _kernel(repeated: Tensor, owner: Any) -> Tensor:
    """repeated: the kernel [O, I, h, w] in each place of the new axis."""
    depth = repeated.shape[2]
    middle = slice((depth - 1) // 2, depth // 2 + 1)  # one place, or two of an even number
    placed = repeated.new_zeros(repeated.shape)
    placed[:, :, middle] = repeated[:, :, middle]
    if isinstance(owner, _CONV):
        return placed / (2 - depth % 2) if any(owner.padding) else repeated / depth
    if isinstance(owner, _TRANSPOSED):
        return placed if any(owner.padding) else repeated
    return placed * math.sqrt(depth) if hasattr(owner, "weight_gain") else placed  # else demodulated: any scale will do
