"""Real volumes changed before any network sees them (option ``augment_real``), generated ones never.

A generator learns the distribution of the images that it is compared with, so it learns these changes too: warped heads
and noise are then part of what it makes. Augmentation of both sides (`gan.augment`) does not do that.

Operations and amounts are the defaults of torchio 1.2 (Pérez-García et al. 2021): RandomAffine, scales within 10 % and
angles within 10 degrees along and about each axis, outside the minimum of the volume; RandomElasticDeformation, cubic
B-splines of 7 control points a side, moved by at most 7.5 mm, the outer two of each side not at all; RandomNoise,
normal with a standard deviation of at most 0.25. Equal numbers give equal volumes, but for one thing: both deformations
are one interpolation here. A change of what comes out raises `gan.study.REALS_REVISION`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gan.sampling.snapshot import mix

SCALES, DEGREES = 0.1, 10.0
CONTROL, LOCKED, DISPLACEMENT = 7, 2, 7.5  # points a side, those of a border that stay, mm
NOISE_STD = 0.25
RIM = 0.625  # voxels between the centre of a border voxel and the end of the splines: a half, and an eighth as in ITK
_STREAM = 4  # of random numbers, apart from those of samples


class Moves(NamedTuple):
    """Where a volume goes, axes in the order D, H, W. scales, degrees: float32 [3]; points: where the control points
    go, in mm, float32 [7, 7, 7, 3], None for an affine map alone."""

    scales: Tensor
    degrees: Tensor
    points: Tensor | None = None


def changed(
    images: Tensor, kind: str, seed: int, step: int, indices: np.ndarray, spacing: Sequence[float], masks: int = 0
) -> Tensor:
    """Volumes [N, C, D, H, W] in [-1, 1], each changed as (``seed``, ``step``, its index of ``indices``) decide.

    kind: of `gan.families.options.AUGMENT_REAL`; spacing: mm along D, H and W; masks: how many of the channels, the
    last ones, hold labels, which move with the contrasts to the nearest voxel, are 0 (-1 here) outside, and get no
    noise. Contrasts of a volume change together, but for the noise. Which other volumes are in the batch changes
    nothing.
    """
    found = []
    for image, index in zip(images, indices, strict=True):
        random = torch.Generator().manual_seed(mix(seed, step, int(index), _STREAM))
        result = moved(image, drawn(kind != "affine", random), spacing, masks)
        if kind == "all":
            contrasts = result[: len(result) - masks]
            std = NOISE_STD * torch.rand((), generator=random).item()
            own = torch.Generator(image.device).manual_seed(mix(seed, step, int(index), _STREAM + 1))
            contrasts += std * torch.randn(contrasts.shape, generator=own, device=image.device)
        found.append(result)
    return torch.stack(found)


def drawn(elastic: bool, random: torch.Generator) -> Moves:
    """Random moves: few numbers, drawn on the CPU."""
    scales = 1 + SCALES * _between(random, 3)
    degrees = DEGREES * _between(random, 3)
    if not elastic:
        return Moves(scales, degrees)
    points = torch.zeros(CONTROL, CONTROL, CONTROL, 3)
    inner = (slice(LOCKED, -LOCKED),) * 3
    points[inner] = DISPLACEMENT * _between(random, *points.shape)[inner]
    return Moves(scales, degrees, points)


def _between(random: torch.Generator, *shape: int) -> Tensor:
    """Uniform between -1 and 1."""
    return 2 * torch.rand(*shape, generator=random) - 1


def moved(image: Tensor, moves: Moves, spacing: Sequence[float], masks: int = 0) -> Tensor:
    """A volume [C, D, H, W] after ``moves``, a new tensor; spacing, masks: as of `changed`."""
    places = _places(image.shape[1:], moves, spacing, image.device)
    # A voxel ends half a step from its centre.
    ends = 1 + 1 / (torch.tensor(image.shape[:0:-1], device=image.device) - 1)
    inside = (places.abs() <= ends).all(-1)
    contrasts, labels = image.tensor_split([len(image) - masks])
    result = torch.where(inside, _sampled(contrasts, places, "bilinear"), contrasts.amin((1, 2, 3), keepdim=True))
    if masks:
        result = torch.cat([result, torch.where(inside, _sampled(labels, places, "nearest"), -1.0)])
    return result


def _places(size: Sequence[int], moves: Moves, spacing: Sequence[float], device: torch.device) -> Tensor:
    """Where each voxel of the result comes from: [D, H, W, 3], (x, y, z), -1 and 1 are the centres of border voxels."""
    half = [(side - 1) / 2 * step for side, step in zip(size, spacing, strict=True)]  # mm
    lines = [torch.linspace(-end, end, side, device=device) for end, side in zip(half, size, strict=True)]
    at = torch.stack(torch.meshgrid(*lines, indexing="ij"), -1)  # (z, y, x) in mm from the centre
    if moves.points is not None:
        at = at + displacements(size, moves.points.to(device))
    linear = _linear(moves.scales, moves.degrees).to(device)
    at = torch.stack([(at * row).sum(-1) for row in linear], -1) / torch.tensor(half, device=device)
    return at.flip(-1)


def _linear(scales: Tensor, degrees: Tensor) -> Tensor:
    """[3, 3], mm of the result to mm of the source: a scale for each axis, then turns, in the order of ITK's angles."""
    linear = torch.eye(3)
    for axis in (0, 2, 1):  # about D, W and H
        angle = math.radians(degrees[axis].item())
        one, other = (place for place in range(3) if place != axis)
        turn = torch.eye(3)
        turn[one, one] = turn[other, other] = math.cos(angle)
        turn[one, other], turn[other, one] = -math.sin(angle), math.sin(angle)
        linear = turn @ linear
    return linear / scales


def displacements(size: Sequence[int], points: Tensor) -> Tensor:
    """[D, H, W, 3] in mm, smooth, of control ``points`` [7, 7, 7, 3]."""
    field = points
    for side in size:  # each turn replaces the first axis by one of voxels, behind the other two
        field = torch.einsum("sk,kabc->absc", spline(side).to(points.device), field)
    return field


def spline(side: int) -> Tensor:
    """Weights [side, 7] of the control points of a uniform cubic B-spline whose cells span ``side`` whole voxels."""
    cells = CONTROL - 3
    at = (torch.arange(side) + RIM) / (side - 1 + 2 * RIM) * cells
    cell = at.floor().clamp(max=cells - 1)
    t = at - cell
    parts = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    weights = torch.zeros(side, CONTROL)
    for place, part in enumerate(parts):
        weights[torch.arange(side), cell.long() + place] = part / 6
    return weights


def _sampled(image: Tensor, places: Tensor, mode: str) -> Tensor:
    """``image`` [C, D, H, W] at ``places``; between the centre of a border voxel and its end it is that voxel."""
    return functional.grid_sample(image[None], places[None], mode, "border", align_corners=True)[0]
