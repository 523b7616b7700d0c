"""Convolutions with a change of rate, and with styles (Karras et al. 2020a, section 2.2).

Styles scale the activations, not the weights: `conv(x, s * w) = conv(s * x, w)`. One ordinary convolution serves the
whole batch, and second derivatives (path length, R1) need no convolution with one group per image.
"""

import torch
from torch import Tensor

from gan.ops import winograd
from gan.ops.convolution import convolve, convolve_transposed
from gan.ops.epilogue import epilogue
from gan.ops.precision import own_dtype
from gan.ops.resample import upfirdn


def demodulation(weight: Tensor, styles: Tensor, eps: float = 1e-8) -> Tensor:
    """The normaliser ``rsqrt(sum_ik (s_i w_oik)^2 + eps)`` [N, O] as one matrix product.

    weight: [O, I, *kernel]; styles: [N, I]. Nothing of size N * O * I * k is built. At least float32.
    """
    dtype = torch.promote_types(torch.promote_types(weight.dtype, styles.dtype), torch.float32)
    power = weight.to(dtype).square().flatten(2).sum(2)
    with own_dtype(styles):
        return (styles.to(dtype).square() @ power.t() + eps).rsqrt()


def conv(x: Tensor, weight: Tensor, *, up: int = 1, down: int = 1, taps: Tensor | None = None) -> Tensor:
    """Convolve and change the rate by ``up`` or ``down``, filtered by ``taps``; the border is zero.

    x: [N, I, *spatial], 2-D or 3-D; weight: [O, I, *kernel], odd and equal sizes; taps: [k]. Returns
    [N, O, *(n * up // down)] for n a multiple of ``down``. The weight is applied as a correlation, and with ``up``,
    through a transposed convolution, mirrored: of no consequence to learned weights. Raises ValueError if both ``up``
    and ``down`` differ from 1, or if one does and ``taps`` is None.
    """
    if up > 1 and down > 1:
        raise ValueError("conv: either up or down, not both")
    if up == down == 1:
        if winograd.suits(x, weight):
            return winograd.conv3x3(x, weight)
        return convolve(x, weight, padding=weight.shape[-1] // 2)
    if taps is None:
        raise ValueError("conv: a change of rate needs taps")
    size, k, dims = weight.shape[-1], taps.numel(), x.ndim - 2
    if down > 1:
        margin = size // 2
        before, after = (k - down + 1) // 2 + margin, (k - down) // 2 + margin
        return convolve(upfirdn(x, taps, padding=(before, after)), weight, stride=down)
    y = convolve_transposed(x, weight.transpose(0, 1), stride=up)
    # Of the transposed convolution's (n - 1) * up + size samples, centre n * up under the filter.
    before = (k + up - 1) // 2 - size // 2
    after = x.shape[-1] * up - y.shape[-1] + k - 1 - before
    return upfirdn(y, taps, padding=(before, after), gain=up**dims)


def modulated_conv(x: Tensor, weight: Tensor, styles: Tensor, *, up: int = 1, taps: Tensor | None = None) -> Tensor:
    """`conv` with the input channels of each image scaled by its styles; the outputs are left to a `demodulation`.

    x: [N, I, *spatial]; weight: [O, I, *kernel]; styles: [N, I]. Dtype and memory format of ``x`` are kept; styles and
    weight may be of a wider dtype.
    """
    # the kernel of `epilogue` sums the gradients of the styles as it goes
    x = epilogue(x, normaliser=styles, act="linear", gain=1.0)
    return conv(x, weight.to(x.dtype), up=up, taps=taps)
