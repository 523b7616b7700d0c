"""The least time that a step can take on a GPU: its arithmetic at the peak, its bytes at the bandwidth."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import counting
import torch

from gan.families.contract import Batch, Variant

PEAK = {"fp32": 67.0, "tf32": 494.0, "bf16": 989.0, "fp16": 989.0}  # TFLOP/s of an H200, dense (NVIDIA's data sheet)
BANDWIDTH = 4800.0  # GB/s of its memory

Phases = Callable[[Batch, torch.device], tuple[Variant, dict[str, Callable[[], None]]]]


def count(phases: Phases, shape: Sequence[int], kernels: bool) -> dict[str, Any]:
    """What a step of a batch of ``shape`` [N, C, *size] asks of a GPU: TFLOP and GB moved of each phase, GB held.

    phases: the variant and its phases for a batch on a device; kernels: these are to take those of `gan.ops`.
    counted_gb is the most that a phase takes above what lies in memory between steps.
    """
    found: dict[str, Any] = {"tflop": {}, "gb": {}}
    with counting.nowhere(kernels) as device, device:
        variant, steps = phases(Batch(torch.empty(*shape), torch.empty(shape[0], 0)), device)
        for step in steps.values():
            step()  # optimizers make their state in the first
        with counting.Held() as held:
            for name, step in steps.items():
                with counting.Work() as work:
                    step()
                found["tflop"][name], found["gb"][name] = work.flop / 1e12, work.bytes / 1e9
    found["every"] = {phase.name: phase.every for phase in variant.phases()}
    return found | {"counted_gb": held.peak / 1e9}


def per_kimg(values: Mapping[str, float], every: Mapping[str, int], batch: int) -> dict[str, float]:
    """What phases take for a thousand images, from what each takes when it runs."""
    return {phase: value / every[phase] * 1000 / batch for phase, value in values.items()}


def floors(counts: dict[str, Any], batch: int, peak: float, bandwidth: float) -> dict[str, Any]:
    """GB a kimg by phase; seconds a kimg of arithmetic at ``peak`` TFLOP/s, and of bytes at ``bandwidth`` GB/s."""
    moved = per_kimg(counts["gb"], counts["every"], batch)
    arithmetic = sum(per_kimg(counts["tflop"], counts["every"], batch).values()) / peak
    return {"gb_per_kimg": moved, "floor": {"arithmetic": arithmetic, "bytes": sum(moved.values()) / bandwidth}}


def table(rows: Sequence[dict[str, Any]], keys: Sequence[str], shares: bool) -> str:
    """Markdown of the rows that have floors; shares: with the parts of peak and bandwidth that were reached."""
    rows = [row for row in rows if "floor" in row]
    if not rows:
        return ""
    phases = list(rows[0]["gb_per_kimg"])
    head = [*keys, "TFLOP", *(f"{phase}, GB" for phase in phases), "GB", "s at peak", "s at bandwidth", "memory, GB"]
    head += ["of peak", "of bandwidth"] if shares else []
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(keys)}{'---:|' * (len(head) - len(keys))}"]
    for row in rows:
        moved = row["gb_per_kimg"]
        tflop = sum(per_kimg(row["tflop"], row["every"], row["batch"]).values())
        figures = [tflop, *moved.values(), sum(moved.values()), *row["floor"].values(), row["counted_gb"]]
        figures += [least / row["total"] for least in row["floor"].values()] if shares else []
        cells = [*(row[key] for key in keys), *(f"{float(f'{value:.3g}'):g}" for value in figures)]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)
