"""Controlled comparisons of generative adversarial networks on small medical image data sets."""

__version__ = "0.1.0"
