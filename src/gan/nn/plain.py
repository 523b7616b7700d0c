"""What DCGAN and the networks after it have in common: torch's own layers, their first weights, planes of labels."""

from typing import Any

import torch
from torch import Tensor, nn

LAYERS: dict[int, tuple[Any, Any]] = {  # by spatial dimensions: a convolution, a transposed one
    2: (nn.Conv2d, nn.ConvTranspose2d),
    3: (nn.Conv3d, nn.ConvTranspose3d),
}


def normal_weights(module: nn.Module) -> None:
    """Weights N(0, 0.02), scales of batch norm N(1, 0.02), biases 0 (Radford et al. 2016, section 4).

    For `torch.nn.Module.apply`: parameters of ``module`` itself alone.
    """
    for name, parameter in module.named_parameters(recurse=False):
        if name == "bias":
            nn.init.zeros_(parameter)
        else:
            nn.init.normal_(parameter, 1.0 if parameter.ndim == 1 else 0.0, 0.02)


def with_planes(images: Tensor, values: Tensor) -> Tensor:
    """Images [N, C, *size] and a constant plane for each of ``values`` [N, V] next to them, [N, C + V, *size]."""
    if not values.shape[1]:
        return images
    planes = along(values, images).to(images.dtype)
    return torch.cat([images, planes.expand(-1, -1, *images.shape[2:])], dim=1)


def along(values: Tensor, images: Tensor) -> Tensor:
    """Values [N, C] of whole channels in as many dimensions as ``images``."""
    return values.reshape(*values.shape, *[1] * (images.ndim - 2))
