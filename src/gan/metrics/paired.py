"""How far translated images are from the real ones: measures of a prediction, its reference and a region.

All images are float on the fixed scale 0..255, clipped to it and not rounded: the data range is 255 for every pair, and
nothing is ever scaled by an image's own maximum or percentiles, which would hide a wrong gain.

An image is a slice [H, W] or a whole volume [D, H, W]. It gives two numbers to each measure. They are summed over the
images of a subject, and the subject's value is a function of the two sums. For ``mae``, ``ssim``, ``pcc`` and
``outside`` this is the mean over slices; ``psnr``, ``nmse``, ``sharpness`` and ``flicker`` pool all voxels of the
subject, because a ratio of a slice with little signal would outweigh the others.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from gan.metrics.regions import SMALLEST, Region, checked
from gan.metrics.ssim import BORDER, ssim_map

Array = NDArray[np.float64]
TOP = 255.0  # the data range, always
CAP = 100.0  # dB, of equal images


@dataclass(frozen=True)
class Compared:
    """Images next to each other: ``prediction`` and ``reference``, float64 [n, *size], 0..255; use `of`."""

    prediction: Array
    reference: Array

    @classmethod
    def of(cls, prediction: ArrayLike, reference: ArrayLike) -> "Compared":
        """Clip both to 0..255.

        Raises `TypeError` for images that are not of floats (they have been rounded), `ValueError` for different
        shapes and for values that are not finite.
        """
        pair = []
        for name, images in (("prediction", np.asarray(prediction)), ("reference", np.asarray(reference))):
            if images.dtype.kind != "f":
                raise TypeError(f"{name} is of {images.dtype}; images are scored as floats, before any rounding")
            if not np.isfinite(images).all():
                raise ValueError(f"{name} has values that are not finite")
            pair.append(images.astype(np.float64).clip(0, TOP))
        if pair[0].shape != pair[1].shape or pair[0].ndim not in (3, 4):
            raise ValueError(
                f"images of shape {pair[0].shape} and {pair[1].shape}; both are [n, H, W], or volumes [n, D, H, W]"
            )
        return cls(*pair)

    @functools.cached_property
    def difference(self) -> Array:
        return self.prediction - self.reference

    @functools.cached_property
    def similarity(self) -> Array:
        """The SSIM of each window of the whole pair, 10 fewer along each axis; nothing is 0 outside of a region."""
        return ssim_map(self.prediction, self.reference).numpy()

    @functools.cached_property
    def edges(self) -> tuple[Array, Array]:
        """The squared Laplacian of both."""
        axes = tuple(range(1, self.reference.ndim))
        first, second = (np.square(ndimage.laplace(images, axes=axes)) for images in (self.prediction, self.reference))
        return first, second


@dataclass(frozen=True)
class Measure:
    """terms: from images and their region to two numbers an image, [n, 2]; value: from the two sums over a subject's
    images [..., 2] to its value [...]; inner: whether only windows count that lie within the image."""

    terms: Callable[[Compared, Region], Array]
    value: Callable[[Array], Array]
    inner: bool = False


def _ratio(sums: Array) -> Array:
    """First over second; NaN where the second is 0."""
    below = np.where(sums[..., 1] > 0, sums[..., 1], np.nan)
    return sums[..., 0] / below


def _decibels(sums: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.minimum(CAP, 10 * np.log10(TOP**2 * sums[..., 1] / sums[..., 0]))


def _each(values: NDArray) -> NDArray:
    """The sum over each image, [n]."""
    return values.sum(tuple(range(1, values.ndim)))


def _mean(values: Array, region: Region) -> Array:
    """The mean of ``values`` in the region of each image, and 1."""
    means = _each(np.where(region, values, 0)) / np.maximum(_each(region), 1)
    return np.stack([means, np.ones(len(means))], 1)


def _sums(first: Array, second: Array | float, region: Region) -> Array:
    return np.stack([_each(np.where(region, values, 0)) for values in (first, second)], 1)


def _absolute(pair: Compared, region: Region) -> Array:
    return _mean(np.abs(pair.difference), region)


def _squared(pair: Compared, region: Region) -> Array:
    return _sums(np.square(pair.difference), 1.0, region)


def _normalised(pair: Compared, region: Region) -> Array:
    return _sums(np.square(pair.difference), np.square(pair.reference), region)


def _similarity(pair: Compared, region: Region) -> Array:
    return _mean(pair.similarity, region)


def _correlation(pair: Compared, region: Region) -> Array:
    """Pearson's r of each image, 0 where one of the two is constant."""
    count, axes = np.maximum(_each(region), 1), tuple(range(1, region.ndim))
    x, y = (np.where(region, images, 0) for images in (pair.prediction, pair.reference))
    x, y = (np.where(region, images - np.expand_dims(_each(images) / count, axes), 0) for images in (x, y))
    both, own = _each(x * y), _each(np.square(x)) * _each(np.square(y))
    flat = own <= (1e-9 * TOP**2 * count) ** 2  # a constant image, up to rounding
    return np.stack([np.where(flat, 0, both / np.sqrt(np.where(flat, 1, own))), np.ones(len(both))], 1)


def _sharp(pair: Compared, region: Region) -> Array:
    return _sums(*pair.edges, region)


def _brightness(pair: Compared, region: Region) -> Array:
    return _mean(pair.prediction, region)


def _steps(pair: Compared, region: Region) -> Array:
    return _sums(np.abs(pair.prediction), np.abs(pair.reference), region)


# What is measured in every region; facts are named after the measure and the region, such as ``mae_fg``.
MEASURES = {
    "mae": Measure(_absolute, _ratio),
    "ssim": Measure(_similarity, _ratio, inner=True),
    "psnr": Measure(_squared, _decibels),
    "nmse": Measure(_normalised, _ratio),
    "pcc": Measure(_correlation, _ratio),
}
SHARPNESS = Measure(_sharp, _ratio)  # power of the Laplacian of the prediction over that of the reference
OUTSIDE = Measure(_brightness, _ratio)  # mean prediction in a region where the reference is background
FLICKER = Measure(_steps, _ratio)  # of differences between neighbouring slices (`neighbours`)


def terms(measure: Measure, pair: Compared, region: ArrayLike) -> Array:
    """The two numbers of each image, [n, 2]; NaN where its region has fewer than `SMALLEST` voxels.

    region: bool [n, *size]. Raises `TypeError` for another type, `ValueError` for another shape.
    """
    region = checked(region, pair.reference.shape)
    if measure.inner:
        region = region[(slice(None), *[slice(BORDER, -BORDER)] * (region.ndim - 1))]
    found = measure.terms(pair, region)
    found[_each(region) < SMALLEST] = np.nan
    return found


def by_subject(measure: Measure, found: Array, subjects: NDArray) -> Array:
    """The value of each subject, [number of subjects] in the order of their codes; NaN where it has none.

    found: `terms` of n images; subjects: a code for each image [n]. Images that were left out (NaN) do not count.
    """
    names, codes = np.unique(subjects, return_inverse=True)
    used = ~np.isnan(found).any(1)
    sums, count = np.zeros((len(names), 2)), np.zeros(len(names))
    np.add.at(sums, codes[used], found[used])
    np.add.at(count, codes[used], 1)
    return np.where(count > 0, measure.value(np.where(count[:, None] > 0, sums, 1)), np.nan)


def score(
    name: str, prediction: ArrayLike, reference: ArrayLike, region: ArrayLike, subjects: ArrayLike | None = None
) -> float:
    """The measure ``name`` of `MEASURES` of images [n, *size], 0..255, in ``region``: by subject, then their mean.

    subjects: a code for each image [n]; None: all images are of one. NaN if every image is left out.
    """
    pair = Compared.of(prediction, reference)
    codes = np.zeros(len(pair.reference), int) if subjects is None else np.asarray(subjects)
    values = by_subject(MEASURES[name], terms(MEASURES[name], pair, region), codes)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")


def neighbours(volumes: NDArray, slices: NDArray, step: int) -> NDArray[np.int64]:
    """Places i of slices whose neighbour along the axis is slice i + 1: of the same volume, ``step`` further on.

    volumes, slices: codes and slice numbers [n], in the order of the store.
    """
    follows = (volumes[1:] == volumes[:-1]) & (slices[1:] - slices[:-1] == step)
    return np.flatnonzero(follows)
