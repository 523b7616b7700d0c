"""UNIT of mingyuliutw/UNIT (May 2018, row `unit_program`) as a side of `translation.py`."""

import argparse
import itertools
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from gan.families.contract import Batch
from gan.families.unit.networks import Decoder

FILES = ("networks.py",)
PARTS = {  # submodules of this program's variant
    "encoder of sources": "generators.encoders.sources",
    "encoder of targets": "generators.encoders.targets",
    "decoder of sources": "generators.decoders.sources",
    "decoder of targets": "generators.decoders.targets",
    "D of sources": "discriminators.sources",
    "D of targets": "discriminators.targets",
}
WEIGHTS = {"adversarial": 1, "reconstruction": 10, "cycle": 10, "latent_weight": 0.01, "latent_cycle": 0.01}
GENERATOR = {"n_downsample": 2, "n_res": 4, "activ": "relu", "pad_type": "reflect"}
DISCRIMINATOR = {"norm": "none", "activ": "lrelu", "n_layer": 4, "gan_type": "lsgan", "num_scales": 3}


def options(given: argparse.Namespace) -> dict[str, Any]:
    """Those of this program that give the same: of row `unit_program` of config.yaml."""
    generator = {"share": False, "down_kernel": 4, "upsample": "nearest", "last_kernel": 7, "slope": 0}
    norms = {"norm_in": "all", "norm_up": "layer", "padding": "reflect", "init": "kaiming"}
    discriminator = {"d_layers": 4, "d_kernel": 4, "d_slope": 0.2, "d_scales": 3, "d_shrink": "mean3"}
    return WEIGHTS | generator | norms | discriminator | {"objective": "lsgan", "channels": given.width}


def build(modules: Sequence[ModuleType], given: argparse.Namespace) -> dict[str, nn.Module]:
    """Its networks for images of ``given``, by the names of `PARTS`. Their weights are those of PyTorch's layers."""
    (networks,) = modules
    generators = [networks.VAEGen(given.channels, GENERATOR | {"dim": given.width}) for _ in range(2)]
    critics = [
        networks.MsImageDis(given.channels, DISCRIMINATOR | {"dim": given.width, "pad_type": "reflect"})
        for _ in range(2)
    ]
    for block in itertools.chain(*(generator.modules() for generator in generators)):
        if isinstance(getattr(block, "norm", None), networks.LayerNorm):
            block.norm.weight, block.norm.bias = block.norm.gamma, block.norm.beta  # PyTorch's names
            block.norm = block._modules.pop("norm")  # after the convolution, as in a pass
    parts = [*(generator.enc for generator in generators), *(generator.dec for generator in generators), *critics]
    return dict(zip(PARTS, parts, strict=True))


def output(part: nn.Module, given: Tensor) -> Tensor:
    """Of a network of either program: an encoder's code, a decoder's image, logits of all scales [N, logits]."""
    if isinstance(part, Decoder):
        return torch.tanh(part(given, [4 * side for side in given.shape[2:]]))
    found = part(given)
    return torch.cat([logits.flatten(1) for logits in found], 1) if isinstance(found, list) else found


def step(
    modules: Sequence[ModuleType], parts: dict[str, nn.Module], given: argparse.Namespace, batch: Batch
) -> Callable[[], None]:
    """A step in the order of its ``train.py``: both discriminators, then both autoencoders."""
    in_a, in_b, out_a, out_b = (parts[name] for name in [*PARTS][:4])
    d_a: Any = parts["D of sources"]
    d_b: Any = parts["D of targets"]
    trained = ([d_a, d_b], [in_a, out_a, in_b, out_b])
    optimizers = [
        torch.optim.Adam(itertools.chain(*(net.parameters() for net in nets)), 1e-4, (0.5, 0.999), weight_decay=1e-4)
        for nets in trained
    ]
    a, b = batch.source, batch.real

    def noisy(code: Tensor) -> Tensor:
        return code + torch.randn_like(code)

    def far(images: Tensor, from_: Tensor) -> Tensor:
        return torch.mean(torch.abs(images - from_))

    def criticise() -> None:
        optimizers[0].zero_grad()
        code_a, code_b = noisy(in_a(a)), noisy(in_b(b))
        fake_a, fake_b = out_a(code_b), out_b(code_a)
        (d_a.calc_dis_loss(fake_a.detach(), a) + d_b.calc_dis_loss(fake_b.detach(), b)).backward()
        optimizers[0].step()

    def generate() -> None:
        optimizers[1].zero_grad()
        mean_a, mean_b = in_a(a), in_b(b)
        code_a, code_b = noisy(mean_a), noisy(mean_b)
        same = far(out_a(code_a), a) + far(out_b(code_b), b)
        fake_a, fake_b = out_a(code_b), out_b(code_a)
        again_b, again_a = in_a(fake_a), in_b(fake_b)
        back = far(out_a(noisy(again_a)), a) + far(out_b(noisy(again_b)), b)
        codes = sum(torch.mean(torch.pow(mean, 2)) for mean in (mean_a, mean_b, again_a, again_b))
        fooled = d_a.calc_gen_loss(fake_a) + d_b.calc_gen_loss(fake_b)
        (fooled + 10 * (same + back) + 0.01 * codes).backward()
        optimizers[1].step()

    def run() -> None:
        criticise()
        generate()

    return run
