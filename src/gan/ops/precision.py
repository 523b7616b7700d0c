"""The dtype of its tensors decides in which an operation computes, whatever an autocast around it says."""

import contextlib

import torch
from torch import Tensor


def own_dtype(x: Tensor) -> contextlib.AbstractContextManager:
    """Keep autocast off: it would run filters and normalisers of float32 tensors in bfloat16."""
    if torch.amp.autocast_mode.is_autocast_available(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return contextlib.nullcontext()
