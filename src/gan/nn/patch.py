"""The discriminator of patches (Isola et al. 2017): one logit for each of many overlapping parts of an image."""

import itertools

from torch import Tensor, nn

from gan.nn.norm import NORMS
from gan.nn.plain import LAYERS
from gan.ops.precision import autocast, widened
from gan.pyramid import patch_layers

SLOPE = 0.2  # of the leaky ReLU


class PatchGAN(nn.Module):
    """Images [N, channels, *size] -> logits [N, 1, *map], high for real.

    Convolutions of kernel 4 and padding 1: ``layers`` halve the image, two more do not. A logit sees 16, 34, 70 or 142
    pixels a side for 1, 2, 3 or 4 layers. With 0 layers all kernels are 1 (the PixelGAN of the paper). Channels double
    from ``width`` to 8 times of it. The first layer and the last have no normalisation.
    """

    def __init__(self, size: tuple[int, ...], channels: int, *, layers: int, width: int = 64, norm: str = "instance"):
        """norm: of `NORMS`. `GanError` if the image is too small."""
        super().__init__()
        patch_layers(size, layers)
        conv, _ = LAYERS[len(size)]
        kernels = [(4, 2, 1)] * layers + [(4, 1, 1)] * 2 if layers else [(1, 1, 0)] * 3
        widths = [width * min(2**depth, 8) for depth in range(len(kernels) - 1)]
        modules: list[nn.Module] = [conv(channels, widths[0], *kernels[0]), nn.LeakyReLU(SLOPE, inplace=True)]
        for (narrow, wide), kernel in zip(itertools.pairwise(widths), kernels[1:-1], strict=True):
            modules += [conv(narrow, wide, *kernel, bias=False), NORMS[norm](wide), nn.LeakyReLU(SLOPE, inplace=True)]
        self.layers = nn.Sequential(*modules, conv(widths[-1], 1, *kernels[-1]))

    def forward(self, images: Tensor) -> Tensor:
        with autocast(images):
            return widened(self.layers(images))
