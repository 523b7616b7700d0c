"""Layers with an equalised learning rate, and the two normalisations that StyleGAN2 keeps from its predecessors.

Equalised learning rate (Karras et al. 2018): weights are kept at unit variance and scaled at run time by
1 / sqrt(fan_in), so that Adam moves every layer at the same relative speed.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from gan.errors import GanError
from gan.ops import bias_act, binomial_taps, conv, downsample

CLAMP = 256.0  # on activations in float16 (Karras et al. 2020b)
_FEW = 8  # channels, as images have: on a CPU the gradient of their weights takes ten times as long in another order
_PIECE = 1024  # pixels of a product on a GPU: of longer ones, the gradient of few weights keeps few processors busy
_ALIGNED = 16  # bytes: rows of a matrix that are no multiple of it a GPU multiplies by its oldest, slowest kernels


class Linear(nn.Module):
    """[N, inputs] -> [N, outputs]: act(x W^T + b), equalised; ``lr_multiplier`` scales the step of W and b alike."""

    def __init__(
        self, inputs: int, outputs: int, *, act: str = "linear", bias: float = 0.0, lr_multiplier: float = 1.0
    ):
        super().__init__()
        self.act = act
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([outputs], bias / lr_multiplier))
        self.weight_gain = lr_multiplier / math.sqrt(inputs)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        bias = self.bias * self.bias_gain if self.bias_gain != 1 else self.bias
        if self.act == "linear":
            return torch.addmm(bias, x, self.weight.t(), alpha=self.weight_gain)
        return bias_act(x @ (self.weight * self.weight_gain).t(), bias, self.act)


class Conv(nn.Module):
    """[N, inputs, *size] -> [N, outputs, *size / down]: an equalised convolution; ``down`` 2 blurs first."""

    taps: Tensor
    channels_last = True

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        down: int = 1,
        act: str = "linear",
        gain: float = 1.0,
        bias: bool = True,
        spatial_dims: int = 2,
    ):
        """gain: of the output, the activation's own gain apart."""
        super().__init__()
        self.kernel, self.down, self.act, self.gain = kernel, down, act, gain
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *[kernel] * spatial_dims))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.weight_gain = 1 / math.sqrt(inputs * kernel**spatial_dims)
        self.register_buffer("taps", binomial_taps((1, 3, 3, 1)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight * self.weight_gain).to(x.dtype)
        if self.kernel == 1:
            x = pointwise(downsample(x, self.taps) if self.down > 1 else x, weight.flatten(1))
        else:
            x = conv(x, weight, down=self.down, taps=self.taps)
        gain = self.gain * (math.sqrt(2) if self.act == "lrelu" else 1)
        return bias_act(x, self.bias, self.act, gain=gain, clamp=reduced_clamp(x, self.gain))


def channels_last(network: nn.Module) -> nn.Module:
    """``network`` itself, with the weights of its convolutions in the memory format of what they convolve on a GPU.

    Of layers that say so (``channels_last``). In another format each pass copies the weights, and adds up gradients of
    two formats.
    """
    for layer in network.modules():
        if getattr(layer, "channels_last", False) and isinstance(weight := layer.weight, nn.Parameter):
            order = torch.channels_last if weight.ndim == 4 else torch.channels_last_3d
            weight.data = weight.data.contiguous(memory_format=order)
    return network


def pointwise(x: Tensor, weight: Tensor) -> Tensor:
    """1 x 1 convolution as a matrix product: [N, I, *size] and [O, I], or [N, O, I] of each sample -> [N, O, *size].

    The result is channels_last, and in that format nothing is copied. It fixes the format of a network: an image of one
    channel has none that a convolution could follow.
    """
    if x.device.type == "cuda":
        return _pointwise_on_a_gpu(x, weight)
    pixels, few = x.movedim(1, -1), x.device.type == "cpu" and min(weight.shape[-2:]) <= _FEW
    if weight.ndim == 2 and (not few or weight.shape[1] == 1):
        return functional.linear(pixels, weight).movedim(-1, 1)
    weight = weight.expand(len(x), -1, -1)
    if few and weight.shape[1] < weight.shape[2]:
        y = torch.bmm(weight, x.flatten(2)).mT.contiguous()
    else:
        y = torch.bmm(pixels.flatten(1, -2), weight.mT)
    return y.unflatten(1, x.shape[2:]).movedim(-1, 1)


def _pointwise_on_a_gpu(x: Tensor, weight: Tensor) -> Tensor:
    """The same with few channels padded by zeros; those of the result are dropped.

    In a copy: a tensor with gaps has no memory format, and random numbers like it would come in another order.
    """
    outputs, inputs = weight.shape[-2:]
    more = [-count % (_ALIGNED // x.element_size()) for count in (inputs, outputs)]
    pixels = x.movedim(1, -1)
    if any(more):
        weight = functional.pad(weight, (0, more[0], 0, more[1]))
        pixels = functional.pad(pixels, (0, more[0])) if more[0] else pixels
    if weight.ndim == 2:
        y = functional.linear(pixels, weight)
    else:
        y = in_pieces(pixels.flatten(1, -2), weight.expand(len(x), -1, -1).mT, _PIECE).unflatten(1, x.shape[2:])
    return y[..., :outputs].contiguous().movedim(-1, 1)


def in_pieces(rows: Tensor, matrices: Tensor, most: int) -> Tensor:
    """`torch.bmm` of [N, P, I] and [N, I, O], with the P rows in pieces of at most ``most``, if halving makes such."""
    pieces = 1
    while rows.shape[1] // pieces > most and rows.shape[1] % (2 * pieces) == 0:
        pieces *= 2
    parts = rows.unflatten(1, (pieces, -1)).flatten(0, 1)
    return torch.bmm(parts, matrices.repeat_interleave(pieces, 0)).unflatten(0, (-1, pieces)).flatten(1, 2)


def reduced_clamp(x: Tensor, gain: float = 1.0) -> float | None:
    """The clamp for ``x``: in float16 alone, where activations can overflow."""
    return CLAMP * gain if x.dtype == torch.float16 else None


def pixel_norm(x: Tensor) -> Tensor:
    """x / sqrt(mean(x^2)) over the features of [N, C] (Karras et al. 2018)."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def minibatch_stddev(x: Tensor, group: int) -> Tensor:
    """[N, C, *size] -> [N, C + 1, *size]: append the spread of the features within groups (Karras et al. 2018).

    A group is ``min(group, N)`` consecutive samples; its appended map is the standard deviation over the group,
    averaged over channels and positions. N must be a multiple of the group.
    """
    count, _, *size = x.shape
    group = min(group, count)
    if count % group:
        raise GanError(f"mbstd_group is {group}, which does not divide a batch of {count}; change one of them")
    spread = (x.unflatten(0, (-1, group)).var(dim=1, unbiased=False) + 1e-8).sqrt()
    spread = spread.flatten(1).mean(dim=1).repeat_interleave(group, dim=0)
    spread = spread.view(count, *[1] * (len(size) + 1)).expand(count, 1, *size)
    return torch.cat([x, spread], dim=1)
