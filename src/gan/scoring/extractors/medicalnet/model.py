"""MedicalNet's ResNets (Chen et al. 2019) of depth 10 and 50: means of their last maps are the features of a volume.

Strides are 2 in the first convolution, the pooling and the second stage alone; the third and fourth stage have
convolutions with holes instead (dilation 2 and 4). A volume enters as z-scores of its body, the background at its own
value: publications differ in this, so values compare only where all else is equal too.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from gan.errors import GanError
from gan.files import DAMAGED, checksum
from gan.metrics.sizes import BACKGROUND
from gan.scoring.extractors.batches import in_full_batches
from gan.scoring.extractors.medicalnet.options import Options
from gan.scoring.extractors.obtain import from_root

BLOCKS = {10: (1, 1, 1, 1), 50: (3, 4, 6, 3)}  # of each stage
STAGES = ((64, 1, 1), (128, 2, 1), (256, 1, 2), (512, 1, 4))  # width, stride, dilation
NAMED = "module."  # before each key of the files


def make(options: Options, training_images: Callable, device: str | torch.device) -> dict[str, Any]:
    """The path of the weights, their checksum and the depth, after a check of the file."""
    path = options.place()
    if path is None:
        raise GanError(
            f"metrics.extractors names medicalnet, but neither metrics.medicalnet.path nor {options.VARIABLE} is set; "
            f"name its file there, or choose another extractor"
        )
    read_weights(path, options.sha256, options.depth)
    return {"path": from_root(path), "sha256": options.sha256, "depth": options.depth}


def load(content: dict[str, Any], device: str | torch.device) -> "MedicalNetFeatures":
    return MedicalNetFeatures(content, device)


def read_weights(path: str | Path, sha256: str, depth: int) -> "MedicalNet":
    """The network of ``depth`` with the weights of the file ``path``, in evaluation mode.

    Raises `GanError` if it is absent, has another checksum than ``sha256``, or lacks a weight or has one too many.
    """
    path, network = Path(path), MedicalNet(depth)
    if not path.is_file():
        raise GanError(f"{path}: no such file (metrics.medicalnet.path)")
    if (found := checksum(path)) != sha256:
        raise GanError(f"{path}: sha256 is {found}, but metrics.medicalnet.sha256 says {sha256 or 'nothing'}")
    wanted = f"not the weights of MedicalNet of depth {depth} (metrics.medicalnet)"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        state = {name.removeprefix(NAMED): value for name, value in state.items()}
    except (*DAMAGED, AttributeError, TypeError, OSError) as error:
        raise GanError(f"{path}: {wanted}") from error
    own = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    given = {name for name in state if not name.endswith("num_batches_tracked")}
    if missing := own - given:
        raise GanError(f"{path}: {wanted}: it lacks {min(missing)}, {len(missing)} in all")
    if surplus := given - own:
        raise GanError(f"{path}: {wanted}: it has {min(surplus)} as well, {len(surplus)} too many in all")
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise GanError(f"{path}: {wanted}: {str(error).splitlines()[-1].strip()}") from error
    return network.eval().requires_grad_(False)


class MedicalNet(nn.Module):
    """Volumes [N, 1, D, H, W] to features [N, dim], 512 at depth 10 and 2048 at depth 50. Its keys are the files'."""

    def __init__(self, depth: int):
        super().__init__()
        self.conv1 = nn.Conv3d(1, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        before, deep = 64, depth >= 50
        for place, (count, (width, stride, dilation)) in enumerate(zip(BLOCKS[depth], STAGES, strict=True), start=1):
            wide = 4 * width if deep else width
            blocks = [Residual(before, width, wide, stride, dilation)]
            blocks += [Residual(wide, width, wide, 1, dilation) for _ in range(count - 1)]
            self.add_module(f"layer{place}", nn.Sequential(*blocks))
            before = wide
        self.dim = before

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool3d(functional.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        for place in range(1, len(STAGES) + 1):
            x = self.get_submodule(f"layer{place}")(x)
        return x.mean((2, 3, 4))


class Residual(nn.Module):
    """Two convolutions of 3, or three of 1, 3 and 1 where ``wide`` is more than ``width``, next to a shortcut."""

    def __init__(self, before: int, width: int, wide: int, stride: int, dilation: int):
        super().__init__()
        three = {"kernel_size": 3, "padding": dilation, "dilation": dilation, "bias": False}
        if wide > width:
            found = [nn.Conv3d(before, width, 1, bias=False), nn.Conv3d(width, width, stride=stride, **three)]
            found.append(nn.Conv3d(width, wide, 1, bias=False))
        else:
            found = [nn.Conv3d(before, width, stride=stride, **three), nn.Conv3d(width, width, **three)]
        self.count = len(found)
        for place, convolution in enumerate(found, start=1):
            self.add_module(f"conv{place}", convolution)
            self.add_module(f"bn{place}", nn.BatchNorm3d(convolution.out_channels))
        if stride != 1 or before != wide:
            shortcut = nn.Conv3d(before, wide, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm3d(wide))
        else:
            self.downsample = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for place in range(1, self.count + 1):
            y = self.get_submodule(f"bn{place}")(self.get_submodule(f"conv{place}")(y))
            y = functional.relu(y) if place < self.count else y
        return functional.relu(y + self.downsample(x))


class MedicalNetFeatures:
    """Features float32 [N, dim] of uint8 volumes [N, D, H, W], as z-scores of their body."""

    name = "medicalnet"

    def __init__(self, content: dict[str, Any], device: str | torch.device = "cpu"):
        self.device = torch.device(device)
        self.network = read_weights(content["path"], content["sha256"], content["depth"]).to(self.device)
        self.id, self.dim = f"medicalnet-{content['depth']}-{content['sha256'][:8]}", self.network.dim

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            return in_full_batches(images, self.dim, self._features)

    def _features(self, images: NDArray[np.uint8]) -> Tensor:
        """One volume at a time: a batch of large ones does not fit, and none changes another one's rounding."""
        return torch.cat([self.network(standardised(volume).to(self.device)[None, None]) for volume in images])


def standardised(volume: NDArray[np.uint8]) -> Tensor:
    """``volume`` [D, H, W] less the mean grey value of its body, over the deviation there; an empty one is 0."""
    grey = torch.from_numpy(volume).float()
    body = grey[grey > BACKGROUND]
    if len(body) < 2:
        return torch.zeros_like(grey)
    return (grey - body.mean()) / body.std().clamp_min(1)
