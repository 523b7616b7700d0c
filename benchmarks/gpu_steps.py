"""Steps of slices, volumes and translations on a GPU, for `benchmarks/gpu.py`: seconds, memory, where the time goes."""

import argparse
import contextlib
import gc
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import floors
import torch
from gpu_place import HERE, Place
from steps import Program

from gan.errors import GanError
from gan.families.contract import Batch
from gan.files import read_json
from gan.ops.precision import full_precision
from gan.train.graphs import WARM_UP

DATA_SHEET = {"H100": 3350.0, "H200": 4800.0, "A100": 2039.0}  # GB/s of the memory (NVIDIA's data sheets, SXM)
EVERY = {"G": 1, "Gpl": 4, "D": 1, "Dr1": 16, "step": 1}  # steps of a phase; those of translations are done in each
PEAK = {"A100": {"fp32": 19.5, "tf32": 156.0, "bf16": 312.0, "fp16": 312.0}}  # TFLOP/s where not those of Hopper


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
        # If the process dies here, this line remains and the next process begins with the case that follows.
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
    network = f"base {case['options'].get('channel_base', 16384)}" if case["family"] == "stylegan2" else case["family"]
    augment = f" {case['options']['augment']}" if case["part"] == "volumes" and "augment" in case["options"] else ""
    augment += "" if case["options"].get("ada_oversample", True) else " without oversampling"
    return f"{'x'.join(map(str, case['size']))} {network}{augment} batch {case['batch']} {way}"


def _batch(case: dict[str, Any], device: torch.device) -> Batch:
    """Random images, and as many to be translated where that is the task."""
    shape = case["batch"], case["channels"], *case["size"]
    images, none = torch.rand(shape, device=device) * 2 - 1, torch.zeros(shape[0], 0, device=device)
    return Batch(images, none, images.flip(-1)) if case["part"] == "translation" else Batch(images, none)


def _program(program: dict[str, str]) -> Program:
    return Program(program["precision"], program["ops"], program["step"])


def _row(case: dict[str, Any], place: Place) -> tuple[dict[str, Any] | None, str]:
    device = place.device
    full_precision()
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = "cudnn" in case["program"]
    try:
        batch = _batch(case, device)
        phases = _phases(case, batch, place)
        seconds, held = timed(phases, device, warm_up=WARM_UP + 2 if case["program"].get("step") == "graph" else 2)
        row = {key: case[key] for key in ("family", "size", "batch", "training", "program")}
        row |= {"seconds": seconds} | held
        row["s_per_kimg"] = floors.per_kimg(seconds, EVERY, case["batch"])
        row["total"] = sum(row["s_per_kimg"].values())
        if device.type == "cuda" and _is_profiled(case["program"]):
            with contextlib.suppress(RuntimeError):  # without it the times hold all the same
                row["profile"] = profiled(phases)
                alone = {name: found["ms"] / 1e3 for name, found in row["profile"].items()}
                row["kernels"] = sum(floors.per_kimg(alone, EVERY, case["batch"]).values())
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


def _is_profiled(program: dict[str, str]) -> bool:
    """With the kernels one at a time, as a graph hides them, and the official program with its fastest flags."""
    return (program.get("ops"), program.get("step")) == ("cuda", "eager") or program.get(
        "official"
    ) == "official, fastest"


def _phases(case: dict[str, Any], batch: Batch, place: Place) -> dict[str, Callable[[], None]]:
    program, family = case["program"], case["family"]
    if "official" not in program:
        made = _program(program)
        if why := made.lacks(family, place.device):
            raise GanError(why)
        return made.phases(family, case["options"], batch, place.device)[1]
    if family != "stylegan2":
        return _translating(case, batch, place)
    built = place.out / "kernels.json"
    found = read_json(built) if built.exists() else {}
    failed = [name for name, of in found.items() if name.startswith("official_") and of["code"] != 0]
    if failed:
        raise GanError(f"its kernels did not build in time, see {failed[0]}.log")
    import official

    from gan.families.registry import defaults

    if not (place.folder / "official/training").is_dir():
        raise GanError(f"{place.folder / 'official'}: no checkout of NVlabs/stylegan2-ada-pytorch there")
    options = defaults("stylegan2") | case["options"]
    fastest = program["official"] == "official, fastest"
    return official.phases(place.folder / "official", options, batch, place.device, options["ada_p"], fastest=fastest)


def _translating(case: dict[str, Any], batch: Batch, place: Place) -> dict[str, Callable[[], None]]:
    """A step of the program of its authors (`translation.py`), with TF32, which was PyTorch's default, and cuDNN's
    search for algorithms."""
    from translation import read

    its, checkout = importlib.import_module(f"official_{case['family']}"), place.folder / case["family"]
    if not all((checkout / name).is_file() for name in its.FILES):
        raise GanError(f"{checkout}: no checkout of its authors' program there, with {', '.join(its.FILES)}")
    width = case["options"]["channels"]
    given = argparse.Namespace(size=case["size"][0], channels=case["channels"], width=width, norm="instance")
    modules = [read(checkout / name) for name in its.FILES]
    parts = {name: part.to(place.device) for name, part in its.build(modules, given).items()}
    step = its.step(modules, parts, given, batch)

    def run() -> None:
        torch.backends.cudnn.benchmark = torch.backends.cudnn.allow_tf32 = True
        step()
        torch.backends.cudnn.benchmark = torch.backends.cudnn.allow_tf32 = False

    return {"step": run}


def timed(
    phases: Mapping[str, Callable[[], Any]], device: torch.device, budget: float = 0.5, warm_up: int = 2
) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of each phase when it is done over and over, as the median of three rounds, and GB of memory."""
    gpu = device.type == "cuda"
    wait = (lambda: torch.cuda.synchronize(device)) if gpu else (lambda: None)
    if gpu:
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(warm_up if gpu else 1):
        for step in phases.values():
            step()
    wait()
    found = {}
    for name, step in phases.items():
        rounds: list[float] = []
        number = 1
        while len(rounds) < (4 if not rounds or rounds[0] < budget / 3 else 3):
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


def profiled(phases: dict[str, Callable[[], None]], most: int = 80) -> dict[str, Any]:
    """Of a step of each phase: milliseconds of all kernels, and of the kernels and operations that take the most."""
    from torch.profiler import ProfilerActivity, profile

    found = {}
    for name, step in phases.items():
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], record_shapes=True) as taken:
            step()
            torch.cuda.synchronize()
        events = taken.key_averages(group_by_input_shape=False)
        kernels = [e for e in events if str(e.device_type).endswith("CUDA") and not e.is_user_annotation]
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
    """Each kernel next to a copy of the same bytes (`ops_cuda.py`), in the dtype that trainings use."""
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
