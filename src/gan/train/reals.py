"""Real volumes changed before any network sees them (option ``augment_real``), generated ones never.

A generator learns the distribution of the images that it is compared with, so it learns these changes too: warped heads
and noise are then part of what it makes. Augmentation of both sides (`gan.augment`) does not do that.

Operations and amounts are the defaults of torchio 1.2 (Pérez-García et al. 2021): RandomAffine, scales within 10 % and
angles within 10 degrees along and about each axis, outside the minimum of the volume; RandomElasticDeformation, cubic
B-splines of 7 control points a side, moved by at most 7.5 mm, the outer two of each side not at all; RandomNoise,
normal with a standard deviation of at most 0.25. Here both deformations are one interpolation.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gan.sampling.snapshot import mix

SCALES, DEGREES = 0.1, 10.0
CONTROL, LOCKED, DISPLACEMENT = 7, 2, 7.5  # points a side, those of a border that stay, mm
NOISE_STD = 0.25
_STREAM = 4  # of random numbers, apart from those of samples


def changed(
    images: Tensor, kind: str, seed: int, step: int, indices: np.ndarray, spacing: Sequence[float], masks: int = 0
) -> Tensor:
    """Volumes [N, C, D, H, W] in [-1, 1], each changed as (``seed``, ``step``, its index of ``indices``) decide.

    kind: of `gan.families.options.AUGMENT_REAL`; spacing: mm along D, H and W; masks: how many of the channels, the
    last ones, hold labels, which move with the contrasts to the nearest voxel, are 0 (-1 here) outside, and get no
    noise. Contrasts of a volume change together, but for the noise. Which other volumes are in the batch changes
    nothing.
    """
    contrasts = images.shape[1] - masks
    found = []
    for image, index in zip(images, indices, strict=True):
        random = torch.Generator().manual_seed(mix(seed, step, int(index), _STREAM))
        places = _places(image, spacing, kind != "affine", random)
        least = image[:contrasts].amin((1, 2, 3), keepdim=True)  # outside is 0 of what is sampled
        moved = _sampled(image[:contrasts] - least, places, "bilinear") + least
        if kind == "all":
            std = NOISE_STD * torch.rand((), generator=random).item()
            own = torch.Generator(image.device).manual_seed(mix(seed, step, int(index), _STREAM + 1))
            moved = moved + std * torch.randn(moved.shape, generator=own, device=image.device)
        if masks:
            *labels, inside = _sampled(torch.cat([image[contrasts:], torch.ones_like(image[:1])]), places, "nearest")
            moved = torch.cat([moved, *(torch.where(inside > 0, label, -1.0)[None] for label in labels)])
        found.append(moved)
    return torch.stack(found)


def _places(image: Tensor, spacing: Sequence[float], elastic: bool, random: torch.Generator) -> Tensor:
    """Where each voxel of the result comes from in ``image`` [C, D, H, W]: [D, H, W, 3], (x, y, z), -1 and 1 are the
    centres of border voxels. Few numbers are drawn, on the CPU; the rest is computed on the device."""
    size, device = image.shape[1:], image.device
    half = [(side - 1) / 2 * step for side, step in zip(size, spacing, strict=True)]  # mm
    lines = [torch.linspace(-end, end, side, device=device) for end, side in zip(half, size, strict=True)]
    at = torch.stack(torch.meshgrid(*lines, indexing="ij"), -1)  # (z, y, x) in mm from the centre
    linear = _affine(random).to(device)
    if elastic:
        at = at + _displacements(size, random, device)
    at = torch.stack([(at * row).sum(-1) for row in linear], -1) / torch.tensor(half, device=device)
    return at.flip(-1)


def _affine(random: torch.Generator) -> Tensor:
    """[3, 3], mm of the result to mm of the source: a scale for each axis, then a turn about each."""
    scale = 1 + SCALES * (2 * torch.rand(3, generator=random) - 1)
    angles = math.radians(DEGREES) * (2 * torch.rand(3, generator=random) - 1)
    linear = torch.eye(3)
    for axis, angle in enumerate(angles.tolist()):
        one, other = (place for place in range(3) if place != axis)
        turn = torch.eye(3)
        turn[one, one] = turn[other, other] = math.cos(angle)
        turn[one, other], turn[other, one] = -math.sin(angle), math.sin(angle)
        linear = turn @ linear
    return linear / scale


def _displacements(size: Sequence[int], random: torch.Generator, device: torch.device) -> Tensor:
    """[D, H, W, 3] in mm, smooth, 0 at the border of the control points."""
    points = DISPLACEMENT * (2 * torch.rand(CONTROL, CONTROL, CONTROL, 3, generator=random) - 1)
    inner = (slice(LOCKED, -LOCKED),) * 3
    field = torch.zeros_like(points)
    field[inner] = points[inner]
    field = field.to(device)
    for side in size:  # each turn replaces the first axis by one of voxels, behind the other two
        field = torch.einsum("sk,kabc->absc", spline(side).to(device), field)
    return field


def spline(side: int) -> Tensor:
    """Weights [side, 7] of the control points of a uniform cubic B-spline whose cells span the voxels' centres."""
    cells = CONTROL - 3
    at = torch.linspace(0, cells, side)
    cell = at.floor().clamp(max=cells - 1)
    t = at - cell
    parts = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    weights = torch.zeros(side, CONTROL)
    for place, part in enumerate(parts):
        weights[torch.arange(side), cell.long() + place] = part / 6
    return weights


def _sampled(image: Tensor, places: Tensor, mode: str) -> Tensor:
    """``image`` [C, D, H, W] at ``places``, 0 outside."""
    return functional.grid_sample(image[None], places[None], mode, "zeros", align_corners=True)[0]
