"""Smooth random fields and signed distances (mm, positive inside) to simple shapes, on a grid of voxels."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

Volume = np.ndarray  # float32, [X, Y, Z]
Triple = tuple[float, float, float]


class Grid(NamedTuple):
    """Sample positions along each axis (1D arrays, mm) and their distance."""

    axes: tuple[np.ndarray, np.ndarray, np.ndarray]
    spacing: float

    def fraction(self, distance: Volume) -> Volume:
        """Fraction of each voxel inside a surface at this signed distance: the partial volume of a flat wall."""
        return np.clip(distance / np.float32(self.spacing) + np.float32(0.5), 0, 1)


def smooth_field(rng: np.random.Generator, axes: Sequence[np.ndarray], knots: float) -> Volume:
    """Random field of mean 0 and variance 1 on the points of ``axes``: cubic B-splines on a lattice of ``knots`` mm."""
    splines = [_spline(axis, knots) for axis in axes]
    field = rng.standard_normal([cell[-1] + 4 for cell, _ in splines], np.float32)
    for dimension, (cell, weights) in enumerate(splines):
        shape = [len(cell) if d == dimension else 1 for d in range(len(axes))]
        # Sums in a fixed order rather than a matrix product: the same bytes for any number of threads.
        field = np.add.reduce([w.reshape(shape) * field.take(cell + k, dimension) for k, w in enumerate(weights)])
    return field * np.float32((151 / 315) ** -1.5)


def _spline(axis: np.ndarray, knots: float) -> tuple[np.ndarray, np.ndarray]:
    """First of the four control points at each position, [N], and their weights, [4, N]."""
    position = (axis - axis[0]) / knots
    cell = np.floor(position).astype(int)
    t = position - cell
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    return cell, weights.astype(np.float32)


def ellipsoid(points: Sequence[Volume], centre: Triple, axes: Triple) -> Volume:
    """Approximate signed distance to an ellipsoid, exact to first order at its surface."""
    scaled = [(p - np.float32(c)) * np.float32(1 / a) for p, c, a in zip(points, centre, axes, strict=True)]
    radius = np.sqrt(sum(s * s for s in scaled))
    slope = np.sqrt(sum((s * np.float32(1 / a)) ** 2 for s, a in zip(scaled, axes, strict=True)))
    return radius * (1 - radius) / (slope + np.float32(1e-6))


def tube(points: Sequence[Volume], path: Sequence[tuple[float, float, float, float]]) -> Volume:
    """Signed distance to a tube along a polyline of (x, y, z, radius) with the radius changing linearly between."""
    distance = np.full(np.broadcast_shapes(*(p.shape for p in points)), -np.inf, np.float32)
    for start, end in pairwise(path):
        a, b = np.array(start, np.float32), np.array(end, np.float32)
        step = b[:3] - a[:3]
        along = sum((p - o) * s for p, o, s in zip(points, a[:3], step / (step @ step), strict=True))
        along = np.clip(along, 0, 1)
        square = sum((p - o - along * s) ** 2 for p, o, s in zip(points, a[:3], step, strict=True))
        np.maximum(distance, a[3] + along * (b[3] - a[3]) - np.sqrt(square), out=distance)
    return distance


def join(a: Volume, b: Volume, blend: float) -> Volume:
    """Union of two distances with the crease between them rounded over about ``blend`` mm."""
    h = np.maximum(1 - np.abs(a - b) * np.float32(1 / blend), 0)
    return np.maximum(a, b) + h * h * np.float32(blend / 4)


def cut(a: Volume, b: Volume, blend: float) -> Volume:
    """Intersection of two distances with a rounded edge."""
    return -join(-a, -b, blend)
