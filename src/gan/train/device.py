"""Which device a run uses, and which arithmetic it supports."""

import os

import torch

from gan.errors import GanError
from gan.families.registry import options_of
from gan.ops.precision import PRECISIONS


def pick_device(name: str) -> torch.device:
    """The device for ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``; `GanError` if there is no GPU.

    A GPU that a Slurm job holds and torch does not see is an error under ``auto`` too: the job would compute for days
    on the CPU of its GPU node.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if name == "auto" and "SLURM_JOB_ID" in os.environ and given[:1].isdigit() and not torch.cuda.is_available():
        raise GanError(
            f"this Slurm job holds GPU {given}, and torch sees none: a build of torch for CPUs, a driver that is too "
            f"old? Name the device cpu if the CPU is meant"
        )
    if name == "cuda" and not torch.cuda.is_available():
        raise GanError("device cuda: torch sees no GPU here; take cpu, or a torch with CUDA on a machine with a GPU")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def device_name(device: torch.device) -> str:
    """The name of the GPU, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def check_precision(precision: str, family: str, device: torch.device) -> None:
    """`GanError` if ``training.precision`` is unknown, or the family or the device cannot compute in it."""
    if precision not in PRECISIONS:
        raise GanError(f"recipe: training.precision is {precision!r}; allowed: {', '.join(PRECISIONS)}")
    can = options_of(family).PRECISIONS
    if precision not in can:
        raise GanError(f"recipe: training.precision is {precision}; family {family} computes in {', '.join(can)}")
    if precision == "fp16" and device.type == "cpu":
        raise GanError("recipe: training.precision is fp16, which is for a GPU; take bf16 or fp32 on a CPU")
