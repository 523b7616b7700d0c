"""VGG-19 up to conv5_1, in torchvision's graph: its feature maps, and their means as features.

Grey images are repeated to three channels and normalised as torchvision's weights expect. The rest of the file, whose
fully connected layers are most of it, is left out.
"""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from gan.errors import GanError
from gan.files import DAMAGED, checksum
from gan.scales import HALF
from gan.scoring.extractors.batches import in_full_batches
from gan.scoring.extractors.vgg19.options import DEPTHS, MAPS, Options

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, red, green, blue, in [0, 1]
STYLE = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")  # of Gatys et al.
WHOLE = 128  # pixels from which conv5_1 is one of them: at 64 its Gram matrix of 512 x 512 is of 4 x 4 positions


def make(options: Options, training_images: Callable, device: str | torch.device) -> dict[str, Any]:
    """The weights up to conv5_1 and the checksum of the file that they are from."""
    path = options.place()
    if path is None:
        raise GanError(
            f"neither metrics.vgg19.path nor {options.VARIABLE} is set; download {options.url} and name it there, or "
            f"choose another extractor"
        )
    return {"weights": read_weights(path, options.sha256), "sha256": options.sha256}


def load(content: dict[str, Any], device: str | torch.device) -> "VggFeatures":
    return VggFeatures(content, device)


def encoder(content: dict[str, Any], device: str | torch.device) -> "Vgg":
    """The network, as a `gan.families.contract.Encoder`."""
    return Vgg(content["weights"]).to(device).eval().requires_grad_(False)


def keys() -> dict[str, str]:
    """The layer of each map in torchvision's graph: ``conv1_1`` is ``features.0``."""
    # A convolution and its ReLU, and a pooling after each block.
    places = itertools.accumulate([2] * (len(MAPS) - 1), initial=0)
    before = itertools.chain.from_iterable([block] * depth for block, depth in enumerate(DEPTHS))
    return {name: f"features.{place + pools}" for name, place, pools in zip(MAPS, places, before, strict=True)}


def read_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    """Weights and biases by map of torchvision's ``vgg19-dcbb9e9d.pth``, read from ``path``.

    Raises `GanError` if it is absent, has another checksum than ``sha256``, or is not that network.
    """
    if not path.is_file():
        raise GanError(f"{path}: no such file (metrics.vgg19.path); download {Options.url} and name it there")
    if (found := checksum(path)) != sha256:
        raise GanError(f"{path}: sha256 is {found}, but metrics.vgg19.sha256 says {sha256}; fetch the file again")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        parts = itertools.product(keys().items(), ("weight", "bias"))
        weights = {f"{name}.{part}": state[f"{key}.{part}"].float().clone() for (name, key), part in parts}
        Vgg(weights)
    except (*DAMAGED, AttributeError, TypeError, OSError) as error:
        raise GanError(
            f"{path}: not the state of torchvision's VGG-19 (metrics.vgg19.path); use {Options.url}"
        ) from error
    return weights


class Vgg(nn.Module):
    """Feature maps after their ReLU. weights: by ``<map>.weight`` [N, before, 3, 3] and ``<map>.bias`` [N]."""

    names, content = MAPS, ("conv4_2",)
    mean: Tensor
    deviation: Tensor

    def __init__(self, weights: dict[str, Tensor]):
        super().__init__()
        self.layers = nn.ModuleDict()
        for name in MAPS:
            wide, before = weights[f"{name}.weight"].shape[:2]
            self.layers[name] = nn.Conv2d(before, wide, 3, padding=1)
        self.layers.load_state_dict(weights)
        for name, values in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1), persistent=False)

    def style(self, size: tuple[int, ...]) -> tuple[str, ...]:
        """See `gan.families.contract.Encoder`."""
        return STYLE if min(size) >= WHOLE else STYLE[:-1]

    def forward(self, images: Tensor, names: Sequence[str], pool: str = "max") -> dict[str, Tensor]:
        """See `gan.families.contract.Encoder`."""
        last = max((MAPS.index(name) for name in names), default=-1)
        pooled = functional.avg_pool2d if pool == "avg" else functional.max_pool2d
        x, found = ((images + 1) / 2 - self.mean) / self.deviation, {}
        for name in MAPS[: last + 1]:
            if name.endswith("_1") and name != MAPS[0]:
                x = pooled(x, 2)
            x = functional.relu(self.layers[name](x))
            if name in names:
                found[name] = x
        return found


class VggFeatures:
    """Means of the maps of conv5_1, float32 [N, 512], of uint8 images [N, H, W] of 16 pixels or more."""

    name = "vgg19"

    def __init__(self, content: dict[str, Any], device: str | torch.device = "cpu"):
        self.device, self.network = torch.device(device), encoder(content, device)
        self.id = f"vgg19-{content['sha256'][:8]}"
        self.dim = len(content["weights"][f"{MAPS[-1]}.bias"])

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            return in_full_batches(images, self.dim, self._features)

    def _features(self, images: NDArray[np.uint8]) -> Tensor:
        x = (torch.from_numpy(images).to(self.device).float() / HALF - 1)[:, None]
        return self.network(x, MAPS[-1:])[MAPS[-1]].mean((2, 3))
