"""3 x 3 convolution by minimal filtering, F(4 x 4, 3 x 3): a quarter of the multiplications (Lavin and Gray 2016).

Tiles of 6 x 6 pixels, and kernels, are taken to 36 values each, in which their convolution is a product: a layer
becomes 36 matrix products [tiles, I] [I, O], which are taken back to 4 x 4 pixels a tile. The saving grows with the
number of channels and the cost of going there and back does not, hence `suits`. Rounding is about three times that of
the plain sum: 3e-6 of the norm of the result at 512 channels.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_SIDE = 4  # pixels of a tile's result
_CHANNELS = 128  # with fewer, transforms cost more than they save
_TILES = 96  # fewer do not pay for the transform of the kernels
_CHUNK = 1 << 22  # values transformed at a time: glibc gives larger buffers back to the system after every call


def _both_axes(rows: list[list[float]]) -> Tensor:
    matrix = torch.tensor(rows, dtype=torch.float64)
    return torch.kron(matrix, matrix).float()


# Evaluation at 0, 1, -1, 2, -2 and infinity. Of the pixels of a tile [36, 36], of a kernel [36, 9]; and back [16, 36].
_INPUT = _both_axes(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_KERNEL = _both_axes(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
_OUTPUT = _both_axes([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])


def suits(x: Tensor, weight: Tensor) -> bool:
    """Whether `conv3x3` takes these and is the faster way: float32 on a CPU, many channels, sides multiples of 4."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and weight.shape[2:] == (3, 3)
        and min(weight.shape[:2]) >= _CHANNELS
        and not any(side % _SIDE for side in x.shape[2:])
        and len(x) * x.shape[2] * x.shape[3] >= _TILES * _SIDE**2
    )


def conv3x3(x: Tensor, weight: Tensor) -> Tensor:
    """x [N, I, H, W] and weight [O, I, 3, 3] -> [N, O, H, W] in channels_last: correlation, zeros outside."""
    return _Conv.apply(x, weight)


class _Conv(torch.autograd.Function):
    """Bilinear: its derivatives, of any order, are this and `_WeightGradient` of other tensors."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        outputs, inputs = weight.shape[:2]
        kernels = torch.mm(_KERNEL, weight.permute(2, 3, 0, 1).reshape(9, -1)).view(36, outputs, inputs)
        y = x.new_empty(len(x), *x.shape[2:], outputs).movedim(-1, 1)
        buffers = [x.new_empty(_values(x) * max(inputs, outputs)) for _ in range(2)]
        for pixels, result in _chunks(x, y):
            values = _transform(_INPUT, pixels, *buffers)
            products = _view(buffers[0], *values.shape[:2], outputs)
            for value, kernel, product in zip(values, kernels, products, strict=True):
                torch.mm(value, kernel.t(), out=product)
            back = _view(buffers[1], len(_OUTPUT), products[0].numel())
            result.copy_(torch.mm(_OUTPUT, products.flatten(1), out=back).view(result.shape))
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        x, weight = ctx.saved_tensors
        dx = _Conv.apply(grad, _turned(weight)) if ctx.needs_input_grad[0] else None
        return dx, _WeightGradient.apply(x, grad) if ctx.needs_input_grad[1] else None


class _WeightGradient(torch.autograd.Function):
    """x [N, I, H, W] and the gradient [N, O, H, W] of the result -> that of the weight [O, I, 3, 3]."""

    @staticmethod
    def forward(x: Tensor, grad: Tensor) -> Tensor:
        inputs, outputs = x.shape[1], grad.shape[1]
        kernels = x.new_zeros(36, outputs, inputs)
        scratch, here, there = (x.new_empty(_values(x) * max(inputs, outputs)) for _ in range(3))
        for pixels, result in _chunks(x, grad):
            values = _transform(_INPUT, pixels, scratch, here)
            results = _transform(_OUTPUT.t(), result, scratch, there)
            for kernel, product, value in zip(kernels, results, values, strict=True):
                kernel.addmm_(product.t(), value)
        return torch.mm(_KERNEL.t(), kernels.flatten(1)).view(3, 3, outputs, inputs).permute(2, 3, 0, 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple:
        x, grad = ctx.saved_tensors
        dx = _Conv.apply(grad, _turned(weight)) if ctx.needs_input_grad[0] else None
        return dx, _Conv.apply(x, weight) if ctx.needs_input_grad[1] else None


def _turned(weight: Tensor) -> Tensor:
    """The kernels of the adjoint."""
    return weight.flip(2, 3).transpose(0, 1)


def _chunks(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Views of some tiles of x [6, 6, n, h, w, I] and of y [4, 4, n, h, w, O]: of images, or rows of tiles of one."""
    pixels = F.pad(x, (1, 1, 1, 1)).unfold(2, 6, _SIDE).unfold(3, 6, _SIDE).permute(4, 5, 0, 2, 3, 1)
    results = y.unflatten(2, (-1, _SIDE)).unflatten(4, (-1, _SIDE)).permute(3, 5, 0, 2, 4, 1)
    images, rows = _chunk(x)
    for part, result in zip(pixels.split(images, 2), results.split(images, 2), strict=True):
        yield from zip(part.split(rows, 3), result.split(rows, 3), strict=True)


def _chunk(x: Tensor) -> tuple[int, int]:
    """How many images, and rows of tiles of each, to transform at a time."""
    rows = max(1, _CHUNK // (36 * x.shape[1] * x.shape[3] // _SIDE))
    height = x.shape[2] // _SIDE
    return min(len(x), max(1, rows // height)), min(rows, height)


def _values(x: Tensor) -> int:
    """Of each channel in a chunk."""
    return 36 * math.prod(_chunk(x)) * x.shape[3] // _SIDE


def _transform(matrix: Tensor, tiles: Tensor, scratch: Tensor, out: Tensor) -> Tensor:
    """``matrix`` times the pixels of ``tiles``: [36, tiles, channels], in ``out``."""
    pixels = _view(scratch, *tiles.shape).copy_(tiles).view(matrix.shape[1], -1)
    torch.mm(matrix, pixels, out=_view(out, 36, pixels.shape[1]))
    return _view(out, 36, tiles.shape[2:5].numel(), tiles.shape[-1])


def _view(buffer: Tensor, *shape: int) -> Tensor:
    return buffer[: math.prod(shape)].view(shape)
