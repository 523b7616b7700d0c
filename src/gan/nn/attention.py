"""Attention between the positions of a feature map: a branch next to the identity, scaled by a gamma that starts at 0.

A network with it starts as the one without (Zhang et al. 2019; Bachlechner et al. 2020) and takes from it what helps.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gan.nn.layers import Conv

Attention = Callable[[int, int], nn.Module]  # makes one for channels and spatial_dims


class SelfAttention(nn.Module):
    """x + gamma W_o (v softmax(q^T k)) over all pairs of positions (Zhang et al. 2019, SAGAN, equations 1 to 3).

    [N, C, *size] -> the same; queries, keys and values have C / 8 channels. Memory grows with the square of the number
    of positions.
    """

    def __init__(self, channels: int, spatial_dims: int = 2):
        super().__init__()
        inner = max(1, channels // 8)
        self.query, self.key, self.value = (
            Conv(channels, inner, 1, bias=False, spatial_dims=spatial_dims) for _ in range(3)
        )
        self.out = Conv(inner, channels, 1, bias=False, spatial_dims=spatial_dims)
        self.gamma = nn.Parameter(torch.zeros([]))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        weights = _softmax(query.mT @ key, 2)
        return x + self.gamma * self.out((value @ weights.mT).unflatten(2, x.shape[2:]))


class LinearAttention(nn.Module):
    """x + gamma_0 W_o (softmax(q) (softmax(k) v^T)), then y + gamma_1 feed_forward(y); linear in the positions.

    [N, C, *size] -> the same. The softmax of queries is over the channels of a head, that of keys over the positions
    (Shen et al. 2021); the feed-forward layers are 1 x 1 convolutions, C -> 2 C -> C.
    """

    def __init__(self, channels: int, spatial_dims: int = 2, *, heads: int = 8, width: int = 64):
        """width: channels of a head."""
        super().__init__()
        self.heads = heads
        inner = heads * width
        self.query, self.key, self.value = (
            Conv(channels, inner, 1, bias=False, spatial_dims=spatial_dims) for _ in range(3)
        )
        self.out = Conv(inner, channels, 1, spatial_dims=spatial_dims)
        self.feed_forward = nn.Sequential(
            Conv(channels, 2 * channels, 1, act="lrelu", spatial_dims=spatial_dims),
            Conv(2 * channels, channels, 1, spatial_dims=spatial_dims),
        )
        self.gamma = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            layer(x).flatten(2).unflatten(1, (self.heads, -1)) for layer in (self.query, self.key, self.value)
        )
        attended = (value @ _softmax(key, 3).mT) @ _softmax(query, 2)
        x = x + self.gamma[0] * self.out(attended.flatten(1, 2).unflatten(2, x.shape[2:]))
        return x + self.gamma[1] * self.feed_forward(x)


def _softmax(x: Tensor, dim: int) -> Tensor:
    """In float32 at least."""
    return x.softmax(dim, dtype=torch.promote_types(x.dtype, torch.float32)).to(x.dtype)
