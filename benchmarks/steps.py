"""The cost of a training step, in seconds per kimg by phase, and beside the official StyleGAN2-ADA program if asked.

    python benchmarks/steps.py --size 64 --batch 8 --augment bgc --official ~/stylegan2-ada-pytorch
    python benchmarks/steps.py --matrix --official ~/stylegan2-ada-pytorch --out matrix
    python benchmarks/steps.py --matrix --counted

Cost = (G + Gpl / 4 + D + Dr1 / 16) * 1000 / batch, each phase with its backward pass and optimizer step;
median of the repeats after a warm-up; process CPU time on a CPU, where each program has a process of its own, wall
time between synchronisations on a GPU. For each size, batch and settings the programs take turns: this one in each
precision with each implementation of `gan.ops`, with and without CUDA graphs (``--plain``: in float32 also without
minimal filtering, `gan.ops.winograd`), and the official one (`official.py`) with networks of the same parameters, the
same batch and the same augmentation at the same probability, in float32 and, on a GPU, with its fastest flags. What the
machine cannot run is left out by name.

A second table has what is counted of each program without running it (`counting.py`): operations of plain convolutions
and matrix products, bytes moved, the time that both take at least on a GPU (`floors.py`), and memory above what lies
there between steps. ``--counted`` tells this alone, of all programs, and needs no GPU. ``--out`` writes <out>.json and
<out>.md as it goes.
"""

import argparse
import contextlib
import dataclasses
import functools
import itertools
import json
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import counting
import floors
import official
import torch
from torch import Tensor

from gan import ops
from gan.errors import GanError
from gan.families.contract import Batch, ImageShape, Variant
from gan.families.registry import build, make_options, trained
from gan.nn.layers import channels_last
from gan.ops import extension, winograd
from gan.ops.precision import PRECISIONS, computing, full_precision
from gan.train.device import check_precision, device_name
from gan.train.graphs import WARM_UP, Graphs
from gan.train.heap import keep_freed_memory

SETTINGS: dict[str, dict[str, Any]] = {  # of StyleGAN2, as published for 256 x 256 (Karras et al. 2020b)
    "auto": {},
    "paper": {"mapping_layers": 8, "mbstd_group": 8, "r1_gamma": 1.0},
}
MATRIX = {
    **{"size": [64, 128, 256], "batch": [16, 32, 64], "settings": list(SETTINGS)},
    **{"precision": list(PRECISIONS), "ops": list(ops.IMPLEMENTATIONS), "step": ["eager", "graph"]},
}

Step = Callable[[], None]


class Case(NamedTuple):
    """What all programs of a turn have in common."""

    size: int
    batch: int
    settings: str


@dataclasses.dataclass(frozen=True)
class Program:
    """A way in which this program computes."""

    precision: str = "fp32"
    ops: str = "reference"
    step: str = "eager"
    plain: bool = False

    @property
    def name(self) -> str:
        ways = {"kernels": self.ops == "cuda", "graph": self.step == "graph", "plain": self.plain}
        return " ".join([self.precision, *(way for way, taken in ways.items() if taken)])

    def lacks(self, family: str, device: torch.device) -> str | None:
        """Why it cannot be run here, if it cannot; on the meta device, where it is counted, all can."""
        if device.type == "cpu" and (self.ops == "cuda" or self.step == "graph" or self.precision == "tf32"):
            return "for a GPU"
        if device.type == "meta" and self.step == "graph":
            return "counts as without graphs"
        try:
            check_precision(self.precision, family, device)
            if self.ops == "cuda" and device.type == "cuda":
                extension.find()
        except GanError as error:
            return str(error)
        return None

    def phases(
        self, family: str, options: dict[str, Any], batch: Batch, device: torch.device
    ) -> tuple[Variant, dict[str, Step]]:
        """The variant, and its phases as callables that do one optimizer step."""
        shape = ImageShape(batch.real.shape[1], tuple(batch.real.shape[2:]), sources=batch.source.shape[1])
        variant = build(family, options, shape, len(batch.real)).to(device)
        if device.type == "cuda":
            channels_last(variant)
        networks, optimizers = variant.networks(), variant.optimizers()
        suits = (lambda *_: False) if self.plain else winograd.suits
        graphs = Graphs(device) if self.step == "graph" else None

        def descend(name: str) -> dict[str, Tensor]:
            ops.use(self.ops)
            with computing(self.precision), mock.patch.object(winograd, "suits", suits):
                variant.loss(name, batch)[0].backward()
            return {}

        def step(name: str, trains: str) -> None:
            for key, network in networks.items():
                network.requires_grad_(key == trains)
            if graphs:
                graphs.run(name, functools.partial(descend, name), list(networks[trains].parameters()))
            else:
                descend(name)
            optimizers[trains].step()
            optimizers[trains].zero_grad(set_to_none=True)

        return variant, {phase.name: lambda p=phase: step(p.name, p.trains) for phase in variant.phases()}


def measure(sides: dict[str, dict[str, Step]], repeats: int, device: torch.device) -> dict[str, dict[str, float]]:
    """Seconds of every phase of every side, the sides in turn: {side: {phase: median}}."""
    times = {side: {name: [] for name in steps} for side, steps in sides.items()}
    warm_up = 1 if device.type == "cpu" else WARM_UP + 1
    phases = next(iter(sides.values()))
    with contextlib.ExitStack() as stack:
        clocks = {side: stack.enter_context(_clock(side, steps, device)) for side, steps in sides.items()}
        for turn in range(repeats + warm_up):
            for name in phases:
                for side, clock in clocks.items():
                    seconds = clock(name)
                    if turn >= warm_up:
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
    """Answer names of phases with their seconds; this program with the heap that `gan run` gives it."""
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


def memory(steps: dict[str, Step], device: torch.device) -> float | None:
    """GB that a step takes above what lies in a GPU's memory between steps; graphs keep what they have taken."""
    if device.type != "cuda":
        return None
    between = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    for step in steps.values():
        step()
    return (torch.cuda.max_memory_allocated(device) - between) / 1e9


def run(
    case: Case, programs: Sequence[Program], given: argparse.Namespace, device: torch.device
) -> list[dict[str, Any]]:
    """A row for each program; GanError if the options do not go with the case."""
    options = json.loads(given.options)
    if given.family == "stylegan2":
        options = {"augment": given.augment, "ada_p": given.p, **SETTINGS[case.settings], **options}
    shape = case.batch, given.channels, case.size, case.size

    def counts(program: Program) -> dict[str, Any]:
        phases = functools.partial(dataclasses.replace(program, step="eager").phases, given.family, options)
        return floors.count(phases, shape, program.ops == "cuda")

    rows = {}
    for program in programs:
        found, peak = counts(program), given.peak or floors.PEAK[program.precision]
        rows[program.name] = found | floors.floors(found, case.batch, peak, given.bandwidth)
    if not given.counted:
        plain = {key: value for key, value in counts(Program()).items() if key in ("tflop", "every")}
        for name, timed in times(programs, options, shape, given, device).items():
            rows[name] = rates(rows.get(name, plain) | timed, case.batch)
    return [{**case._asdict(), "program": name, **row} for name, row in rows.items()]


def times(
    programs: Sequence[Program],
    options: dict[str, Any],
    shape: tuple[int, ...],
    given: argparse.Namespace,
    device: torch.device,
) -> dict[str, dict[str, Any]]:
    """Of each program, and of the official one if given: seconds by phase, GB of a step. `GanError` if with equal
    weights the official networks compute something else."""
    torch.manual_seed(0)
    if given.official:
        official.check(given.official, vars(make_options(given.family, options)), shape)
    batch = Batch(torch.rand(shape, device=device) * 2 - 1, torch.zeros(shape[0], 0, device=device))
    sides = {program.name: program.phases(given.family, options, batch, device)[1] for program in programs}
    if given.official:
        filled = vars(make_options(given.family, options))
        ways = {"official": False} | ({"official, fastest": True} if device.type == "cuda" else {})
        for name, fastest in ways.items():
            sides[name] = official.phases(given.official, filled, batch, device, given.p, fastest=fastest)
    seconds = measure(sides, given.repeats, device)
    keeps = {program.name for program in programs if program.step == "graph"}
    taken = {name: None if name in keeps else memory(steps, device) for name, steps in sides.items()}
    return {name: {"seconds": seconds[name], "step_gb": taken[name]} for name in sides}


def rates(row: dict[str, Any], batch: int) -> dict[str, Any]:
    """``row`` with the costs and speeds that its counts and seconds make."""
    cost = floors.per_kimg(row["seconds"], row["every"], batch)
    total = sum(cost.values())
    speed = {phase: row["tflop"][phase] / seconds for phase, seconds in row["seconds"].items()}
    return row | {"s_per_kimg": cost, "total": total, "tflop_per_s": speed, "images_per_s": 1000 / total}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: seconds per kimg by phase, beside the official program where it has run."""
    rows = [row for row in rows if "seconds" in row]
    if not rows:
        return ""
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


def tables(rows: list[dict[str, Any]]) -> str:
    """Seconds per kimg, and what was counted."""
    shares = any(row.get("step_gb") is not None for row in rows)
    counted = floors.table(rows, [*Case._fields, "program"], shares)
    titled = {"Seconds per kimg": table(rows), "Counted, not measured; of a kimg": counted}
    return "\n\n".join(f"{title}:\n\n{lines}" for title, lines in titled.items() if lines)


def write(out: Path, about: dict[str, Any], rows: list[dict[str, Any]], skipped: list[str]) -> None:
    """<out>.json and <out>.md."""
    out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"about": about, "rows": rows, "skipped": skipped}, indent=2)
    out.with_name(f"{out.name}.json").write_text(text + "\n")
    said = "; ".join(f"{key} {value}" for key, value in about.items() if key != "arguments")
    left = "".join(f"- left out: {line}\n" for line in skipped)
    lines = f"{said}\n\n{tables(rows)}\n\n{left}"
    out.with_name(f"{out.name}.md").write_text(lines)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", default="stylegan2", choices=list(trained()))
    parser.add_argument("--size", type=int, nargs="+", default=[64])
    parser.add_argument("--batch", type=int, nargs="+", default=[8])
    parser.add_argument("--settings", nargs="+", default=["auto"], choices=list(SETTINGS), help="of StyleGAN2")
    parser.add_argument("--precision", nargs="+", default=["fp32"], choices=PRECISIONS, help="of this program")
    parser.add_argument("--ops", nargs="+", default=["reference"], choices=ops.IMPLEMENTATIONS, help="of this program")
    parser.add_argument("--step", nargs="+", default=["eager"], choices=["eager", "graph"], help="of this program")
    parser.add_argument("--matrix", action="store_true", help=f"all of these: {json.dumps(MATRIX)}")
    parser.add_argument("--channels", type=int, default=3, help="contrasts; the official augmentation knows 1 and 3")
    parser.add_argument("--augment", default="none", choices=sorted(official.AUGMENTATIONS))
    parser.add_argument("--p", type=float, default=0.5, help="augmentation probability")
    parser.add_argument("--options", default="{}", help="options of the family, as JSON")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--plain", action="store_true", help="also time this program without minimal filtering")
    parser.add_argument("--counted", action="store_true", help="count only, without a device; all programs")
    parser.add_argument("--peak", type=float, help=f"TFLOP/s that floors assume; by precision: {floors.PEAK}")
    parser.add_argument("--bandwidth", type=float, default=floors.BANDWIDTH, help="GB/s that floors assume")
    parser.add_argument("--official", type=Path, help="checkout of NVlabs/stylegan2-ada-pytorch")
    parser.add_argument("--out", type=Path, help="files for the numbers, without suffix")
    given = parser.parse_args(argv)
    if given.official and given.family != "stylegan2":
        parser.error("--official goes with --family stylegan2")
    if given.official and given.counted:
        parser.error("--counted is of this program alone, without --official")
    if given.matrix:
        vars(given).update(MATRIX)
    return given


def main(argv: Sequence[str] | None = None) -> None:
    given = arguments(argv)
    torch.set_num_threads(given.threads)
    device = counting.META if given.counted else torch.device(given.device)
    full_precision()
    about = {
        "machine": device_name(device) if device.type == "cuda" else platform.processor() or platform.machine(),
        **{"device": str(device), "torch": torch.__version__, "date": datetime.now(UTC).date().isoformat()},
        "arguments": {key: str(value) for key, value in vars(given).items()},
    }
    programs = [Program(*each) for each in itertools.product(given.precision, given.ops, given.step)]
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
            print(f"{tables(found)}\n", flush=True)
        except (GanError, torch.OutOfMemoryError) as error:
            skipped.append(f"{where}: {str(error).splitlines()[0]}")
            print(f"left out: {skipped[-1]}", flush=True)
        if given.out:
            write(given.out, about, rows, skipped)


if __name__ == "__main__":
    main()
