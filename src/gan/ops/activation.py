"""Bias, activation, gain and clamp in one differentiable operation that keeps only its output."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gan.ops import extension, fused

# Slope on the negative side; the second derivative of these is zero.
_SLOPES = {"linear": 1.0, "relu": 0.0, "lrelu": 0.2}
_SMOOTH = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "softplus": F.softplus}
_GAINS = {"relu": math.sqrt(2), "lrelu": math.sqrt(2)}


def bias_act(
    x: Tensor,
    bias: Tensor | None = None,
    act: str = "lrelu",
    gain: float | None = None,
    clamp: float | None = None,
    dim: int = 1,
) -> Tensor:
    """``clip(gain * act(x + bias), -clamp, clamp)``.

    x: any shape; bias: [x.shape[dim]] or None; act: linear, relu, lrelu (slope 0.2), tanh, sigmoid or softplus; gain:
    above 0, None for the one that keeps a unit variance (sqrt(2) for relu and lrelu, else 1); clamp: above 0, None for
    none. Returns the shape and dtype of ``x``. Source: Karras et al. 2020a. Raises ValueError on a value out of range.
    """
    gain = default_gain(act, gain, clamp)
    if bias is None and act == "linear" and gain == 1 and clamp is None:
        return x
    if extension.takes(x):
        return fused.bias_act(x, bias, act, gain, clamp, dim)
    if bias is not None:
        bias = bias.to(x.dtype)
    if act in _SLOPES:
        return _Rectify.apply(x, bias, dim, _SLOPES[act], gain, clamp)
    y = _SMOOTH[act](x if bias is None else x + _along(bias, x, dim))
    y = y if gain == 1 else y * gain
    return y if clamp is None else y.clamp(-clamp, clamp)


def default_gain(act: str, gain: float | None, clamp: float | None) -> float:
    """``gain``, or for None that of ``act``; ValueError if `bias_act` does not support one of the three."""
    if act not in _SLOPES and act not in _SMOOTH:
        raise ValueError(f"bias_act: no activation {act!r}; there are {', '.join([*_SLOPES, *_SMOOTH])}")
    gain = _GAINS.get(act, 1.0) if gain is None else gain
    if gain <= 0 or (clamp is not None and clamp <= 0):
        raise ValueError(f"bias_act: gain and clamp must be above 0, got {gain} and {clamp}")
    return gain


def _along(bias: Tensor, x: Tensor, dim: int) -> Tensor:
    return bias.view([-1 if i == dim % x.ndim else 1 for i in range(x.ndim)])


class _Rectify(torch.autograd.Function):
    """Piecewise linear: the derivative follows from sign and size of the output, and is linear in the gradient."""

    @staticmethod
    def forward(x: Tensor, bias: Tensor | None, dim: int, slope: float, gain: float, clamp: float | None) -> Tensor:
        # gain * act(x + b) = act(gain * x + gain * b), since act is homogeneous: one pass less.
        y = x * gain if bias is None else torch.add(_along(bias, x, dim) * gain, x, alpha=gain)
        if slope != 1:
            F.leaky_relu_(y, slope)
        return y if clamp is None else y.clamp_(-clamp, clamp)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, bias, dim, ctx.slope, ctx.gain, ctx.clamp = inputs
        ctx.summed = None if bias is None else [i for i in range(x.ndim) if i != dim % x.ndim]
        # Without a kink the derivative is a constant and no tensor need be kept.
        ctx.save_for_backward(*([output] if ctx.slope != 1 or ctx.clamp is not None else []))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        y = ctx.saved_tensors[0] if ctx.saved_tensors else None
        dx = _RectifyGradient.apply(grad, y, ctx.slope, ctx.gain, ctx.clamp)
        db = dx.sum(ctx.summed) if ctx.needs_input_grad[1] else None
        return dx, db, None, None, None, None


class _RectifyGradient(torch.autograd.Function):
    """Gradient times derivative; its own derivative with respect to the gradient is itself."""

    @staticmethod
    def forward(grad: Tensor, y: Tensor | None, slope: float, gain: float, clamp: float | None) -> Tensor:
        dx = grad * gain
        if y is not None and slope != 1:
            dx = torch.ops.aten.leaky_relu_backward(dx, y, slope, True)
        if y is not None and clamp is not None:
            dx = torch.ops.aten.hardtanh_backward(dx, y, -clamp, clamp)
        return dx

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        _, y, ctx.slope, ctx.gain, ctx.clamp = inputs
        ctx.save_for_backward(*([] if y is None else [y]))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        y = ctx.saved_tensors[0] if ctx.saved_tensors else None
        return _RectifyGradient.apply(grad, y, ctx.slope, ctx.gain, ctx.clamp), None, None, None, None
