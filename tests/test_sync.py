"""A step waits for nothing from the device: it is run on the meta device, whose tensors have no numbers to read.

There whatever reads one (``item``, ``if``, ``nonzero``, an index by a mask, a copy to the host) is an error. What this
does not see: copies from the host, which `Watch` and `Literals` count, and what the kernels for a GPU do on their own.
"""

import pytest
import torch
from golden import BATCH, CASES
from test_precision import _recipe
from tiny import TinyData, sources
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gan.families.contract import Batch
from gan.train.trainer import Trainer

META = torch.device("meta")
ERRORS = (RuntimeError, NotImplementedError)


class Watch(TorchDispatchMode):
    """Notes every operation that goes from the host to the device, scalars apart, which kernels take as arguments."""

    def __init__(self):
        super().__init__()
        self.copies: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        devices = {x.device.type for x in tree_leaves((args, kwargs, result)) if isinstance(x, torch.Tensor)}
        if devices == {"cpu", "meta"} and func.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_):
            self.copies.append(str(func))
        return result


class Literals(TorchFunctionMode):
    """Notes the tensors that are made of Python's numbers on the device."""

    def __init__(self):
        super().__init__()
        self.made: list[str] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func in (torch.tensor, torch.as_tensor) and not isinstance(args[0], torch.Tensor) and result.is_meta:
            self.made.append(str(args[0]))
        return result


class OnDevice(TinyData):
    """Batches that lie on the device already."""

    def batch(self, indices):
        real, source = (
            torch.zeros(len(indices), channels, *self.shape.size, device=META)
            for channels in (self.shape.channels, self.shape.sources)
        )
        return Batch(real, torch.zeros(len(indices), self.shape.labels, device=META), source)


@pytest.fixture(autouse=True)
def fused_on_meta(monkeypatch):
    """The fused optimizers have no list of devices with the meta device in it, but shapes for it."""
    from torch.optim import optimizer

    known = optimizer._get_fused_kernels_supported_devices()
    monkeypatch.setattr(optimizer, "_get_fused_kernels_supported_devices", lambda: [*known, "meta"])


@pytest.mark.parametrize(("case", "microbatches"), [*((case, 1) for case in CASES), ("stylegan2_topk", 2)])
def test_no_step_waits_for_the_device(case, microbatches):
    """All phases, the optimizers, the moving average, the controllers, and the sums of the statistics."""
    data = OnDevice(size=32, channels=2, labels=2, sources=sources(CASES[case][0]))
    trainer = Trainer(_recipe(case, "fp32"), data, META, microbatches)
    trainer.advance(measure=False)  # optimizers make their state in the first step
    assert {f"phase/{phase.name}" for phase in trainer.phases} <= set(trainer.meter._sums), "step 0 has all phases"
    with Watch() as watch, Literals() as literals:
        for trainer.step in (0, 3):  # the controllers adapt after every fourth
            trainer.advance(measure=False)
    assert watch.copies == literals.made == []


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: bool(x[0] > 0),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.masked_select(x > 0),
        lambda x: torch.equal(x, x),
        lambda x: x.cpu(),
        lambda x: x.repeat_interleave(x.long()),
        lambda x: x.unique(),
    ],
)
def test_what_waits_is_noticed(wait):
    with pytest.raises(ERRORS), Watch():
        wait(torch.zeros(BATCH, device=META))


def test_a_copy_from_the_host_is_noticed():
    with Watch() as watch, Literals() as literals:
        torch.zeros(3).to(META)
        torch.tensor([1.0, 2.0], device=META)
        torch.zeros(3, device=META).copy_(torch.ones(3))
        torch.zeros(3, device=META) * torch.tensor(2.0)
    assert len(watch.copies) == 2 and literals.made == ["[1.0, 2.0]"]
