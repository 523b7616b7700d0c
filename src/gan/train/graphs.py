"""A phase of a step as a CUDA graph: its operations are recorded once and then launched together.

A step is thousands of small kernels, and a GPU that waits for each to be launched is idle for most of the time at
small batches. A graph repeats the kernels with their recorded addresses, so all that changes from step to step must be
in tensors that stay: the batch, weights, buffers, and the state of the random generator, which a graph reads at
launch. So the numbers equal those of the step without graphs. Optimizers, whose learning rates change, and the
exchange between ranks stay outside: they are few launches.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from gan import parallel
from gan.errors import GanError
from gan.families.contract import Batch

WARM_UP = 3  # runs before the recording: libraries choose their algorithms and take their workspaces in the first ones

Compute = Callable[[], dict[str, Tensor]]


def pick_graphs(step: str, device: torch.device, microbatches: int, refused: str | None) -> tuple["Graphs | None", str]:
    """Resolve `gan.runtime.Runtime.step` to a `Graphs` or None, and say why graphs are not used where they would help.

    refused: why ``auto`` must not use graphs on this GPU. `GanError` if graphs are requested and impossible.
    """
    if step == "eager" or (step == "auto" and device.type == "cpu"):
        return None, ""
    lacks = ""
    if device.type == "cpu":
        lacks = "CUDA graphs are for a GPU"
    elif parallel.world() > 1:
        lacks = f"resources.train.gpu is {parallel.world()}, CUDA graphs are for one"
    elif microbatches > 1:
        lacks = f"resources.train.microbatches is {microbatches}, CUDA graphs are for whole batches"
    if lacks and step == "graph":
        raise GanError(f"resources.train.step is graph, but {lacks}; set it to eager")
    if step == "auto" and (why := lacks or refused):
        return None, f"the GPU gets its operations one at a time instead of as CUDA graphs, which is slower: {why}"
    return Graphs(device), ""


class Replays(Protocol):
    """The part of `torch.cuda.CUDAGraph` that is used."""

    def replay(self) -> None: ...


class Recorded(NamedTuple):
    """A graph and the tensors that it writes to."""

    graph: Replays
    scalars: dict[str, Tensor]
    gradients: list[Tensor | None]


class Graphs:
    """The graphs of a training on one GPU. They share their memory, since no two run at once."""

    def __init__(self, device: torch.device):
        # Not the default stream, which cannot be recorded. Warm-up runs there too, for the workspaces of libraries.
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()
        self._form: Hashable = None
        self._batch: Batch | None = None
        self._runs: Counter[str] = Counter()
        self._recorded: dict[str, Recorded] = {}

    def begin(self, batch: Batch, form: Hashable) -> Batch:
        """Copy ``batch`` into the tensors that graphs read. form: `Variant.form`; a new value makes new graphs."""
        if form != self._form:
            self._form = form
            self._runs.clear()
            self._recorded.clear()
        if self._batch is None:
            self._batch = Batch(*map(torch.clone, batch))
        for mine, its in zip(self._batch, batch, strict=True):
            mine.copy_(its)
        return self._batch

    def run(self, name: str, compute: Compute, parameters: Sequence[Tensor]) -> dict[str, Tensor]:
        """Run ``compute()``, which sets the gradients of ``parameters`` and returns scalars, or replay its graph.

        name: of the phase. Scalars and gradients are overwritten when the phase runs again. `GanError` if it cannot be
        recorded.
        """
        with self._beside():
            self._runs[name] += 1
            if self._runs[name] <= WARM_UP:
                return compute()
            if name not in self._recorded:
                self._recorded[name] = self._record(name, compute, parameters)
            graph, scalars, gradients = self._recorded[name]
            graph.replay()
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        return scalars

    @contextlib.contextmanager
    def _beside(self) -> Iterator[None]:
        """Run on the graphs' stream, after all work queued so far; later work waits for it."""
        outside = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            yield
        outside.wait_stream(self._stream)

    def _record(self, name: str, compute: Compute, parameters: Sequence[Tensor]) -> Recorded:
        try:
            graph, scalars = self._capture(compute)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise GanError(
                f"phase {name} cannot be recorded as a CUDA graph ({str(error).splitlines()[0]}); "
                f"set resources.train.step to eager"
            ) from error
        return Recorded(graph, scalars, [parameter.grad for parameter in parameters])

    def _capture(self, compute: Compute) -> tuple[Replays, dict[str, Tensor]]:
        graph = torch.cuda.CUDAGraph()
        # thread_local: calls of other threads to the GPU do not affect the recording
        with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
            scalars = compute()
        return graph, scalars
