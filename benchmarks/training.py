"""The cost of a training step, in seconds per kimg by phase, and beside the official StyleGAN2-ADA program if asked.

    python benchmarks/training.py --size 64 --batch 8 --augment bgc --official ~/stylegan2-ada-pytorch
    python benchmarks/training.py --matrix --official ~/stylegan2-ada-pytorch --out matrix

Cost = (G + Gpl / 4 + D + Dr1 / 16) * 1000 / batch, each phase with its backward pass and optimizer step;
median of the repeats after one warm-up; process CPU time on a CPU, where each program has a process of its own, wall
time between synchronisations on a GPU. For
each size, batch and settings the programs take turns: this one in each precision with each implementation of `gan.ops`
(``--plain``: in float32 also without minimal filtering, `gan.ops.winograd`), and the official one (`official.py`) with
networks of the same parameters, the same batch and the same augmentation at the same probability, in float32 and, on a
GPU, with its fastest flags. What the machine cannot run is left out by name.

Beside the times stand the operations of the plain convolutions and matrix products (`torch.utils.flop_counter`) and, of
a GPU, the memory that a step takes above weights and optimizers. ``--out`` writes <out>.json and <out>.md as it goes.
"""

import argparse
import contextlib
import itertools
import json
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import official
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gan import ops
from gan.errors import GanError
from gan.ops import extension, winograd
from gan.ops.precision import PRECISIONS, computing, full_precision
from gan.train.device import check_precision, device_name
from gan.train.heap import keep_freed_memory
from gan.variants import build
from gan.variants.base import Batch, ImageShape, Variant

SETTINGS: dict[str, dict[str, Any]] = {  # of StyleGAN2, as published for 256 x 256 (Karras et al. 2020b)
    "auto": {},
    "paper": {"mapping_layers": 8, "mbstd_group": 8, "r1_gamma": 1.0},
}
MATRIX = {
    **{"size": [64, 128, 256], "batch": [16, 32, 64], "settings": list(SETTINGS)},
    **{"precision": list(PRECISIONS), "ops": list(ops.IMPLEMENTATIONS)},
}

Step = Callable[[], None]


class Case(NamedTuple):
    """What all programs of a turn have in common."""

    size: int
    batch: int
    settings: str


@dataclass(frozen=True)
class Program:
    """A way in which this program computes."""

    precision: str = "fp32"
    ops: str = "reference"
    plain: bool = False

    @property
    def name(self) -> str:
        kernels = " kernels" if self.ops == "cuda" else ""
        return f"{self.precision}{kernels}{' plain' if self.plain else ''}"

    def lacks(self, family: str, device: torch.device) -> str | None:
        """Why it cannot be run here, if it cannot."""
        if device.type == "cpu" and (self.ops == "cuda" or self.precision == "tf32"):
            return "for a GPU"
        try:
            check_precision(self.precision, family, device)
            if self.ops == "cuda":
                extension.find()
        except GanError as error:
            return str(error)
        return None

    def phases(
        self, family: str, options: dict[str, Any], batch: Batch, device: torch.device
    ) -> tuple[Variant, dict[str, Step]]:
        """The variant, and its phases as callables that do one optimizer step."""
        shape = ImageShape(batch.real.shape[1], tuple(batch.real.shape[2:]))
        variant = build(family, options, shape, len(batch.real)).to(device)
        networks, optimizers = variant.networks(), variant.optimizers()
        suits = (lambda *_: False) if self.plain else winograd.suits

        def step(name: str, trains: str) -> None:
            for key, network in networks.items():
                network.requires_grad_(key == trains)
            ops.use(self.ops)
            with computing(self.precision), mock.patch.object(winograd, "suits", suits):
                variant.loss(name, batch)[0].backward()
            optimizers[trains].step()
            optimizers[trains].zero_grad(set_to_none=True)

        return variant, {phase.name: lambda p=phase: step(p.name, p.trains) for phase in variant.phases()}


def measure(sides: dict[str, dict[str, Step]], repeats: int, device: torch.device) -> dict[str, dict[str, float]]:
    """Seconds of every phase of every side, the sides in turn: {side: {phase: median}}."""
    times = {side: {name: [] for name in steps} for side, steps in sides.items()}
    phases = next(iter(sides.values()))
    with contextlib.ExitStack() as stack:
        clocks = {side: stack.enter_context(_clock(side, steps, device)) for side, steps in sides.items()}
        for turn in range(repeats + 1):
            for name in phases:
                for side, clock in clocks.items():
                    seconds = clock(name)
                    if turn:
                        times[side][name].append(seconds)
    return {side: {name: statistics.median(values) for name, values in by.items()} for side, by in times.items()}


@contextlib.contextmanager
def _clock(side: str, steps: dict[str, Step], device: torch.device) -> Iterator[Callable[[str], float]]:
    """What takes the seconds of a phase: on a CPU in a process of the side's own, since the heap is the process's."""
    if device.type != "cpu":
        yield lambda name: _timed(steps[name], device)
        return
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(side, steps, there), daemon=True)
    process.start()
    there.close()

    def seconds(name: str) -> float:
        here.send(name)
        return here.recv()

    yield seconds
    process.terminate()
    process.join()


def _serve(side: str, steps: dict[str, Step], pipe: Connection) -> None:
    """Answer names of phases with their seconds; this program with the heap that `gan.run` gives it."""
    if not side.startswith("official"):
        keep_freed_memory()
    while True:
        pipe.send(_timed(steps[pipe.recv()], torch.device("cpu")))


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


def work(steps: dict[str, Step]) -> dict[str, float]:
    """TFLOP of each phase."""
    found = {}
    for name, step in steps.items():
        with Operations() as operations:
            step()
        found[name] = operations.count / 1e12
    return found


def memory(steps: dict[str, Step], device: torch.device) -> float | None:
    """GB that a step takes above what lies in a GPU's memory between steps."""
    if device.type != "cuda":
        return None
    between = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    for step in steps.values():
        step()
    return (torch.cuda.max_memory_allocated(device) - between) / 2**30


def run(
    case: Case, programs: Sequence[Program], given: argparse.Namespace, device: torch.device
) -> list[dict[str, Any]]:
    """A row for each program; GanError if the options do not go with the case."""
    torch.manual_seed(0)
    real = torch.rand(case.batch, given.channels, case.size, case.size, device=device) * 2 - 1
    batch = Batch(real, torch.zeros(case.batch, 0, device=device))
    options = json.loads(given.options)
    if given.family == "stylegan2":
        options = {"augment": given.augment, "ada_p": given.p, **SETTINGS[case.settings], **options}
    variant, counted = Program(plain=True).phases(given.family, options, batch, device)
    sides = {program.name: program.phases(given.family, options, batch, device)[1] for program in programs}
    if given.official:
        ways = {"official": False} | ({"official, fastest": True} if device.type == "cuda" else {})
        for name, fastest in ways.items():
            arguments = given.official, vars(variant.options), batch, device, given.p
            sides[name] = official.phases(*arguments, fastest=fastest)
    every = {phase.name: phase.every for phase in variant.phases()}
    tflop, times = work(counted), measure(sides, given.repeats, device)
    rows = []
    for name, seconds in times.items():
        row = {**case._asdict(), "program": name, "seconds": seconds, "tflop": tflop}
        row["s_per_kimg"] = {phase: value / every[phase] * 1000 / case.batch for phase, value in seconds.items()}
        row["total"] = sum(row["s_per_kimg"].values())
        row["tflop_per_s"] = {phase: tflop[phase] / value for phase, value in seconds.items()}
        rows.append(row | {"images_per_s": 1000 / row["total"], "step_gb": memory(sides[name], device)})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: seconds per kimg by phase, beside the official program where it has run."""
    phases = list(rows[0]["s_per_kimg"])
    head = ["size", "batch", "settings", "program", *phases, "total", "of official", "images/s", "TFLOP/s", "GB"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * 4}{'---:|' * (len(head) - 4)}"]
    cases = [Case(*(row[key] for key in Case._fields)) for row in rows]
    totals = {case: row["total"] for case, row in zip(cases, rows, strict=True) if row["program"] == "official"}
    for case, row in zip(cases, rows, strict=True):
        figures = [f"{value:.4g}" for value in (*row["s_per_kimg"].values(), row["total"])]
        figures.append(f"{row['total'] / totals[case]:.2f}" if case in totals else "")
        speed = sum(row["tflop"].values()) / sum(row["seconds"].values())
        figures += [f"{row['images_per_s']:.3g}", f"{speed:.3g}"]
        figures.append("" if row["step_gb"] is None else f"{row['step_gb']:.1f}")
        lines.append(f"| {' | '.join(map(str, [*case, row['program'], *figures]))} |")
    return "\n".join(lines)


def write(out: Path, about: dict[str, Any], rows: list[dict[str, Any]], skipped: list[str]) -> None:
    """<out>.json and <out>.md."""
    out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"about": about, "rows": rows, "skipped": skipped}, indent=2)
    out.with_name(f"{out.name}.json").write_text(text + "\n")
    said = "; ".join(f"{key} {value}" for key, value in about.items() if key != "arguments")
    left = "".join(f"- left out: {line}\n" for line in skipped)
    lines = f"{said}\n\n{table(rows) if rows else ''}\n\nSeconds per kimg.\n\n{left}"
    out.with_name(f"{out.name}.md").write_text(lines)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", default="stylegan2", choices=["dcgan", "stylegan2"])
    parser.add_argument("--size", type=int, nargs="+", default=[64])
    parser.add_argument("--batch", type=int, nargs="+", default=[8])
    parser.add_argument("--settings", nargs="+", default=["auto"], choices=list(SETTINGS), help="of StyleGAN2")
    parser.add_argument("--precision", nargs="+", default=["fp32"], choices=PRECISIONS, help="of this program")
    parser.add_argument("--ops", nargs="+", default=["reference"], choices=ops.IMPLEMENTATIONS, help="of this program")
    parser.add_argument("--matrix", action="store_true", help=f"all of these: {json.dumps(MATRIX)}")
    parser.add_argument("--channels", type=int, default=3, help="contrasts; the official augmentation knows 1 and 3")
    parser.add_argument("--augment", default="none", choices=sorted(official.AUGMENTATIONS))
    parser.add_argument("--p", type=float, default=0.5, help="augmentation probability")
    parser.add_argument("--options", default="{}", help="options of the family, as JSON")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--plain", action="store_true", help="also time this program without minimal filtering")
    parser.add_argument("--official", type=Path, help="checkout of NVlabs/stylegan2-ada-pytorch")
    parser.add_argument("--out", type=Path, help="files for the numbers, without suffix")
    given = parser.parse_args(argv)
    if given.official and given.family != "stylegan2":
        parser.error("--official goes with --family stylegan2")
    if given.matrix:
        vars(given).update(MATRIX)
    return given


def main(argv: Sequence[str] | None = None) -> None:
    given = arguments(argv)
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    full_precision()
    about = {
        "machine": device_name(device) if device.type == "cuda" else platform.processor() or platform.machine(),
        **{"device": str(device), "torch": torch.__version__, "date": datetime.now(UTC).date().isoformat()},
        "arguments": {key: str(value) for key, value in vars(given).items()},
    }
    programs = [Program(*each) for each in itertools.product(given.precision, given.ops)]
    programs += [Program(plain=True)] if given.plain else []
    lacking = {program: why for program in programs if (why := program.lacks(given.family, device))}
    able = [program for program in programs if program not in lacking]
    rows, skipped = [], [f"{program.name}: {why}" for program, why in lacking.items()]
    for line in skipped:
        print(f"left out: {line}", flush=True)
    if not able and not given.official:
        raise SystemExit("nothing of this can be run here")
    for case in itertools.starmap(Case, itertools.product(given.size, given.batch, given.settings)):
        where = f"{case.size} x {case.size}, batch {case.batch}, {case.settings}"
        try:
            rows += (found := run(case, able, given, device))
            print(f"{table(found)}\n", flush=True)
        except (GanError, torch.OutOfMemoryError) as error:
            skipped.append(f"{where}: {str(error).splitlines()[0]}")
            print(f"left out: {skipped[-1]}", flush=True)
        if given.out:
            write(given.out, about, rows, skipped)


if __name__ == "__main__":
    main()
