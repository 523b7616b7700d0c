"""What a step computes, moves and holds, counted without a GPU: on the meta device, whose tensors have no numbers.

The operations are those that PyTorch dispatches below autograd; what one of them does inside (the workspace of a
convolution, a second pass over its input) is not seen. A kernel of `gan.ops` is one operation.
"""

import contextlib
import math
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._foreach_utils import _get_fused_kernels_supported_devices
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gan.errors import GanError
from gan.ops import build, extension

META = torch.device("meta")
_OVERWRITES = {"bernoulli_", "copy_", "fill_", "normal_", "random_", "uniform_", "zero_"}  # and do not read before
_BLOCK = 512  # bytes, in whole blocks of which the allocator of CUDA gives


@contextlib.contextmanager
def nowhere(kernels: bool = False) -> Iterator[torch.device]:
    """Yields the meta device, with all that a GPU has there: fused optimizers and, if loaded, kernels by `ops.use`.

    kernels: load them, of the host's library if there is no other. `GanError` if it cannot be built.
    """
    if kernels:
        load_kernels()
    fused = [*_get_fused_kernels_supported_devices(), META.type]

    def takes(x: Tensor) -> bool:
        return kernels and x.is_meta and extension._chosen == "cuda" and x.dtype in extension._DTYPES

    with (
        mock.patch("torch.optim.optimizer._get_fused_kernels_supported_devices", lambda: fused),
        mock.patch.object(extension, "takes", takes),
    ):
        yield META


def load_kernels() -> None:
    try:
        extension.load(extension.find())
    except GanError:
        extension.load(build.build(build.HOST))


class Work(TorchDispatchMode):
    """Floating-point operations of convolutions and matrix products, and bytes of all operations.

    Of the first it counts what `FlopCounterMode` does, which does not know which module a derivative of a derivative
    belongs to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flop = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func.overloadpacket in flop_registry:
            self.flop += flop_registry[func.overloadpacket](*args, **kwargs, out_val=result)
        self.bytes += moved(func, args, kwargs, result)
        return result


def moved(func: Any, args: tuple, kwargs: dict[str, Any], result: Any) -> int:
    """Bytes that ``func`` must move: each input read once, each output written once, both of what changes in place.

    A view moves none, and memory that is only set aside neither. Of values that stand for many (stride 0) each counts
    once; an operation that picks from its input counts as if it read all of it.
    """
    name = func.overloadpacket.__name__
    read, written, given = [], [], _by_name(func, args, kwargs)
    for argument in func._schema.arguments:
        tensors = _tensors(given.get(argument.name))
        writes = argument.alias_info is not None and argument.alias_info.is_write
        written += tensors if writes else []
        if not (writes and (argument.kwarg_only or name in _OVERWRITES)):
            read += tensors
    known = {_storage(x) for x in read} | {_storage(x) for x in written}
    if not name.removeprefix("new_").startswith("empty"):
        written += [x for x in _tensors(result) if _storage(x) not in known]
    if not written:
        return 0
    if name.startswith("new_") or name.endswith("_like"):
        read = []  # of which the shape alone is asked
    if name == "convolution_backward":
        read = _read_by_convolution_backward(given)
    return sum(map(_size, {id(x): x for x in read}.values())) + sum(map(_size, written))


class Held(TorchDispatchMode):
    """Bytes of the tensors that are made inside, while they live: ``now``, ``peak`` and what was alive at the peak.

    What lived before is not counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: dict[int, tuple[weakref.ref, int, str]] = {}
        self._at_peak: list[tuple[int, str]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        before = {_storage(x) for x in _tensors((args, *(kwargs or {}).values()))}
        for x in _tensors(result):
            if (key := _storage(x)) not in before and key not in self._alive:
                self._keep(key, x, func.overloadpacket.__name__)
        if self.now > self.peak:
            self.peak = self.now
            self._at_peak = [(size, what) for _, size, what in self._alive.values()]
        return result

    def restart(self) -> None:
        """Look for the peak from here on."""
        self.peak, self._at_peak = self.now, [(size, what) for _, size, what in self._alive.values()]

    def holders(self) -> list[tuple[int, int, str]]:
        """(bytes, tensors, operation with dtype and shape) of what was alive at the peak, the most first."""
        sizes, counts = Counter(), Counter()
        for size, what in self._at_peak:
            sizes[what] += size
            counts[what] += 1
        return [(size, counts[what], what) for what, size in sizes.most_common()]

    def _keep(self, key: int, x: Tensor, name: str) -> None:
        storage = x.untyped_storage()
        size = -(-storage.nbytes() // _BLOCK) * _BLOCK
        what = f"{name} {str(x.dtype).removeprefix('torch.')} {'x'.join(map(str, x.shape))}"
        self._alive[key] = weakref.ref(storage, lambda _: self._drop(key)), size, what
        self.now += size

    def _drop(self, key: int) -> None:
        self.now -= self._alive.pop(key)[1]


def _by_name(func: Any, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    names = (argument.name for argument in func._schema.arguments)
    return dict(zip(names, args, strict=False)) | kwargs


def _read_by_convolution_backward(given: dict[str, Any]) -> list[Tensor]:
    """The gradient by the input takes the weight, that by the weight the input."""
    by_input, by_weight, _ = given["output_mask"]
    return [given["grad_output"], *[given["weight"]] * by_input, *[given["input"]] * by_weight]


def _tensors(value: Any) -> list[Tensor]:
    """Of an argument or a result: itself, or what lists hold."""
    if isinstance(value, Tensor):
        return [value]
    return [x for item in value for x in _tensors(item)] if isinstance(value, (list, tuple)) else []


def _storage(x: Tensor) -> int:
    return x.untyped_storage()._cdata


def _size(x: Tensor) -> int:
    return x.element_size() * math.prod(n for n, stride in zip(x.shape, x.stride(), strict=True) if stride)
