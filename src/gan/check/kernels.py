"""Kernels of `gan.ops` against the reference: values, first and second derivatives, by dtype and memory format.

The reference is always the functions of PyTorch on the CPU in float64, of inputs that the dtype holds exactly.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gan import ops
from gan.augment import SYM6
from gan.check.rows import Row
from gan.ops import fused

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# Relative to the largest value: rounding of the result, and of the values kept for a derivative.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
OF_DERIVATIVES = 4  # times as much for these: they add up the errors of their inputs
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(
        memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d
    ),
    "sliced": lambda x: torch.stack([x, x], -1)[..., 0],
    "misaligned": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
}
# Odd sizes, sizes that are read 16 bytes at a time, and one of several blocks, whose sums float16 still holds.
PLANES = ((3, 8, 4, 6), (2, 5, 7, 3), (2, 6, 33, 35))
VOLUMES = ((2, 3, 3, 4, 5), (1, 8, 4, 4, 6))


class Case(NamedTuple):
    """The same operation twice, with inputs that `derivatives` are taken by; the first one decides the dtype."""

    reference: Callable[..., Tensor]
    kernel: Callable[..., Tensor]
    inputs: list[Tensor]


def draw(*shape: int, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu") -> Tensor:
    """Normal numbers that float64 and ``dtype`` both hold, the same on every device."""
    return torch.randn(shape).to(dtype).to(device)


def derivatives(op: Callable[..., Tensor], inputs: Sequence[Tensor], weight: Tensor) -> list[Tensor]:
    """The value; gradients of its sum with ``weight`` by the inputs; gradients of their weighted squares, as path
    length and R1 take them, by the inputs and by ``weight``."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    value = op(*inputs)
    weight = weight.to(value).requires_grad_()
    first = torch.autograd.grad(value, inputs, weight, create_graph=True)
    squares = [g.to(torch.promote_types(g.dtype, torch.float32)).square().sum() for g in first]
    penalty = torch.stack([(k + 1) * square for k, square in enumerate(squares)]).sum()
    second = torch.autograd.grad(penalty, [*inputs, weight], allow_unused=True, materialize_grads=True)
    return [t.detach() for t in (value, *first, *second)]


def errors(case: Case) -> list[float]:
    """How far each of the `derivatives` is off, relative to its largest right value; infinite for NaN."""
    first = case.inputs[0]
    exact = [x.detach().cpu().double() for x in case.inputs]
    weight = draw(*case.reference(*exact).shape, dtype=first.dtype)
    expected = derivatives(case.reference, exact, weight.double())
    got = derivatives(case.kernel, case.inputs, weight.to(first.device))
    found = []
    for mine, right in zip(got, expected, strict=True):
        # a sum over all positions may cancel to zero: its error is relative to the usual size of such sums
        least = math.sqrt(first.numel()) if right.ndim == 0 else 1e-3
        error = float((mine.cpu().double() - right).abs().max() / right.abs().max().clamp(min=least))
        found.append(math.inf if math.isnan(error) else error)
    return found


# ---------------------------------------------------------------- one case of each kernel


def bias_act(x: Tensor, bias: Tensor, act: str, gain: float, clamp: float | None, dim: int = 1) -> Case:
    """``x`` without the values whose rounding decides whether the clamp cuts them off."""
    if clamp is not None:
        y = ops.bias_act(x.cpu().double(), bias.cpu().double(), act, gain, None, dim).to(x.device)
        along = bias.view([-1 if i == dim % x.ndim else 1 for i in range(x.ndim)])
        x = x.copy_(torch.where((y.abs() - clamp).abs() < 0.04 * clamp, 0.1 - along, x))
    return Case(
        lambda x, b: ops.bias_act(x, b, act, gain, clamp, dim),
        lambda x, b: fused.bias_act(x, b, act, gain, clamp, dim),
        [x, bias],
    )


def epilogue(x: Tensor, layout: str, act: str, images: int | None, clamp: float | None) -> Case:
    """images: how many have their own noise; 1: all share one; None: no noise."""
    like = {"dtype": fused.wide(x), "device": x.device}
    noise = None if images is None else draw(images, 1, *x.shape[2:], dtype=torch.float16).to(**like)
    bias, normaliser = draw(x.shape[1], **like), draw(*x.shape[:2], **like).abs() + 0.5
    parts = [bias, normaliser, torch.tensor(0.75, **like)]

    def rest(x: Tensor, bias: Tensor, normaliser: Tensor, strength: Tensor) -> dict[str, Any]:
        drawn = None if noise is None else noise.to(x.device, fused.wide(x))
        return {"bias": bias, "normaliser": normaliser, "noise": drawn, "strength": strength if images else None}

    def reference(*args: Tensor) -> Tensor:
        return ops.epilogue(args[0], act=act, gain=1.0, clamp=clamp, **rest(*args)) + 0 * args[3]

    def kernel(*args: Tensor) -> Tensor:
        return fused.epilogue(args[0], act=act, gain=1.0, clamp=clamp, **rest(*args)) + 0 * args[3].to(args[0])

    for other in (torch.zeros_like, lambda x: x + 1):  # rounding must not decide on a side; zero may lie there too
        exact = [part.cpu().double() for part in (x, *parts)]
        u = ops.epilogue(exact[0], act="linear", gain=1.0, **rest(*exact))
        near = u.abs() < 1e-4
        if clamp is not None:
            near |= (ops.bias_act(u, None, act, 1.0).abs() - clamp).abs() < 0.06 * clamp
        x = torch.where(near.to(x.device), other(x), x)
    return Case(reference, kernel, [LAYOUTS[layout](x), *parts])


def upfirdn(x: Tensor, taps: Tensor, up: int, down: int, padding: tuple[int, int]) -> Case:
    """A case of `upfirdn`. taps: float32, on the CPU."""
    return Case(
        lambda x: ops.upfirdn(x, taps.double(), up, down, padding, 1.5),
        lambda x: fused.upfirdn(x, taps.to(x.device), up, down, (padding,) * (x.ndim - 2), 1.5),
        [x],
    )


def affine_resample(x: Tensor, linear: Tensor, offset: Tensor) -> Case:
    """A case of `affine_resample` with the sym6 filter."""
    taps = torch.tensor(SYM6) / sum(SYM6)
    places = [part.to(x.device) for part in (linear, offset, taps)]
    return Case(
        lambda x: ops.affine_resample(x, linear.double(), offset.double(), taps.double()),
        lambda x: fused.affine_resample(x, *places),
        [x],
    )


def maps(count: int) -> tuple[Tensor, Tensor]:
    """``count`` maps: identity, whole shifts, rotation with scaling, strong shrinking, enlarging, shearing, random."""
    eye = torch.eye(2)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    linear = [eye, eye, 1.3 * turn, 2.7 * eye, 0.3 * turn, torch.tensor([[1, 0.5], [0, 1]]), torch.randn(2, 2)]
    offset = [[0, 0], [3, -2], [0.4, 1.7], [-9.0, 30.0], [0, 0], [0, 0.25], [5, 5]]
    return torch.stack(linear)[:count], torch.tensor(offset)[:count]


# ---------------------------------------------------------------- the cases of the check


def _images(dtype: torch.dtype, device: torch.device, *shapes: tuple[int, ...]) -> Iterator[tuple[str, Tensor]]:
    for layout, shape in itertools.product(("contiguous", "channels_last"), shapes):
        yield layout, LAYOUTS[layout](draw(*shape, dtype=dtype, device=device))


def _bias_act(dtype: torch.dtype, device: torch.device) -> Iterator[Case]:
    for act, clamp in itertools.product(fused.ACTS, (None, 0.75)):
        for _, x in _images(dtype, device, *PLANES, VOLUMES[0]):
            yield bias_act(x, draw(x.shape[1], dtype=dtype, device=device), act, 2.0, clamp)
        x = draw(40, 24, dtype=dtype, device=device)
        yield bias_act(x, draw(24, dtype=dtype, device=device), act, 0.5, clamp)


def _epilogue(dtype: torch.dtype, device: torch.device) -> Iterator[Case]:
    for layout, x in _images(dtype, device, *PLANES, VOLUMES[0]):
        yield epilogue(x, layout, "lrelu", len(x), 1.5)
        yield epilogue(x, layout, "lrelu", 1, None)
        yield epilogue(x, layout, "linear", 1, 1.5)
        yield epilogue(x, layout, "linear", None, None)
        yield epilogue(x, layout, "relu", None, None)


def _upfirdn(dtype: torch.dtype, device: torch.device) -> Iterator[Case]:
    for (_, x), (up, down) in itertools.product(
        _images(dtype, device, *PLANES, *VOLUMES), ((1, 1), (2, 1), (1, 2), (3, 2))
    ):
        for k, padding in ((4, (2, 1)), (4, (3, -1)), (6, (3, 3)), (12, (6, 5))):
            yield upfirdn(x, draw(k, dtype=torch.float32) / k, up, down, padding)


def _affine_resample(dtype: torch.dtype, device: torch.device) -> Iterator[Case]:
    for _, x in _images(dtype, device, (7, 1, 4, 5), (7, 3, 16, 16), (7, 5, 17, 33)):
        yield affine_resample(x, *maps(len(x)))


CASES: dict[str, Callable[[torch.dtype, torch.device], Iterator[Case]]] = {
    "bias_act": _bias_act,
    "epilogue": _epilogue,
    "upfirdn": _upfirdn,
    "affine_resample": _affine_resample,
}


def compare(kernel: str, device: torch.device) -> Iterator[Row]:
    """Two rows for each dtype: of all values, of all derivatives."""
    for dtype in DTYPES:
        torch.manual_seed(0)
        found = [errors(case) for case in CASES[kernel](dtype, device)]
        name = str(dtype).removeprefix("torch.")
        yield Row(kernel, "values", name, max(values[0] for values in found), TOLERANCE[dtype])
        worst = max(max(values[1:]) for values in found)
        yield Row(kernel, "derivatives", name, worst, OF_DERIVATIVES * TOLERANCE[dtype])
