"""Geometry of the augmentation as one resampling: sym6 upsampling, an affine bilinear warp, sym6 downsampling."""

import torch
import torch.nn.functional as F
from torch import Tensor

from gan.ops import extension, fused
from gan.ops.resample import upfirdn
from gan.ops.warp import warp

TAPS = 12


def affine_resample(x: Tensor, linear: Tensor, offset: Tensor, taps: Tensor) -> Tensor:
    """The image of the map p -> linear p + offset from pixels of the result to those of ``x``, counted from the centre.

    x: [N, C, H, W], H and W at least 4, reflected without end outside; linear: [N, 2, 2] and offset: [N, 2], order
    (x, y), which get no gradient; taps: [12], those of sym6, which sum to 1. Returns [N, C, H, W] in the dtype of
    ``x``; an image that is not moved passes bit for bit. Source: Karras et al. 2020b, appendix B.2. Raises ValueError
    if shapes do not go together.

    Upsampling by sym6, a bilinear warp and downsampling by sym6 is the identity where the map is, since the filter is
    orthogonal to its even shifts. Its peak, tap 5, is taken for its centre: the upsampled signal then has its sample 2i
    on pixel i, from the centre of the first pixel to that of the last.
    """
    if x.ndim != 4 or min(x.shape[2:]) < 4 or linear.shape != (len(x), 2, 2) or offset.shape != (len(x), 2):
        raise ValueError(
            f"affine_resample: x {list(x.shape)} does not go with linear {list(linear.shape)} and offset "
            f"{list(offset.shape)}; x is [N, C, H, W], at least 4 x 4"
        )
    if taps.shape != (TAPS,):
        raise ValueError(f"affine_resample: taps are [{TAPS}], not {list(taps.shape)}")
    linear, offset, taps = linear.detach(), offset.detach(), taps.detach()
    if extension.takes(x):
        return fused.affine_resample(x, linear, offset, taps)
    fine = upfirdn(F.pad(x, (3, 2, 3, 2), mode="reflect"), taps, up=2, gain=4.0)
    # Width and height, made on the device: a copy from the host would wait for it.
    size = torch.stack([torch.full((), n, dtype=x.dtype, device=x.device) for n in (x.shape[3], x.shape[2])])
    # Of the 2n + 10 samples for the filter, v in -1..1 is (n + 4.5) v / 2 + 1/4 pixels from the image's centre.
    theta = torch.cat([linear * ((size + 4.5) / 2), (linear.sum(2) / 4 + offset)[:, :, None]], 2)
    theta = theta * (2 / (size - 1))[:, None]
    wide = (2 * x.shape[2] + 10, 2 * x.shape[3] + 10)
    fine = warp(fine, theta, wide, padding="reflection", align_corners=True)
    moved = upfirdn(fine, taps.flip(0), down=2)
    still = (linear == torch.eye(2, device=x.device)).all(2).all(1) & (offset == 0).all(1)
    return torch.where(still[:, None, None, None], x, moved)
