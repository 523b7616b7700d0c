"""The cost of a training step, in seconds per kimg by phase, and beside the official StyleGAN2-ADA program if asked.

    python benchmarks/training.py --size 64 --batch 8 --augment bgc
    python benchmarks/training.py --size 64 --batch 8 --augment bgc --peer ~/stylegan2-ada-pytorch

Cost = (G + Gpl / 4 + D + Dr1 / 16) * 1000 / batch, each phase with its backward pass and optimizer step;
median of the repeats after one warm-up; process CPU time on a CPU, wall time between synchronisations on a GPU. The
peer is a checkout of NVlabs/stylegan2-ada-pytorch, wherever it lies: its phases run in turn with ours, with networks
of the same parameters, the same batch and the same augmentation at the same probability, in float32.

Beside the times stand the operations of the plain convolutions and matrix products (`torch.utils.flop_counter`) and, of
a GPU, the peak memory. ``--plain`` adds this program without minimal filtering (`gan.ops.winograd`).
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gan.augment import BLIT, COLOUR, GEOMETRY
from gan.ops import winograd
from gan.ops.precision import PRECISIONS, computing, full_precision
from gan.variants import build
from gan.variants.base import Batch, ImageShape, Variant
from gan.variants.options import FAMILIES

AUGMENTATIONS = {  # of the peer, by our names
    "none": {},
    "bgc": dict.fromkeys(BLIT + GEOMETRY + COLOUR, 1.0),
}

Step = Callable[[], None]


def ours(
    family: str, options: dict[str, Any], batch: Batch, device: torch.device, precision: str, plain: bool = False
) -> tuple[Variant, dict[str, Step]]:
    """The variant, and its phases as callables that do one optimizer step; plain: without minimal filtering."""
    shape = ImageShape(batch.real.shape[1], tuple(batch.real.shape[2:]))
    variant = build(family, options, shape, len(batch.real)).to(device)
    networks, optimizers = variant.networks(), variant.optimizers()

    def never(*_: Any) -> bool:
        return False

    def step(name: str, trains: str) -> None:
        for key, network in networks.items():
            network.requires_grad_(key == trains)
        with computing(precision), mock.patch.object(winograd, "suits", never if plain else winograd.suits):
            variant.loss(name, batch)[0].backward()
        optimizers[trains].step()
        optimizers[trains].zero_grad(set_to_none=True)

    return variant, {name: lambda n=name, t=trains: step(n, t) for name, trains, _ in variant.phases()}


def peer(path: Path, options: dict[str, Any], batch: Batch, device: torch.device, p: float) -> dict[str, Step]:
    """The phases of the official program, under our names."""
    sys.path.insert(0, str(path))
    from torch_utils.ops import grid_sample_gradfix  # type: ignore[import-not-found]
    from training.augment import AugmentPipe  # type: ignore[import-not-found]
    from training.loss import StyleGAN2Loss  # type: ignore[import-not-found]
    from training.networks import Discriminator, Generator  # type: ignore[import-not-found]

    # Its own gradients of grid_sample need PyTorch 1.7 to 1.9, and those of PyTorch are no further than first order.
    grid_sample_gradfix.grid_sample = _GridSample.apply
    width = {"channel_base": options["channel_base"], "channel_max": options["channel_max"]}
    image = {"img_resolution": batch.real.shape[-1], "img_channels": batch.real.shape[1], "c_dim": 0}
    generator = Generator(
        z_dim=options["z_dim"],
        w_dim=options["w_dim"],
        mapping_kwargs={"num_layers": options["mapping_layers"]},
        synthesis_kwargs=width,
        **image,
    ).to(device)
    discriminator = Discriminator(epilogue_kwargs={"mbstd_group_size": options["mbstd_group"]}, **width, **image).to(
        device
    )
    pipe = None
    if options["augment"] != "none":
        pipe = AugmentPipe(**AUGMENTATIONS[options["augment"]]).to(device).requires_grad_(False)
        pipe.p.fill_(p)
    loss = StyleGAN2Loss(device, generator.mapping, generator.synthesis, discriminator, pipe, r1_gamma=1.0)
    optimizers = {
        key: torch.optim.Adam(network.parameters(), lr=0.0025 * lazy, betas=(0.0, 0.99**lazy), eps=1e-8)
        for key, network, lazy in (("G", generator, 4 / 5), ("D", discriminator, 16 / 17))
    }

    def step(name: str, key: str, every: int) -> None:
        generator.requires_grad_(key == "G")
        discriminator.requires_grad_(key == "D")
        z = torch.randn(len(batch.real), options["z_dim"], device=device)
        loss.accumulate_gradients(name, batch.real, batch.labels, z, batch.labels, True, every)
        optimizers[key].step()
        optimizers[key].zero_grad(set_to_none=True)

    return {
        "G": lambda: step("Gmain", "G", 1),
        "Gpl": lambda: step("Greg", "G", 4),
        "D": lambda: step("Dmain", "D", 1),
        "Dr1": lambda: step("Dreg", "D", 16),
    }


class _GridSample(torch.autograd.Function):
    """Bilinear, zeros outside, no gradient of the grid; twice differentiable in the image."""

    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(images, grid)
        return torch.ops.aten.grid_sampler_2d(images, grid, 0, 0, False)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple:
        return _GridSampleAdjoint.apply(gradients[0], *ctx.saved_tensors), None


class _GridSampleAdjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: torch.Tensor, images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(grid)
        return torch.ops.aten.grid_sampler_2d_backward(gradient, images, grid, 0, 0, False, [True, False])[0]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple:
        return _GridSample.apply(gradients[0], *ctx.saved_tensors), None, None


def measure(sides: dict[str, dict[str, Step]], repeats: int, device: torch.device) -> dict[str, dict[str, float]]:
    """Seconds of every phase of every side, the sides in turn: {side: {phase: median}}."""
    times = {side: {name: [] for name in steps} for side, steps in sides.items()}
    phases = next(iter(sides.values()))
    for turn in range(repeats + 1):
        for name in phases:
            for side, steps in sides.items():
                seconds = _timed(steps[name], device)
                if turn:
                    times[side][name].append(seconds)
    return {side: {name: statistics.median(values) for name, values in by.items()} for side, by in times.items()}


def _timed(step: Step, device: torch.device) -> float:
    if device.type == "cpu":
        start = time.process_time()
        step()
        return time.process_time() - start
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    step()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


class Operations(TorchDispatchMode):
    """Counts as `FlopCounterMode` does, which does not know which module a derivative of a derivative belongs to."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func.overloadpacket in flop_registry:
            self.count += flop_registry[func.overloadpacket](*args, **kwargs, out_val=result)
        return result


def work(steps: dict[str, Step], device: torch.device) -> dict[str, dict[str, float]]:
    """TFLOP of each phase, and on a GPU its peak memory in GB: {phase: {what: number}}."""
    found = {}
    for name, step in steps.items():
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        with Operations() as operations:
            step()
        found[name] = {"tflop": operations.count / 1e12}
        if device.type == "cuda":
            found[name]["peak_gb"] = torch.cuda.max_memory_allocated(device) / 2**30
    return found


def report(size: int, batch: int, every: dict[str, int], times: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Print one table of seconds per kimg and give the same numbers."""
    cost = {
        side: {name: seconds / every[name] * 1000 / batch for name, seconds in by.items()} for side, by in times.items()
    }
    for by in cost.values():
        by["total"] = sum(by.values())
    names = list(cost)
    print(f"{size} x {size}, batch {batch}: s/kimg")
    print(f"{'phase':<8}" + "".join(f"{name:>12}{'of ' + names[-1]:>16}" for name in names))
    for phase in cost[names[0]]:
        last = cost[names[-1]][phase]
        values = (cost[name][phase] for name in names)
        print(f"{phase:<8}" + "".join(f"{value:>12.1f}{value / last:>16.2f}" for value in values))
    images = {side: 1000 / by["total"] for side, by in cost.items()}
    print(f"{'images/s':<8}" + "".join(f"{value:>12.3g}{'':>16}" for value in images.values()))
    return {"size": size, "batch": batch, "seconds": times, "s_per_kimg": cost, "images_per_s": images}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--family", default="stylegan2", choices=sorted(FAMILIES))
    parser.add_argument("--size", type=int, nargs="+", default=[64])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--channels", type=int, default=3, help="contrasts; the official augmentation knows 1 and 3")
    parser.add_argument("--augment", default="none", choices=sorted(AUGMENTATIONS))
    parser.add_argument("--p", type=float, default=0.5, help="augmentation probability")
    parser.add_argument("--options", default="{}", help="options of the family, as JSON")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", nargs="+", default=["fp32"], choices=PRECISIONS, help="of this program")
    parser.add_argument("--plain", action="store_true", help="also time this program without minimal filtering")
    parser.add_argument("--peer", type=Path, help="checkout of NVlabs/stylegan2-ada-pytorch")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    arguments = parser.parse_args()
    if arguments.peer and arguments.family != "stylegan2":
        parser.error("--peer goes with --family stylegan2")
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    full_precision()
    rows = []
    for size in arguments.size:
        torch.manual_seed(0)
        real = torch.rand(arguments.batch, arguments.channels, size, size, device=device) * 2 - 1
        batch = Batch(real, torch.zeros(arguments.batch, 0, device=device))
        options = json.loads(arguments.options)
        if arguments.family == "stylegan2":
            options = {"augment": arguments.augment, "ada_p": arguments.p, **options}
        made = {name: ours(arguments.family, options, batch, device, name) for name in arguments.precision}
        variant, _ = made[arguments.precision[0]]
        sides = {name: steps for name, (_, steps) in made.items()}
        plain = ours(arguments.family, options, batch, device, "fp32", plain=True)[1]
        if arguments.plain:
            sides["plain"] = plain
        if arguments.peer:
            sides["official"] = peer(arguments.peer, vars(variant.options), batch, device, arguments.p)
        every = {phase.name: phase.every for phase in variant.phases()}
        row = report(size, arguments.batch, every, measure(sides, arguments.repeats, device))
        row["work"] = {"plain": work(plain, device)} | {name: work(steps, device) for name, (_, steps) in made.items()}
        rows.append(row)
        for name, phase in row["work"]["plain"].items():
            speeds = (f"{side} {phase['tflop'] / row['seconds'][side][name]:.3g}" for side in sides)
            print(f"{name:<8}{phase['tflop']:>12.4g} TFLOP, TFLOP/s: {', '.join(speeds)}")
    if arguments.json:
        settings = {key: str(value) for key, value in vars(arguments).items()} | {"torch": torch.__version__}
        arguments.json.write_text(json.dumps({"settings": settings, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
