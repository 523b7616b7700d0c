"""What each option of StyleGAN2 adds to a training step, as a ratio to the plain step.

    python benchmarks/options.py --size 64 --batch 8

The cost of a step is that of its phases with backward pass and optimizer step, each divided by the steps between two of
them, in float32. Each variant takes turns with the plain one, so that a load on the machine meets both; ratio of the
medians of the repeats after one warm-up; process CPU time on a CPU, wall time between synchronisations on a GPU.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from gan.families.contract import Batch, ImageShape, Variant
from gan.families.registry import build

ROWS: dict[str, dict[str, Any]] = {
    "objective wgan_gp": {"objective": "wgan_gp"},
    "objective hinge": {"objective": "hinge"},
    "objective r3gan": {"objective": "r3gan"},
    "objective r3gan, r1_every 1": {"objective": "r3gan", "r1_every": 1},
    "topk": {"topk": True},
    "lecam": {"lecam": 0.1},
    "attention linear at 32": {"attention": "linear"},
    "attention sagan at 32": {"attention": "sagan"},
    "quantize replace": {"quantize": "replace"},
    "quantize loss_only": {"quantize": "loss_only"},
    "modulation adain": {"modulation": "adain"},
    "augment bgc": {"augment": "bgc", "ada_p": 0.5},
    "augment mri": {"augment": "mri", "ada_p": 0.5},
    "augment diffaugment": {"augment": "diffaugment"},
    "without path length": {"pl_weight": 0.0},
}


class Side:
    """A variant and its optimizers, whose phases are timed one by one."""

    def __init__(self, options: dict[str, Any], batch: Batch, device: torch.device):
        torch.manual_seed(0)
        shape = ImageShape(batch.real.shape[1], tuple(batch.real.shape[2:]))
        self.variant: Variant = build("stylegan2", options, shape, len(batch.real)).to(device)
        self.variant.epoch = 1000
        self.networks, self.optimizers = self.variant.networks(), self.variant.optimizers()
        self.batch, self.device = batch, device

    def step(self) -> float:
        """Seconds of a step in the mean over many."""
        return sum(self._phase(phase.name, phase.trains) / phase.every for phase in self.variant.phases())

    def _phase(self, name: str, trains: str) -> float:
        for key, network in self.networks.items():
            network.requires_grad_(key == trains)
        start = self._now()
        self.variant.loss(name, self.batch)[0].backward()
        self.optimizers[trains].step()
        self.optimizers[trains].zero_grad(set_to_none=True)
        return self._now() - start

    def _now(self) -> float:
        if self.device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize(self.device)
        return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--channels", type=int, default=1, help="contrasts")
    parser.add_argument("--options", default="{}", help="options of all variants, as JSON")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    torch.manual_seed(0)
    real = torch.rand(arguments.batch, arguments.channels, arguments.size, arguments.size, device=device) * 2 - 1
    batch = Batch(real, torch.zeros(arguments.batch, 0, device=device))
    common = json.loads(arguments.options)
    plain = Side(common, batch, device)
    print(f"{arguments.size} x {arguments.size}, batch {arguments.batch}: seconds a step, plain, ratio")
    rows = {}
    for name, options in ROWS.items():
        sides = Side(common | options, batch, device), plain
        turns = [[side.step() for side in sides] for _ in range(arguments.repeats + 1)]
        seconds, reference = (statistics.median(column[1:]) for column in zip(*turns, strict=True))
        rows[name] = {"seconds": seconds, "plain": reference, "ratio": seconds / reference}
        print(f"{name:<30}{seconds:>10.3f}{reference:>10.3f}{seconds / reference:>10.2f}", flush=True)
    if arguments.json:
        settings = {key: str(value) for key, value in vars(arguments).items()} | {"torch": torch.__version__}
        arguments.json.write_text(json.dumps({"settings": settings, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
