"""The Inception-v3 of the FID with random weights: features that no data at all have shaped."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gan.scoring.extractors.inception.model import InceptionFeatures
from gan.scoring.extractors.random.options import Options


def make(options: Options, training_images: Callable, device: str | torch.device) -> dict[str, Any]:
    return {"seed": options.seed}


def load(content: dict[str, Any], device: str | torch.device) -> InceptionFeatures:
    return InceptionFeatures(f"random-seed{content['seed']}", "random", random_layers(content["seed"]), device)


def random_layers(seed: int) -> torch.jit.ScriptModule:
    """The FID Inception-v3 with random weights that ``seed`` decides, as layers for `InceptionFeatures`.

    Filters are Gaussian with mean zero over their inputs and variance 2 / (1 - 1/pi) / fan_in (scaled weight
    standardisation, Brock et al. 2021), so that images do not collapse onto their common mean, without a look at any
    data. Normalisation layers have mean 0 and variance 1; average pooling still takes its part of the signal, and
    a gain of 3 gives it back, so that the kernel of the kernel distance works at the scale it was made for.
    """
    random = torch.Generator().manual_seed(seed)
    network = _architecture()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            weight = torch.randn(module.weight.shape, generator=random)
            weight -= weight.mean((1, 2, 3), keepdim=True)
            gain = (2 / (1 - 1 / np.pi)) ** 0.5
            module.weight.data = weight * gain / module.weight[0].numel() ** 0.5
    network.append(_Gain())
    return torch.jit.script(network.eval().requires_grad_(False))


class _Gain(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 3.0 * x


def _architecture() -> nn.Sequential:
    """Inception-v3 as the FID uses it, up to the pooled features; clean-fid's blocks on torchvision's network."""
    # Only random layers need these packages: no other extractor waits for their import.
    from cleanfid.inception_pytorch import FIDInceptionA, FIDInceptionC, FIDInceptionE_1, FIDInceptionE_2
    from torchvision.models import inception_v3

    with torch.random.fork_rng(devices=[]):
        whole = inception_v3(weights=None, aux_logits=False, init_weights=False)
        blocks = {
            "Mixed_5b": FIDInceptionA(192, pool_features=32),
            "Mixed_5c": FIDInceptionA(256, pool_features=64),
            "Mixed_5d": FIDInceptionA(288, pool_features=64),
            "Mixed_6b": FIDInceptionC(768, channels_7x7=128),
            "Mixed_6c": FIDInceptionC(768, channels_7x7=160),
            "Mixed_6d": FIDInceptionC(768, channels_7x7=160),
            "Mixed_6e": FIDInceptionC(768, channels_7x7=192),
            "Mixed_7b": FIDInceptionE_1(1280),
            "Mixed_7c": FIDInceptionE_2(2048),
        }
    head = ("AuxLogits", "dropout", "fc")
    layers = [blocks.get(name, module) for name, module in whole.named_children() if name not in head]
    return nn.Sequential(*layers, nn.Flatten(1))
