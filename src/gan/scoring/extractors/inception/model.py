"""Inception-v3 features of grey images by the published weights (FID, KID), or by others in that graph.

The preparation is that of clean-fid 0.1.35 in its mode ``clean`` (Parmar et al. 2022): bicubic with antialiasing to
299 x 299 by Pillow in float32, without rounding, then (x - 128) / 128. The three channels of a grey image are equal, so
one is resized and then repeated: the same bits for a third of the work.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from gan.errors import GanError
from gan.files import checksum
from gan.scoring.extractors.batches import in_full_batches
from gan.scoring.extractors.inception.options import Options
from gan.scoring.extractors.obtain import from_root

SIDE = 299
DIM = 2048


def make(options: Options, training_images: Callable, device: str | torch.device) -> dict[str, Any]:
    """The path of the weights and their checksum, after a check of the file."""
    path = options.place()
    if path is None:
        raise GanError(
            f"metrics.extractors names inception, but neither metrics.inception.path nor {options.VARIABLE} is set; "
            f"download {options.url} and name it there, or choose another extractor"
        )
    check_frozen(read_weights(path, options.sha256), path)
    return {"path": from_root(path), "sha256": options.sha256}


def load(content: dict[str, Any], device: str | torch.device) -> "InceptionFeatures":
    layers = read_weights(content["path"], content["sha256"])
    return InceptionFeatures(f"inception-clean-{content['sha256'][:8]}", "inception", layers, device)


class InceptionFeatures:
    """Features of the last pooling layer, float32 [N, 2048], of uint8 images [N, H, W]."""

    dim = DIM

    def __init__(self, id: str, name: str, layers: torch.jit.ScriptModule, device: str | torch.device = "cpu"):
        """layers: from [N, 3, 299, 299] in [-1, 1] to 2048 features, in evaluation mode."""
        self.id, self.name, self.device = id, name, torch.device(device)
        self.layers = frozen(layers.to(self.device))  # frozen weights are constants that cannot move later

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return in_full_batches(images, DIM, lambda batch: forward(self.layers, resize(batch).to(self.device)))


def resize(
    images: NDArray[np.uint8], side: int = SIDE, resampling: Image.Resampling = Image.Resampling.BICUBIC
) -> Tensor:
    """Grey images [N, H, W] as float32 [N, side, side] in [0, 255]: each channel of clean-fid's resizer, bit by bit."""
    resized = [Image.fromarray(image.astype(np.float32)).resize((side, side), resampling) for image in images]
    return torch.from_numpy(np.stack([np.asarray(image) for image in resized]).clip(0, 255))


def forward(layers: nn.Module, grey: Tensor) -> Tensor:
    """Features [N, 2048] of resized grey images [N, 299, 299] in [0, 255]; float32 arithmetic on a GPU too."""
    images = ((grey - 128) / 128)[:, None].expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
    exact = torch.backends.cudnn.flags(allow_tf32=False)
    with torch.inference_mode(), exact:
        return layers(images).view(len(images), DIM)


def frozen(layers: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """The same graph for inference: weights laid out channels last, normalisation folded into the convolutions."""
    return torch.jit.freeze(nn.Module.to(layers.eval(), memory_format=torch.channels_last))  # type: ignore[arg-type]


def read_weights(path: str | os.PathLike, sha256: str) -> torch.jit.ScriptModule:
    """The layers of the TorchScript file that clean-fid uses (``inception-2015-12-05.pt``), read from ``path``.

    Raises `GanError` if it is absent, has another checksum than ``sha256``, or is not that network.
    """
    path = Path(path)
    if not path.is_file():
        raise GanError(f"{path}: no such file (metrics.inception.path); download {Options.url} and name it there")
    if checksum(path) != sha256:
        raise GanError(
            f"{path}: sha256 is {checksum(path)}, but metrics.inception.sha256 says {sha256}; fetch the file again"
        )
    try:
        layers = torch.jit.load(str(path), map_location="cpu").eval().layers
        width = layers(torch.zeros(1, 3, SIDE, SIDE)).numel()
    except (RuntimeError, AttributeError, ValueError) as error:
        raise GanError(
            f"{path}: not the TorchScript Inception of clean-fid (metrics.inception.path); download {Options.url}"
        ) from error
    if width != DIM:
        raise GanError(f"{path}: gives {width} features instead of {DIM} (metrics.inception.path); use {Options.url}")
    return layers


def check_frozen(layers: torch.jit.ScriptModule, path: str | os.PathLike) -> None:
    """Compare `frozen` with the file's own graph on noise. Raises `GanError` if more than rounding differs."""
    grey = torch.rand(2, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 255
    expected = forward(layers, grey)
    error = (forward(frozen(layers), grey) - expected).abs().max() / expected.abs().max()
    if not error < 1e-4:
        raise GanError(
            f"{path}: this version of torch ({torch.__version__}) changes the features by {float(error):.1e} when it "
            f"prepares the network; install the version in requirements.lock"
        )
