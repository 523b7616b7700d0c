"""Random crops of slightly enlarged images (Isola et al. 2017, section 6.2): from 286 pixels a side 256 are kept."""

import torch
from torch import Tensor

from gan import parallel

ENLARGED = 286 / 256


def jittered(images: Tensor) -> Tensor:
    """Images [N, C, *size], each enlarged linearly to 286/256 of its size and cropped to it at a random place.

    The channels of an image move together. Shifts are by whole pixels of the enlarged image.
    """
    for axis in range(2, images.ndim):
        size = images.shape[axis]
        large = round(size * ENLARGED)
        first = parallel.randint(0, large - size + 1, len(images), device=images.device)
        # Positions in the image of the pixels that are kept, as `torch.nn.functional.interpolate` has them.
        at = (torch.arange(size, device=images.device) + first[:, None] + 0.5) * (size / large) - 0.5
        at = at.clamp(0, size - 1)
        low = at.long()
        shape = [len(images), *[size if place == axis else 1 for place in range(1, images.ndim)]]
        before, after = (
            images.take_along_dim(index.view(shape).expand_as(images), axis)
            for index in (low, (low + 1).clamp(max=size - 1))
        )
        images = torch.lerp(before, after, (at - low).view(shape).to(images.dtype))
    return images
