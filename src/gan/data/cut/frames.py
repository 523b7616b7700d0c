"""How the pixels of a source become those of a stored sample, along any number of axes, and the way back."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array


class Frame(NamedTuple):
    """A box of the source is resampled to ``size`` pixels. An entry an axis: (rows, columns), of volumes (D, H, W).

    canvas: edges of the box in source pixels; before: the source's first pixel is so many pixels inside of the box
    (negative: outside, cropped). What is not in the source is 0. spacing: mm of a stored pixel.
    """

    source: tuple[int, ...]
    canvas: tuple[float, ...]
    size: tuple[int, ...]
    spacing: tuple[float, ...]
    before: tuple[int, ...]


def frame(source: tuple[int, ...], spacing: tuple[float, ...], size: tuple[int, ...], fit: str) -> Frame:
    """The frame about the centre. ``fit`` pad: the native pixels, padded or cropped to ``size``. ``fit`` resize: the
    whole source, padded in mm to the aspect of ``size``, so that stored pixels are square for any scanner, then
    resampled."""
    if fit == "pad":
        return Frame(source, size, size, spacing, centred(source, size))
    pixel = max(n * mm / out for n, mm, out in zip(source, spacing, size, strict=True))
    canvas = tuple(max(n, round(out * pixel / mm)) for n, mm, out in zip(source, spacing, size, strict=True))
    stored = tuple(n * mm / out for n, mm, out in zip(canvas, spacing, size, strict=True))
    return Frame(source, canvas, size, stored, centred(source, canvas))


def centred(source: tuple[int, ...], canvas: tuple[float, ...]) -> tuple[int, ...]:
    """`Frame.before` of a box about the centre of the source, to a whole pixel."""
    return tuple(int((edge - n) / 2) for n, edge in zip(source, canvas, strict=True))


def place(stack: np.ndarray, to: Frame) -> np.ndarray:
    """Float32 [..., *to.source] on the pixels of ``to``: anti-aliased when shrunk (see `weights`)."""
    plain = _plain(to)
    placed = _moved(stack, to.size, to.before, plain)
    for axis in _others(plain):
        matrix = weights(to.source[axis], to.canvas[axis], to.size[axis], to.before[axis])
        placed = _along(matrix, placed, axis)
    return placed


def unplace(stack: np.ndarray, to: Frame) -> np.ndarray:
    """Float32 [..., *to.size] on the pixels of ``to.source``.

    A frame that pads or crops is undone exactly, cropped pixels are 0 (`covered`). A resampled one is resampled back by
    the same triangle filter, which is no inverse: fine detail is lost.
    """
    plain = _plain(to)
    back = _moved(stack, to.source, tuple(-first for first in to.before), plain)
    for axis in _others(plain):
        matrix = weights_back(to.source[axis], to.canvas[axis], to.size[axis], to.before[axis])
        back = _along(matrix, back, axis)
    return back


def covered(to: Frame) -> np.ndarray:
    """Which pixels of the source, bool [*to.source], are in the frame; the others are cropped."""
    there = np.zeros(to.source, dtype=bool)
    there[inside(to)] = True
    return there


def inside(to: Frame) -> tuple[slice, ...]:
    """The pixels of the source whose centre is in the box, along each axis."""
    parts = []
    for n, edge, before in zip(to.source, to.canvas, to.before, strict=True):
        first = max(0, -before)
        parts.append(slice(first, max(first, min(n, math.ceil(edge - before - 0.5)))))
    return tuple(parts)


def place_labels(stack: np.ndarray, to: Frame) -> np.ndarray:
    """Labels [..., *to.source] on the pixels of ``to``: each takes the label at its centre."""
    plain = _plain(to)
    placed = _moved(stack, to.size, to.before, plain)
    for axis in _others(plain):
        n, size = to.source[axis], to.size[axis]
        index = ((np.arange(size) + 0.5) * to.canvas[axis] / size).astype(int) - to.before[axis]
        there = (index >= 0) & (index < n)
        placed = np.moveaxis(placed, axis, -1).take(np.clip(index, 0, n - 1), axis=-1) * there
        placed = np.moveaxis(placed, -1, axis)
    return placed


@lru_cache(maxsize=64)
def weights(source: int, canvas: float, size: int, before: int) -> csr_array:
    """The matrix [size, source] that resamples one axis of a `Frame`: cut the box out, then a triangle filter as wide
    as the larger of the two pixels, normalised (linear interpolation that averages when it shrinks)."""
    pixels = math.ceil(canvas - 0.5)  # whose centre is in the box
    scale = canvas / size
    centre = (np.arange(size) + 0.5) * scale
    distance = np.abs(np.arange(pixels) + 0.5 - centre[:, None]) / max(scale, 1.0)
    triangle = np.maximum(0.0, 1.0 - distance)
    triangle /= triangle.sum(1, keepdims=True)
    first = max(0, before)
    last = max(first, min(pixels, before + source))
    matrix = np.zeros((size, source), dtype=np.float32)
    matrix[:, first - before : last - before] = triangle[:, first:last]
    return csr_array(matrix)


@lru_cache(maxsize=64)
def weights_back(source: int, canvas: float, size: int, before: int) -> csr_array:
    """The matrix [source, size] that resamples one axis back; rows of cropped pixels are 0."""
    scale = size / canvas
    centre = (np.arange(source) + before + 0.5) * scale
    distance = np.abs(np.arange(size) + 0.5 - centre[:, None]) / max(scale, 1.0)
    triangle = np.maximum(0.0, 1.0 - distance) * ((centre > 0) & (centre < size))[:, None]
    total = triangle.sum(1, keepdims=True)
    return csr_array(np.divide(triangle, total, out=np.zeros_like(triangle), where=total > 0).astype(np.float32))


def _plain(to: Frame) -> list[bool]:
    """For each axis whether its pixels stay as they are, padded or cropped."""
    return [edge == size for edge, size in zip(to.canvas, to.size, strict=True)]


def _others(plain: list[bool]) -> list[int]:
    """The axes that are resampled, counted from the last, in their order."""
    return [axis - len(plain) for axis, as_is in enumerate(plain) if not as_is]


def _along(matrix: csr_array, stack: np.ndarray, axis: int) -> np.ndarray:
    moved = np.moveaxis(stack, axis, 0)
    out = matrix @ moved.reshape(len(moved), -1)
    return np.moveaxis(out.reshape(-1, *moved.shape[1:]), 0, axis)


def _moved(stack: np.ndarray, size: tuple[int, ...], before: tuple[int, ...], axes: list[bool]) -> np.ndarray:
    """``stack`` padded with 0, or cropped, to ``size`` along those of its last ``axes`` that are true."""
    shape = stack.shape[stack.ndim - len(axes) :]
    wanted = tuple(new if here else old for new, old, here in zip(size, shape, axes, strict=True))
    if not any(axes):
        return stack
    out = np.zeros((*stack.shape[: stack.ndim - len(axes)], *wanted), dtype=stack.dtype)
    take: list[slice] = []
    put: list[slice] = []
    for old, new, first, here in zip(shape, wanted, before, axes, strict=True):
        start = first if here else 0
        low, high = max(0, start), max(0, min(new, start + old))
        put.append(slice(low, max(low, high)))
        take.append(slice(low - start, max(low, high) - start))
    out[(..., *put)] = stack[(..., *take)]
    return out
