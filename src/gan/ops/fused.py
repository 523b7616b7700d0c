"""The kernels as differentiable operations: derivatives and fake implementations of `torch.ops.gan`.

Coefficients and sums (bias, normaliser, noise, taps) are float32, of float64 images float64. Every derivative is made
of these operations again, or of PyTorch's, so there are those of any order.
"""

from typing import Any

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format

ACTS = ("linear", "relu", "lrelu", "tanh", "sigmoid", "softplus")  # the order of csrc/kernels.h
_PIECEWISE = 3  # of these are piecewise linear

_C = torch.ops.gan


def wide(x: Tensor) -> torch.dtype:
    """The dtype of coefficients and sums for ``x``."""
    return torch.promote_types(x.dtype, torch.float32)


def _coefficient(value: Tensor | None, x: Tensor) -> Tensor | None:
    return None if value is None else value.to(wide(x)).contiguous()


def bias_act(x: Tensor, bias: Tensor | None, act: str, gain: float, clamp: float | None, dim: int) -> Tensor:
    """See `gan.ops.bias_act`."""
    return _C.bias_act(x, _coefficient(bias, x), ACTS.index(act), gain, clamp, dim % x.ndim)


def epilogue(
    x: Tensor,
    normaliser: Tensor | None,
    noise: Tensor | None,
    strength: Tensor | None,
    bias: Tensor | None,
    act: str,
    gain: float,
    clamp: float | None,
) -> Tensor:
    """See `gan.ops.epilogue`."""
    parts = (_coefficient(part, x) for part in (normaliser, noise, strength, bias))
    return _C.epilogue(x, *parts, ACTS.index(act), gain, clamp)


def upfirdn(x: Tensor, taps: Tensor, up: int, down: int, padding: tuple, gain: float) -> Tensor:
    """See `gan.ops.upfirdn`; padding: (before, after) of every axis."""
    flat = [amount for pair in padding for amount in pair]
    return _C.upfirdn(x, _coefficient(taps, x), up, down, flat, gain, False)


def affine_resample(x: Tensor, linear: Tensor, offset: Tensor, taps: Tensor) -> Tensor:
    """See `gan.ops.affine_resample`."""
    return _C.affine_resample(x, *(_coefficient(part, x) for part in (linear, offset, taps)))


def register() -> None:
    """Register fake implementations and derivatives of the loaded library's operations."""
    for name, fake, save, backward in (
        ("bias_act", _bias_act_fake, _save_bias_act, _bias_act_backward),
        ("bias_act_gradient", _bias_act_gradient_fake, _save_bias_act_gradient, _bias_act_gradient_backward),
        ("epilogue", _epilogue_fake, _save_epilogue, _epilogue_backward),
        ("epilogue_gradient", _epilogue_gradient_fake, _save_epilogue_gradient, _epilogue_gradient_backward),
        ("upfirdn", _upfirdn_fake, _save_upfirdn, _upfirdn_backward),
        ("affine_resample", _affine_fake, _save_affine, _affine_backward),
        ("affine_resample_adjoint", _affine_fake, _save_affine, _affine_adjoint_backward),
    ):
        torch.library.register_fake(f"gan::{name}", fake)
        torch.library.register_autograd(f"gan::{name}", backward, setup_context=save)


def _order(x: Tensor) -> torch.memory_format:
    """The memory format of x and of the results."""
    order = suggest_memory_format(x)
    return order if x.is_contiguous(memory_format=order) else torch.contiguous_format


def _like(x: Tensor, shape: Any = None, dim: int = 1) -> Tensor:
    order = _order(x) if dim == 1 else torch.contiguous_format
    return torch.empty(x.shape if shape is None else shape, dtype=x.dtype, device=x.device, memory_format=order)


# ---- bias_act ----


def _bias_act_fake(x, bias, act, gain, clamp, dim):
    return _like(x, dim=dim)


def _save_bias_act(ctx: Any, inputs: tuple, output: Tensor) -> None:
    _, _, ctx.act, ctx.gain, ctx.clamp, ctx.dim = inputs
    # Without a kink the derivative is a constant and no tensor need be kept.
    ctx.save_for_backward(output if ctx.act or ctx.clamp is not None else None)


def _bias_act_backward(ctx: Any, grad: Tensor) -> tuple:
    (y,) = ctx.saved_tensors
    rest = (ctx.act, ctx.gain, ctx.clamp, ctx.dim, ctx.needs_input_grad[1])
    dx, db = _C.bias_act_gradient(grad, None, y, *rest)
    return dx, db if ctx.needs_input_grad[1] else None, None, None, None, None


def _bias_act_gradient_fake(grad, bias, y, act, gain, clamp, dim, sum):
    sums = grad.new_empty([grad.shape[dim] if sum else 0], dtype=wide(grad))
    return _like(grad if y is None else y, dim=dim), sums


def _save_bias_act_gradient(ctx: Any, inputs: tuple, output: tuple) -> None:
    grad, bias, y, ctx.act, ctx.gain, ctx.clamp, ctx.dim, ctx.sum = inputs
    smooth = ctx.act >= _PIECEWISE
    ctx.save_for_backward(y, grad if smooth else None, bias if smooth else None)
    ctx.shape, ctx.like = grad.shape, {"dtype": grad.dtype, "device": grad.device}
    ctx.set_materialize_grads(False)


def _bias_act_gradient_backward(ctx: Any, ddx: Tensor | None, ddb: Tensor | None) -> tuple:
    y, grad, bias = ctx.saved_tensors
    rest = (None,) * 5
    if not ctx.sum:
        ddb = None
    if ddx is None and ddb is None:
        return None, None, None, *rest
    ddx = torch.zeros(ctx.shape, **ctx.like) if ddx is None else ddx
    ddb = None if ddb is None else ddb.contiguous()
    # The gradient of the gradient is itself such a gradient, with ddb instead of the bias.
    args = (ctx.act, ctx.gain, ctx.clamp, ctx.dim, ctx.needs_input_grad[1])
    dgrad, dbias = _C.bias_act_gradient(ddx, ddb, y, *args)
    dy = None
    if ctx.act >= _PIECEWISE and ctx.needs_input_grad[2]:
        dy = _plus(ddx, ddb, ctx.dim) * _plus(grad, bias, ctx.dim) * _curvature(y, ctx.act, ctx.gain, ctx.clamp)
    return dgrad, dbias if ctx.needs_input_grad[1] else None, dy, *rest


def _plus(x: Tensor, bias: Tensor | None, dim: int) -> Tensor:
    return x if bias is None else x + bias.to(x.dtype).view([-1 if i == dim else 1 for i in range(x.ndim)])


def _curvature(y: Tensor, act: int, gain: float, clamp: float | None) -> Tensor:
    """Derivative, by the output, of the derivative that `bias_act` computes from it."""
    u = y / gain
    slope = {"tanh": lambda: -2 * u, "sigmoid": lambda: 1 - 2 * u, "softplus": lambda: (-u).exp()}[ACTS[act]]()
    return slope if clamp is None else torch.where(y.abs() < clamp, slope, 0)


# ---- epilogue ----


def _epilogue_fake(x, normaliser, noise, strength, bias, act, gain, clamp):
    return _like(x)


def _save_epilogue(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, normaliser, noise, _, _, ctx.act, ctx.gain, ctx.clamp = inputs
    ctx.save_for_backward(output, None if normaliser is None else x, normaliser, noise)


def _epilogue_backward(ctx: Any, grad: Tensor) -> tuple:
    y, x, normaliser, noise = ctx.saved_tensors
    dx, sums = _C.epilogue_gradient(grad, y, x, normaliser, noise, ctx.act, ctx.gain, ctx.clamp)
    _, by_normaliser, _, by_strength, by_bias, *rest = ctx.needs_input_grad
    return (
        dx,
        sums[..., 0] if by_normaliser else None,
        None,
        sums[..., 2].sum() if by_strength else None,
        sums[..., 1].sum(0) if by_bias else None,
        *[None] * len(rest),
    )


def _epilogue_gradient_fake(grad, y, x, normaliser, noise, act, gain, clamp):
    return _like(y), y.new_empty([*y.shape[:2], 3], dtype=wide(y))


def _save_epilogue_gradient(ctx: Any, inputs: tuple, output: tuple) -> None:
    grad, y, x, normaliser, noise, ctx.act, ctx.gain, ctx.clamp = inputs
    ctx.save_for_backward(grad, y, x, normaliser, noise)
    ctx.set_materialize_grads(False)


def _epilogue_gradient_backward(ctx: Any, ddx: Tensor | None, dsums: Tensor | None) -> tuple:
    """With g = grad * f'(y): of g * normaliser, and of the sums of g * x, g and g * noise."""
    grad, y, x, normaliser, noise = ctx.saved_tensors
    if ddx is None and dsums is None:
        return (None,) * 8

    def gate(value: Tensor) -> Tensor:
        if ctx.act == 0 and ctx.clamp is None:
            return value if ctx.gain == 1 else value * ctx.gain
        return _C.bias_act_gradient(value, None, y, ctx.act, ctx.gain, ctx.clamp, 1, False)[0]

    def along(value: Tensor) -> Tensor:
        return value.to(y.dtype).view(*value.shape, *[1] * (y.ndim - 2))

    parts = []
    if ddx is not None:
        parts.append(ddx if normaliser is None else ddx * along(normaliser))
    if dsums is not None:
        parts.append(
            along(dsums[..., 1]) if x is None else torch.addcmul(along(dsums[..., 1]), x, along(dsums[..., 0]))
        )
        if noise is not None:
            parts.append(along(dsums[..., 2]) * noise.to(y.dtype))
    dgrad = gate(sum(parts[1:], parts[0]).expand(y.shape))
    dx = by_normaliser = None
    if normaliser is not None:
        g = gate(grad)
        if dsums is not None and ctx.needs_input_grad[2]:
            dx = g * along(dsums[..., 0])
        if ddx is not None and ctx.needs_input_grad[3]:
            by_normaliser = (g * ddx).flatten(2).sum(2, dtype=wide(y))
    return dgrad, None, dx, by_normaliser, None, None, None, None


# ---- upfirdn ----


def _upfirdn_fake(x, taps, up, down, padding, gain, flip):
    sizes = [
        (n * up + before + after - taps.shape[0]) // down + 1
        for n, before, after in zip(x.shape[2:], padding[::2], padding[1::2], strict=True)
    ]
    return _like(x, [*x.shape[:2], *sizes])


def _save_upfirdn(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, taps, ctx.up, ctx.down, padding, ctx.gain, ctx.flip = inputs
    ctx.save_for_backward(taps)
    k = taps.shape[0]
    ctx.padding = [
        amount
        for n, m, before in zip(x.shape[2:], output.shape[2:], padding[::2], strict=True)
        for amount in (k - 1 - before, n * ctx.up - m * ctx.down + before - ctx.up + 1)
    ]


def _upfirdn_backward(ctx: Any, grad: Tensor) -> tuple:
    (taps,) = ctx.saved_tensors
    dx = _C.upfirdn(grad, taps, ctx.down, ctx.up, ctx.padding, ctx.gain, not ctx.flip)
    return dx, None, None, None, None, None, None


# ---- the resampling of the augmentation: linear, so each is the other's derivative ----


def _affine_fake(x, linear, offset, taps):
    return _like(x)


def _save_affine(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:])


def _affine_backward(ctx: Any, grad: Tensor) -> tuple:
    return _C.affine_resample_adjoint(grad, *ctx.saved_tensors), None, None, None


def _affine_adjoint_backward(ctx: Any, grad: Tensor) -> tuple:
    return _C.affine_resample(grad, *ctx.saved_tensors), None, None, None
