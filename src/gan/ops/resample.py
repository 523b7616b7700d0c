"""Resampling with a separable filter: zero-stuff, pad, convolve, decimate, in one differentiable operation.

The adjoint of such an operation is one of the same kind, so the backward pass is `upfirdn` again and derivatives of any
order come at the price of a forward pass.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gan.ops import extension, fused
from gan.ops.precision import own_dtype, widened

Padding = int | tuple[int, int]


def binomial_taps(taps: Sequence[float] = (1, 3, 3, 1)) -> Tensor:
    """Filter taps [k], float32, scaled to the sum 1. The default is the filter of StyleGAN2 (Karras et al. 2020a)."""
    values = torch.tensor(taps, dtype=torch.float64)
    return (values / values.sum()).float()


def upfirdn(x: Tensor, taps: Tensor, up: int = 1, down: int = 1, padding: Padding = 0, gain: float = 1.0) -> Tensor:
    """Resample every spatial axis of ``x`` with the filter ``taps``.

    On each axis: put ``up - 1`` zeros after every sample, add ``padding`` zeros (before, after; negative crops),
    convolve with ``taps`` where the filter fits, keep every ``down``-th sample. With z the stuffed, padded signal and k
    the number of taps, ``y[m] = sum_j taps[j] * z[m * down + k - 1 - j]``: a true convolution, taps run backwards. The
    result as a whole is multiplied by ``gain``.

    x: [N, C, *spatial], two or three spatial axes; taps: [k], which gets no gradient. Returns
    [N, C, *((n * up + before + after - k) // down + 1)] in the dtype and memory format of ``x``.
    Raises ValueError if ``taps`` is not a vector, ``x`` is neither 4-D nor 5-D, or nothing would be left of an axis.
    """
    if taps.ndim != 1 or x.ndim not in (4, 5):
        raise ValueError(
            f"upfirdn: taps [k] and x [N, C, *spatial] of 2 or 3 axes, not {list(taps.shape)}, {list(x.shape)}"
        )
    if up < 1 or down < 1:
        raise ValueError(f"upfirdn: up and down are factors from 1 on, got {up} and {down}")
    before, after = padding if isinstance(padding, tuple) else (padding, padding)
    if min(x.shape[2:]) * up + before + after < taps.numel():
        raise ValueError(f"upfirdn: {taps.numel()} taps do not fit {list(x.shape[2:])}, up {up}, padding {padding}")
    taps, pads = taps.detach(), ((before, after),) * (x.ndim - 2)
    if extension.takes(x):
        return fused.upfirdn(x, taps, up, down, pads, gain)
    return _Upfirdn.apply(x, taps, up, down, pads, gain)


def upsample(x: Tensor, taps: Tensor, factor: int = 2) -> Tensor:
    """Enlarge [N, C, *spatial] by ``factor``; a constant image stays constant away from the (zero) border."""
    k = taps.numel()
    return upfirdn(x, taps, up=factor, padding=((k + factor - 1) // 2, (k - factor) // 2), gain=factor ** (x.ndim - 2))


def downsample(x: Tensor, taps: Tensor, factor: int = 2) -> Tensor:
    """Reduce [N, C, *spatial] by ``factor``, sizes n -> n // factor."""
    k = taps.numel()
    return upfirdn(x, taps, down=factor, padding=((k - factor + 1) // 2, (k - factor) // 2))


class _Upfirdn(torch.autograd.Function):
    """Linear in x; ``padding`` is one (before, after) per axis because the adjoint's depends on the axis' length."""

    @staticmethod
    def forward(x: Tensor, taps: Tensor, up: int, down: int, padding: tuple, gain: float) -> Tensor:
        return _reference(x, taps, up, down, padding, gain)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, taps, ctx.up, ctx.down, padding, ctx.gain = inputs
        ctx.save_for_backward(taps)
        k = taps.numel()
        ctx.padding = tuple(
            (k - 1 - before, n * ctx.up - m * ctx.down + before - ctx.up + 1)
            for n, m, (before, _) in zip(x.shape[2:], output.shape[2:], padding, strict=True)
        )

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (taps,) = ctx.saved_tensors
        return _Upfirdn.apply(grad, taps.flip(0), ctx.down, ctx.up, ctx.padding, ctx.gain), None, None, None, None, None


def _reference(x: Tensor, taps: Tensor, up: int, down: int, padding: tuple, gain: float) -> Tensor:
    """Depthwise convolutions; all axes at once for short filters, else axis by axis.

    On a CPU some of them are slow: transposed ones in bfloat16, and axis by axis in any dtype; plain ones along an axis
    of a volume in float32. The first are computed in float32, and those along an axis by phases.
    """
    axes = range(x.ndim - 2)
    groups = [tuple(axes)] if taps.numel() ** len(axes) <= 16 else [(axis,) for axis in axes]
    on_cpu = x.device.type == "cpu" and down == 1
    y = widened(x) if on_cpu and up > 1 else x
    with own_dtype(x):
        if on_cpu and len(groups) > 1 and (up > 1 or (x.ndim == 5 and x.dtype != torch.bfloat16)):
            y = _by_phases(y, taps, up, padding, gain)
        else:
            for group in groups:
                y = _filter(y, taps, up, down, padding, group, gain)
                gain = 1.0
    return y.to(x.dtype)


def _by_phases(x: Tensor, taps: Tensor, up: int, padding: tuple, gain: float) -> Tensor:
    """The zeros between samples are never made: sample r of each ``up`` of the result is a filter of its own, of every
    ``up``-th tap, over ``x`` as it is."""
    layout = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
    last = x.is_contiguous(memory_format=layout)
    x = x.movedim(1, -1) if last else x  # then all axes are in the order of the memory
    taps = taps.to(x.dtype)
    for axis, (before, after) in enumerate(padding, start=1 if last else 2):
        x = _phases_along(x, taps * gain, up, axis, before, after)
        gain = 1.0
    return x.movedim(-1, 1) if last else x


def _phases_along(x: Tensor, taps: Tensor, up: int, axis: int, before: int, after: int) -> Tensor:
    count, k = x.shape[axis], taps.numel()
    size = count * up + before + after - k + 1
    # y[up * q + r] is the sum over (j, s) of taps[j] * x[q + s].
    phases = []
    for first in range(min(up, size)):
        places = [(j, divmod(first + k - 1 - j - before, up)) for j in range(k)]
        phases.append((-(-(size - first) // up), [(j, s) for j, (s, rest) in places if rest == 0]))
    starts = [s for _, terms in phases for _, s in terms]
    ends = [s + length for length, terms in phases for _, s in terms]
    margin = max(0, -min(starts, default=0)), max(0, max(ends, default=0) - count)
    if any(margin):
        wide = x.new_zeros(*x.shape[:axis], count + sum(margin), *x.shape[axis + 1 :])
        wide.narrow(axis, margin[0], count).copy_(x)
        x = wide
    y = x.new_zeros(*x.shape[:axis], size, *x.shape[axis + 1 :])
    for first, (length, terms) in enumerate(phases):
        phase = y[(slice(None),) * axis + (slice(first, None, up),)]
        for number, (j, s) in enumerate(terms):
            part = x.narrow(axis, margin[0] + s, length)
            phase.addcmul_(part, taps[j]) if number else torch.mul(part, taps[j], out=phase)
    return y


def _filter(x: Tensor, taps: Tensor, up: int, down: int, padding: tuple, group: tuple, gain: float) -> Tensor:
    dims, k = x.ndim - 2, taps.numel()
    line = taps.flip(0) if up == 1 else taps  # a convolution layer correlates, its transpose convolves
    kernel = line * gain
    for _ in group[1:]:
        kernel = kernel[..., None] * line
    kernel = kernel.view([k if axis in group else 1 for axis in range(dims)])
    kernel = kernel.to(x.dtype).expand(x.shape[1], 1, *kernel.shape)
    pads = [padding[axis] if axis in group else (0, 0) for axis in range(dims)]
    ups = [up if axis in group else 1 for axis in range(dims)]
    downs = [down if axis in group else 1 for axis in range(dims)]
    if up == 1:
        x, edge = _pad(x, pads)
        convolve = F.conv2d if dims == 2 else F.conv3d
        return convolve(x, kernel, stride=downs, padding=edge, groups=x.shape[1])
    # The transposed convolution makes the whole of k - up + n * up samples: `crops` of them are not wanted.
    crops = [(k - 1 - p0, k - up - p1) if i in group else (0, 0) for i, (p0, p1) in enumerate(pads)]
    edge = [max(0, min(crop)) for crop in crops]
    transpose = F.conv_transpose2d if dims == 2 else F.conv_transpose3d
    x = transpose(x, kernel, stride=ups, padding=edge, groups=x.shape[1])
    x = _pad_or_crop(x, [(e - c0, e - c1) for e, (c0, c1) in zip(edge, crops, strict=True)])
    return x[(slice(None), slice(None), *(slice(None, None, step) for step in downs))]


def _pad(x: Tensor, pads: list[tuple[int, int]]) -> tuple[Tensor, list[int]]:
    """Split ``pads`` into what must be done now and the symmetric part that a convolution does by itself."""
    edge = [max(0, min(pad)) for pad in pads]
    return _pad_or_crop(x, [(p0 - e, p1 - e) for e, (p0, p1) in zip(edge, pads, strict=True)]), edge


def _pad_or_crop(x: Tensor, pads: list[tuple[int, int]]) -> Tensor:
    if not any(map(any, pads)):
        return x
    return F.pad(x, [amount for pad in reversed(pads) for amount in pad])
