"""What a step of StyleGAN2 keeps for its backward passes."""

import math
from collections.abc import Mapping

from gan.pyramid import Pyramid

# Numbers that autograd keeps for an image, per feature at all resolutions, by phase: found by following what is saved,
# of volumes of 32^3 and 48^3. With weights it is what torch allocated on an H100 at 64^3 and 128^3, within 6 %
# (docs/performance.md). Path length is of an image that it uses, half of the batch.
KEPT: Mapping[str, float] = {"G": 9.0, "Gpl": 10.6, "D": 8.0, "Dr1": 6.3}
# With AdaIN, in float32 and in 16 bits: it normalises a copy in float32.
WITH_ADAIN: Mapping[str, tuple[float, float]] = {"G": (10.2, 16.5), "Gpl": (14.9, 27.0)}


def features(size: tuple[int, ...], base: int, most: int) -> list[int]:
    """Numbers in the feature maps of an image, by level from the smallest (`Pyramid.width`)."""
    pyramid = Pyramid.of(size)
    levels = range(pyramid.doublings + 1)
    return [math.prod(pyramid.size(level)) * pyramid.width(level, base, most) for level in levels]


def kept(sizes: list[int], modulation: str, width: int) -> dict[str, float]:
    """Bytes that autograd keeps for an image in each phase. sizes: of `features`; width: bytes of a number of them."""
    numbers = dict(KEPT)
    if modulation == "adain":
        numbers |= {phase: pair[width < 4] for phase, pair in WITH_ADAIN.items()}
    return {phase: number * sum(sizes) * width for phase, number in numbers.items()}
