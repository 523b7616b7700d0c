"""Geometry of the augmentation as one resampling: sym6 upsampling, an affine linear warp, sym6 downsampling."""

import torch
import torch.nn.functional as F
from torch import Tensor

from gan.ops import extension, fused
from gan.ops.resample import upfirdn
from gan.ops.warp import warp

TAPS = 12


def affine_resample(x: Tensor, linear: Tensor, offset: Tensor, taps: Tensor | None) -> Tensor:
    """The image of the map p -> linear p + offset from pixels of the result to those of ``x``, counted from the centre.

    x: [N, C, H, W] or [N, C, D, H, W], each side at least 4, reflected without end outside; linear: [N, d, d] and
    offset: [N, d] for d axes, order (x, y[, z]) = (W, H[, D]), which get no gradient; taps: [12], those of sym6, which
    sum to 1, or None for a linear warp alone. Returns the shape and dtype of ``x``; an image that is not moved passes
    bit for bit. Source: Karras et al. 2020b, appendix B.2. Raises ValueError if shapes do not go together.

    Upsampling by sym6, a linear warp and downsampling by sym6 is the identity where the map is, since the filter is
    orthogonal to its even shifts. Its peak, tap 5, is taken for its centre: the upsampled signal then has its sample 2i
    on pixel i, from the centre of the first pixel to that of the last.

    Volumes have no kernel of their own and are taken one by one: twice as many samples a side are eight times as many.
    """
    dims = x.ndim - 2
    fits = dims in (2, 3) and linear.shape == (len(x), dims, dims) and offset.shape == (len(x), dims)
    if not fits or min(x.shape[2:]) < 4:
        raise ValueError(
            f"affine_resample: x {list(x.shape)} does not go with linear {list(linear.shape)} and offset "
            f"{list(offset.shape)}; x is [N, C, H, W] or [N, C, D, H, W], at least 4 a side"
        )
    if taps is not None and taps.shape != (TAPS,):
        raise ValueError(f"affine_resample: taps are [{TAPS}], not {list(taps.shape)}")
    linear, offset = linear.detach(), offset.detach()
    if dims == 2 and taps is not None and extension.takes(x):
        return fused.affine_resample(x, linear, offset, taps.detach())
    still = (linear == torch.eye(dims, device=x.device)).all(2).all(1) & (offset == 0).all(1)
    if dims == 2:
        return torch.where(still[:, None, None, None], x, _moved(x, linear, offset, taps))
    parts = []
    for place in range(len(x)):
        part = slice(place, place + 1)
        if x.device.type == "cpu" and still[place]:  # to ask another device would wait for it
            parts.append(x[part])
            continue
        moved = _moved(x[part], linear[part], offset[part], taps)
        parts.append(torch.where(still[part, None, None, None, None], x[part], moved))
    return torch.cat(parts)


def _moved(x: Tensor, linear: Tensor, offset: Tensor, taps: Tensor | None) -> Tensor:
    dims, size = x.ndim - 2, _size(x)
    if taps is None:
        theta = torch.cat([linear * ((size - 1) / 2), offset[:, :, None]], 2)
        theta = theta * (2 / (size - 1))[:, None]
        return warp(x, theta, tuple(x.shape[2:]), padding="reflection", align_corners=True)
    taps = taps.detach()
    fine = upfirdn(F.pad(x, (3, 2) * dims, mode="reflect"), taps, up=2, gain=2.0**dims)
    # Of the 2n + 10 samples for the filter, v in -1..1 is (n + 4.5) v / 2 + 1/4 pixels from the image's centre.
    theta = torch.cat([linear * ((size + 4.5) / 2), (linear.sum(2) / 4 + offset)[:, :, None]], 2)
    theta = theta * (2 / (size - 1))[:, None]
    fine = warp(fine, theta, tuple(2 * n + 10 for n in x.shape[2:]), padding="reflection", align_corners=True)
    return upfirdn(fine, taps.flip(0), down=2)


def _size(x: Tensor) -> Tensor:
    """Points along (x, y[, z]), made on the device: a copy from the host would wait for it."""
    sides = reversed(x.shape[2:])
    return torch.stack([torch.full((), side, dtype=x.dtype, device=x.device) for side in sides])
