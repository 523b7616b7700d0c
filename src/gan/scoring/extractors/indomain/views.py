"""Pairs of views of slices or volumes, which the in-domain encoder learns from."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def views(images: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two views of images [N, 1, *size] in [-1, 1]: same loss of quality, different pose, shading and noise.

    Quality is sharpness and noise, and of volumes how well successive slices fit: a volume is no stack of images.
    """
    n, volumes = len(images), images.ndim == 5
    blur = 1.5 * _sometimes(n, random)
    noise = 0.2 * _sometimes(n, random)
    slip = 1.5 * _sometimes(n, random) if volumes else None
    axis = torch.randint(3, (n,), generator=random) if volumes else None
    found = []
    for _ in range(2):
        grid = _moved(images, random)
        if slip is not None and axis is not None:
            grid = grid + _slipped(images, slip, axis, random)
        moved = F.grid_sample(images + 1, grid, align_corners=False) - 1  # outside is black
        found.append(_add_noise(_blur(_shade(moved, random), blur), noise, random))
    return found[0], found[1]


def _sometimes(n: int, random: torch.Generator) -> Tensor:
    """Uniform in [0, 1] for half of the images, 0 for the others."""
    return torch.rand(n, generator=random) * (torch.rand(n, generator=random) < 0.5)


def _uniform(n: int, low: float, high: float, random: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=random)


def _moved(images: Tensor, random: torch.Generator) -> Tensor:
    """Where images [n, 1, *size] are read, [n, *size, axes]: rotated by up to 8 degrees (volumes about each axis),
    scaled by 8 %, shifted by 5 % of the side."""
    n, _, *size = images.shape
    matrix = (_in_plane if len(size) == 2 else _in_space)(n, size, random)
    return F.affine_grid(matrix, list(images.shape), align_corners=False)


def _slipped(volumes: Tensor, slip: Tensor, axis: Tensor, random: torch.Generator) -> Tensor:
    """By how much slices of volumes [n, 1, D, H, W] slip within their plane, [n, D, H, W, 3] (x, y, z): each by its own
    chance of standard deviation ``slip`` [n], in voxels. axis [n]: which of D, H, W counts the slices."""
    n, _, *size = volumes.shape
    apart = torch.zeros(n, *size, 3)
    for place, side in enumerate(size):
        by = torch.randn(n, side, 3, generator=random) * slip[:, None, None] * (axis == place)[:, None, None]
        by[..., 2 - place] = 0
        apart += (2 * by / torch.tensor(size[::-1])).reshape(n, *[side if place == of else 1 for of in range(3)], 3)
    return apart


def _in_plane(n: int, size: Sequence[int], random: torch.Generator) -> Tensor:
    """Matrices [n, 2, 3] of `torch.nn.functional.affine_grid`, whose coordinates are x, y in [-1, 1]."""
    height, width = size
    angle = _uniform(n, -8, 8, random) * math.pi / 180
    scale = _uniform(n, -0.08, 0.08, random).exp()
    shift = torch.stack([_uniform(n, -0.1, 0.1, random) for _ in range(2)], 1)  # the side is 2 in these coordinates
    cosine, sine, aspect = angle.cos() * scale, angle.sin() * scale, height / width
    rows = [torch.stack([cosine, -sine * aspect], 1), torch.stack([sine / aspect, cosine], 1)]
    return torch.cat([torch.stack(rows, 1), shift[:, :, None]], 2)


def _in_space(n: int, size: Sequence[int], random: torch.Generator) -> Tensor:
    """Matrices [n, 3, 4] of `torch.nn.functional.affine_grid`, whose coordinates are x, y, z in [-1, 1]."""
    turned = torch.eye(3).expand(n, 3, 3)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        angle, turn = _uniform(n, -8, 8, random) * math.pi / 180, torch.eye(3).repeat(n, 1, 1)
        turn[:, first, first] = turn[:, second, second] = angle.cos()
        turn[:, first, second], turn[:, second, first] = -angle.sin(), angle.sin()
        turned = turned @ turn
    scale = _uniform(n, -0.08, 0.08, random).exp()
    shift = torch.stack([_uniform(n, -0.1, 0.1, random) for _ in range(3)], 1)
    sides = torch.tensor(size[::-1], dtype=torch.float32)  # x, y, z
    linear = turned * scale[:, None, None] * (sides / sides[:, None])
    return torch.cat([linear, shift[:, :, None]], 2)


def _shade(images: Tensor, random: torch.Generator) -> Tensor:
    """Coil shading: the intensity times exp of a smooth field of up to about 25 %."""
    axes = images.ndim - 2
    coarse = 0.12 * torch.randn(len(images), 1, *[3] * axes, generator=random)
    mode = "bicubic" if axes == 2 else "trilinear"
    field = F.interpolate(coarse, images.shape[2:], mode=mode, align_corners=True)
    return ((images + 1) * field.exp() - 1).clamp(-1, 1)


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur with a separate width, in pixels, for each image; 0 leaves it unchanged."""
    offsets = torch.arange(-4.0, 5.0)
    kernel = torch.exp(-0.5 * (offsets / sigma.clamp_min(1e-3)[:, None]) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    axes = images.ndim - 2
    blurred, convolve = (images[:, 0] + 1)[None], F.conv2d if axes == 2 else F.conv3d
    for axis in range(axes):
        shape, padding = [1] * axes, [0] * axes
        shape[axis], padding[axis] = len(offsets), 4
        blurred = convolve(blurred, kernel.reshape(-1, 1, *shape), padding=padding, groups=len(images))
    return blurred[0][:, None] - 1


def _add_noise(images: Tensor, deviation: Tensor, random: torch.Generator) -> Tensor:
    """Rician noise of magnitude images: the modulus of a signal with Gaussian noise in two channels."""
    deviation = deviation.reshape(-1, *[1] * (images.ndim - 1))
    noise = deviation * torch.randn(2, *images.shape, generator=random)
    return (torch.hypot(images + 1 + noise[0], noise[1]) - 1).clamp(-1, 1)
