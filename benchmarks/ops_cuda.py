"""The kernels of gan.ops against the bandwidth floor: `python benchmarks/ops_cuda.py --json kernels.json`. Needs a GPU.

The floor of a pass is the time that a copy kernel of the same GPU, in the same run, takes for the bytes that the pass
cannot avoid: each input read once, each result written once. Beside it stands the reference, PyTorch's functions. A
time is the median over rounds of device events around a CUDA graph of a hundred calls, so launches cost nothing.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from gan import ops
from gan.augment import SYM6
from gan.errors import GanError, command
from gan.files import write_json

CALLS = 100
LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
Op = Callable[..., Tensor]


def cases(dtypes: Sequence[torch.dtype] = DTYPES) -> list[tuple[str, Op, tuple[Tensor, ...]]]:
    """(name, operation, inputs) of every row; of the inputs, the floating ones that need a gradient get it."""
    listed = []
    taps = ops.binomial_taps().cuda()
    for shape in ((32, 64, 256, 256), (32, 512, 32, 32)):
        bias, normaliser = torch.randn(shape[1], device="cuda"), torch.rand(shape[:2], device="cuda")
        noise, strength = torch.randn(shape[0], 1, *shape[2:], device="cuda"), torch.ones((), device="cuda")

        def epilogue(x: Tensor, bias: Tensor, normaliser: Tensor, noise: Tensor = noise, strength: Tensor = strength):
            return ops.epilogue(x, bias, normaliser=normaliser, noise=noise, strength=strength, clamp=256.0)

        for dtype in dtypes:
            for layout, order in LAYOUTS.items():
                x = torch.randn(shape, device="cuda").to(dtype).contiguous(memory_format=order)
                where = f"{'x'.join(map(str, shape))} {layout} {str(dtype).removeprefix('torch.')}"
                listed += [
                    (f"bias_act {where}", partial(ops.bias_act, clamp=256.0), (x, bias)),
                    (f"epilogue {where}", epilogue, (x, bias, normaliser)),
                    (f"upfirdn up 2 {where}", partial(ops.upsample, taps=taps), (x[: len(x) // 4],)),
                    (f"upfirdn down 2 {where}", partial(ops.downsample, taps=taps), (x,)),
                    (f"upfirdn blur {where}", partial(ops.upfirdn, taps=taps, padding=(2, 1)), (x,)),
                ]
    sym6 = (torch.tensor(SYM6) / sum(SYM6)).cuda()
    for shape in ((64, 1, 256, 256), (64, 4, 256, 256), (64, 1, 64, 64)):
        turn = torch.tensor([[0.9, -0.4], [0.4, 0.9]], device="cuda").expand(shape[0], 2, 2)
        op = partial(ops.affine_resample, linear=turn, offset=turn[:, 0], taps=sym6)
        listed.append((f"affine_resample {'x'.join(map(str, shape))}", op, (torch.randn(shape, device="cuda"),)))
    return listed


def timed(call: Callable[[], Any], rounds: int) -> float:
    """Median time of a call in microseconds."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        for _ in range(CALLS):
            call()
    graph.replay()
    times = []
    for _ in range(rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e3 / CALLS)
    return statistics.median(times)


def passes(op: Op, inputs: tuple[Tensor, ...]) -> dict[str, tuple[Callable[[], Any], int]]:
    """Each pass, and the bytes that it cannot avoid."""
    inputs = tuple(t.detach().requires_grad_() for t in inputs)
    y = op(*inputs)
    grad = torch.ones_like(y)
    size = sum(t.nbytes for t in (*inputs, y))

    def forward() -> Tensor:
        with torch.no_grad():
            return op(*inputs)

    kept = y.nbytes if y.grad_fn and "affine" not in y.grad_fn.name().lower() else 0
    return {
        "forward": (forward, size),
        "backward": (lambda: torch.autograd.grad(y, inputs, grad, retain_graph=True), size + kept),
    }


def bandwidth(rounds: int) -> float:
    """Bytes a microsecond that a copy of 1 GB reads and writes."""
    x = torch.empty(1 << 28, device="cuda")
    y = torch.empty_like(x)
    return 2 * x.nbytes / timed(lambda: y.copy_(x), rounds)


def measure(rounds: int, dtypes: Sequence[torch.dtype]) -> list[dict[str, Any]]:
    rate, rows = bandwidth(rounds), []
    for name, op, inputs in tqdm(cases(dtypes), unit="row", file=sys.stderr):
        for which in ("forward", "backward"):
            row: dict[str, Any] = {"op": name, "pass": which}
            for implementation in ("reference", "cuda"):
                ops.use(implementation)
                call, size = passes(op, inputs)[which]
                row[implementation] = timed(call, rounds)
            row |= {"floor": size / rate, "of_floor": row["cuda"] * rate / size, "gb_s": rate / 1e3}
            rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| operation | pass | us | floor us | times floor | reference us |", "|---|---|---|---|---|---|"]
    for row in rows:
        figures = f"{row['cuda']:.1f} | {row['floor']:.1f} | {row['of_floor']:.2f} | {row['reference']:.1f}"
        lines.append(f"| {row['op']} | {row['pass']} | {figures} |")
    return "\n".join(lines)


@command
def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="measurements of each pass (10)")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    names = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES}
    parser.add_argument("--dtype", nargs="+", choices=list(names), default=list(names), help="(all)")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        raise GanError(
            "benchmarks/ops_cuda.py: torch sees no GPU here; run it where one is (benchmarks/ops.py needs none)"
        )
    # Derivatives are computed on the stream of what they are of, and the default one cannot be recorded.
    with torch.cuda.stream(torch.cuda.Stream()):
        rows = measure(given.rounds, [names[name] for name in given.dtype])
    print(table(rows))
    if given.json:
        about = {"torch": torch.__version__, "cuda": torch.version.cuda, "gpu": torch.cuda.get_device_name()}
        write_json(given.json, {"about": about, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
