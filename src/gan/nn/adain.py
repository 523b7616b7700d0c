"""The synthesis network with adaptive instance normalisation, as in StyleGAN (Karras et al. 2019)."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from gan import parallel
from gan.nn.layers import Conv, Linear, reduced_clamp
from gan.nn.synthesis import Synthesis
from gan.ops import bias_act, binomial_taps, conv
from gan.ops.precision import widened
from gan.pyramid import Pyramid


class Style(nn.Module):
    """[N, C, *size] and w [N, w_dim] -> the same shape: noise, leaky ReLU, then AdaIN, (1 + y_s) norm(x) + y_b.

    Noise has a strength a channel; norm is to mean 0 and variance 1 over the positions of each channel of each image.
    """

    noise: Tensor

    def __init__(self, channels: int, w_dim: int, size: tuple[int, ...]):
        super().__init__()
        self.size = size
        self.affine = Linear(w_dim, 2 * channels)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.noise_strength = nn.Parameter(torch.zeros(channels, *[1] * len(size)))
        self.register_buffer("noise", torch.randn(size))

    def forward(self, x: Tensor, w: Tensor, noise: str) -> Tensor:
        if noise == "random":
            drawn = parallel.randn(len(x), 1, *self.size, device=x.device)
            x = x + (drawn * self.noise_strength).to(x.dtype)
        elif noise == "constant":
            x = x + (self.noise * self.noise_strength).to(x.dtype)
        x = bias_act(x, self.bias, "lrelu", clamp=reduced_clamp(x))
        wide, positions = widened(x), tuple(range(2, x.ndim))
        variance, mean = torch.var_mean(wide, positions, correction=0, keepdim=True)
        scale, bias = self.affine(w).view(len(x), -1, *[1] * len(positions)).chunk(2, dim=1)
        return torch.addcmul(bias, wide - mean, (1 + scale) * (variance + 1e-8).rsqrt()).to(x.dtype)


class StyledLayer(nn.Module):
    """[N, inputs, *size / up] and w [N, w_dim] -> [N, outputs, *size]: a 3 x 3 convolution and its `Style`."""

    taps: Tensor

    def __init__(self, inputs: int, outputs: int, w_dim: int, size: tuple[int, ...], *, up: int = 1):
        super().__init__()
        self.up = up
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *[3] * len(size)))
        self.weight_gain = 1 / math.sqrt(inputs * 3 ** len(size))
        self.style = Style(outputs, w_dim, size)
        self.register_buffer("taps", binomial_taps((1, 3, 3, 1)), persistent=False)

    def forward(self, x: Tensor, w: Tensor, noise: str) -> Tensor:
        weight = (self.weight * self.weight_gain).to(x.dtype)
        x = conv(x, weight, up=self.up, taps=self.taps if self.up > 1 else None)
        return self.style(x, w, noise)


class PlainImage(nn.Module):
    """[N, inputs, *size] -> [N, channels, *size], float32, by a 1 x 1 convolution that no w modulates."""

    def __init__(self, inputs: int, channels: int, w_dim: int, spatial_dims: int):
        super().__init__()
        self.conv = Conv(inputs, channels, 1, spatial_dims=spatial_dims)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return widened(self.conv(x))


class AdaINSynthesis(Synthesis):
    """ws [N, layers, w_dim] -> images [N, channels, *size].

    A learned constant with a style of its own, and a style after each convolution: two w a resolution, none for the
    images. All resolutions are trained at once, so images are summed up over them as in StyleGAN2 and not grown.
    """

    layer = StyledLayer
    to_image = PlainImage

    def __init__(self, pyramid: Pyramid, channels: int, w_dim: int, **options: Any):
        """As `Synthesis`."""
        super().__init__(pyramid, channels, w_dim, **options)
        nn.init.ones_(self.constant)
        self.style = Style(self.constant.shape[1], w_dim, pyramid.grid)

    def _start(self, constant: Tensor, ws: Tensor, noise: str) -> tuple[Tensor, tuple[Tensor, ...]]:
        first, *rest = ws.unbind(dim=1)
        return self.style(constant, first, noise), (*rest, first)  # the last is for an image, which takes none
