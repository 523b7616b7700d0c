"""DiffAugment (Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training").

Every image that the discriminator sees, real or generated, is changed by every policy; nothing adapts. Images are
[N, C, *size] in about [-1, 1] with any number of channels, in 2D or 3D. No policy inverts intensities, which would make
images that no scanner makes. As published, what moves in and what is cut out is 0, the middle of the range. A mask
moves and is cut with its contrasts; its labels are no colours.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from gan import parallel

SHIFT, CUTOUT = 0.125, 0.5  # of each side: the most that an image moves, what is cut out


def diffaugment(images: Tensor, policies: Iterable[str], masks: int = 0) -> Tensor:
    """``images`` changed by each of ``policies``, keys of `POLICIES`, in turn; amounts are drawn for each image.

    masks: how many of the channels, the last ones, hold labels, which ``colour`` leaves alone.
    """
    for policy in policies:
        if masks and policy == "colour":
            images = torch.cat([colour(images[:, :-masks]), images[:, -masks:]], 1)
        else:
            images = POLICIES[policy](images)
    return images


def colour(x: Tensor) -> Tensor:
    """Brightness + U(-0.5, 0.5); differences to the mean of the channels * U(0, 2), to that of the image * U(0.5, 1.5).

    The channels of an image change together. One channel has no differences to their mean.
    """
    x = x + (_uniform(x) - 0.5)
    x = _about(x.mean(dim=1, keepdim=True), x, _uniform(x) * 2)
    return _about(x.flatten(1).mean(dim=1).view(-1, *[1] * (x.ndim - 1)), x, _uniform(x) + 0.5)


def translation(x: Tensor) -> Tensor:
    """Shift along each axis by whole pixels, uniformly from -1/8 to 1/8 of the side; zeros move in."""
    for axis in range(2, x.ndim):
        size = x.shape[axis]
        most = int(size * SHIFT + 0.5)
        shift = parallel.randint(-most, most + 1, len(x), device=x.device)
        source = torch.arange(size, device=x.device) + shift[:, None]
        moved = x.take_along_dim(_along(axis, source.clamp(0, size - 1), x).expand_as(x), axis)
        x = moved * _along(axis, (source >= 0) & (source < size), x)
    return x


def cutout(x: Tensor) -> Tensor:
    """A box of half of each side about a pixel of the image, or just past its end, becomes 0."""
    cut = torch.ones([], dtype=torch.bool, device=x.device)
    for axis in range(2, x.ndim):
        size = x.shape[axis]
        side = int(size * CUTOUT + 0.5)
        first = parallel.randint(0, size + 1 - side % 2, len(x), device=x.device)[:, None] - side // 2
        place = torch.arange(size, device=x.device)
        cut = cut & _along(axis, (place >= first) & (place < first + side), x)
    return x * ~cut


POLICIES: dict[str, Callable[[Tensor], Tensor]] = {
    "colour": colour,
    "translation": translation,
    "cutout": cutout,
}


def _uniform(x: Tensor) -> Tensor:
    """In [0, 1), one for each image."""
    return parallel.rand(len(x), *[1] * (x.ndim - 1), dtype=x.dtype, device=x.device)


def _about(mean: Tensor, x: Tensor, factor: Tensor) -> Tensor:
    return mean + (x - mean) * factor


def _along(axis: int, values: Tensor, x: Tensor) -> Tensor:
    """Values [N, size] for each image and place of ``axis`` in the shape that goes with ``x``."""
    return values.view([len(x)] + [values.shape[1] if place == axis else 1 for place in range(1, x.ndim)])
