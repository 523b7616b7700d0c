"""Differentiable operations of the networks and of the augmentation: each is one function of torch tensors.

Every operation has first and second derivatives (R1 and path length need them), works in float64, float32 and bfloat16,
contiguous or channels_last, and synchronises nothing with the host.
"""

from gan.ops.activation import bias_act
from gan.ops.affine import affine_resample
from gan.ops.epilogue import epilogue
from gan.ops.extension import IMPLEMENTATIONS, chosen, use
from gan.ops.modulation import conv, demodulation, modulated_conv
from gan.ops.resample import binomial_taps, downsample, upfirdn, upsample
from gan.ops.warp import warp

__all__ = [
    "IMPLEMENTATIONS",
    "affine_resample",
    "bias_act",
    "binomial_taps",
    "chosen",
    "conv",
    "demodulation",
    "downsample",
    "epilogue",
    "modulated_conv",
    "upfirdn",
    "upsample",
    "use",
    "warp",
]
