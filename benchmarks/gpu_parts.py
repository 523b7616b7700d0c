"""The parts of `benchmarks/gpu.py`, each run in a process of its own: they need torch and what a training needs."""

import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gpu_place import HERE, ROOT, Place
from gpu_steps import bandwidth, steps
from torch import nn

from gan.files import read_json, write_json
from gan.train.schedule import stem

TESTS = ("tests/test_graphs.py", "tests/test_ops_cuda.py")
OFFICIAL = 60.0  # s that the official program's kernels may take to build; without them it is left out
MARGIN = 12.0  # s before the end of the training's time at which it is asked to save and stop


def kernels(place: Place) -> None:
    """Build the kernels, check them, and run the tests that need a GPU; meanwhile the official program's kernels."""
    python, gpu = sys.executable, place.device.type == "cuda"
    official = []
    if gpu and (checkout := place.folder / "official/torch_utils").is_dir():
        command = [python, str(HERE / "official.py"), str(checkout.parent)]
        official = [place.start(f"official_{name}", [*command, "--build", name]) for name in ("bias_act", "upfirdn2d")]
    place.start("build", [python, "-m", "gan", "build-ops", *([] if gpu else ["--arch", "host"])])(90)
    # the tests' own cache is that of the kernels just built
    cache = os.environ["GAN_OPS_CACHE"].removesuffix("/d/gan_ops")
    tests = [python, "-m", "pytest", "-vv", "-m", "gpu", "-o", f"cache_dir={cache}", "--tb=short"]
    workers = ["-n", "12"] if gpu and importlib.util.find_spec("xdist") else []
    running = [place.start("tests", [*tests, *workers, *TESTS[: None if gpu else 1]])]
    running += [place.start("check", [python, "-m", "gan", "check"])] if gpu else []
    place.found["conv3d"] = conv3d(place.device)
    for finish in official:
        finish(OFFICIAL)
    for finish in reversed(running):
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
            y = nn.functional.conv3d(mine[0], mine[1], padding=1)
            y.backward(torch.ones_like(y))
            into += [y.detach(), *(t.grad for t in mine)]
        errors = [float((a.cpu().double() - b).norm() / b.norm()) for a, b in zip(got, exact, strict=True)]
        found |= {
            f"{name} {what}": e for what, e in zip(("value", "to the image", "to the weight"), errors, strict=True)
        }
    return found


def training(place: Place) -> None:
    """Train the recipe on its store with snapshots that are scored, for as many kimg as the time allows."""
    about, recipe = read_json(place.folder / "about.json"), read_json(place.folder / "recipe.json")
    work = place.out / "training"
    store = work / "store"
    store.mkdir(parents=True, exist_ok=True)
    with tarfile.open(place.folder / f"stores/{about['dataset']}.tar.gz") as archive:
        archive.extractall(store, filter="data")
    judge = (place.folder / "judge").absolute()
    lists = {"extractors": [str(judge / "extractor.pt")], "real": [str(judge / "real.npz")]}
    write_json(work / "judge.json", {**lists, "images": str(judge / "images.npz"), "protocol": about["protocol"]})
    recipe["training"]["kimg"] = kimg = _affordable(place, recipe["training"])
    place.found |= {"kimg": kimg, "recipe": recipe}
    write_json(work / "recipe.json", recipe)
    command = [sys.executable, "-m", "gan", "run", "--recipe", str(work / "recipe.json"), "--store", str(store)]
    command += ["--folder", str(work / "cell"), "--checkpoints", str(work / "checkpoints")]
    command += ["--runtime", f"device={place.device.type},checkpoint_kimg=1000000", "--judge", str(work / "judge.json")]
    start = time.monotonic()
    with open(work / "train.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
        code = _stopped(process, place)
    place.found |= {"code": code, "seconds": round(time.monotonic() - start, 1), **_curve(work)}
    _keep_best(work, place.found["curve"])
    place.save()


def _affordable(place: Place, training: dict[str, Any]) -> float:
    """Whole snapshots' worth of kimg that fit into the time, by the step of this recipe that `steps` has timed."""
    every, path = training["snapshot_kimg"], place.out / "steps.json"
    rows = read_json(path)["rows"] if path.exists() else []
    cost = next((row["total"] for row in rows if row["training"]), None)
    if cost is None or place.device.type == "cpu":
        return training["kimg"]
    scoring, start = 3.0, 50.0  # s that a snapshot's score, and the start with the check of the kernels, may take
    number = int((place.left - MARGIN - start) / (every * cost * 1.05 + scoring))
    return min(training["kimg"], max(1, number) * every)


def _stopped(process: subprocess.Popen, place: Place) -> int | None:
    """The exit code of a training that is asked to save its state before time is over; None if it was killed."""
    try:
        return process.wait(max(place.left - MARGIN, 1))
    except subprocess.TimeoutExpired:
        process.terminate()
    try:
        return process.wait(max(place.left, 1))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def _keep_best(work: Path, curve: list[dict[str, Any]]) -> None:
    """The snapshot with the best leading score as ``best.pt``: one that was stopped has no ``generator.pt``."""
    trained = [row for row in curve if row["kimg"] > 0 and row["metric"] == curve[0]["metric"]]
    if trained:
        best = min(trained, key=lambda row: row["value"])
        shutil.copyfile(work / "cell/snapshots" / f"{stem(best['kimg'])}.pt", work / "best.pt")


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


PARTS: dict[str, tuple[Callable[[Place], None], float]] = {  # and the seconds that each may take
    "kernels": (kernels, 160.0),
    "steps": (steps, 160.0),
    "training": (training, 190.0),
    "volumes": (steps, 50.0),
    "translation": (steps, 40.0),
    "bandwidth": (bandwidth, 70.0),
}
