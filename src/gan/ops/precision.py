"""The dtype of its tensors decides in which an operation computes, whatever an autocast around it says."""

import contextlib

import torch
from torch import Tensor


def own_dtype(x: Tensor) -> contextlib.AbstractContextManager:
    """Keep autocast off: it would run filters and normalisers of float32 tensors in bfloat16."""
    device = x.device.type
    if device != "meta" and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return contextlib.nullcontext()
