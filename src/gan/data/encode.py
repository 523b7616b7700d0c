"""One subject's volumes, or one picture, as candidate slices and the stored pixels of those that are kept."""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gan.data import intensity
from gan.data.found import leaves
from gan.data.nifti import Volume, open_volume
from gan.data.pictures import read_picture
from gan.data.planes import Frame, as_slices, frame, pixel_spacing, place, place_labels, upright
from gan.errors import GanError
from gan.labels import label_of
from gan.scales import STEP

NEAR_0, FEW = 0.01, 0.01  # of the upper limit; of the voxels: ringing of a resampled image gives no warning
BLOCK = 8  # slices at a time: intermediate values stay in the processor's cache


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
    """S candidates, K of them kept. images: uint16 [K, C, H, W]; slices, fractions, kept: [S]; positions: 0..1 [S];
    labels: class names [S], empty where a slice has none; digests: of kept images; limits: (low, high) per contrast,
    None where the map is by slice, or the contrast missing; tiles: place among the candidates -> uint16 [C, H, W];
    shape: of the source; frame: how its pixels came to be stored; notes: what the map does that the user may not want.
    Where each contrast is an image of its own, S and K count those."""

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


class Channel(NamedTuple):
    """stack: [S, H, W]; low, high: [S], None for a mask. ``slope * stored + inter`` is in the scanner's units."""

    stack: np.ndarray
    spacing: tuple[float, float]
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    slope: float = 1.0
    inter: float = 0.0


def encode(item: Item, row: dict[str, Any]) -> Encoded:
    """Apply intensity map, filter and frame of ``row`` to ``item``.

    The filter looks at the reference contrast on its native pixels, before padding and resampling: a slice is kept
    when more than ``slices.fraction`` of them exceed ``slices.threshold`` on the scale 0..255. Of a subject that lacks
    that contrast it looks at the first one there is; what is missing is stored as 0.
    """
    spec = row["slices"]
    opened = [
        None if path is None else _channel(path, row, mask=place >= len(row["contrasts"]))
        for place, path in enumerate(item.files)
    ]
    every = slice(None, None, spec["every"])
    reference = _reference(opened, row)
    low, high = reference.low[every], reference.high[every]  # type: ignore[index]
    fractions = intensity.fraction_above(reference.stack[every], spec["threshold"], low, high)
    unfiltered = row["layout"] == "images" and spec["fraction"] == 0
    kept = np.ones(len(fractions), dtype=bool) if unfiltered else fractions > spec["fraction"]
    count = len(reference.stack)
    slices = np.arange(count)[every]
    size = (spec["size"],) * 2 if isinstance(spec["size"], int) else tuple(spec["size"])
    to = frame(reference.stack.shape[1:], reference.spacing, size, spec["fit"])  # type: ignore[arg-type]
    images = stored(opened, slices[kept], to)
    shown = _shown(kept, item.tiles)
    parts = row["labels"]["slice"] if label_of(row["labels"]) == "slice" else 0
    encoded = Encoded(
        images=images,
        slices=slices + item.first,
        positions=slices / max(1, count - 1),
        fractions=fractions,
        kept=kept,
        labels=part_names(kept, parts) if parts else np.full(len(kept), item.label, dtype=object),
        digests=[_digest(image, row) for image in images],
        limits=[limits_of(channel, row["intensity"]) for channel in opened[: len(row["contrasts"])]],
        tiles=dict(zip(shown.tolist(), stored(opened, slices[shown], to), strict=True)),
        shape=reference.stack.shape,
        frame=to,
        notes=_notes(opened, row),
    )
    return _apart(encoded, row["contrasts"]) if row["labels"] == "contrast" else encoded


def _digest(image: np.ndarray, row: dict[str, Any]) -> bytes:
    """The hash of the pixels of an image [C, H, W]; where contrasts may be missing, those of each that is not black."""
    if not leaves(row):
        return hashlib.sha256(image.data).digest()
    planes = [plane for plane in image[: len(row["contrasts"])] if plane.any()]
    return b"".join(hashlib.sha256(plane.data).digest() for plane in planes)


def _reference(opened: list[Channel | None], row: dict[str, Any]) -> Channel:
    """The reference contrast, or the first one that there is."""
    wanted = opened[row["contrasts"].index(row["reference"] or row["contrasts"][0])]
    contrasts = (wanted, *opened[: len(row["contrasts"])])
    return next(channel for channel in contrasts if channel is not None)


def _notes(opened: list[Channel | None], row: dict[str, Any]) -> str:
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


def part_names(kept: np.ndarray, parts: int) -> np.ndarray:
    """Which of ``parts`` equal parts of the ``kept`` slices [S] each slice is in, from the first: names [S]."""
    places = (np.cumsum(kept) - 1) * parts // max(1, np.count_nonzero(kept))
    digits = len(str(parts))
    names = [f"part{place + 1:0{digits}d}of{parts}" if here else "" for place, here in zip(places, kept, strict=True)]
    return np.array(names, dtype=object)


def _apart(encoded: Encoded, contrasts: list[str]) -> Encoded:
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


def _shown(kept: np.ndarray, most: int) -> np.ndarray:
    """At most ``most`` candidates over the kept range and a sixth of it beyond, to show the filter's limits."""
    places = np.flatnonzero(kept) if kept.any() else np.arange(len(kept))
    beyond = 1 + (places[-1] - places[0]) // 6
    first, last = max(0, places[0] - beyond), min(len(kept) - 1, places[-1] + beyond)
    return np.unique(np.linspace(first, last, most).round().astype(int))


def _channel(path: Path, row: dict[str, Any], *, mask: bool) -> Channel:
    axis, spec = row["slices"]["axis"], row["intensity"]
    if row["layout"] == "images":
        values = read_picture(path)
        _check_window(path, values, spec)
        stack = upright(values[None])  # pictures are upright as they are; `stored` turns every stack
        make = partial(_mapped, values, stack, (1.0, 1.0), spec)
    else:
        make = partial(channel_of, open_volume(path), axis, spec)
    try:
        return make(mask=mask)
    except GanError as error:
        raise GanError(f"{path}: {error}") from error


def channel_of(volume: Volume, axis: str, spec: dict[str, Any], *, mask: bool = False) -> Channel:
    """The slices along ``axis`` of a RAS volume, with the limits of the ``intensity`` ``spec``; a mask has none.

    `GanError` of `gan.data.intensity.limits`.
    """
    stack, spacing = as_slices(volume.data, axis), pixel_spacing(volume.spacing, axis)
    return _mapped(volume.data, stack, spacing, spec, volume.slope, volume.inter, mask=mask)


def _mapped(
    values: np.ndarray,
    stack: np.ndarray,
    spacing: tuple[float, float],
    spec: dict[str, Any],
    slope: float = 1.0,
    inter: float = 0.0,
    *,
    mask: bool,
) -> Channel:
    if mask:
        return Channel(stack, spacing)
    return Channel(stack, spacing, *intensity.limits(values, stack, spec, slope, inter), slope, inter)


def _check_window(path: Path, values: np.ndarray, spec: dict[str, Any]) -> None:
    """Raise `GanError` if a window for 8 bits meets a picture of more bits: nearly all of it would be white."""
    if spec["map"] == "window" and values.dtype != np.uint8 and spec["high"] <= 255 < values.max():
        high = next((2**bits - 1 for bits in (12, 16) if values.max() < 2**bits), values.max())
        raise GanError(
            f"{path}: values up to {values.max():g}, but intensity.high is {spec['high']:g}; set intensity.high to "
            f"{high:g}, or to what is white in this data set"
        )


def stored(opened: list[Channel | None], slices: np.ndarray, to: Frame) -> np.ndarray:
    """Slices of all channels as they are stored: uint16 [K, C, H, W]."""
    images = np.empty((len(slices), len(opened), *to.size), dtype=np.uint16)
    for start in range(0, len(slices), BLOCK):
        block = slices[start : start + BLOCK]
        for place_, channel in enumerate(opened):
            images[start : start + BLOCK, place_] = 0 if channel is None else _pixels(channel, block, to)
    return images


def _pixels(channel: Channel, slices: np.ndarray, to: Frame) -> np.ndarray:
    stack = upright(channel.stack[slices])
    if channel.low is None or channel.high is None:
        return place_labels(stack, to)
    scaled = place(intensity.to_scale(stack, channel.low[slices], channel.high[slices]), to)
    scaled *= STEP
    scaled += 0.5  # the cast to integers truncates
    return scaled


def limits_of(channel: Channel | None, spec: dict[str, Any]) -> tuple[float, float] | None:
    """(low, high) in the scanner's units; None for a mask, a missing contrast, and a map of each slice by itself."""
    if channel is None or spec["map"] == "slice_minmax" or channel.low is None or channel.high is None:
        return None
    low, high = (float(end[0] * channel.slope + channel.inter) for end in (channel.low, channel.high))
    return low, high
