"""The cost of a run: wall time, processor time, device time and peak memory, summed over its resumes; and its code."""

import contextlib
import resource
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from gan import parallel
from gan.project import code
from gan.train.device import device_name


@dataclass
class Cost:
    """Seconds and MB so far. Work lost between the last checkpoint and a kill is not counted: it decides no result.

    cpu_s, peak_mem_mb: summed over the ranks; gpu_s: device seconds held by all of them, 0 on a CPU; peak_gpu_mem_mb:
    of the fullest GPU. resumed: how many times the run resumed from a checkpoint. started, finished: seconds since the
    epoch; device, threads: of one rank of the last attempt; gpus: of all its ranks, 0 on a CPU. code:
    `gan.project.code` of each attempt that had another than the one before.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    gpu_s: float = 0.0
    peak_mem_mb: float = 0.0
    peak_gpu_mem_mb: float = 0.0
    resumed: int = 0
    started: float = 0.0
    finished: float = 0.0
    device: str = ""
    threads: int = 0
    gpus: int = 0
    code: list[dict[str, str]] = field(default_factory=list)


class CostMeter:
    """Adds the cost of this process to that of earlier ones."""

    def __init__(self, device: torch.device, before: dict[str, Any] | None = None):
        self._device = device
        self._before = Cost(**before) if before else Cost(started=time.time())
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        if before:
            self._before.resumed += 1

    def now(self) -> Cost:
        """The cost so far; all ranks call it together."""
        before, wall = self._before, time.perf_counter() - self._wall
        gpus = parallel.world() if self._device.type == "cuda" else 0
        cpu_s, mem_mb, gpu_mem_mb = self._spent()
        return Cost(
            wall_s=before.wall_s + wall,
            cpu_s=before.cpu_s + sum(cpu_s),
            gpu_s=before.gpu_s + wall * gpus,
            peak_mem_mb=max(before.peak_mem_mb, sum(mem_mb)),
            peak_gpu_mem_mb=max(before.peak_gpu_mem_mb, *gpu_mem_mb),
            resumed=before.resumed,
            started=before.started,
            finished=time.time(),
            device=device_name(self._device),
            threads=torch.get_num_threads(),
            gpus=gpus,
            code=before.code if before.code[-1:] == [code()] else [*before.code, code()],
        )

    def _spent(self) -> list[list[float]]:
        """CPU seconds, peak memory and peak memory of the GPU of each rank."""
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        gpu = torch.cuda.max_memory_allocated(self._device) / 2**20 if self._device.type == "cuda" else 0.0
        with parallel.together():
            mine = torch.tensor([[time.process_time() - self._cpu, memory, gpu]], dtype=torch.float64)
            return parallel.gather(mine).t().tolist()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Context whose time is not counted: scoring is not a cost of the variant."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self._wall += time.perf_counter() - wall
            self._cpu += time.process_time() - cpu

    def state_dict(self) -> dict[str, Any]:
        return asdict(self.now())
