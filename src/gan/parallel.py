"""Data parallelism: several processes (ranks) with equal networks, each of which takes a share of every batch.

Inside `together` a batch is this rank's share of a global one. Random numbers are drawn for the whole batch, from
generators in the same state on every rank, and split. Means over the batch are means over all ranks. Losses, gradients
and random states then equal those of one process with the whole batch, up to rounding. Outside of it, as in sampling,
a rank exchanges no data. With one rank these are torch's own functions.

Shares are contiguous: rank r of R takes samples r N / R to (r + 1) N / R - 1 of N, so that groups of consecutive
samples (`gan.nn.minibatch_stddev`) stay whole. A rank may take its share in `Pieces`, one after another: each then
counts as a share, as if there were more ranks.
"""

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import _abort_process_group
from torch.distributed.nn.functional import all_reduce
from torch.distributed.rendezvous import rendezvous

from gan.errors import GanError

JOIN = timedelta(minutes=10)  # until all ranks have started
PATIENCE = timedelta(
    days=30
)  # rank 0 scores alone and waits for locks; whoever started the ranks ends them if one dies

RENDEZVOUS = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun, and `gan.launch`, set for a rank

_together = False
_pieces: "Pieces | None" = None  # those that take turns now


def launched() -> bool:
    """True in a process that was started as a rank; a RANK alone is left over from something else."""
    return all(name in os.environ for name in RENDEZVOUS)


def rank() -> int:
    """Which process this is, from 0; rank 0 writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """Join the ranks that the environment describes as torchrun does (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR,
    MASTER_PORT), and leave together. Yields the device of this rank; without them there is one rank, on ``device``.

    A rank that fails leaves at once. The first one raises its error; the others, which fail with it or because it is
    missing, leave silently: SystemExit with the ``code`` of the error, or 1.
    """
    if not launched():
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    store, number, count = next(rendezvous("env://", timeout=JOIN))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        store=store,
        rank=number,
        world_size=count,
        timeout=PATIENCE,
        device_id=device if device.type == "cuda" else None,
    )
    try:
        yield device
        wait()
    except Exception as error:
        first = _is_first(store)
        _abort_process_group()  # and its threads: one that frees a tensor while Python exits raises SIGABRT
        if first:
            raise
        raise SystemExit(getattr(error, "code", 1)) from None
    dist.destroy_process_group()


def _is_first(store: Any) -> bool:
    try:
        return store.add("failed", 1) == 1
    except RuntimeError:  # the store ended with rank 0, which failed first
        return False


def wait() -> None:
    """Return when all ranks have reached this call. It blocks the host, not the device."""
    if world() > 1:
        dist.all_reduce(torch.zeros(1))


def from_first(value: Any) -> Any:
    """Return rank 0's ``value`` on every rank."""
    if world() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
    return values[0]


def from_all(value: Any) -> list[Any]:
    """Return the ``value`` of each rank, by rank, on every rank."""
    values = [value] * world()
    if world() > 1:
        dist.all_gather_object(values, value)
    return values


def largest(number: int) -> Callable[[], int]:
    """Begin to find the largest ``number`` over the ranks; call the returned function to wait for the answer."""
    if world() == 1:
        return lambda: number
    answer = torch.tensor([number])
    work = dist.all_reduce(answer, dist.ReduceOp.MAX, async_op=True)

    def finish() -> int:
        assert work is not None
        work.wait()
        return int(answer)

    return finish


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Context that all ranks enter together, in which a batch is this rank's share of a global one."""
    global _together
    before, _together = _together, True
    try:
        yield
    finally:
        _together = before


def parts() -> int:
    """Number of shares the batch is split into: ranks times pieces, 1 outside of `together`."""
    return _takers() if _together else 1


def place() -> int:
    """Index of the current share among `parts`, from 0."""
    if not _together:
        return 0
    return rank() if _pieces is None else rank() * _pieces.count + _pieces.index


def _takers() -> int:
    return world() * (1 if _pieces is None else _pieces.count)


# ---------------------------------------------------------------- shares that take turns


class Pieces:
    """The ``count`` consecutive pieces of this rank's share of a batch, which go through the same calls in turn.

    A call of `total` returns the sum over the pieces once every piece has reached this call, and NaN before that, so
    that code which uses it too early fails visibly.
    """

    def __init__(self, count: int):
        self.count, self.index = count, 0
        self._given: list[dict[int, Tensor]] = []  # by the index of the call, then by piece
        self._calls = 0

    @contextlib.contextmanager
    def at(self, index: int) -> Iterator[None]:
        """Context in which the current batch is piece ``index``, from the first of its calls on."""
        global _pieces
        self.index, self._calls, _pieces = index, 0, self
        try:
            yield
        finally:
            _pieces = None

    def add_up(self, x: Tensor) -> Tensor:
        """The sum of ``x`` over the pieces, or NaN; `GanError` if a gradient would have to go through it."""
        if x.requires_grad:
            raise GanError(
                f"resources.train.microbatches is {self.count}, but this variant normalises by moments of the whole "
                f"batch, which needs all of it at once; set it to 1 for this variant (it is not in the recipe)"
            )
        if self._calls == len(self._given):
            self._given.append({})
        given = self._given[self._calls]
        self._calls += 1
        given[self.index] = x
        if len(given) < self.count:
            return torch.full_like(x, math.nan)
        return torch.stack([given[index] for index in range(self.count)]).sum(dim=0)


# ---------------------------------------------------------------- shares of a batch


def share(count: int, what: str, multiple: int = 1, of: str = "") -> int:
    """Number of the ``count`` samples that a rank, or a piece of it, takes; `GanError` if they cannot be split evenly.

    what: the key or words for the samples; multiple: must divide the share, is called ``of``.
    """
    part, rest = divmod(count, _takers())
    if rest or part % multiple:
        why = "cannot be split evenly" if rest else f"gives {part} each, not a multiple of {of} ({multiple})"
        by, other = f"resources.train.gpu is {world()}", "use another number of GPUs"
        if _pieces is not None:
            by, other = f"{by}, resources.train.microbatches {_pieces.count}", f"{other} or microbatches"
        raise GanError(f"{by}: {what}, {count} images, {why}; {other}")
    return part


def randn(*shape: int, axis: int = 0, **like: Any) -> Tensor:
    """`torch.randn` of ``shape``, whose ``axis`` counts the samples of the batch; like: dtype, device."""
    return _part(torch.randn(_whole(shape, axis), **like), axis)


def rand(*shape: int, axis: int = 0, **like: Any) -> Tensor:
    """`torch.rand`; see `randn`."""
    return _part(torch.rand(_whole(shape, axis), **like), axis)


def randint(low: int, high: int, *shape: int, axis: int = 0, **like: Any) -> Tensor:
    """`torch.randint`; see `randn`."""
    return _part(torch.randint(low, high, _whole(shape, axis), **like), axis)


def randn_like(x: Tensor) -> Tensor:
    """`torch.randn_like` of samples [n, ...]."""
    if parts() == 1:
        return torch.randn_like(x)
    # numbers are drawn in the order of the memory
    whole = x.new_empty_strided((len(x) * parts(), *x.shape[1:]), (x[0].numel(), *x.stride()[1:]))
    return _part(torch.randn_like(whole), 0)


def leading(x: Tensor, count: int) -> Tensor:
    """This rank's share of the first ``count`` samples of the global batch; ``x`` [n, ...] is its share of all."""
    return _part(gather(x)[:count], 0)


def _whole(shape: tuple[int, ...], axis: int) -> list[int]:
    return [size * parts() if place == axis else size for place, size in enumerate(shape)]


def _part(whole: Tensor, axis: int) -> Tensor:
    if parts() == 1:
        return whole
    size = whole.shape[axis] // parts()
    return whole.narrow(axis, place() * size, size)


# ---------------------------------------------------------------- sums over all ranks


def total(x: Tensor) -> Tensor:
    """The sum of floating ``x`` over the shares, equal on all ranks. It can be differentiated any number of times, but
    not over `Pieces`, which get it only from the last piece on."""
    if parts() == 1:
        return x
    if _pieces is not None:
        x = _pieces.add_up(x)
    return x if world() == 1 else all_reduce(x)


def mean(x: Tensor) -> Tensor:
    """The mean of ``x`` over the shares; see `total`."""
    return x if parts() == 1 else total(x) / parts()


def gather(x: Tensor) -> Tensor:
    """The shares [n, ...] as the global batch [n parts, ...]; see `total`."""
    if parts() == 1:
        return x
    whole = x.new_zeros(parts(), *x.shape)
    if x.numel():
        whole[place()] = x
        whole = total(whole)
    return whole.flatten(0, 1)


def require_equal(tensors: dict[str, Tensor]) -> None:
    """Raise `GanError` if the sum of one of ``tensors`` differs between ranks."""
    if world() == 1:
        return
    sums = torch.stack([tensor.sum(dtype=torch.float64).cpu() for tensor in tensors.values()])
    with together():
        differ = (gather(sums[None]) != sums).any(dim=0)
    if name := next((name for name, differs in zip(tensors, differ, strict=True) if differs), None):
        raise GanError(
            f"the ranks have diverged from each other: {name} differs between the {world()} GPUs; nothing is saved, "
            f"run again to resume from the last checkpoint, with resources.train.gpu 1 if it happens again"
        )
