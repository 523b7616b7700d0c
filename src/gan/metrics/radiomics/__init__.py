"""Radiomic features of grey slices in numpy: what a radiologist calls brightness, contrast, texture, sharpness, size.

Grey levels for texture are `LEVELS` bins of the whole scale, 0..255, the same for all images: a wrong brightness is
not taken out. Texture is of a region within the slice: the head or body, or a label of its mask. The definitions are
those of the Image Biomarker Standardisation Initiative (IBSI 1, Zwanenburg et al. 2020), in two dimensions with
directions merged; tests hold them to its published values.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan.metrics.radiomics.cooccurrence import cooccurrence, of_pairs
from gan.metrics.radiomics.first_order import first_order
from gan.metrics.radiomics.runs import of_runs
from gan.metrics.radiomics.shape import of_shape
from gan.metrics.radiomics.sums import counted, divided
from gan.metrics.radiomics.tones import of_tones
from gan.metrics.regions import foreground
from gan.metrics.spectrum import BANDS, ROUNDING, power_spectra

GREY, LEVELS = 256, 32
DISTANCES = (1, 2)  # pixels between the two of a pair
PIXELS = 1 << 18  # of images that are worked on at a time, so that they stay in the cache
SMALLEST = 2 * BANDS  # pixels of a side, so that there are all bands of the spectrum

Features = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Radiomics:
    """names [d]; values [n, d]."""

    names: tuple[str, ...]
    values: NDArray[np.float64]


def of_images(images: NDArray[np.uint8]) -> Radiomics:
    """All features of images [n, H, W] of `SMALLEST` pixels a side or more: within the head or body, and of the whole.

    An image without a head has 0 for what is within it.
    """
    return _joined(images, [_of_image(part) for part in _parts(images)])


def within(images: NDArray[np.uint8], regions: NDArray[np.bool_]) -> Radiomics:
    """The features of images [n, H, W] within ``regions`` [n, H, W], one of each image; 0 where it is empty."""
    places = _parts(np.arange(len(images)), images[0].size if len(images) else 1)
    return _joined(images, [_within(images[rows], regions[rows]) for rows in places])


def _of_image(images: NDArray[np.uint8]) -> Features:
    head = foreground(images[:, None], images[:, None])
    spectrum = np.log(power_spectra(images) + ROUNDING)[:, :BANDS]
    outside = first_order(_histograms(images, ~head))
    return {
        **_within(images, head),
        **{f"spectrum_{band}": values for band, values in enumerate(spectrum.T, 1)},
        **{"outside_mean": outside["mean"], "outside_deviation": np.sqrt(outside["variance"])},
    }


def _within(images: NDArray[np.uint8], regions: NDArray[np.bool_]) -> Features:
    levels = np.where(regions, images // (GREY // LEVELS), LEVELS).astype(np.uint8)
    pairs = {f"pairs{distance}": of_pairs(cooccurrence(levels, LEVELS, distance)) for distance in DISTANCES}
    tones = of_tones(levels, LEVELS)
    tones = {
        "fineness": divided(1, tones.pop("coarseness"))
    } | tones  # the coarseness of a constant region has no bound
    groups = {
        **{"grey": first_order(_histograms(images, regions), GREY // LEVELS), **pairs},
        **{"runs": of_runs(levels, LEVELS), "tones": tones},
        **{"gradient": _gradients(images, regions), "shape": of_shape(regions)},
    }
    return {f"{group}_{name}": values for group, found in groups.items() for name, values in found.items()}


def _histograms(images: NDArray[np.uint8], regions: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many pixels of each region have each grey value: [n, 256]."""
    return counted(np.where(regions, images.astype(np.int64), GREY), GREY + 1)[:, :GREY]


def _gradients(images: NDArray[np.uint8], regions: NDArray[np.bool_]) -> Features:
    """Moments of the gradient's magnitude (central differences, grey values per pixel) within regions."""
    down, right = np.gradient(images.astype(np.float32), axis=(1, 2))
    size, pixels = np.hypot(down, right), regions.sum((1, 2))

    def mean(values: NDArray[np.float32]) -> NDArray[np.float64]:
        return divided(np.where(regions, values, 0).sum((1, 2), np.float64), pixels)

    middle = mean(size)
    apart = size - middle[:, None, None].astype(np.float32)
    square = apart * apart
    variance = mean(square)
    return {
        **{"mean": middle, "deviation": np.sqrt(variance)},
        "skewness": divided(mean(square * apart), variance**1.5),
        "kurtosis": divided(mean(square * square), variance**2) - 3 * (variance > 0),
    }


def _parts(of: NDArray, pixels: int = 0) -> Iterator[NDArray]:
    """``of`` some at a time, `PIXELS` together; at least one, which may be empty."""
    each = max(1, PIXELS // max(1, pixels or of[0:1].size))
    yield from np.array_split(of, max(1, -(-len(of) // each)))


def _joined(images: NDArray, parts: list[Features]) -> Radiomics:
    names = tuple(parts[0])
    values = [np.stack([part[name] for name in names], 1) for part in parts]
    return Radiomics(names, np.concatenate(values))
