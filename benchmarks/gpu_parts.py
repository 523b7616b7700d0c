"""The parts of `benchmarks/gpu.py`, each run in a process of its own. They need torch and what training and scoring need.

A part is a function of a `Place` that calls ``place.save`` whenever it knows more: what is saved outlives whatever comes.
"""

import contextlib
import dataclasses
import gc
import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import floors
import torch
from torch import nn
from steps import Program

from gan.errors import GanError
from gan.files import read_json, write_json
from gan.ops.precision import full_precision
from gan.train.graphs import WARM_UP
from gan.variants.base import Batch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TESTS = ("tests/test_graphs.py", "tests/test_ops_cuda.py")
MARGIN = 25.0  # s before the end of the training's time at which it is asked to save and stop
DATA_SHEET = {"H100": 3350.0, "H200": 4800.0, "A100": 2039.0}  # GB/s of the memory (NVIDIA's data sheets, SXM)
PEAK = {"A100": {"fp32": 19.5, "tf32": 156.0, "bf16": 312.0, "fp16": 312.0}}  # TFLOP/s where not those of Hopper


@dataclasses.dataclass
class Place:
    """Where a part works: the prepared folder, its own results, the device, and until when (`time.monotonic`)."""

    folder: Path
    out: Path
    part: str
    device: torch.device
    deadline: float
    found: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def left(self) -> float:
        return self.deadline - time.monotonic()

    def save(self) -> None:
        write_json(self.out / f"{self.part}.json", self.found)

    def start(self, name: str, command: list[str]) -> Callable[[float], None]:
        """Start a program with its output in ``<name>.log``. What is returned waits for it so many seconds at most and
        notes its time, exit code (None: it was killed) and last lines."""
        log, begin = self.out / f"{name}.log", time.monotonic()
        with open(log, "w", encoding="utf-8") as output:
            into = {"stdout": output, "stderr": subprocess.STDOUT}
            process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **into)

        def finish(limit: float) -> None:
            code = _wait(process, min(limit, self.left))
            text = log.read_text(encoding="utf-8", errors="replace")
            last = [line for line in text.replace("\r", "\n").splitlines() if line.strip()][-3:]
            seconds = round(time.monotonic() - begin, 1)
            self.found[name] = {"seconds": seconds, "code": code, "last": last}
            self.save()
            print(f"{name}: {'ended' if code == 0 else f'FAILED ({code})'} after {seconds} s", flush=True)

        return finish


def _wait(process: subprocess.Popen, limit: float) -> int | None:
    """The exit code; None if it had to be killed, with all that it has started."""
    try:
        return process.wait(max(limit, 1))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


# ---------------------------------------------------------------- kernels


def kernels(place: Place) -> None:
    """Build the kernels, check them, and run the tests that need a GPU; meanwhile the official program's kernels."""
    python, gpu = sys.executable, place.device.type == "cuda"
    official = []
    if gpu and (checkout := place.folder / "official/torch_utils").is_dir():
        command = [python, str(HERE / "official.py"), str(checkout.parent)]
        official = [place.start(f"official_{name}", [*command, name]) for name in ("bias_act", "upfirdn2d")]
    place.start("build", [python, "-m", "gan.ops.build", *([] if gpu else ["--arch", "host"])])(90)
    # the tests' own cache is that of the kernels just built
    cache = os.environ["GAN_OPS_CACHE"].removesuffix("/d/gan_ops")
    tests = [python, "-m", "pytest", "-v", "-m", "gpu", "-o", f"cache_dir={cache}", "--tb=short"]
    workers = ["-n", "12"] if gpu and importlib.util.find_spec("xdist") else []
    running = [place.start("tests", [*tests, *workers, *TESTS[: None if gpu else 1]])]
    running += [place.start("check", [python, "-m", "gan.check"])] if gpu else []
    place.found["conv3d"] = conv3d(place.device)
    for finish in (*official, *reversed(running)):
        finish(place.left - 2)


def conv3d(device: torch.device) -> dict[str, float]:
    """Relative errors of bf16 convolutions of volumes against float64: value and both gradients, by memory format.

    Some versions of cuDNN compute them wrong; rounding alone gives about 0.003.
    """
    found = {}
    side = 24 if device.type == "cuda" else 6
    for name, order in (("contiguous", torch.contiguous_format), ("channels_last_3d", torch.channels_last_3d)):
        torch.manual_seed(0)
        x = torch.randn(2, 32, side, side, side).bfloat16()
        weight = torch.randn(32, 32, 3, 3, 3).bfloat16() / 30
        exact, got = [], []
        for place, dtype, into in (("cpu", torch.float64, exact), (device, torch.bfloat16, got)):
            mine = [t.to(place, dtype).contiguous(memory_format=order).requires_grad_() for t in (x, weight)]
            y = nn.functional.conv3d(*mine, padding=1)
            y.backward(torch.ones_like(y))
            into += [y.detach(), *(t.grad for t in mine)]
        errors = [float((a.cpu().double() - b).norm() / b.norm()) for a, b in zip(got, exact, strict=True)]
        found |= {
            f"{name} {what}": e for what, e in zip(("value", "to the image", "to the weight"), errors, strict=True)
        }
    return found


# ---------------------------------------------------------------- steps of slices and of volumes


def steps(place: Place) -> None:
    """Seconds of every phase of every case of this part, the official program's among them; ceilings first."""
    place.found.setdefault("rows", [])
    place.found.setdefault("left_out", [])
    done = {row["name"] for row in place.found["rows"]} | {line.split(":")[0] for line in place.found["left_out"]}
    if place.device.type == "cuda" and "ceilings" not in place.found:
        place.found["ceilings"] = ceilings(place.device)
    for case in read_json(place.folder / "cases.json"):
        if case["part"] != place.part or (name := name_of(case)) in done:
            continue
        if place.left < 5:
            place.found["left_out"].append(f"{name}: no time left")
            continue
        # If the process dies in it, this is what remains, and the next process goes on after it.
        place.found["left_out"].append(f"{name}: the process ended in it")
        place.save()
        row, why = _row(case, place)
        place.found["left_out"].pop()
        if row:
            place.found["rows"].append({"name": name, **row})
            print(f"{name}: {row['total']:.3g} s per kimg", flush=True)
        else:
            place.found["left_out"].append(f"{name}: {why}")
            print(place.found["left_out"][-1], flush=True)
        place.save()


def name_of(case: dict[str, Any]) -> str:
    program = case["program"]
    way = program["official"] if "official" in program else _program(program).name
    way += " autotuned" if "cudnn" in program else ""
    width = case["options"].get("channel_base", 16384)
    return f"{'x'.join(map(str, case['size']))} base {width} batch {case['batch']} {way}"


def _program(program: dict[str, str]) -> Program:
    return Program(program["precision"], program["ops"], program["step"])


def _row(case: dict[str, Any], place: Place) -> tuple[dict[str, Any] | None, str]:
    device = place.device
    full_precision()
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = "cudnn" in case["program"]
    try:
        shape = case["batch"], case["channels"], *case["size"]
        batch = Batch(torch.rand(shape, device=device) * 2 - 1, torch.zeros(shape[0], 0, device=device))
        phases = _phases(case, batch, place)
        seconds, held = timed(phases, device)
        row = {key: case[key] for key in ("size", "batch", "training", "program")} | {"seconds": seconds} | held
        if case["program"].get("step") == "eager" and case["program"]["ops"] == "cuda" and device.type == "cuda":
            with contextlib.suppress(RuntimeError):  # without it the times hold all the same
                row["profile"] = profiled(phases)
        every = {"G": 1, "Gpl": 4, "D": 1, "Dr1": 16}
        row["s_per_kimg"] = floors.per_kimg(seconds, every, case["batch"])
        row["total"] = sum(row["s_per_kimg"].values())
        if counts := case["counts"]:
            peak, bandwidth = data_sheet(device, case["program"]["precision"])
            row |= floors.floors(counts, case["batch"], peak, bandwidth)
            row["tflop"] = sum(floors.per_kimg(counts["tflop"], counts["every"], case["batch"]).values())
            row["counted_gb"] = counts["counted_gb"]
        return row, ""
    except (GanError, torch.OutOfMemoryError, RuntimeError, ImportError) as error:
        if "CUDA error" in str(error):
            raise  # nothing more can be done in this process
        return None, f"{type(error).__name__}: {str(error).splitlines()[0]}"
    finally:
        torch.backends.cudnn.benchmark = False
        phases = batch = None
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _phases(case: dict[str, Any], batch: Batch, place: Place) -> dict[str, Callable[[], None]]:
    program = case["program"]
    if "official" not in program:
        made = _program(program)
        if why := made.lacks("stylegan2", place.device):
            raise GanError(why)
        return made.phases("stylegan2", case["options"], batch, place.device)[1]
    import official

    from gan.variants.options import defaults

    if not (place.folder / "official/training").is_dir():
        raise GanError(f"{place.folder / 'official'}: no checkout of NVlabs/stylegan2-ada-pytorch there")
    options = defaults("stylegan2") | case["options"]
    fastest = program["official"] == "official, fastest"
    return official.phases(place.folder / "official", options, batch, place.device, options["ada_p"], fastest=fastest)


def timed(
    phases: dict[str, Callable[[], None]], device: torch.device, budget: float = 0.5
) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of each phase when it is done over and over, as the median of three rounds, and GB of memory."""
    gpu = device.type == "cuda"
    wait = (lambda: torch.cuda.synchronize(device)) if gpu else (lambda: None)
    if gpu:
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(WARM_UP + 2 if gpu else 1):
        for step in phases.values():
            step()
    wait()
    found = {}
    for name, step in phases.items():
        rounds: list[float] = []
        number = 1
        while len(rounds) < 4:
            wait()
            start = time.perf_counter()
            for _ in range(number):
                step()
            wait()
            rounds.append((time.perf_counter() - start) / number)
            number = max(1, min(50, int(budget / 3 / rounds[-1])))
        found[name] = statistics.median(rounds[1:])
    if not gpu:
        return found, {}
    memory = {"peak_gb": torch.cuda.max_memory_allocated(device), "reserved_gb": torch.cuda.memory_reserved(device)}
    return found, {key: value / 1e9 for key, value in memory.items()}


def profiled(phases: dict[str, Callable[[], None]], most: int = 30) -> dict[str, Any]:
    """Of a step of each phase: milliseconds of all kernels, and of the kernels and operations that take the most."""
    from torch.profiler import ProfilerActivity, profile

    found = {}
    for name, step in phases.items():
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], record_shapes=True) as taken:
            step()
            torch.cuda.synchronize()
        events = taken.key_averages(group_by_input_shape=False)
        kernels = [e for e in events if str(e.device_type).endswith("CUDA")]
        shaped = [e for e in taken.key_averages(group_by_input_shape=True) if not str(e.device_type).endswith("CUDA")]

        def top(rows: list[Any], key: Callable[[Any], str]) -> list[list[Any]]:
            rows = sorted(rows, key=lambda e: -e.self_device_time_total)[:most]
            return [[key(e)[:140], e.count, round(e.self_device_time_total / 1e3, 3)] for e in rows]

        found[name] = {
            "ms": sum(e.self_device_time_total for e in kernels) / 1e3,
            "launches": sum(e.count for e in kernels),
            "kernels": top(kernels, lambda e: e.key),
            "operations": top(shaped, lambda e: f"{e.key} {e.input_shapes}"),
        }
    return found


def bandwidth(place: Place) -> None:
    """Each kernel beside a copy of the same bytes (`ops_cuda.py`), in the dtype that trainings use."""
    command = [sys.executable, str(HERE / "ops_cuda.py"), "--dtype", "bfloat16", "--rounds", "3"]
    if place.device.type != "cuda":
        place.found["left_out"] = ["bandwidth: for a GPU"]
        place.save()
    else:
        place.start("ops", [*command, "--json", str(place.out / "ops.json")])(place.left - 1)


def ceilings(device: torch.device) -> dict[str, float]:
    """TFLOP/s of a matrix product and GB/s of a copy, as this GPU gives them; of the data sheet besides."""
    found = {}
    for dtype in (torch.bfloat16, torch.float32):
        a, b = (torch.randn(8192, 8192, device=device, dtype=dtype) for _ in range(2))
        seconds, _ = timed({"product": lambda a=a, b=b: torch.mm(a, b)}, device)
        found[f"{str(dtype).removeprefix('torch.')} TFLOP/s"] = 2 * 8192**3 / seconds["product"] / 1e12
    x = torch.empty(1 << 28, device=device).normal_()
    y = torch.empty_like(x)
    seconds, _ = timed({"copy": lambda: y.copy_(x)}, device)
    return found | {"copy GB/s": 2 * x.nbytes / seconds["copy"] / 1e9}


def data_sheet(device: torch.device, precision: str) -> tuple[float, float]:
    """TFLOP/s and GB/s of this model; of a CPU those of the tables, so that the sums are the same."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    model = next((known for known in DATA_SHEET if known in name), None)
    bandwidth = DATA_SHEET[model] if model else floors.BANDWIDTH
    return PEAK.get(model or "", floors.PEAK)[precision], bandwidth


# ---------------------------------------------------------------- a real training


def training(place: Place) -> None:
    """Train the recipe on its store with snapshots that are scored, for as many kimg as the time allows."""
    about, recipe = read_json(place.folder / "about.json"), read_json(place.folder / "recipe.json")
    work = place.out / "training"
    store = work / "store"
    store.mkdir(parents=True, exist_ok=True)
    with tarfile.open(place.folder / f"stores/{about['dataset']}.tar.gz") as archive:
        archive.extractall(store, filter="data")
    judge = {"extractors": ["extractor.pt"], "real": ["real.npz"]}
    paths = {key: [str((place.folder / "judge" / name).absolute()) for name in names] for key, names in judge.items()}
    write_json(work / "judge.json", {**paths, "protocol": about["protocol"]})
    recipe["training"]["kimg"] = kimg = _affordable(place, recipe["training"])
    place.found |= {"kimg": kimg, "recipe": recipe}
    write_json(work / "recipe.json", recipe)
    command = [sys.executable, "-m", "gan.run", "--recipe", str(work / "recipe.json"), "--store", str(store)]
    command += ["--folder", str(work / "cell"), "--checkpoints", str(work / "checkpoints")]
    command += ["--checkpoint-kimg", "1000000", "--device", place.device.type, "--judge", str(work / "judge.json")]
    start = time.monotonic()
    with open(work / "train.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
        try:
            code = process.wait(max(place.left - MARGIN, 1))
        except subprocess.TimeoutExpired:
            process.terminate()  # it saves its state
            code = _wait_or_kill(process, place.left)
    place.found |= {"code": code, "seconds": round(time.monotonic() - start, 1), **_curve(work)}
    place.save()


def _affordable(place: Place, training: dict[str, Any]) -> float:
    """Whole snapshots' worth of kimg that fit into the time, by the step of this recipe that `steps` has timed."""
    every, path = training["snapshot_kimg"], place.out / "steps.json"
    rows = read_json(path)["rows"] if path.exists() else []
    cost = next((row["total"] for row in rows if row["training"]), None)
    if cost is None or place.device.type == "cpu":
        return training["kimg"]
    scoring, start = 6.0, 25.0  # s that a snapshot's score and the start may take
    number = int((place.left - MARGIN - start) / (every * cost * 1.1 + scoring))
    return min(training["kimg"], max(1, number) * every)


def _wait_or_kill(process: subprocess.Popen, limit: float) -> int | None:
    try:
        return process.wait(max(limit, 1))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def _curve(work: Path) -> dict[str, Any]:
    """Rows of the statistics, and the scores of each snapshot."""
    stats = work / "cell/stats.jsonl"
    rows = [json.loads(line) for line in stats.read_text().splitlines()] if stats.exists() else []
    scores = [read_json(path)["rows"] for path in sorted((work / "cell/snapshots").glob("kimg*.json"))]
    ticks = [row for row in rows if "speed/s_per_kimg" in row]
    kept = ("kimg", "value", "floor", "metric", "n_real", "n_fake", "contrast")
    return {
        "speed": statistics.median(row["speed/s_per_kimg"] for row in ticks) if ticks else None,
        "events": [row for row in rows if "event" in row],
        "last": ticks[-1] if ticks else None,
        "curve": [{key: row[key] for key in kept if key in row} for of_snapshot in scores for row in of_snapshot],
    }


def translation(place: Place) -> None:
    """A step of a translation, once there is a family for it."""
    place.found["left_out"] = ["translation: there is no family for it yet"]
    place.save()


PARTS: dict[str, tuple[Callable[[Place], None], float]] = {  # and the seconds that each may take
    "kernels": (kernels, 130.0),
    "steps": (steps, 160.0),
    "training": (training, 190.0),
    "volumes": (steps, 50.0),
    "translation": (translation, 10.0),
    "bandwidth": (bandwidth, 30.0),
}
