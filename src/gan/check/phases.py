"""All phases of a small StyleGAN2 with ADA, computed with the kernels and without them."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gan import ops
from gan.check.kernels import CASES
from gan.check.rows import Row
from gan.families.contract import Batch, ImageShape
from gan.families.registry import build
from gan.ops.precision import full_precision

TOLERANCE = 1e-3  # of the norm of a gradient, float32: sums in another order differ, layer after layer
OPTIONS = {"z_dim": 8, "w_dim": 8, "channel_base": 128, "channel_max": 8, "augment": "bgc", "ada_p": 0.7}


class Calls(TorchDispatchMode):
    """Records which of the kernels are called."""

    def __init__(self):
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "gan":
            self.seen.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def gradients(device: torch.device) -> dict[str, dict[str, Tensor]]:
    """The loss and all gradients of each phase, path length and R1 among them, by name; float32."""
    torch.manual_seed(0)
    variant = build("stylegan2", OPTIONS, ImageShape(3, (16, 16)), 4).to(device)
    batch = Batch(torch.rand(4, 3, 16, 16).to(device) * 2 - 1, torch.zeros(4, 0, device=device))
    found = {}
    for phase in variant.phases():
        for name, network in variant.networks().items():
            network.requires_grad_(name == phase.trains)
            network.zero_grad(set_to_none=True)
        torch.manual_seed(1)
        loss, _ = variant.loss(phase.name, batch)
        loss.backward()
        trained = variant.networks()[phase.trains].named_parameters()
        found[phase.name] = {name: p.grad.cpu() for name, p in trained if p.grad is not None}
        found[phase.name]["loss"] = loss.detach().cpu()
    return found


def compare(device: torch.device) -> Iterator[Row]:
    """A row for each phase, and one for each kernel that the phases should have called but did not."""
    full_precision()
    ops.use("reference")
    expected = gradients(device)
    ops.use("cuda")
    with Calls() as calls:
        got = gradients(device)
    for kernel in CASES.keys() - calls.seen:
        yield Row(f"stylegan2 without {kernel}", "calls", "float32", math.inf, 0.0)
    for phase, right in expected.items():
        yield Row(f"stylegan2 {phase}", "gradients", "float32", _largest(got[phase], right), TOLERANCE)


def _largest(got: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    if got.keys() != right.keys():
        return math.inf
    errors = [float((got[name] - right[name]).norm() / right[name].norm().clamp(min=1e-6)) for name in right]
    return math.inf if any(map(math.isnan, errors)) else max(errors)
