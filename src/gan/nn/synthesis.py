"""The synthesis network of StyleGAN2: modulated convolutions, noise, and an image summed up over the resolutions."""

import math

import torch
from torch import Tensor, nn

from gan import parallel
from gan.nn.attention import Attention
from gan.nn.layers import Linear, pointwise, reduced_clamp
from gan.ops import bias_act, binomial_taps, demodulation, epilogue, modulated_conv, upsample
from gan.ops.precision import reduced
from gan.pyramid import Pyramid

NOISE = ("random", "constant", "none")


class StyledConv(nn.Module):
    """[N, inputs, *size / up] and w [N, w_dim] -> [N, outputs, *size]: modulate, convolve, add noise, leaky ReLU."""

    taps: Tensor
    noise: Tensor
    channels_last = True

    def __init__(self, inputs: int, outputs: int, w_dim: int, size: tuple[int, ...], *, up: int = 1):
        super().__init__()
        self.size, self.up = size, up
        self.affine = Linear(w_dim, inputs, bias=1.0)
        # No run-time gain: demodulation undoes any scale of the weights.
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *[3] * len(size)))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise", torch.randn(size))
        self.register_buffer("taps", binomial_taps((1, 3, 3, 1)), persistent=False)

    def forward(self, x: Tensor, w: Tensor, noise: str) -> Tensor:
        taps = self.taps if self.up > 1 else None
        weight, styles = self.weight, self.affine(w)
        if x.dtype == torch.float16:  # without it sums overflow; demodulation takes it out again
            weight = weight / weight.flatten(1).norm(dim=1).view(-1, *[1] * (weight.ndim - 1))
            styles = styles / styles.abs().amax(dim=1, keepdim=True).clamp(min=1e-8)
        return epilogue(
            modulated_conv(x, weight, styles, up=self.up, taps=taps),
            self.bias,
            normaliser=demodulation(weight, styles),
            noise=self._noise(len(x), noise),
            strength=None if noise == "none" else self.noise_strength,
            clamp=reduced_clamp(x),
        )

    def _noise(self, count: int, noise: str) -> Tensor | None:
        """[count or 1, 1, *size], or None for none."""
        if noise == "random":
            return parallel.randn(count, 1, *self.size, device=self.noise.device)
        return self.noise[None, None] if noise == "constant" else None


class ToImage(nn.Module):
    """[N, inputs, *size] and w [N, w_dim] -> [N, channels, *size], float32, by a modulated 1 x 1 convolution."""

    def __init__(self, inputs: int, channels: int, w_dim: int, spatial_dims: int):
        super().__init__()
        self.affine = Linear(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(channels, inputs, *[1] * spatial_dims))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.weight_gain = 1 / math.sqrt(inputs)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        styles = self.affine(w) * self.weight_gain
        x = pointwise(x, (self.weight.flatten(1) * styles[:, None]).to(x.dtype))
        return bias_act(x, self.bias, "linear", clamp=reduced_clamp(x)).float()


class Synthesis(nn.Module):
    """ws [N, layers, w_dim] -> images [N, channels, *size].

    A learned constant on the grid, then two styled convolutions a resolution, the first doubling the size; each
    resolution adds its image to the upsampled sum of the ones before (skip generator, Karras et al. 2020a). ``layers``
    is the number of w that an image takes: the image layer of a resolution shares its w with the next convolution.
    Attention follows the convolutions of its resolution.
    """

    constant: Tensor
    taps: Tensor
    layer: type[nn.Module] = StyledConv
    to_image: type[nn.Module] = ToImage

    def __init__(
        self, pyramid: Pyramid, channels: int, w_dim: int, *, base: int, most: int, attention: dict[int, Attention]
    ):
        """base, most: `Pyramid.width`; attention: what makes it, by resolution."""
        super().__init__()
        dims = len(pyramid.grid)
        widths = [pyramid.width(level, base, most) for level in range(pyramid.doublings + 1)]
        self.layers = 2 * len(widths)
        self.constant = nn.Parameter(torch.randn(1, widths[0], *pyramid.grid))
        self.convs = nn.ModuleList([self.layer(widths[0], widths[0], w_dim, pyramid.grid)])
        self.images = nn.ModuleList([self.to_image(widths[0], channels, w_dim, dims)])
        for level in range(1, len(widths)):
            size = pyramid.size(level)
            self.convs.append(self.layer(widths[level - 1], widths[level], w_dim, size, up=2))
            self.convs.append(self.layer(widths[level], widths[level], w_dim, size))
            self.images.append(self.to_image(widths[level], channels, w_dim, dims))
        self.attention = nn.ModuleDict()
        for resolution, make in attention.items():
            level = pyramid.level(resolution, "attention_at")
            self.attention[str(level)] = make(widths[level], dims)
        self.register_buffer("taps", binomial_taps((1, 3, 3, 1)), persistent=False)

    def forward(self, ws: Tensor, noise: str = "random") -> Tensor:
        """noise: random (torch's default generator), constant (buffers of the network) or none."""
        if noise not in NOISE:
            raise ValueError(f"noise is {noise!r}; allowed: {', '.join(NOISE)}")
        top = len(self.images) - 1
        x, w = self._start(reduced(self.constant.expand(len(ws), *self.constant.shape[1:]), top), ws, noise)
        x = self.convs[0](x, w[0], noise)
        x = self._attend(x, 0)
        image = self.images[0](x, w[1])
        for level in range(1, len(self.images)):
            x = self.convs[2 * level - 1](reduced(x, top - level), w[2 * level - 1], noise)
            x = self._attend(self.convs[2 * level](x, w[2 * level], noise), level)
            image = upsample(image, self.taps) + self.images[level](x, w[2 * level + 1])
        return image

    def _start(self, constant: Tensor, ws: Tensor, noise: str) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The input of the first convolution, and the w in the order of the layers."""
        return constant, ws.unbind(dim=1)

    def _attend(self, x: Tensor, level: int) -> Tensor:
        return self.attention[str(level)](x) if str(level) in self.attention else x
