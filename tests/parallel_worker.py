"""What ranks do in the tests of `gan.parallel`; with one rank, what they are compared with."""

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from golden import SMALL
from tiny import TinyData, paths, sources
from torch import Tensor
from torch.multiprocessing import start_processes

from gan import check, ops, parallel
from gan.augment import BLIT, COLOUR, CORRUPTION, GEOMETRY, AugmentPipe
from gan.errors import GanError
from gan.families.contract import Batch
from gan.families.registry import defaults
from gan.nn import BatchNorm
from gan.train import exchange
from gan.train.loop import train
from gan.train.signals import Stopped
from gan.train.trainer import Trainer

CPU = torch.device("cpu")
STEPS, SAVED, STOPPED = 6, 3, 5
STYLEGAN2 = {"z_dim": 8, "w_dim": 8, "channel_base": 64, "channel_max": 8, "mbstd_group": 2, "r1_gamma": 0.1}
_OWN = {
    "stylegan2": (
        "stylegan2",
        STYLEGAN2
        | {"augment": "bgc", "ada_kimg": 0.2, "r1_every": 3, "pl_every": 2, "xflip": True, "conditional": True},
    ),
    "stylegan2_wgan": (
        "stylegan2",
        STYLEGAN2
        | {"objective": "wgan_gp", "drift": 0.001, "lecam": 0.1, "topk": True, "topk_decay": 0.6, "freeze_d": 2},
    ),
    "dcgan": ("dcgan", {"z_dim": 8, "channels": 4, "xflip": True, "conditional": True, "ema_kimg": 0.01}),
    "progan": (  # saved while level 1 fades in
        "progan",
        {"z_dim": 8, "channel_base": 64, "channel_max": 8, "mbstd_group": 2, "phase_kimg": 0.014, "conditional": True},
    ),
    "pix2pix": (
        "pix2pix",
        {"channels": 4, "depth": 3, "attention": "gates", "dropout_layers": [1, 2], "ema_kimg": 0.01, "lr_d": 1e-4}
        | {"xflip": True, "jitter": True, "drop_inputs": 0.4, "conditional": True},
    ),
    "cyclegan": (  # small steps: a bias before a norm has a gradient of rounding, of which Adam makes a step
        "cyclegan",
        {"channels": 4, "blocks": 1, "pool": 12, "identity": 1.0, "ema_kimg": 0.01, "lr": 1e-7, "lr_d": 2e-7}
        | {"xflip": True, "jitter": True, "conditional": True},
    ),
    "unit": (
        "unit",
        {"channels": 4, "blocks": 2, "d_layers": 2, "d_scales": 2, "spectral_norm": True, "dropout": True}
        | {"pairing": "disjoint", "ema_kimg": 0.01, "lr": 1e-7, "lr_d": 2e-7, "xflip": True, "conditional": True},
    ),
}
_OTHERS = SMALL.keys() - {family for family, _ in _OWN.values()}
CASES = _OWN | {family: (family, SMALL[family]) for family in sorted(_OTHERS)}


class Data(TinyData):
    """sources: see `tiny.sources`; signalled: a rank and the call of ``batch`` at which it gets SIGTERM."""

    def __init__(self, sources: int = 0, signalled: tuple[int, int] | None = None):
        super().__init__(length=20, size=16, labels=2, channels=2, sources=sources)
        self.signalled, self.calls = signalled, 0

    def batch(self, indices: np.ndarray) -> Batch:
        self.calls += 1
        if self.signalled == (parallel.rank(), self.calls):
            os.kill(os.getpid(), signal.SIGTERM)
        return super().batch(indices)


def data(case: str) -> Data:
    """Images as the family of ``case`` takes them."""
    return Data(sources(CASES[case][0]))


def recipe(case: str, **training: Any) -> dict[str, Any]:
    family, options = CASES[case]
    return {
        "data": {"dataset": "random"},
        "variant": {"family": family, "options": defaults(family) | options},
        "training": {"kimg": 0.096, "batch": 8, "snapshot_kimg": 0.048, "precision": "fp32"} | training,
        "seed": 3,
        "revisions": {"data": 1, "train": 1},
    }


def steps(trainer: Trainer, count: int) -> list[dict[str, Tensor]]:
    """Everything that a step leaves behind, of each of ``count`` steps."""
    found = []
    for _ in range(count):
        trainer.advance(measure=True)
        row = {name: torch.tensor(value) for name, value in trainer.meter.peek().items()}
        for name, network in trainer.networks.items():
            row |= {
                f"gradient/{name}.{key}": p.grad.clone() for key, p in network.named_parameters() if p.grad is not None
            }
        row |= {f"variant/{key}": value.clone() for key, value in trainer.variant.state_dict().items()}
        row |= {f"ema/{key}": value.clone() for key, value in trainer.ema.state_dict().items()}
        found.append(row | {"random": torch.get_rng_state()})
    trainer.require_equal()
    return found


def course(case: str, folder: Path, other: Path | None) -> dict[str, Any]:
    """Steps of a whole run, and of runs that go on from its own state and from that in ``other``."""
    trainer = Trainer(recipe(case), data(case), CPU)
    found = {"whole": steps(trainer, SAVED)}
    state = trainer.state_dict()
    if parallel.rank() == 0:
        torch.save(state, folder / f"{case}.pt")
    found["whole"] += steps(trainer, STEPS - SAVED)
    for name, place in (("own", folder), ("other", other)):
        if place:
            parallel.wait()
            found[name] = resumed(case, place)
    return found


def resumed(case: str, place: Path) -> list[dict[str, Tensor]]:
    """Steps of a run that resumes from the state in ``place``."""
    trainer = Trainer(recipe(case), data(case), CPU)
    trainer.load_state_dict(torch.load(place / f"{case}.pt", weights_only=True))
    return steps(trainer, STEPS - SAVED)


def courses(folder: Path, other: Path | None) -> dict[str, Any]:
    with doubled():
        return {case: course(case, folder, other) for case in CASES}


@contextlib.contextmanager
def doubled() -> Iterator[None]:
    """Context of float64 all through: Adam makes much of the last digit of a small gradient."""
    before = Tensor.float
    try:
        torch.set_default_dtype(torch.float64)
        Tensor.float = Tensor.double
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        Tensor.float = before


def in_pieces(case: str) -> list[dict[str, Tensor]]:
    """Steps in which each rank takes its part in two pieces; in float64."""
    with doubled():
        return steps(Trainer(recipe(case), data(case), CPU, microbatches=2), SAVED)


def reduced(case: str) -> dict[str, float]:
    """Means of the first steps in bfloat16, whose rounding depends on nothing but the sample."""
    trainer = Trainer(recipe(case, precision="bf16"), data(case), CPU)
    for _ in range(3):
        trainer.advance(measure=False)
    trainer.require_equal()
    return trainer.meter.read()


def pieces() -> dict[str, Tensor]:
    """The parts that the variants do not show: all augmentations, and batch norm with its second derivative."""
    torch.manual_seed(0)
    images = torch.rand(8, 3, 24, 24, dtype=torch.float64)
    weights = torch.randn(8, 3, 24, 24, dtype=torch.float64)
    norm, part = BatchNorm(3, dtype=torch.float64), slice(parallel.rank() * 8 // parallel.world(), None)
    part = slice(part.start, part.start + 8 // parallel.world())
    with parallel.together():
        augmented = AugmentPipe((*BLIT, *GEOMETRY, *COLOUR, *CORRUPTION))(images[part], 0.7)
        x = images[part].clone().requires_grad_()
        (first,) = torch.autograd.grad((norm(x) * weights[part]).sin().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), x)
        found = {name: parallel.gather(each.detach()) for name, each in (("first", first), ("second", second))}
        found["augmented"] = parallel.gather(augmented)
    return found | {name: value.clone() for name, value in norm.state_dict().items()}


def stopped(folder: Path) -> tuple[int, int | None, str]:
    """A training of which the last rank alone gets SIGTERM: the calls for data, the signal, what was said."""
    images = Data(signalled=(parallel.world() - 1, STOPPED + 1))  # one more: the reference images
    given = recipe("dcgan", kimg=1000, snapshot_kimg=1000)
    try:
        train(given, images, paths(folder))
    except Stopped as error:
        return images.calls, error.signum, str(error)
    return images.calls, None, ""


def apart() -> str:
    """What is said when a weight is not the same everywhere."""
    trainer = Trainer(recipe("dcgan"), Data(), CPU)
    with torch.no_grad():
        next(trainer.variant.generator.parameters())[0] += 0.5 * parallel.rank()
    try:
        trainer.require_equal()
    except GanError as error:
        return str(error)
    return ""


def refused(batch: int, **options: Any) -> str:
    given = recipe("stylegan2", batch=batch)
    given["variant"]["options"] |= options
    try:
        Trainer(given, Data(), CPU)
    except GanError as error:
        return str(error)
    return ""


def everything(folder: Path, other: Path) -> dict[str, Any]:
    return {
        "courses": courses(folder, other),
        "in pieces": {case: in_pieces(case) for case in CASES if case != "dcgan"},
        "reduced": {case: reduced(case) for case in CASES},
        "pieces": pieces(),
        "stopped": stopped(folder),
        "apart": apart(),
        "implementation": (check.agreed("no kernels" if parallel.rank() else None), ops.chosen(torch.device("cuda"))),
        "refused": [
            refused(9),
            refused(4, mbstd_group=4),
            refused(6, mbstd_group=3),
            refused(6, mbstd_group=1, pl_weight=0.0),
        ],
    }


def start(world: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What ``work`` returns on each rank; forked, so that none has to import torch."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = arguments[0]
    start_processes(_rank, (world, port, work, arguments), world, start_method="fork")
    return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in range(world)]


def _rank(rank: int, world: int, port: int, work: Callable[..., Any], arguments: tuple) -> None:
    torch.set_num_threads(1)
    exchange.SIZE = 1024  # bytes: gradients of networks as small as these go in many buckets
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in names.items()})
    with parallel.joined(CPU):
        torch.save(work(*arguments), arguments[0] / f"rank{rank}.pt")
