"""Pix2Pix of junyanz/pytorch-CycleGAN-and-pix2pix as a side of `translation.py`."""

import argparse
import contextlib
import io
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from gan.families.contract import Batch

FILES = ("models/networks.py", "util/image_pool.py")
PARTS = {"U-Net": "generator.network", "PatchGAN": "discriminator"}  # submodules of this program's variant


def options(given: argparse.Namespace) -> dict[str, Any]:
    """Those of this program that give the same: dropout at layers 2 to 4 of 8, 2 and 3 of 7, none in the innermost."""
    depth = given.size.bit_length() - 1
    return {"norm": given.norm, "channels": given.width, "dropout_layers": list(range(2, depth - 3))}


def build(modules: Sequence[ModuleType], given: argparse.Namespace) -> dict[str, nn.Module]:
    """Its networks for images of ``given``, by the names of `PARTS`."""
    networks, _ = modules
    norm, depth = networks.get_norm_layer(given.norm), given.size.bit_length() - 1
    channels, patch = given.channels, 3 if given.size >= 128 else 2
    made = {
        "U-Net": networks.UnetGenerator(channels, channels, depth, given.width, norm, use_dropout=True),
        "PatchGAN": networks.NLayerDiscriminator(2 * channels, given.width, patch, norm),
    }
    return initialised(made, networks)


def initialised(made: dict[str, nn.Module], networks: ModuleType) -> dict[str, nn.Module]:
    """The networks with their first weights, silently."""
    for network in made.values():
        with contextlib.redirect_stdout(io.StringIO()):
            networks.init_weights(network)
    return made


def output(part: nn.Module, images: Tensor) -> Tensor:
    """Of a network of either program."""
    return part(images)


def step(
    modules: Sequence[ModuleType], parts: dict[str, nn.Module], given: argparse.Namespace, batch: Batch
) -> Callable[[], None]:
    """A step in the order of its ``optimize_parameters``: one translation, D, then G."""
    networks, _ = modules
    generator, discriminator = parts.values()
    optimizers = [torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (generator, discriminator)]
    adversarial, pixels = networks.GANLoss("vanilla"), nn.L1Loss()
    source, real = batch.source, batch.real

    def criticise(images: Tensor) -> Tensor:
        return discriminator(torch.cat([source, images], 1))

    def run() -> None:
        fake = generator(source)
        discriminator.requires_grad_(True)
        optimizers[1].zero_grad()
        ((adversarial(criticise(fake.detach()), False) + adversarial(criticise(real), True)) * 0.5).backward()
        optimizers[1].step()
        discriminator.requires_grad_(False)
        optimizers[0].zero_grad()
        (adversarial(criticise(fake), True) + pixels(fake, real) * 100).backward()
        optimizers[0].step()

    return run
