"""The memory that a training of StyleGAN2 needs, counted without a GPU: `python benchmarks/memory.py --holders 8`.

Runs a step of all phases of `gan.train.trainer` on the meta device and follows the tensors that live (`counting.py`);
the step before it has made what stays between steps: weights, their moving average, optimizers, gradients. What
is not counted: the workspace of convolutions and, on a GPU, gaps that the allocator leaves, what CUDA itself takes, and
the data set if it stays there. ``--allocated`` also runs the steps on this CPU and says how much torch gave out there.
"""

import argparse
import itertools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple
from unittest import mock

import counting
import numpy as np
import torch
from steps import SETTINGS, Program
from torch.profiler import ProfilerActivity, profile

from gan import ops
from gan.errors import GanError
from gan.families.contract import Batch, ImageShape
from gan.ops.precision import PRECISIONS
from gan.train.trainer import Trainer


class Blank:
    """Images of zeros, on the device."""

    def __init__(self, shape: ImageShape, device: torch.device):
        self.shape, self.device, self.meta = shape, device, {}

    def __len__(self) -> int:
        return 1000

    @property
    def marked(self) -> np.ndarray:
        return np.empty(0, np.int64)

    def batch(self, indices: np.ndarray) -> Batch:
        real = torch.zeros(len(indices), self.shape.channels, *self.shape.size, device=self.device)
        return Batch(real, torch.zeros(len(indices), 0, device=self.device))


class Case(NamedTuple):
    """What a row is of."""

    size: int
    batch: int
    settings: str
    precision: str
    ops: str
    microbatches: int

    def trainer(self, channels: int, options: dict[str, Any], device: torch.device) -> Trainer:
        """At the second of two steps of all phases; `GanError` if the options do not go with the case."""
        ops.use(self.ops)
        recipe = {
            "variant": {"family": "stylegan2", "options": SETTINGS[self.settings] | options},
            "training": {"precision": self.precision, "batch": self.batch, "kimg": 1},
            "seed": 0,
        }
        data = Blank(ImageShape(channels, (self.size, self.size)), device)
        trainer = Trainer(recipe, data, device, self.microbatches)
        trainer.advance(measure=False)
        trainer.step = 0
        return trainer


class Peaks:
    """In the place of a variant's loss: the most that is held in each phase, in bytes, and by what (`Held.holders`)."""

    def __init__(self, trainer: Trainer, held: counting.Held):
        self.loss, self.held, self.phase = trainer.variant.loss, held, ""
        self.bytes: dict[str, int] = {}
        self.holders: dict[str, list[tuple[int, int, str]]] = {}

    def __call__(self, phase: str, batch: Batch) -> Any:
        if phase != self.phase:
            self.close()
            self.phase = phase
            self.held.restart()
        return self.loss(phase, batch)

    def close(self) -> None:
        """The phase at hand has ended."""
        if self.phase:
            self.bytes[self.phase], self.holders[self.phase] = self.held.peak, self.held.holders()


def count(case: Case, channels: int, options: dict[str, Any]) -> dict[str, Any]:
    """Bytes ``between`` steps, the most in each of the ``phases`` and in all, and the ``holders`` of that."""
    with counting.nowhere(case.ops == "cuda") as device, device, counting.Held() as held:
        trainer = case.trainer(channels, options, device)
        between, peaks = held.now, Peaks(trainer, held)
        with mock.patch.object(trainer.variant, "loss", peaks):
            trainer.advance(measure=False)
        peaks.close()
    worst = max(peaks.bytes, key=lambda phase: peaks.bytes[phase])
    return {"between": between, "phases": peaks.bytes, "peak": peaks.bytes[worst], "holders": peaks.holders[worst]}


def allocated(case: Case, channels: int, options: dict[str, Any]) -> int:
    """The most bytes that torch's allocator had given out on this CPU, from before the trainer was made."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiled:
        case.trainer(channels, options, torch.device("cpu")).advance(measure=False)
    assert profiled.profiler and profiled.profiler.kineto_results
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    changes = (event.nbytes() for event in events)  # type: ignore[attr-defined]
    return max(itertools.accumulate(changes, initial=0))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown, in GB."""
    phases = list(rows[0]["phases"])
    head = ["size", "batch", "settings", "program", "microbatches", "between steps", *phases, "peak"]
    head += ["allocated"] if "allocated" in rows[0] else []
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * 4}{'---:|' * (len(head) - 4)}"]
    for row in rows:
        sizes = [row["between"], *row["phases"].values(), row["peak"]]
        sizes += [row["allocated"]] if "allocated" in row else []
        about = (row["size"], row["batch"], row["settings"], row["program"], row["microbatches"])
        lines.append(f"| {' | '.join([*map(str, about), *(f'{size / 1e9:.3g}' for size in sizes)])} |")
    return "\n".join(lines)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, nargs="+", default=[256])
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=PRECISIONS)
    parser.add_argument("--ops", nargs="+", default=["reference"], choices=ops.IMPLEMENTATIONS)
    parser.add_argument("--microbatches", type=int, nargs="+", default=[1])
    parser.add_argument("--channels", type=int, default=4, help="contrasts")
    parser.add_argument("--options", default='{"augment": "mri"}', help="options of StyleGAN2, as JSON")
    parser.add_argument("--holders", type=int, default=0, help="also list what holds the most at the peak")
    parser.add_argument("--allocated", action="store_true", help="also run every step on this CPU")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    given = arguments(argv)
    options, rows = json.loads(given.options), []
    axes = (given.size, given.batch, given.settings, given.precision, given.ops, given.microbatches)
    for case in itertools.starmap(Case, itertools.product(*axes)):
        program = Program(case.precision, case.ops).name
        try:
            row = {**case._asdict(), "program": program} | count(case, given.channels, options)
            if given.allocated:
                row["allocated"] = allocated(case, given.channels, options)
        except GanError as error:
            print(f"left out: {program}, {case.size} x {case.size}, batch {case.batch}, {case.settings}: {error}")
            continue
        rows.append(row)
        for size, tensors, what in row["holders"][: given.holders]:
            print(f"{size / 1e9:8.3f} GB in {tensors} of {what}")
    if rows:
        print(f"GB, counted, not measured; torch {torch.__version__}:\n\n{table(rows)}")


if __name__ == "__main__":
    main()
