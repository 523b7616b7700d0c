"""From a RAS volume to slices as radiologists view them, and onto the pixels of the store."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

ORDER = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}  # axes of the volume in the stack


def as_slices(data: np.ndarray, axis: str) -> np.ndarray:
    """A view [S, H, W] of a RAS volume [X, Y, Z], with coordinates rising along each axis; see `upright`."""
    return data.transpose(ORDER[axis])


def from_slices(stack: np.ndarray, axis: str) -> np.ndarray:
    """The RAS volume [X, Y, Z] of a stack [S, H, W]: the inverse of `as_slices`, a view as well."""
    return stack.transpose(np.argsort(ORDER[axis]))


def upright(stack: np.ndarray) -> np.ndarray:
    """A view of slices [S, H, W] of `as_slices` in viewing orientation.

    axial: anterior up, the patient's left on the right of the image; coronal: superior up, the patient's left on the
    right; sagittal: superior up, anterior on the left.
    """
    return stack[:, ::-1, ::-1]


def as_volume(pixels: np.ndarray, axis: str, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """An upright slice [H, W] as a RAS volume of one slice and its affine: the inverse of `as_slices` and `upright`.

    spacing: mm between rows and between columns; the thickness is not known and is written as 1 mm.
    """
    back = np.argsort(ORDER[axis])
    return upright(pixels[None]).transpose(back), np.diag([*np.array([1.0, *spacing])[back], 1.0])


def pixel_spacing(spacing: tuple[float, ...], axis: str) -> tuple[float, float]:
    """Distances (between rows, between columns) in mm of the slices of `as_slices`."""
    x, y, z = spacing
    return {"axial": (y, x), "coronal": (z, x), "sagittal": (z, y)}[axis]


class Frame(NamedTuple):
    """How slices of ``source`` pixels become ``size``: centred on a ``canvas`` (padded with 0, or cropped) that is
    then resampled to ``size``; all (rows, columns). spacing: mm of a stored pixel."""

    source: tuple[int, int]
    canvas: tuple[int, int]
    size: tuple[int, int]
    spacing: tuple[float, float]


def frame(source: tuple[int, int], spacing: tuple[float, float], size: tuple[int, int], fit: str) -> Frame:
    """``fit`` pad: the native pixels, padded or cropped to ``size``. ``fit`` resize: the whole slice, padded in mm to
    the aspect of ``size``, so that stored pixels are square for any scanner, then resampled."""
    if fit == "pad":
        return Frame(source, size, size, spacing)
    pixel = max(n * mm / out for n, mm, out in zip(source, spacing, size, strict=True))
    canvas = tuple(max(n, round(out * pixel / mm)) for n, mm, out in zip(source, spacing, size, strict=True))
    stored = tuple(n * mm / out for n, mm, out in zip(canvas, spacing, size, strict=True))
    return Frame(source, canvas, size, stored)  # type: ignore[arg-type]


def place(stack: np.ndarray, to: Frame) -> np.ndarray:
    """Slices [S, H, W], float32, on the pixels of ``to``: anti-aliased when shrunk (see `weights`)."""
    if to.canvas == to.size:
        return _centred(stack, to)
    rows, columns = (weights(*ends) for ends in zip(to.source, to.canvas, to.size, strict=True))
    return _resampled(stack, rows, columns, to.size)


def unplace(stack: np.ndarray, to: Frame) -> np.ndarray:
    """Slices [S, *to.size], float32, on the pixels of ``to.source``.

    A frame that pads or crops is undone exactly, cropped pixels are 0 (`covered`). A resampled one is resampled back by
    the same triangle filter, which is no inverse: fine detail is lost.
    """
    if to.canvas == to.size:
        return _centred(stack, _back(to))
    rows, columns = (_weights_back(*ends) for ends in zip(to.source, to.canvas, to.size, strict=True))
    return _resampled(stack, rows, columns, to.source)


def covered(to: Frame) -> np.ndarray:
    """Which pixels of the source, bool [H, W], are in the frame; the others are cropped."""
    if to.canvas != to.size:
        return np.ones(to.source, dtype=bool)
    return _centred(np.ones((1, *to.size), dtype=bool), _back(to))[0]


def place_labels(stack: np.ndarray, to: Frame) -> np.ndarray:
    """Label slices [S, H, W] on the pixels of ``to``: each takes the label at its centre."""
    if to.canvas == to.size:
        return _centred(stack, to)
    for axis in (0, 1):
        centre = ((np.arange(to.size[axis]) + 0.5) * to.canvas[axis] / to.size[axis]).astype(int)
        index = centre - (to.canvas[axis] - to.source[axis]) // 2
        inside = (index >= 0) & (index < to.source[axis])
        stack = stack.take(np.clip(index, 0, to.source[axis] - 1), axis=axis + 1)
        stack = stack * (inside[:, None] if axis == 0 else inside)
    return stack


@lru_cache(maxsize=64)
def weights(source: int, canvas: int, size: int) -> csr_array:
    """The matrix [size, source] that resamples one axis: pad ``source`` to ``canvas`` pixels, then a triangle filter
    as wide as the larger of the two pixels, normalised (linear interpolation that averages when it shrinks)."""
    scale = canvas / size
    centre = (np.arange(size) + 0.5) * scale
    distance = np.abs(np.arange(canvas) + 0.5 - centre[:, None]) / max(scale, 1.0)
    triangle = np.maximum(0.0, 1.0 - distance)
    triangle /= triangle.sum(1, keepdims=True)
    before = (canvas - source) // 2
    return csr_array(triangle[:, before : before + source].astype(np.float32))


def _weights_back(source: int, canvas: int, size: int) -> csr_array:
    """The matrix [source, size] that resamples one axis from ``size`` to ``canvas`` and drops what was padded."""
    before = (canvas - source) // 2
    return weights(size, size, canvas)[before : before + source]


def _resampled(stack: np.ndarray, rows: csr_array, columns: csr_array, size: tuple[int, int]) -> np.ndarray:
    count, height, width = stack.shape
    half = rows @ stack.transpose(1, 0, 2).reshape(height, count * width)
    half = half.reshape(-1, count, width).transpose(2, 1, 0).reshape(width, -1)
    return (columns @ half).reshape(size[1], count, size[0]).transpose(1, 2, 0)


def _back(to: Frame) -> Frame:
    return to._replace(source=to.size, size=to.source)


def _centred(stack: np.ndarray, to: Frame) -> np.ndarray:
    out = np.zeros((len(stack), *to.size), dtype=stack.dtype)
    take, put = [slice(None)], [slice(None)]
    for source, size in zip(to.source, to.size, strict=True):
        crop, pad = max(0, (source - size) // 2), max(0, (size - source) // 2)
        length = min(source, size)
        take.append(slice(crop, crop + length))
        put.append(slice(pad, pad + length))
    out[tuple(put)] = stack[tuple(take)]
    return out
