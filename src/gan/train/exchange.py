"""Gradients are averaged over the ranks while the backward pass still computes those of other layers.

As in DistributedDataParallel (Li et al. 2020, "PyTorch Distributed", section 3.2) they go in buckets, each as soon as
the last of its gradients is complete. That class itself wraps one forward pass of a module; a loss here takes several,
of two networks, with its own derivatives.

All ranks must send the same tensors in the same order, also where backward itself exchanges (`gan.nn.BatchNorm`). They
do: no loss branches on a number or on the rank, so the graphs are equal, and autograd visits the nodes of equal graphs
in the same order, those of one device in one thread. So one process group serves all exchanges.
"""

import contextlib
import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gan import parallel

SIZE = 4 * 2**20  # least bytes of a bucket: enough for the bandwidth, and few layers, which are ready soon
ALIGNED = 16  # elements: fused optimizers are fastest if each gradient begins at a multiple of 16 bytes

Bucket = list[nn.Parameter]


class Exchange:
    """The gradients of ``parameters``, given in the order of the layers, in the backward passes of one phase."""

    def __init__(self, parameters: Sequence[nn.Parameter]):
        self._buckets = buckets(parameters)
        self._came: Sequence[Tensor] = parameters[::-1]

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Context of the last backward pass of a phase, after which the gradients are means over the ranks.

        Buckets go in the order in which the last such pass completed them, and wait for the gradients that it had:
        penalties give some layers no gradient. In the first pass all are awaited, from the last layer to the first. If
        the set differs, the pass is slower but still correct. On an exception nothing more is sent and pending sends
        are abandoned. On one rank this has no effect.
        """
        if parallel.world() == 1:
            yield
            return
        current = _Pass(self._buckets, self._came)
        hooks = [p.register_post_accumulate_grad_hook(current.note) for bucket in self._buckets for p in bucket]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        self._came = current.finish()


def buckets(parameters: Sequence[nn.Parameter]) -> list[Bucket]:
    """``parameters`` in reverse order, a new bucket after `SIZE` bytes and for another dtype."""
    found: list[Bucket] = []
    room = 0
    for parameter in reversed(parameters):
        if room <= 0 or parameter.dtype != found[-1][0].dtype:
            found.append([])
            room = SIZE
        found[-1].append(parameter)
        room -= parameter.nbytes
    return found


class _Pass:
    """One backward pass. A gradient has come when nothing more will be added to it."""

    def __init__(self, buckets: list[Bucket], awaited: Sequence[Tensor]):
        """awaited: what is to come, in this order."""
        self._buckets, self._awaited = buckets, set(awaited)
        home: dict[Tensor, int] = {p: index for index, bucket in enumerate(buckets) for p in bucket}
        self._queue = [buckets[index] for index in dict.fromkeys(home[p] for p in reversed(awaited))]  # from its end
        self._came: dict[Tensor, None] = {}
        self._sent: set[Tensor] = set()
        self._under_way: list[tuple[Any, Tensor]] = []

    def note(self, parameter: Tensor) -> None:
        """The gradient of ``parameter`` has come; send the buckets that waited for it."""
        self._came[parameter] = None
        while self._queue and all(p in self._came for p in self._queue[-1] if p in self._awaited):
            self._send(self._queue.pop(), self._came)

    def finish(self) -> list[Tensor]:
        """Send the remaining gradients and turn all into means. Returns the parameters in order of arrival."""
        for bucket in self._buckets:
            self._send(bucket, {parameter for parameter in bucket if parameter.grad is not None})
        for work, flat in self._under_way:
            work.wait()
            flat.div_(parallel.world())
        return list(self._came)

    def _send(self, bucket: Bucket, chosen: Collection[Tensor]) -> None:
        """Begin to add up, over the ranks, the gradients in ``bucket`` that are ``chosen`` and have not been sent."""
        new = [parameter for parameter in bucket if parameter in chosen and parameter not in self._sent]
        if new:
            self._sent.update(new)
            flat = flatten(bucket, new)
            self._under_way.append((dist.all_reduce(flat, async_op=True), flat))


def flatten(bucket: Bucket, chosen: list[nn.Parameter]) -> Tensor:
    """Copy the gradients of ``chosen`` into one tensor; they become views of it with the strides of the parameters.

    Every parameter of ``bucket`` has its place in it, zeros without a gradient. The place decides the order in which
    the numbers of the ranks are added up, so it must not depend on the last pass, which a resumed run does not know.
    """
    starts = [0, *itertools.accumulate(-(-parameter.numel() // ALIGNED) * ALIGNED for parameter in bucket)]
    flat = torch.zeros(starts[-1], dtype=bucket[0].dtype, device=bucket[0].device)
    places = {p: flat.as_strided(p.shape, p.stride(), start) for p, start in zip(bucket, starts, strict=False)}
    gradients = [parameter.grad for parameter in chosen if parameter.grad is not None]
    torch._foreach_copy_([places[parameter] for parameter in chosen], gradients)  # type: ignore[reportPrivateImportUsage]
    for parameter in chosen:
        parameter.grad = places[parameter]
    return flat
