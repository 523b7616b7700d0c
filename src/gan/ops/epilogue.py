"""The steps after the convolution of a styled layer, as one operation: normaliser, noise, bias, activation, clamp."""

from torch import Tensor

from gan.ops import extension, fused
from gan.ops.activation import bias_act, default_gain


def epilogue(
    x: Tensor,
    bias: Tensor | None = None,
    *,
    normaliser: Tensor | None = None,
    noise: Tensor | None = None,
    strength: Tensor | None = None,
    act: str = "lrelu",
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """``clip(gain * act(x * normaliser + strength * noise + bias), -clamp, clamp)``.

    x: [N, O, *spatial]; bias: [O]; normaliser: [N, O] (`demodulation`); noise: [N or 1, 1, *spatial] with its strength,
    a tensor without dimensions; each None for none; act: linear, relu or lrelu; gain and clamp as `bias_act` takes
    them. Noise gets no gradient. Returns shape, dtype and memory format of ``x``. Source: Karras et al. 2020a, fig. 2.
    Raises ValueError if noise and strength do not come together, or on a value that `bias_act` refuses.
    """
    if (noise is None) != (strength is None):
        raise ValueError("epilogue: noise and its strength go together")
    if act not in fused.ACTS[:3]:
        raise ValueError(f"epilogue: no activation {act!r}; there are {', '.join(fused.ACTS[:3])}")
    noise = None if noise is None else noise.detach()
    if extension.takes(x):
        gain = default_gain(act, gain, clamp)
        return fused.epilogue(x, normaliser, noise, strength, bias, act, gain, clamp)
    if normaliser is not None:
        x = x * normaliser.to(x.dtype).view(*normaliser.shape, *[1] * (x.ndim - 2))
    if noise is not None and strength is not None:
        x = x + (noise * strength).to(x.dtype)
    return bias_act(x, bias, act, gain, clamp)
