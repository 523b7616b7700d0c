"""The generative models under comparison, a file a family. Importing this package does not import torch."""

import importlib
from typing import TYPE_CHECKING, Any

from gan.errors import GanError
from gan.variants.options import FAMILIES

if TYPE_CHECKING:
    from gan.variants.base import ImageShape, Variant


def build(family: str, options: dict[str, Any], shape: "ImageShape", batch: int) -> "Variant":
    """Make the variant that a recipe describes. Unknown families or options raise `GanError`."""
    if family not in FAMILIES:
        raise GanError(f"unknown family {family!r}; known: {', '.join(FAMILIES)}")
    cls = variant_class(family)
    try:
        return cls(FAMILIES[family](**options), shape, batch)
    except TypeError as error:
        raise GanError(f"family {family}: {error}") from error


def variant_class(family: str) -> type["Variant"]:
    """The class of ``family``, imported on demand."""
    options = FAMILIES[family]
    return getattr(importlib.import_module(options.MODULE), options.CLASS)
