"""Adaptive discriminator augmentation, ADA (Karras et al. 2020b, "Training GANs with limited data", appendix B).

`AugmentPipe` changes real and generated images alike in front of the discriminator, each operation with probability p;
`AdaController` steers p.
"""

from gan.augment.controller import AdaController
from gan.augment.pipe import BLIT, COLOUR, CORRUPTION, GEOMETRY, PRESETS, SYM6, AugmentPipe, preset

__all__ = [
    "BLIT",
    "COLOUR",
    "CORRUPTION",
    "GEOMETRY",
    "PRESETS",
    "SYM6",
    "AdaController",
    "AugmentPipe",
    "preset",
]
