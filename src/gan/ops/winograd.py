"""3 x 3 convolution by minimal filtering, F(4 x 4, 3 x 3): a quarter of the multiplications (Lavin and Gray 2016).

Tiles of 6 x 6 pixels, and kernels, are taken to 36 values each, in which their convolution is a product: a layer
becomes 36 matrix products [tiles, I] [I, O], which are taken back to 4 x 4 pixels a tile. The saving grows with the
number of channels and the cost of going there and back does not, hence `suits`. Rounding is about ten times that of
the plain sum: 3e-6 of the norm of the result at 512 channels.

Going there and back is done one axis at a time. Every step reads its tiles where they lie in memory, overlapping ones
too, and the products find their factors there: nothing is gathered or copied in between.
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

_SIDE = 4  # pixels of a tile's result
# Channels, and the tiles from which on they pay; fewer of either do not pay for the transforms.
_PAYS = ((256, 32), (128, 64))
_PAYS_ALONE = (64, 1024)  # with one thread: several wait for each other after every product, and these are small
_CHUNK = 256  # tiles at a time for each thread: few enough for the cache, enough for a product

# Evaluation at 0, 1, -1, 2, -2 and infinity, along an axis: of the pixels of a tile [6, 6], of a result [4, 6] by its
# transpose, and along both of a kernel [36, 9].
_INPUT = torch.tensor(
    [
        [4.0, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_OUTPUT = torch.tensor([[1.0, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])
_RESULT = _OUTPUT.t().contiguous()
_POLYNOMIAL = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    dtype=torch.float64,
)
_KERNEL = torch.kron(_POLYNOMIAL, _POLYNOMIAL).float()


def suits(x: Tensor, weight: Tensor) -> bool:
    """Whether `conv3x3` takes these and is the faster way: float32 on a CPU, many channels, sides multiples of 4."""
    if (
        x.device.type != "cpu"
        or not x.dtype == weight.dtype == torch.float32
        or torch.is_autocast_enabled("cpu")
        or weight.shape[2:] != (3, 3)
        or any(side % _SIDE for side in x.shape[2:])
    ):
        return False
    channels, tiles = min(weight.shape[:2]), len(x) * x.shape[2] * x.shape[3] // _SIDE**2
    limits = (*_PAYS, _PAYS_ALONE) if torch.get_num_threads() == 1 else _PAYS
    return any(channels >= enough and tiles >= least for enough, least in limits)


def conv3x3(x: Tensor, weight: Tensor) -> Tensor:
    """x [N, I, H, W] and weight [O, I, 3, 3] -> [N, O, H, W] in channels_last: correlation, zeros outside."""
    return _Conv.apply(x, weight, False)


class _Conv(torch.autograd.Function):
    """Bilinear: its derivatives, of any order, are this and `_WeightGradient` of other tensors.

    adjoint: of the map from x, [N, O, H, W] -> [N, I, H, W], by kernels that are turned round.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, adjoint: bool) -> Tensor:
        matrix = _KERNEL.flip(1) if adjoint else _KERNEL
        rows = weight.permute(0, 2, 3, 1).flatten(1, 2)  # [O, 9, I], the memory order of channels_last
        kernels = torch.bmm(matrix.expand(len(rows), -1, -1), rows).transpose(0, 1)
        kernels = (kernels if adjoint else kernels.mT).unbind()
        inputs, outputs = kernels[0].shape
        pixels = x.movedim(1, -1).contiguous()
        y = pixels.new_empty(*pixels.shape[:3], outputs)
        lines, values, products = _buffer(pixels, max(inputs, outputs)), _buffer(pixels), _buffer(y)
        for chunk in _chunks(pixels):
            factors = _tile_values(pixels, chunk, lines, values)
            results = _view(products, 6, factors.shape[1], 6, outputs)
            for factor, kernel, result in zip(_matrices(factors), kernels, _matrices(results), strict=True):
                torch.mm(factor, kernel, out=result)
            _to_pixels(results, lines, y, chunk)
        return y.movedim(-1, 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, weight, ctx.adjoint = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        x, weight = ctx.saved_tensors
        dx = _Conv.apply(grad, weight, not ctx.adjoint) if ctx.needs_input_grad[0] else None
        pair = (grad, x) if ctx.adjoint else (x, grad)
        return dx, _WeightGradient.apply(*pair) if ctx.needs_input_grad[1] else None, None


class _WeightGradient(torch.autograd.Function):
    """x [N, I, H, W] and the gradient [N, O, H, W] of the result -> that of the weight [O, I, 3, 3]."""

    @staticmethod
    def forward(x: Tensor, grad: Tensor) -> Tensor:
        pixels, results = x.movedim(1, -1).contiguous(), grad.movedim(1, -1).contiguous()
        inputs, outputs = x.shape[1], grad.shape[1]
        kernels = pixels.new_empty(36, outputs, inputs)
        lines, here, there = _buffer(pixels, max(inputs, outputs)), _buffer(pixels), _buffer(results)
        for first, chunk in enumerate(_chunks(pixels)):
            values = _tile_values(pixels, chunk, lines, here)
            gradients = _result_values(results, chunk, lines, there)
            for kernel, gradient, value in zip(kernels, _matrices(gradients), _matrices(values), strict=True):
                kernel.addmm_(gradient.t(), value, beta=min(first, 1))
        back = torch.bmm(_KERNEL.t().expand(outputs, -1, -1), kernels.transpose(0, 1))
        return back.unflatten(1, (3, 3)).permute(0, 3, 1, 2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple:
        x, grad = ctx.saved_tensors
        dx = _Conv.apply(grad, weight, True) if ctx.needs_input_grad[0] else None
        return dx, _Conv.apply(x, weight, False) if ctx.needs_input_grad[1] else None


def _chunks(pixels: Tensor) -> Iterator[list[tuple[int, int]]]:
    """Rows of tiles, as (image, row), some at a time. pixels: [N, H, W, C]."""
    count, height, width, _ = pixels.shape
    rows = list(itertools.product(range(count), range(height // _SIDE)))
    step = _rows(width)
    yield from (rows[start : start + step] for start in range(0, len(rows), step))


def _rows(width: int) -> int:
    """Rows of tiles in a chunk."""
    return max(1, _CHUNK * torch.get_num_threads() * _SIDE // width)


def _buffer(pixels: Tensor, channels: int | None = None) -> Tensor:
    """For 36 values a tile of a chunk, and a pixel at each end."""
    width = pixels.shape[2]
    return pixels.new_empty((36 * _rows(width) * width // _SIDE + 2) * (channels or pixels.shape[3]))


def _tile_values(pixels: Tensor, chunk: list[tuple[int, int]], lines: Tensor, out: Tensor) -> Tensor:
    """[6, tiles, 6, C] of the tiles of pixels [N, H, W, C], which overlap by two and have zeros around the image."""
    _, height, width, channels = pixels.shape
    tiles = width // _SIDE
    size = 6 * len(chunk) * width * channels
    down = lines[channels : channels + size].view(6, len(chunk), width, channels)
    # A tile at the border of its row reads a pixel of another one: the affected value is computed again below.
    lines[:channels] = 0
    lines[channels + size : 2 * channels + size] = 0
    for place, (image, row) in enumerate(chunk):
        first, last = max(0, row * _SIDE - 1), min(height, row * _SIDE + 5)
        matrix = _INPUT[:, first - row * _SIDE + 1 : last - row * _SIDE + 1]
        torch.mm(matrix, pixels[image, first:last].flatten(1), out=down[:, place].flatten(1))
    count = 6 * len(chunk) * tiles
    overlapping = lines.as_strided((count, 6, channels), (_SIDE * channels, channels, 1), lines.storage_offset())
    values = torch.bmm(_INPUT.expand(count, 6, 6), overlapping, out=_view(out, count, 6, channels))
    edges, down = values.view(-1, tiles, 6, channels), down.flatten(0, 1)
    torch.add(down[:, 3], down[:, 1], alpha=-5, out=edges[:, 0, 0])
    torch.add(4 * down[:, -4], down[:, -2], alpha=-5, out=edges[:, -1, 5])
    return values.view(6, -1, 6, channels)


def _result_values(results: Tensor, chunk: list[tuple[int, int]], lines: Tensor, out: Tensor) -> Tensor:
    """[6, tiles, 6, C] of the gradient [N, H, W, C] of results, by the adjoint of `_to_pixels`."""
    _, _, width, channels = results.shape
    down = _view(lines, 6, len(chunk), width * channels)
    for place, (image, row) in enumerate(chunk):
        torch.mm(_RESULT, results[image, row * _SIDE :][:_SIDE].flatten(1), out=down[:, place])
    count = down.numel() // (_SIDE * channels)
    tiles = down.view(count, _SIDE, channels)
    return torch.bmm(_RESULT.expand(count, 6, 4), tiles, out=_view(out, count, 6, channels)).view(6, -1, 6, channels)


def _to_pixels(values: Tensor, lines: Tensor, y: Tensor, chunk: list[tuple[int, int]]) -> None:
    """Take values [6, tiles, 6, C] back to the pixels of their tiles in y [N, H, W, C]."""
    channels = y.shape[3]
    count = values.numel() // (6 * channels)
    across = _view(lines, count, _SIDE, channels)
    torch.bmm(_OUTPUT.expand(count, 4, 6), values.view(count, 6, channels), out=across)
    across = across.view(6, len(chunk), -1)
    for place, (image, row) in enumerate(chunk):
        torch.mm(_OUTPUT, across[:, place], out=y[image, row * _SIDE :][:_SIDE].view(_SIDE, -1))


def _matrices(values: Tensor) -> list[Tensor]:
    """The 36 [tiles, C] of values [6, tiles, 6, C]."""
    return [matrix for part in values.unbind() for matrix in part.unbind(1)]


def _view(buffer: Tensor, *shape: int) -> Tensor:
    return buffer[: math.prod(shape)].view(shape)
