"""What slices and whole volumes share: the input of a worker, its channels, and the samples that come of it."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gan.data import intensity
from gan.data.cut.frames import Frame, place, place_labels
from gan.data.found import leaves
from gan.data.nifti import Volume
from gan.data.planes import as_slices, pixel_spacing, upright
from gan.scales import STEP

BLOCK = 8  # slices at a time: intermediate values stay in the processor's cache
NEAR_0, FEW = 0.01, 0.01  # of the upper limit; of the voxels: ringing of a resampled image gives no warning


class Item(NamedTuple):
    """The input of one worker. files: one per channel, None where the subject lacks it; first: number of its first
    slice; tiles: how many to show; notes: those of its files; scan: which of several of the subject; moved: by
    contrast, degrees, mm and correlation of edges of its registration."""

    subject: str
    files: tuple[Path | None, ...]
    label: str
    split: str
    first: int = 0
    tiles: int = 0
    notes: str = ""
    scan: str = ""
    moved: dict[str, tuple[float, ...]] = {}


class Encoded(NamedTuple):
    """S candidates, K of them kept; of a whole volume, 1 and 1. images: uint16 [K, C, H, W] or [K, C, D, H, W]; slices,
    fractions, kept: [S]; positions: 0..1 [S]; labels: class names [S], empty where a slice has none; digests: of kept
    images; limits: (low, high) per contrast, None where the map is by slice, or the contrast missing; tiles: place
    among the candidates -> uint16 [C, H, W], of a whole volume its three planes; shape: of the source; frame: how its
    pixels came to be stored; notes: what the map does that the user may not want. Of a whole volume, cut: the share of
    the body outside of the box; lost: labels of the mask that no stored voxel has. Where each contrast is an image of
    its own, S and K count those."""

    images: np.ndarray
    slices: np.ndarray
    positions: np.ndarray
    fractions: np.ndarray
    kept: np.ndarray
    labels: np.ndarray
    digests: list[bytes]
    limits: list[tuple[float, float] | None]
    tiles: dict[int, np.ndarray]
    shape: tuple[int, ...]
    frame: Frame
    notes: str = ""
    cut: float = 0.0
    lost: tuple[int, ...] = ()


class Channel(NamedTuple):
    """stack: [S, H, W], of a whole volume [1, D, H, W]; spacing: mm between rows and columns, of a whole volume between
    slices first; low, high: [S], None for a mask. ``slope * stored + inter`` is in the scanner's units."""

    stack: np.ndarray
    spacing: tuple[float, ...]
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    slope: float = 1.0
    inter: float = 0.0


def channel_of(volume: Volume, axis: str, spec: dict[str, Any], *, mask: bool = False) -> Channel:
    """The slices along ``axis`` of a RAS volume, with the limits of the ``intensity`` ``spec``; a mask has none.

    `GanError` of `gan.data.intensity.limits`.
    """
    stack, spacing = as_slices(volume.data, axis), pixel_spacing(volume.spacing, axis)
    return mapped(volume.data, stack, spacing, spec, volume.slope, volume.inter, mask=mask)


def mapped(
    values: np.ndarray,
    stack: np.ndarray,
    spacing: tuple[float, ...],
    spec: dict[str, Any],
    slope: float = 1.0,
    inter: float = 0.0,
    *,
    mask: bool,
) -> Channel:
    """A channel of ``values``, whose slices are ``stack``, with the limits of the ``intensity`` ``spec``."""
    if mask:
        return Channel(stack, spacing)
    return Channel(stack, spacing, *intensity.limits(values, stack, spec, slope, inter), slope, inter)


def reference_of(opened: list[Channel | None], row: dict[str, Any]) -> Channel:
    """The reference contrast, or the first one that there is."""
    wanted = opened[row["contrasts"].index(row["reference"] or row["contrasts"][0])]
    contrasts = (wanted, *opened[: len(row["contrasts"])])
    return next(channel for channel in contrasts if channel is not None)


def digest_of(image: np.ndarray, row: dict[str, Any]) -> bytes:
    """The hash of the pixels of an image [C, H, W]; where contrasts may be missing, those of each that is not black."""
    if not leaves(row):
        return hashlib.sha256(image.data).digest()
    planes = [plane for plane in image[: len(row["contrasts"])] if plane.any()]
    return b"".join(hashlib.sha256(plane.data).digest() for plane in planes)


def notes_of(opened: list[Channel | None], row: dict[str, Any]) -> str:
    """Note on volumes whose values below 0 become black in the map percentile: z-scores, phase."""
    if row["layout"] == "images" or row["intensity"]["map"] != "percentile":
        return ""
    notes = []
    for contrast, channel in zip(row["contrasts"], opened, strict=False):
        if channel is None:
            continue
        share = share_below_zero(channel)
        if share > FEW:
            notes.append(f"{share:.0%} of the voxels of {contrast} are below 0")
    return ", ".join(notes)


def share_below_zero(channel: Channel) -> float:
    """Fraction of the voxels of a contrast that are below 0, and not by ringing alone."""
    zero = -channel.inter / channel.slope
    cut = zero - NEAR_0 * (channel.high[0] - zero)  # type: ignore[index]
    return intensity.share_below(channel.stack, cut)


def pixels(channel: Channel, slices: np.ndarray | slice, to: Frame) -> np.ndarray:
    """Some slices of a channel, of a whole volume 0, upright, on the pixels of ``to``: as stored but for the cast."""
    stack = upright(channel.stack[slices])
    if channel.low is None or channel.high is None:
        return place_labels(stack, to)
    scaled = place(intensity.to_scale(stack, channel.low[slices], channel.high[slices]), to)
    scaled *= STEP
    scaled += 0.5  # the cast to integers truncates
    return scaled


def stored(opened: list[Channel | None], slices: np.ndarray, to: Frame) -> np.ndarray:
    """Slices of all channels, of whole volumes 0, as they are stored: uint16 [K, C, *size]."""
    images = np.empty((len(slices), len(opened), *to.size), dtype=np.uint16)
    for start in range(0, len(slices), BLOCK):
        block = slices[start : start + BLOCK]
        for row, channel in enumerate(opened):
            images[start : start + BLOCK, row] = 0 if channel is None else pixels(channel, block, to)
    return images


def limits_of(channel: Channel | None, spec: dict[str, Any]) -> tuple[float, float] | None:
    """(low, high) in the scanner's units; None for a mask, a missing contrast, and a map of each slice by itself."""
    if channel is None or spec["map"] == "slice_minmax" or channel.low is None or channel.high is None:
        return None
    low, high = (float(end[0] * channel.slope + channel.inter) for end in (channel.low, channel.high))
    return low, high


def apart(encoded: Encoded, contrasts: list[str]) -> Encoded:
    """Each contrast of a slice as an image of its own: [K * C, 1, H, W], the contrasts of a slice in a row."""
    count = len(contrasts)
    images = encoded.images.reshape(-1, 1, *encoded.images.shape[2:])
    columns = ("slices", "positions", "fractions", "kept")
    return encoded._replace(
        images=images,
        **{name: getattr(encoded, name).repeat(count) for name in columns},
        labels=np.tile(np.array(contrasts, dtype=object), len(encoded.slices)),
        digests=[hashlib.sha256(image.data).digest() for image in images],
        tiles={place * count: tile for place, tile in encoded.tiles.items()},
    )
