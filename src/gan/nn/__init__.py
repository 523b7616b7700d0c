"""Layers and networks: `spatial_dims` 2 or 3 in one class, any number of channels."""

from gan.nn.discriminator import Discriminator
from gan.nn.generator import Generator
from gan.nn.layers import Conv, Linear, minibatch_stddev, pixel_norm
from gan.nn.mapping import Mapping
from gan.nn.norm import BatchNorm
from gan.nn.synthesis import Synthesis
from gan.pyramid import Pyramid

__all__ = [
    "BatchNorm",
    "Conv",
    "Discriminator",
    "Generator",
    "Linear",
    "Mapping",
    "Pyramid",
    "Synthesis",
    "minibatch_stddev",
    "pixel_norm",
]
