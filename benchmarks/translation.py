"""The cost of a step of Pix2Pix next to that of the program of its authors, and whether both compute the same.

    python benchmarks/translation.py --official ~/pytorch-CycleGAN-and-pix2pix --size 256 --batch 1 --norm batch

A step is one of the discriminator and one of the generator, with backward passes and optimizers: process CPU time, the
median of the repeats after a warm-up, in turn, each program in a process of its own (`steps.py`). Networks, losses,
batch and dropout are the same. Passes through each network are counted: this program translates in both phases.
Before that, the weights of one are copied to the other by their place, and outputs are compared in double precision.
"""

import argparse
import importlib.util
import platform
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import steps
import torch
from torch import Tensor, nn

from gan.families.contract import Batch, ImageShape, Variant
from gan.families.registry import build
from gan.nn.unet import Dropout
from gan.ops.precision import full_precision

CLOSE = 1e-5  # the most that outputs in [-1, 1], and logits, may differ


def read(folder: Path) -> ModuleType:
    """The networks and losses of the checkout in ``folder``."""
    spec = importlib.util.spec_from_file_location("official_networks", folder / "models/networks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def official(networks: ModuleType, given: argparse.Namespace) -> tuple[nn.Module, nn.Module]:
    """Its generator and discriminator for images of ``given``."""
    norm, depth = networks.get_norm_layer(given.norm), given.size.bit_length() - 1
    channels, patch = given.channels, 3 if given.size >= 128 else 2
    generator = networks.UnetGenerator(channels, channels, depth, given.width, norm, use_dropout=True)
    discriminator = networks.NLayerDiscriminator(2 * channels, given.width, patch, norm)
    for network in (generator, discriminator):
        networks.init_weights(network)
    return generator, discriminator


def copied(source: nn.Module, target: nn.Module) -> None:
    """Copy weights by the place of their layers in a pass; biases before a norm, which do nothing, are left out."""
    layers = [_in_order(network) for network in (source, target)]
    for one, other in zip(*layers, strict=True):
        for name, parameter in other.named_parameters(recurse=False):
            parameter.data.copy_(getattr(one, name).data)


def _in_order(network: nn.Module) -> list[nn.Module]:
    """Layers with weights, from the image on: those of a nested U-Net in the order of a pass."""
    return [module for module in network.modules() if list(module.parameters(recurse=False))]


def differences(networks: ModuleType, given: argparse.Namespace) -> dict[str, float]:
    """The largest difference of both programs in evaluation of the generator and in training, without dropout."""
    generator, discriminator = official(networks, given)
    mine = _parts(build("pix2pix", _options(given), _shape(given), given.batch))
    pairs = {"U-Net": (generator, mine["G"]), "PatchGAN": (discriminator, mine["D"])}
    found = {}
    for name, (its, mine) in pairs.items():
        copied(its, mine)
        for network in (its, mine):
            network.double().train()
            for module in network.modules():
                if isinstance(module, nn.Dropout | Dropout):
                    module.eval()
        channels = given.channels * (1 if name == "U-Net" else 2)
        images = torch.rand(2, channels, given.size, given.size, dtype=torch.float64) * 2 - 1
        with torch.no_grad():
            found[name] = float((its(images) - mine(images)).abs().max())
    return found


def this_step(given: argparse.Namespace, batch: Batch) -> tuple[Callable[[], None], dict[str, nn.Module]]:
    """A step of this program, and its networks."""
    program = steps.Program(given.precision)
    variant, phases = program.phases("pix2pix", _options(given), batch, torch.device("cpu"))

    def step() -> None:
        for phase in phases.values():
            phase()

    return step, _parts(variant)


def official_step(
    networks: ModuleType, given: argparse.Namespace, batch: Batch
) -> tuple[Callable[[], None], dict[str, nn.Module]]:
    """A step in the order of its ``optimize_parameters``: one translation, D, then G."""
    generator, discriminator = official(networks, given)
    optimizers = [torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (generator, discriminator)]
    adversarial, pixels = networks.GANLoss("vanilla"), nn.L1Loss()
    source, real = batch.source, batch.real

    def criticise(images: Tensor) -> Tensor:
        return discriminator(torch.cat([source, images], 1))

    def step() -> None:
        fake = generator(source)
        discriminator.requires_grad_(True)
        optimizers[1].zero_grad()
        ((adversarial(criticise(fake.detach()), False) + adversarial(criticise(real), True)) * 0.5).backward()
        optimizers[1].step()
        discriminator.requires_grad_(False)
        optimizers[0].zero_grad()
        (adversarial(criticise(fake), True) + pixels(fake, real) * 100).backward()
        optimizers[0].step()

    return step, {"G": generator, "D": discriminator}


def passes(step: Callable[[], None], networks: dict[str, nn.Module]) -> Counter[str]:
    """How often a step goes through each network, forward and back."""
    found: Counter[str] = Counter()

    def count(name: str, result: Tensor) -> None:
        found[f"{name} forward"] += 1
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


def _parts(variant: Variant) -> dict[str, nn.Module]:
    """Its networks, the generator without what it puts next to the source."""
    return {"G": variant.get_submodule("generator.network"), "D": variant.get_submodule("discriminator")}


def _options(given: argparse.Namespace) -> dict[str, Any]:
    """The published program has dropout at layers 2 to 4 of 8, 2 and 3 of 7: none in the innermost."""
    depth = given.size.bit_length() - 1
    return {"norm": given.norm, "channels": given.width, "dropout_layers": list(range(2, depth - 3))}


def _shape(given: argparse.Namespace) -> ImageShape:
    return ImageShape(given.channels, (given.size, given.size), sources=given.channels)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--official", type=Path, required=True, help="checkout of junyanz/pytorch-CycleGAN-and-pix2pix")
    parser.add_argument("--size", type=int, default=256, choices=[32, 64, 128, 256])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--channels", type=int, default=1, help="of the source, and of the target")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--norm", default="batch", choices=["batch", "instance"])
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"], help="of this program")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    full_precision()
    torch.manual_seed(0)
    networks = read(given.official)
    print(f"torch {torch.__version__}, {platform.processor() or platform.machine()}, {given.size} x {given.size}")
    for name, difference in differences(networks, given).items():
        print(f"{name}: outputs of equal weights differ by at most {difference:.2g}")
        if difference > CLOSE:
            raise SystemExit(f"{name} computes something else")
    source, real = torch.rand(2, given.batch, given.channels, given.size, given.size) * 2 - 1
    batch = Batch(real, torch.zeros(given.batch, 0), source)
    sides = {"this": this_step(given, batch), "official": official_step(networks, given, batch)}
    for name, (step, nets) in sides.items():
        counted = ", ".join(f"{what} {count}" for what, count in sorted(passes(step, nets).items()))
        print(f"{name}: passes in a step: {counted}")
    seconds = steps.measure(
        {name: {"step": step} for name, (step, _) in sides.items()}, given.repeats, torch.device("cpu")
    )
    this, its = (seconds[name]["step"] for name in ("this", "official"))
    print(f"a step of {given.batch}: this {this:.3g} s, official {its:.3g} s, ratio {this / its:.2f}")


if __name__ == "__main__":
    main()
