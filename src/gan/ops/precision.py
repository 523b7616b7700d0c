"""In which dtype a step computes: the dtype of its tensors decides for an operation, and networks set it by `reduced`.

Weights, optimizers and whatever is not passed through `reduced` or `autocast` stay in float32.
"""

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor

# The dtype of activations, and at how many of the highest resolutions: four are what Karras et al. 2020b publish.
_REDUCED = {"bf16": (torch.bfloat16, math.inf), "fp16": (torch.float16, 4)}
PRECISIONS = ("fp32", "tf32", *_REDUCED)

_dtype: torch.dtype | None = None
_resolutions: float = 0


@contextlib.contextmanager
def computing(precision: str) -> Iterator[None]:
    """Context of a training step in one of `PRECISIONS`, backward pass included; outside, all is float32.

    All but fp32 take convolutions and matrix products of float32 on a GPU with factors of 11 bits (TF32): in bf16 and
    fp16 those are of the layers that stay in float32. Elsewhere tf32 has no effect.
    """
    global _dtype, _resolutions
    before = _dtype, _resolutions
    _dtype, _resolutions = _REDUCED.get(precision, (None, 0))
    _allow_tf32(precision != "fp32")
    try:
        yield
    finally:
        _dtype, _resolutions = before
        _allow_tf32(False)


def full_precision() -> None:
    """Turn off torch's defaults on a GPU: TF32 convolutions, sums in the dtype of the factors."""
    _allow_tf32(False)
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False


def reduced(x: Tensor, depth: int) -> Tensor:
    """``x`` in the dtype of the layers ``depth`` doublings below the resolution of the image."""
    if _dtype is None:
        return x
    return x.to(_dtype if depth < _resolutions else torch.float32)


def widened(x: Tensor) -> Tensor:
    """``x`` in float32 at least: for sums over many values."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def autocast(x: Tensor) -> contextlib.AbstractContextManager:
    """Context for networks of torch's own layers, not differentiated twice: torch chooses what to reduce."""
    return contextlib.nullcontext() if _dtype is None else torch.autocast(x.device.type, _dtype)


def own_dtype(x: Tensor) -> contextlib.AbstractContextManager:
    """Keep autocast off: it would run filters and normalisers of float32 tensors in bfloat16."""
    device = x.device.type
    if device != "meta" and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return contextlib.nullcontext()


def _allow_tf32(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
