"""The explicit maps from a scanner's arbitrary units to the scale 0..255 that the slice filter and the store use.

Every map is ``255 * (value - low) / (high - low)``, clipped to 0..255; the maps differ in where low and high come from:

- ``percentile``: two percentiles of the voxels above 0, per volume (default 0.5 and 99.5);
- ``minmax``: minimum and maximum, per volume;
- ``slice_minmax``: minimum and maximum of each slice by itself;
- ``window``: two fixed values.
"""

from typing import Any

import numpy as np
from PIL import Image

from gan.errors import GanError

SCALE = 255.0
DEFAULT_PERCENTILES = (0.5, 99.5)
BLOCK = 1 << 18  # voxels counted at a time: 2 MB, which stay in the processor's cache


def limits(
    values: np.ndarray, stack: np.ndarray, spec: dict[str, Any], slope: float = 1.0, inter: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """``(low, high)``, float64 [S] each: the limits for every slice of ``stack``, in stored units.

    values: all voxels of the volume, any shape; stack: the same ones as slices [S, H, W], or [1, D, H, W]; spec: the
    ``intensity`` of a data set. Stored values v stand for ``slope * v + inter``, slope > 0. Raises `GanError` when a
    volume has no range.
    """
    kind, low, high = spec["map"], spec.get("low"), spec.get("high")
    if kind == "slice_minmax":
        return stack.min((1, 2)).astype(np.float64), stack.max((1, 2)).astype(np.float64)
    if kind == "percentile":
        ends = [
            given if given is not None else usual for given, usual in zip((low, high), DEFAULT_PERCENTILES, strict=True)
        ]
        ends = percentiles_above(values, ends, floor=-inter / slope)
    elif kind == "minmax":
        ends = [values.min(), values.max()]
    elif kind == "window":
        if low is None or high is None:
            raise GanError("intensity.map is window: give intensity.low and intensity.high")
        ends = [(low - inter) / slope, (high - inter) / slope]
    else:
        raise GanError(f"intensity.map: {kind!r} is unknown; use percentile, minmax, slice_minmax or window")
    if not ends[0] < ends[1]:
        raise GanError(
            f"intensity.map {kind} finds no range (low = high = {ends[0] * slope + inter:g}); use another map"
        )
    return tuple(np.full(len(stack), end, dtype=np.float64) for end in ends)  # type: ignore[return-value]


def percentiles_above(values: np.ndarray, percent: list[float], floor: float = 0.0) -> list[float]:
    """Percentiles (linear interpolation, as `numpy.percentile`) of the ``values`` above ``floor``.

    Integers of up to 16 bits are counted in a histogram, which is exact and several times faster than sorting.
    """
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
        return _histogram_percentiles(values, percent, floor)
    above = values[values > floor]
    if above.size == 0:
        raise GanError("no voxel is above 0; use intensity.map minmax or window")
    return np.percentile(above, percent).tolist()


def _histogram_percentiles(values: np.ndarray, percent: list[float], floor: float) -> list[float]:
    lowest, counts = _histogram(values.ravel(order="K"))
    counts[: max(0, int(np.floor(floor)) + 1 - lowest)] = 0
    cumulative = np.cumsum(counts)
    total = int(cumulative[-1])
    if total == 0:
        raise GanError("no voxel is above 0; use intensity.map minmax or window")
    places = np.asarray(percent, dtype=np.float64) / 100 * (total - 1)
    below = np.floor(places)
    first, second = (np.searchsorted(cumulative, rank, side="right") + lowest for rank in (below, np.ceil(places)))
    return (first + (places - below) * (second - first)).tolist()


def _histogram(flat: np.ndarray) -> tuple[int, np.ndarray]:
    """The lowest value that is counted, and how often it and each whole number above it occur."""
    if flat.dtype == np.uint8:  # twice as fast as bincount, which copies bytes to 64-bit integers first
        return 0, np.array(Image.frombuffer("L", (flat.size, 1), flat).histogram())
    lowest, highest = int(flat.min()), int(flat.max())
    counts = np.zeros(highest - lowest + 1, dtype=np.int64)
    for start in range(0, flat.size, BLOCK):
        block = flat[start : start + BLOCK].astype(np.int64)
        block -= lowest
        counts += np.bincount(block, minlength=counts.size)
    return lowest, counts


def share_below(values: np.ndarray, cut: float) -> float:
    """Fraction of the ``values`` that are below ``cut``."""
    if values.dtype.kind == "u" and cut <= 0:
        return 0.0
    return np.count_nonzero(values < cut) / values.size


def to_scale(stack: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """``stack`` [S, ...] as float32 in 0..255, by limits [S]; a slice without range becomes 0."""
    span, axes = high - low, tuple(range(1, stack.ndim))
    gain = np.divide(SCALE, span, out=np.zeros_like(span), where=span > 0)
    scaled = stack.astype(np.float32)
    scaled -= np.expand_dims(low.astype(np.float32), axes)
    scaled *= np.expand_dims(gain.astype(np.float32), axes)
    return np.clip(scaled, 0, SCALE, out=scaled)


def fraction_above(stack: np.ndarray, threshold: float, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Part of the pixels of each slice [S, H, W] above ``threshold`` on the scale 0..255: float64 [S] in 0..1."""
    cut = low + threshold / SCALE * (high - low)
    if stack.dtype.kind in "iu":
        cut = np.floor(cut)  # v > cut and v > floor(cut) are the same for whole v, and whole numbers compare faster
        dtype = (
            stack.dtype if cut.min() >= np.iinfo(stack.dtype).min and cut.max() <= np.iinfo(stack.dtype).max else float
        )
        cut = cut.astype(dtype)
    else:
        cut = cut.astype(stack.dtype)
    counts = np.count_nonzero(stack > cut[:, None, None], axis=(1, 2))
    return counts / (stack.shape[1] * stack.shape[2])
