"""Which device a run uses."""

import torch

from gan.errors import GanError

DEVICES = ("auto", "cpu", "cuda")


def pick_device(name: str) -> torch.device:
    """The device for ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``; `GanError` if there is no GPU to give."""
    if name == "cuda" and not torch.cuda.is_available():
        raise GanError("device cuda: torch sees no GPU here; take cpu, or a torch with CUDA on a machine with a GPU")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def device_name(device: torch.device) -> str:
    """The name of the GPU, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
