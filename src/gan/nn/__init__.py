"""Layers and networks: `spatial_dims` 2 or 3 in one class, any number of channels."""

from gan.nn.discriminator import Discriminator
from gan.nn.generator import Generator
from gan.nn.layers import Conv, Linear, minibatch_stddev, pixel_norm
from gan.nn.mapping import Mapping
from gan.nn.norm import BatchNorm
from gan.nn.patch import PatchGAN
from gan.nn.plain import normal_weights
from gan.nn.pool import ImagePool
from gan.nn.resnet import ResNet
from gan.nn.synthesis import Synthesis
from gan.nn.unet import UNet
from gan.pyramid import Pyramid

__all__ = [
    "BatchNorm",
    "Conv",
    "Discriminator",
    "Generator",
    "ImagePool",
    "Linear",
    "Mapping",
    "PatchGAN",
    "Pyramid",
    "ResNet",
    "Synthesis",
    "UNet",
    "minibatch_stddev",
    "normal_weights",
    "pixel_norm",
]
