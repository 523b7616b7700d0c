"""Regions of images in which a translation is scored. They come from real images and real masks alone.

A region is boolean [n, *size], one per image, a slice [H, W] or a whole volume [D, H, W]. A region that followed the
prediction would let a bad one hide its faults.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

LEVEL = 25.5  # 10 % of the scale 0..255: above it, a pixel of a whole head is not background
SMALLEST = 50  # voxels of an image's region; a smaller one is left out and counted

WHOLE, HEAD, TUMOUR = "whole", "fg", "tumour"  # what the names of metrics end in

Region = NDArray[np.bool_]


def foreground(sources: ArrayLike, targets: ArrayLike, level: float = LEVEL) -> Region:
    """The head or body in each image: bool [n, *size].

    sources, targets: real images [n, C, *size] on the scale 0..255. A pixel belongs to it where any of them is above
    ``level``; the largest component is taken, connected by edges (of voxels: by faces), and its holes are filled. For
    skull-stripped data ``level`` is 0. An image in which nothing is above it has an empty region.
    """
    sources, targets = np.asarray(sources), np.asarray(targets)
    bright = np.concatenate([sources, targets], 1).max(1) > level
    region = np.zeros(bright.shape, bool)
    for place, image in enumerate(bright):
        region[place] = ndimage.binary_fill_holes(_largest(image))
    return region


def of_mask(masks: ArrayLike, largest: int) -> dict[str, Region]:
    """Regions of label images [n, *size]: ``tumour``, all labels together, and of several also ``tumour_<k>`` for each.

    largest: the largest label of the data set. Raises `TypeError` for masks that are not of integers.
    """
    masks = np.asarray(masks)
    if masks.dtype.kind not in "iu":
        raise TypeError(f"label images are of integers, not of {masks.dtype}")
    single = {f"{TUMOUR}_{label}": masks == label for label in range(1, largest + 1)} if largest > 1 else {}
    return {TUMOUR: masks > 0} | single


def inner(region: Region) -> Region:
    """Voxels of ``region`` [n, *size] whose neighbours along each axis are in it: its outline would outweigh what is
    within."""
    return np.asarray(ndimage.binary_erosion(region, ndimage.generate_binary_structure(region.ndim - 1, 1)[None]), bool)


def checked(region: ArrayLike, shape: tuple[int, ...]) -> Region:
    """``region`` if it is boolean and of ``shape``; else `TypeError` or `ValueError`.

    An integer mask as an index picks planes, not voxels, and would go unnoticed.
    """
    region = np.asarray(region)
    if region.dtype != np.bool_:
        raise TypeError(f"a region is boolean, not of {region.dtype}; compare the labels, as in mask > 0")
    if region.shape != shape:
        raise ValueError(f"a region of shape {region.shape} for images of shape {shape}")
    return region


def _largest(image: Region) -> Region:
    labels, count = ndimage.label(image)  # type: ignore[misc]
    if count < 2:
        return image
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax()
