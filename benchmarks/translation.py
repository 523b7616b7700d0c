"""The cost of a step of a translating family next to that of the program of its authors, and whether both are equal.

    python benchmarks/translation.py --official ~/pytorch-CycleGAN-and-pix2pix --size 256 --norm batch
    python benchmarks/translation.py --family cyclegan --official ~/pytorch-CycleGAN-and-pix2pix --size 128
    python benchmarks/translation.py --family unit --official ~/UNIT --size 64

A step is one of each network, with backward passes and optimizers: process CPU time, the median of the repeats after a
warm-up, in turn, each program in a process of its own (`steps.py`). Networks, losses, batch and dropout are the same.
Passes through each network are counted: this program translates in both phases. Before that, the weights of one are
copied to the other by their place, and outputs are compared in double precision.
"""

import argparse
import importlib
import importlib.util
import platform
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import steps
import torch
from torch import Tensor, nn

from gan.families.contract import Batch, ImageShape, Variant
from gan.families.registry import build, options_of, trained
from gan.nn.unet import Dropout
from gan.ops.precision import full_precision

CLOSE = 1e-5  # the most that outputs in [-1, 1], and logits, may differ


def read(path: Path) -> ModuleType:
    """A file of the checkout as a module."""
    spec = importlib.util.spec_from_file_location(f"official_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def copied(source: nn.Module, target: nn.Module) -> None:
    """Copy weights by the place of their layers in a pass; biases before a norm, which do nothing, are left out."""
    layers = [_in_order(network) for network in (source, target)]
    for one, other in zip(*layers, strict=True):
        for name, parameter in other.named_parameters(recurse=False):
            parameter.data.copy_(getattr(one, name).data)


def _in_order(network: nn.Module) -> list[nn.Module]:
    """Layers with weights, from the image on: those of a nested U-Net in the order of a pass."""
    return [module for module in network.modules() if list(module.parameters(recurse=False))]


def difference(official: ModuleType, its: nn.Module, mine: nn.Module, size: int) -> float:
    """The largest difference of the outputs of two networks with equal weights in training, without dropout."""
    copied(its, mine)
    for network in (its, mine):
        network.double().train()
        for module in network.modules():
            if isinstance(module, nn.Dropout | Dropout):
                module.eval()
    channels = next(mine.parameters()).shape[1]
    images = torch.rand(2, channels, size, size, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        return float((official.output(its, images) - official.output(mine, images)).abs().max())


def passes(step: Callable[[], None], networks: dict[str, nn.Module]) -> Counter[str]:
    """How often a step goes through each network, forward and back."""
    found: Counter[str] = Counter()

    def count(name: str, result: Tensor | list[Tensor]) -> None:
        found[f"{name} forward"] += 1
        result = result[0] if isinstance(result, list) else result
        if result.requires_grad:
            result.register_hook(lambda _: found.update([f"{name} back"]))

    hooks = [
        network.register_forward_hook(lambda *hook, name=name: count(name, hook[2]))
        for name, network in networks.items()
    ]
    step()
    for hook in hooks:
        hook.remove()
    return found


def this_side(official: ModuleType, given: argparse.Namespace, batch: Batch) -> tuple[Callable[[], None], dict]:
    """A step of this program, and its networks by the names of the official side."""
    program = steps.Program(given.precision)
    variant, phases = program.phases(given.family, official.options(given), batch, torch.device("cpu"))

    def step() -> None:
        for phase in phases.values():
            phase()
        variant.end_step(0)

    return step, _parts(variant, official)


def _parts(variant: Variant, official: ModuleType) -> dict[str, nn.Module]:
    return {name: variant.get_submodule(place) for name, place in official.PARTS.items()}


def main() -> None:
    translators = [name for name in trained() if options_of(name).TASK == "translate"]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", default="pix2pix", choices=translators)
    checkout = "checkout of junyanz/pytorch-CycleGAN-and-pix2pix; for unit, of mingyuliutw/UNIT"
    parser.add_argument("--official", type=Path, required=True, help=checkout)
    parser.add_argument("--size", type=int, default=256, choices=[32, 64, 128, 256])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--channels", type=int, default=1, help="of the source, and of the target")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--norm", default="instance", choices=["instance", "batch"])
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"], help="of this program")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    full_precision()
    torch.manual_seed(0)
    official = importlib.import_module(f"official_{given.family}")
    modules = [read(given.official / name) for name in official.FILES]
    print(f"torch {torch.__version__}, {platform.processor() or platform.machine()}, {given.size} x {given.size}")
    # Whether both compute the same.
    shape = ImageShape(given.channels, (given.size, given.size), sources=given.channels)
    mine = _parts(build(given.family, official.options(given), shape, given.batch), official)
    for name, its in official.build(modules, given).items():
        found = difference(official, its, mine[name], given.size)
        print(f"{name}: outputs of equal weights differ by at most {found:.2g}")
        if found > CLOSE:
            raise SystemExit(f"{name} computes something else")
    # What it costs.
    source, real = torch.rand(2, given.batch, given.channels, given.size, given.size) * 2 - 1
    batch = Batch(real, torch.zeros(given.batch, 0), source)
    parts = official.build(modules, given)
    sides = {
        "this": this_side(official, given, batch),
        "official": (official.step(modules, parts, given, batch), parts),
    }
    for name, (step, nets) in sides.items():
        counted = ", ".join(f"{what} {count}" for what, count in sorted(passes(step, nets).items()))
        print(f"{name}: passes in a step: {counted}")
    timed = {name: {"step": step} for name, (step, _) in sides.items()}
    seconds = steps.measure(timed, given.repeats, torch.device("cpu"))
    this, its = (seconds[name]["step"] for name in ("this", "official"))
    print(f"a step of {given.batch}: this {this:.3g} s, official {its:.3g} s, ratio {this / its:.2f}")


if __name__ == "__main__":
    main()
