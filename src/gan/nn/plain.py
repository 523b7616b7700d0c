"""Torch's own layers by the number of spatial dimensions, and the first weights of DCGAN and what came after it."""

from typing import Any

from torch import nn

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
