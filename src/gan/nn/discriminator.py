"""The residual discriminator of StyleGAN2 (Karras et al. 2020a)."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from gan.nn.attention import Attention
from gan.nn.layers import Conv, Linear, minibatch_stddev
from gan.nn.mapping import Mapping
from gan.nn.quantize import Quantized, Quantizer
from gan.ops.precision import reduced, widened
from gan.pyramid import Pyramid


class ResidualDown(nn.Module):
    """[N, inputs, *size] -> [N, outputs, *size / 2]; both branches are scaled by sqrt(1/2) to keep the variance."""

    def __init__(self, inputs: int, outputs: int, spatial_dims: int):
        super().__init__()
        half = math.sqrt(0.5)
        self.first = Conv(inputs, inputs, 3, act="lrelu", spatial_dims=spatial_dims)
        self.second = Conv(inputs, outputs, 3, down=2, act="lrelu", gain=half, spatial_dims=spatial_dims)
        self.skip = Conv(inputs, outputs, 1, down=2, gain=half, bias=False, spatial_dims=spatial_dims)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.second(self.first(x))


class Discriminator(nn.Module):
    """Images [N, channels, *size] and labels [N, labels] -> logits [N, 1], high for real.

    With labels the last layer is projected on an embedding of them (Miyato and Koyama 2018).
    """

    def __init__(
        self,
        size: tuple[int, ...],
        channels: int,
        labels: int = 0,
        *,
        channel_base: int = 16384,
        channel_max: int = 512,
        mbstd_group: int = 4,
        mapping_layers: int = 8,
        attention: dict[int, Attention] | None = None,
        quantize_at: Sequence[int] = (),
        quantize: dict[str, Any] | None = None,
    ):
        """attention: what makes it, by resolution; quantize: options of the `Quantizer` at each resolution of
        ``quantize_at``. Both come before the block that halves the resolution."""
        super().__init__()
        pyramid, dims = Pyramid.of(size), len(size)
        widths = [pyramid.width(level, channel_base, channel_max) for level in range(pyramid.doublings, -1, -1)]
        last = widths[-1]
        self.mbstd_group = mbstd_group
        self.from_image = Conv(channels, widths[0], 1, act="lrelu", spatial_dims=dims)
        # by level, as in the generator: networks of another size have the lower levels under the same names
        blocks = {
            str(pyramid.doublings - depth): ResidualDown(inputs, outputs, dims)
            for depth, (inputs, outputs) in enumerate(itertools.pairwise(widths))
        }
        self.blocks = nn.ModuleDict(blocks)
        self.conv = Conv(last + 1, last, 3, act="lrelu", spatial_dims=dims)
        self.hidden = Linear(last * math.prod(pyramid.grid), last, act="lrelu")
        self.logits = Linear(last, last if labels else 1)
        self.mapping = Mapping(0, labels, last, mapping_layers) if labels else None
        self.attention = nn.ModuleDict()
        for resolution, make in (attention or {}).items():
            level = pyramid.level(resolution, "attention_at")
            self.attention[str(level)] = make(widths[-1 - level], dims)
        self.quantizers = nn.ModuleDict()
        for resolution in quantize_at:
            level = pyramid.level(resolution, "quantize_at")
            self.quantizers[str(level)] = Quantizer(widths[-1 - level], **(quantize or {}))

    def forward(self, image: Tensor, labels: Tensor, notes: list[Quantized] | None = None) -> Tensor:
        """notes: gets what the quantizers did."""
        x = self.from_image(reduced(image, 0))
        for depth, block in enumerate(self.blocks.values()):
            x = block(self._refine(reduced(x, depth), len(self.blocks) - depth, notes))
        x = self._refine(widened(x), 0, notes)
        x = self.conv(minibatch_stddev(x, self.mbstd_group))
        x = self.logits(self.hidden(x.flatten(1)))
        if self.mapping is None:
            return x
        return (x * self.mapping(None, labels)).sum(dim=1, keepdim=True) / math.sqrt(x.shape[1])

    def layers(self) -> list[nn.Module]:
        """The convolutions from the image down to the grid, in the order of the published program."""
        return [self.from_image, *(layer for block in self.blocks.values() for layer in block.children())]

    def _refine(self, x: Tensor, level: int, notes: list[Quantized] | None) -> Tensor:
        key = str(level)
        x = self.attention[key](x) if key in self.attention else x
        return self.quantizers[key](x, notes) if key in self.quantizers else x
