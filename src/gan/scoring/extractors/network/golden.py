"""The golden check: numbers of the features of four phantom slices, which a wrong preparation changes.

Preparation is where two uses of the same file differ most: another mean, another resampling, another layer. Two slices
are smaller and two larger than the usual inputs, so that enlarging and reducing are both checked.
"""

import numpy as np
from numpy.typing import NDArray

from gan.data import phantom, phantom_anatomy
from gan.data.phantom_shapes import Grid
from gan.errors import GanError
from gan.scoring.extractors.files import Extractor
from gan.scoring.extractors.network.options import Options

SIDES = (96, 320)  # pixels
PLACES = (0.0, 30.0)  # mm from the middle of the head
TOLERANCE = 2e-3  # of the largest number: devices differ by less than 1e-5


def slices() -> list[NDArray[np.uint8]]:
    """Two T1 slices of a synthetic head of 192 mm, [2, side, side] for each of `SIDES`."""
    found = []
    for side in SIDES:
        random = np.random.default_rng(0)
        spacing = 192 / side
        plane = (np.arange(side) - (side - 1) / 2) * spacing
        grid, anatomy = Grid((plane, plane, np.array(PLACES)), spacing), phantom_anatomy.Anatomy.draw(random)
        fractions = phantom_anatomy.tissue_fractions(grid, anatomy, None, random)
        volume = phantom.images(grid, fractions, random)["t1n"].astype(np.float64)
        scaled = (volume * 255 / volume.max()).round().astype(np.uint8)
        found.append(np.ascontiguousarray(scaled.transpose(2, 1, 0)))
    return found


def numbers(extract: Extractor) -> list[float]:
    """Of each slice the mean and the standard deviation of its features, and the mean of those with even places less
    that of those with odd ones."""
    found = []
    for images in slices():
        for features in extract(images).astype(np.float64):
            found += [features.mean(), features.std(), features[::2].mean() - features[1::2].mean()]
    return [float(f"{number:.5g}") for number in found]


def compare(extract: Extractor, options: Options) -> None:
    """`GanError` if the features are not those of ``options.golden``."""
    if options.golden is None:
        raise GanError(f"{options.section} lacks golden; `gan evaluate golden` prints it for a file that you trust")
    found = numbers(extract)
    scale = max(map(abs, options.golden))
    apart = max(abs(one - other) for one, other in zip(found, options.golden, strict=True)) / scale
    if not apart <= TOLERANCE:
        raise GanError(
            f"{options.section}: its features of the phantom differ from golden by {100 * apart:.2g} %; the file, its "
            f"layer or its preparation (side, resampling, mean, std) is another one than where golden is from"
        )
