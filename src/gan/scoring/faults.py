"""Ways to spoil or to disguise images: what a metric sees of them is how far it can be trusted.

Images are grey values 0 to 255, float64 [n, H, W], or volumes [n, D, H, W]; results may lie outside and are rounded and
clipped by `to_grey`.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, rotate, shift

Random = np.random.Generator
Images = NDArray[np.float64]
Change = Callable[[Images, Images, Random], Images]


def to_grey(images: Images) -> NDArray[np.uint8]:
    return images.round().clip(0, 255).astype(np.uint8)


def blur(x: Images, pixels: float) -> Images:
    """Gaussian blur of a standard deviation of ``pixels``."""
    return gaussian_filter(x, (0, *[pixels] * (x.ndim - 1)), mode="nearest")


def noise(x: Images, percent: float, random: Random) -> Images:
    """Rician noise, as of the magnitude of a complex signal, of ``percent`` of the grey range."""
    real, imaginary = random.normal(0, 2.55 * percent, (2, *x.shape))
    return np.hypot(x + real, imaginary)


# What a copy may look like that is not one pixel for pixel: of images, others of other patients, and chance.
DISGUISES: dict[str, Change] = {
    "unchanged": lambda x, other, random: x,
    "blur of 0.5 px": lambda x, other, random: blur(x, 0.5),
    "blur of 1 px": lambda x, other, random: blur(x, 1),
    "blur of 2 px": lambda x, other, random: blur(x, 2),
    "Rician noise of 2.5 %": lambda x, other, random: noise(x, 2.5, random),
    "Rician noise of 5 %": lambda x, other, random: noise(x, 5, random),
    "shift of 2 px": lambda x, other, random: shift(x, (0, 2, *[0] * (x.ndim - 2)), order=0, mode="nearest"),
    "rotation of 5 degrees": lambda x, other, random: rotate(x, 5, (1, 2), reshape=False, order=1, mode="nearest"),
    "gain 0.9": lambda x, other, random: x * 0.9,
    "gain 1.1": lambda x, other, random: x * 1.1,
    "blend, 70 % with 30 % of another patient": lambda x, other, random: 0.7 * x + 0.3 * other,
    "mirrored left to right": lambda x, other, random: x[..., ::-1],
}
