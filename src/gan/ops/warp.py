"""Affine warp with derivatives of any order with respect to the image.

PyTorch has no second derivative of ``grid_sample``. The warp is linear in the image, so its backward is the adjoint
operation (scatter for gather), and the adjoint's backward is the warp again. Of the map only its matrix is kept: where
to sample is computed again, as those places take more memory than a volume.
"""

from typing import Any

import torch
from torch import Tensor

_PADDING = {"zeros": 0, "reflection": 2}
_SAMPLE = {4: torch.ops.aten.grid_sampler_2d, 5: torch.ops.aten.grid_sampler_3d}
_SCATTER = {4: torch.ops.aten.grid_sampler_2d_backward, 5: torch.ops.aten.grid_sampler_3d_backward}
_BILINEAR = 0


def warp(
    x: Tensor, theta: Tensor, size: tuple[int, ...], padding: str = "zeros", align_corners: bool = False
) -> Tensor:
    """Sample ``x`` linearly where ``theta`` sends the pixels of the result.

    x: [N, C, H, W] or [N, C, D, H, W]; theta: [N, 2, 3] or [N, 3, 4], from coordinates of the result to coordinates of
    ``x``, order (x, y[, z]), as `torch.nn.functional.affine_grid` takes it; it gets no gradient. size: of the result's
    spatial axes. align_corners: whether -1 and 1 are, in ``x`` and in the result, the centres of the border pixels or
    their outer edges. padding: ``zeros`` outside, or ``reflection`` at -1 and 1 without end. Returns [N, C, *size].
    Raises ValueError if shapes do not go together or ``padding`` is another.
    """
    if padding not in _PADDING:
        raise ValueError(f"warp: no padding {padding!r}; there are {', '.join(_PADDING)}")
    if theta.shape != (len(x), x.ndim - 2, x.ndim - 1) or len(size) != x.ndim - 2:
        raise ValueError(f"warp: x {list(x.shape)} does not go with theta {list(theta.shape)} and size {list(size)}")
    return _Warp.apply(x, theta.detach().to(x.dtype), size, (_PADDING[padding], align_corners))


def _grid(theta: Tensor, size: tuple[int, ...], align_corners: bool) -> Tensor:
    """Where to sample, [N, *size, dims]: without a matrix product, since TF32 would round its factors to 11 bits."""
    dims = len(size)
    grid = theta[:, :, dims].view(-1, *[1] * dims, dims)
    for axis, count in enumerate(reversed(size)):
        edge = 1.0 if align_corners else 1 - 1 / count
        line = torch.linspace(-edge, edge, count, dtype=theta.dtype, device=theta.device)
        step = theta[:, :, axis].view(-1, *[1] * dims, dims)
        grid = grid + line.view([count if i == dims - axis else 1 for i in range(dims + 2)]) * step
    return grid


class _Warp(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, theta: Tensor, size: tuple[int, ...], mode: tuple[int, bool]) -> Tensor:
        padding, align_corners = mode
        return _SAMPLE[x.ndim](x, _grid(theta, size, align_corners), _BILINEAR, padding, align_corners)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, theta, _, ctx.mode = inputs
        ctx.size = x.shape
        ctx.save_for_backward(theta)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (theta,) = ctx.saved_tensors
        return _WarpAdjoint.apply(grad, theta, ctx.size, ctx.mode), None, None, None


class _WarpAdjoint(torch.autograd.Function):
    @staticmethod
    def forward(grad: Tensor, theta: Tensor, size: torch.Size, mode: tuple[int, bool]) -> Tensor:
        padding, align_corners = mode
        like = grad.new_zeros(1).expand(size)  # only its shape is read: the image itself need not be kept
        grid = _grid(theta, tuple(grad.shape[2:]), align_corners)
        return _SCATTER[grad.ndim](grad, like, grid, _BILINEAR, padding, align_corners, [True, False])[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        grad, theta, _, ctx.mode = inputs
        ctx.size = tuple(grad.shape[2:])
        ctx.save_for_backward(theta)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (theta,) = ctx.saved_tensors
        return _Warp.apply(grad, theta, ctx.size, ctx.mode), None, None, None
