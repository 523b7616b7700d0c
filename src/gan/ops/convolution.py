"""Convolutions whose derivatives, of any order, are convolutions and the two gradients of one.

PyTorch takes the second derivative of a convolution by the weight as a convolution with a kernel of the size of the
image, for which cuDNN has no fast algorithm: on an H100 that alone was four fifths of the time of R1 and of the path
length. It is the gradient by the weight of another convolution, and computed as such here, as in the official
StyleGAN2-ADA program with PyTorch 1.7 to 1.10. Values and first derivatives are PyTorch's own.
"""

from typing import Any

import torch
from torch import Tensor

_C = torch.ops.aten


def convolve(x: Tensor, weight: Tensor, *, stride: int = 1, padding: int = 0) -> Tensor:
    """`torch.nn.functional.conv2d` or `conv3d` without bias: [N, I, *spatial] and [O, I, *kernel]."""
    return _Convolution.apply(x, weight, stride, padding, False)


def convolve_transposed(x: Tensor, weight: Tensor, *, stride: int = 1) -> Tensor:
    """`torch.nn.functional.conv_transpose2d` or `conv_transpose3d` without bias: weight [I, O, *kernel]."""
    return _Convolution.apply(x, weight, stride, 0, True)


class _Convolution(torch.autograd.Function):
    """A convolution: bilinear in x and the weight, as both gradients below are in theirs."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, stride: int, padding: int, transposed: bool) -> Tensor:
        return _C.convolution(x, weight, None, *_settings(x, stride, padding, transposed))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, weight, *ctx.settings = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        x, weight = ctx.saved_tensors
        by_x, by_weight, *_ = ctx.needs_input_grad
        dx = _ByInput.apply(grad, weight, x.detach(), *ctx.settings) if by_x else None
        dweight = _ByWeight.apply(grad, x, weight.detach(), *ctx.settings) if by_weight else None
        return dx, dweight, None, None, None


class _ByInput(torch.autograd.Function):
    """The gradient of a convolution by its input, from that of its result and the weight; ``like`` has its shape."""

    @staticmethod
    def forward(grad: Tensor, weight: Tensor, like: Tensor, stride: int, padding: int, transposed: bool) -> Tensor:
        return _gradients(grad, like, weight, (stride, padding, transposed), (True, False))[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        grad, weight, _, *ctx.settings = inputs
        ctx.save_for_backward(grad, weight)

    @staticmethod
    def backward(ctx: Any, ddx: Tensor) -> tuple:
        grad, weight = ctx.saved_tensors
        by_grad, by_weight, *_ = ctx.needs_input_grad
        dgrad = _Convolution.apply(ddx, weight, *ctx.settings) if by_grad else None
        dweight = _ByWeight.apply(grad, ddx, weight.detach(), *ctx.settings) if by_weight else None
        return dgrad, dweight, None, None, None, None


class _ByWeight(torch.autograd.Function):
    """The gradient of a convolution by its weight, from that of its result and the input; ``like`` has its shape."""

    @staticmethod
    def forward(grad: Tensor, x: Tensor, like: Tensor, stride: int, padding: int, transposed: bool) -> Tensor:
        return _gradients(grad, x, like, (stride, padding, transposed), (False, True))[1]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        grad, x, _, *ctx.settings = inputs
        ctx.save_for_backward(grad, x)

    @staticmethod
    def backward(ctx: Any, ddweight: Tensor) -> tuple:
        grad, x = ctx.saved_tensors
        by_grad, by_x, *_ = ctx.needs_input_grad
        dgrad = _Convolution.apply(x, ddweight, *ctx.settings) if by_grad else None
        dx = _ByInput.apply(grad, ddweight, x.detach(), *ctx.settings) if by_x else None
        return dgrad, dx, None, None, None, None


def _gradients(grad: Tensor, x: Tensor, weight: Tensor, settings: tuple, wanted: tuple[bool, bool]) -> tuple:
    given = _settings(x, *settings)
    return _C.convolution_backward(grad, x, weight, None, *given, (*wanted, False))


def _settings(x: Tensor, stride: int, padding: int, transposed: bool) -> tuple:
    """stride, padding, dilation, transposed, output_padding and groups, as aten expects them."""
    dims = x.ndim - 2
    return [stride] * dims, [padding] * dims, [1] * dims, transposed, [0] * dims, 1
