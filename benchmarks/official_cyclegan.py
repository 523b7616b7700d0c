"""CycleGAN of junyanz/pytorch-CycleGAN-and-pix2pix as a side of `translation.py`."""

import argparse
import itertools
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from official_pix2pix import FILES, initialised, output
from torch import nn

from gan.families.contract import Batch

__all__ = ["FILES", "PARTS", "build", "options", "output", "step"]
PARTS = {  # submodules of this program's variant
    "there": "generators.onward",
    "back": "generators.back",
    "D of targets": "discriminators.targets",
    "D of sources": "discriminators.sources",
}


def options(given: argparse.Namespace) -> dict[str, Any]:
    """Those of this program that give the same."""
    return {"norm": given.norm, "channels": given.width}


def build(modules: Sequence[ModuleType], given: argparse.Namespace) -> dict[str, nn.Module]:
    """Its networks for images of ``given``, by the names of `PARTS`."""
    networks, _ = modules
    norm, channels = networks.get_norm_layer(given.norm), given.channels
    blocks, patch = 9 if given.size >= 256 else 6, 3 if given.size >= 128 else 2
    generators = (networks.ResnetGenerator(channels, channels, given.width, norm, n_blocks=blocks) for _ in range(2))
    discriminators = (networks.NLayerDiscriminator(channels, given.width, patch, norm) for _ in range(2))
    return initialised(dict(zip(PARTS, [*generators, *discriminators], strict=True)), networks)


def step(
    modules: Sequence[ModuleType], parts: dict[str, nn.Module], given: argparse.Namespace, batch: Batch
) -> Callable[[], None]:
    """A step in the order of its ``optimize_parameters``: both G with their cycles, then both D with their pools."""
    networks, pool = modules
    there, back, d_targets, d_sources = parts.values()
    pairs = (there, back), (d_targets, d_sources)
    optimizers = [
        torch.optim.Adam(itertools.chain(*(net.parameters() for net in pair)), 2e-4, (0.5, 0.999)) for pair in pairs
    ]
    adversarial, pixels, pools = networks.GANLoss("lsgan"), nn.L1Loss(), [pool.ImagePool(50) for _ in range(2)]
    source, real = batch.source, batch.real

    def trainable(flag: bool) -> None:
        for network in pairs[1]:
            network.requires_grad_(flag)

    def criticise(network: nn.Module, images: torch.Tensor, fake: torch.Tensor) -> None:
        ((adversarial(network(images), True) + adversarial(network(fake.detach()), False)) * 0.5).backward()

    def run() -> None:
        made, found = there(source), back(real)
        cycles = pixels(back(made), source) * 10 + pixels(there(found), real) * 10
        trainable(False)
        optimizers[0].zero_grad()
        (adversarial(d_targets(made), True) + adversarial(d_sources(found), True) + cycles).backward()
        optimizers[0].step()
        trainable(True)
        optimizers[1].zero_grad()
        criticise(d_targets, real, pools[0].query(made))
        criticise(d_sources, source, pools[1].query(found))
        optimizers[1].step()

    return run
