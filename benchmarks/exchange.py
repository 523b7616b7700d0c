"""What it saves to send gradients while backward computes: the wall time of the phases of StyleGAN2, with and without.

    python benchmarks/exchange.py --size 64 --batch 8 --ranks 2

Ranks of one machine (one thread each on a CPU, one GPU each with ``--device cuda``) take turns of two steps: gradients
go as they come, or are held back until backward has ended, in the same buckets. Loopback takes time of the CPU, which
nothing can be done in meanwhile. Over a link of 1 Gbit/s, which a root of Linux has by

    unshare -n sh -c 'ip link set lo up && tc qdisc add dev lo root tbf rate 1gbit burst 256kb latency 100ms &&
        GLOO_SOCKET_IFNAME=lo python benchmarks/exchange.py'

ranks wait. Medians of rank 0, after a turn of each to warm up.
"""

import argparse
import json
import os
import socket
import statistics
import time
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.multiprocessing.spawn import start_processes

from gan import parallel
from gan.families.contract import Batch, ImageShape
from gan.families.registry import defaults
from gan.train import exchange
from gan.train.trainer import Trainer

WAYS = ("as they come", "held back")
TURN = 2  # steps; penalties run in the first of them


class Images:
    """Random ones on the device."""

    meta: dict[str, Any] = {}

    def __init__(self, size: int, device: torch.device):
        self.shape, self._device = ImageShape(1, (size, size)), device

    def __len__(self) -> int:
        return 1000

    @property
    def marked(self) -> np.ndarray:
        return np.empty(0, np.int64)

    def batch(self, indices: np.ndarray) -> Batch:
        shape = (len(indices), 1, *self.shape.size)
        return Batch(torch.rand(shape, device=self._device) * 2 - 1, torch.zeros(len(indices), 0, device=self._device))


def measure(given: argparse.Namespace, device: torch.device) -> dict[str, dict[str, float]]:
    """Seconds of each phase both ways: {phase: {way: median}}."""
    options = defaults("stylegan2") | {"pl_every": TURN, "r1_every": TURN} | given.options
    recipe = {
        "variant": {"family": "stylegan2", "options": options},
        "training": {"kimg": 1, "batch": given.batch, "precision": given.precision},
        "seed": 0,
    }
    trainer = Trainer(recipe, Images(given.size, device), device)
    times: dict[str, dict[str, list[float]]] = {p.name: {way: [] for way in WAYS} for p in trainer.phases}
    for turn in range(2 * (given.repeats + 1)):
        way, descend = WAYS[turn % 2], trainer._descend

        def timed(phase, *rest, way=way, descend=descend):
            start = _now(device)
            descend(phase, *rest)
            times[phase.name][way].append(_now(device) - start)

        note = exchange._Pass.note if way == WAYS[0] else _hold_back
        with mock.patch.object(exchange._Pass, "note", note), mock.patch.object(trainer, "_descend", timed):
            for _ in range(TURN):
                trainer.advance(measure=False)
    return {
        name: {way: statistics.median(values[len(values) // (given.repeats + 1) :]) for way, values in ways.items()}
        for name, ways in times.items()
    }


def _hold_back(current: Any, parameter: torch.Tensor) -> None:
    current._came[parameter] = None


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _rank(rank: int, given: argparse.Namespace, port: int) -> None:
    torch.set_num_threads(1)
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": given.ranks, "MASTER_ADDR": "127.0.0.1"}
    os.environ.update({name: str(value) for name, value in names.items()} | {"MASTER_PORT": str(port)})
    with parallel.joined(torch.device(given.device)) as device:
        found = measure(given, device)
    if rank == 0:
        print(f"| phase | {' | '.join(f'{way}, s' for way in WAYS)} | ratio |\n|---|---:|---:|---:|")
        for name, ways in found.items():
            seconds = [ways[way] for way in WAYS]
            print(f"| {name} | {' | '.join(f'{value:.3f}' for value in seconds)} | {seconds[0] / seconds[1]:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description="Wall time of a phase with and without overlap of the exchange.")
    for name, value in {"size": 64, "batch": 8, "ranks": 2, "repeats": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--options", type=json.loads, default={}, help="options of StyleGAN2, as JSON")
    given = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start_processes(_rank, (given, port), given.ranks)


if __name__ == "__main__":
    main()
