"""Cost of the operations beside the plain formulations that they replace: `python benchmarks/ops.py --json ops.json`.

Both sides of a row run in turns in one process, on the same tensors; a row gives the median process CPU time of each
and their ratio (below 1: this project is cheaper). On a shared machine only the ratios mean something.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from gan import ops
from gan.augment import GEOMETRY, PRESETS, AugmentPipe

TAPS = ops.binomial_taps()
PASSES = ("forward", "backward", "double backward")
Op = Callable[..., Tensor]


def plain_upfirdn(x: Tensor, up: int, down: int, padding: tuple[int, int]) -> Tensor:
    """Zero-stuff, pad, convolve depthwise, decimate; derivatives are autograd's."""
    n, c, h, w = x.shape
    x = F.pad(x.reshape(n, c, h, 1, w, 1), (0, up - 1, 0, 0, 0, up - 1)).reshape(n, c, h * up, w * up)
    kernel = torch.outer(TAPS, TAPS) * up**2
    x = F.conv2d(F.pad(x, (*padding, *padding)), kernel.expand(c, 1, *kernel.shape), groups=c)
    return x[:, :, ::down, ::down]


def modulated_conv(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
    """As a styled layer composes it."""
    y = ops.modulated_conv(x, weight, styles)
    return ops.epilogue(y, normaliser=ops.demodulation(weight, styles), act="linear", gain=1.0)


def plain_modulated_conv(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
    """A convolution per image with its own demodulated weights [N, O, I, k, k], as one grouped convolution."""
    own = weight[None] * styles[:, None, :, None, None]
    own = own * (own.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    y = F.conv2d(x.reshape(1, -1, *x.shape[2:]), own.flatten(0, 1), padding=1, groups=len(x))
    return y.reshape(len(x), -1, *x.shape[2:])


def plain_demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    return ((weight[None] * styles[:, None, :, None, None]).square().sum((2, 3, 4)) + 1e-8).rsqrt()


def plain_bias_act(x: Tensor, bias: Tensor) -> Tensor:
    return (F.leaky_relu(x + bias[:, None, None], 0.2) * 2**0.5).clamp(-256, 256)


def margin_geometry(pipe: AugmentPipe, x: Tensor, linear: Tensor, offset: Tensor) -> Tensor:
    """Fixed shapes by padding for the worst case, one whole reflection on every side."""
    h, w = x.shape[2:]
    wide = F.pad(x, (w - 1, w - 1, h - 1, h - 1), mode="reflect")
    fine = ops.upfirdn(wide, pipe.sym6, up=2, padding=6, gain=4.0)
    theta = torch.cat([linear, offset[:, :, None]], 2)
    return ops.upfirdn(ops.warp(fine, theta, (2 * h + 10, 2 * w + 10)), pipe.sym6, down=2)


def passes(op: Op, inputs: tuple[Tensor, ...], which: str) -> Callable[[], Any]:
    """A call of the forward pass, of that with its backward, or of that with the backward of an R1 term."""
    inputs = tuple(t.detach().requires_grad_() for t in inputs)

    def call() -> Any:
        y = op(*inputs)
        if which == "forward":
            return y
        if which == "backward":
            return torch.autograd.grad(y.square().sum(), inputs)
        grads = torch.autograd.grad(y.square().sum(), inputs, create_graph=True)
        return torch.autograd.grad(torch.stack([g.square().sum() for g in grads]).sum(), inputs)

    return call


def cases() -> list[tuple[str, Op, Op, tuple[Tensor, ...]]]:
    """(name, ours, plain, inputs) of every comparison."""
    listed = []
    for layout in (torch.contiguous_format, torch.channels_last):
        name = "NHWC" if layout == torch.channels_last else "NCHW"
        for shape in ((4, 64, 64, 64), (8, 256, 16, 16)):
            x = torch.randn(shape).contiguous(memory_format=layout)
            size = "x".join(map(str, shape))
            for rate, kwargs in (
                ("up 2", {"up": 2, "down": 1, "padding": (2, 1)}),
                ("down 2", {"up": 1, "down": 2, "padding": (1, 1)}),
                ("blur", {"up": 1, "down": 1, "padding": (2, 2)}),
            ):
                ours = partial(ops.upfirdn, taps=TAPS, gain=kwargs["up"] ** 2, **kwargs)
                listed.append((f"upfirdn {rate} {size} {name}", ours, partial(plain_upfirdn, **kwargs), (x,)))
            bias = torch.randn(shape[1])
            listed.append((f"bias_act {size} {name}", partial(ops.bias_act, clamp=256.0), plain_bias_act, (x, bias)))
            weight, styles = torch.randn(shape[1], shape[1], 3, 3) / 48, torch.randn(shape[0], shape[1])
            layer = (x, weight.contiguous(memory_format=layout), styles)
            listed.append((f"modulated_conv {size} {name}", modulated_conv, plain_modulated_conv, layer))
    weight, styles = torch.randn(256, 256, 3, 3), torch.randn(16, 256)
    listed.append(("demodulation 16x256x256x3x3", ops.demodulation, plain_demodulation, (weight, styles)))
    for shape in ((16, 1, 64, 64), (1, 1, 256, 256)):
        pipe, x = AugmentPipe(GEOMETRY), torch.randn(shape)
        linear = torch.eye(2).repeat(shape[0], 1, 1) * torch.rand(shape[0], 1, 1).add(0.5)
        maps = {"linear": linear, "offset": torch.rand(shape[0], 2)}
        ours = partial(ops.affine_resample, taps=pipe.sym6, **maps)
        plain = partial(margin_geometry, pipe, **maps)
        listed.append((f"augment geometry {'x'.join(map(str, shape))}", ours, plain, (x,)))
    return listed


def timed(*calls: Callable[[], Any], rounds: int) -> list[float]:
    """Median process CPU time in ms of each call, taken in turns after a warm-up."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(rounds + 2):
        for call, taken in zip(calls, times, strict=True):
            start = time.process_time()
            call()
            if turn >= 2:
                taken.append((time.process_time() - start) * 1e3)
    return [statistics.median(taken) for taken in times]


def measure(rounds: int) -> list[dict[str, Any]]:
    rows = []
    with tqdm(total=len(listed := cases()) * len(PASSES) + 4, unit="row") as bar:
        for name, ours, plain, inputs in listed:
            for which in PASSES:
                mine, theirs = timed(passes(ours, inputs, which), passes(plain, inputs, which), rounds=rounds)
                rows.append({"op": name, "pass": which, "ms": mine, "plain_ms": theirs, "ratio": mine / theirs})
                bar.update()
        for preset in ("mri", "bgc"):
            for shape in ((16, 1, 64, 64), (4, 3, 256, 256)):
                pipe, p = AugmentPipe(PRESETS[preset]), torch.tensor(0.5)
                taken = timed(passes(partial(pipe, p=p), (torch.randn(shape),), "backward"), rounds=rounds)[0]
                name = f"augment {preset} {'x'.join(map(str, shape))}"
                rows.append({"op": name, "pass": "backward", "ms": taken, "plain_ms": None, "ratio": None})
                bar.update()
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| operation | pass | ms | plain ms | ratio |", "|---|---|---|---|---|"]
    for row in rows:
        plain = ("-", "-") if row["ratio"] is None else (f"{row['plain_ms']:.2f}", f"{row['ratio']:.2f}")
        lines.append(f"| {row['op']} | {row['pass']} | {row['ms']:.2f} | {plain[0]} | {plain[1]} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="measurements of each side (10)")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    rows = measure(arguments.rounds)
    print(table(rows))
    if arguments.json:
        about = {
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "cpu": torch.backends.cpu.get_cpu_capability(),
        }
        arguments.json.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
