"""The generative models under comparison, a file a family. Importing this package does not import torch."""

import dataclasses
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
    known = [item.name for item in dataclasses.fields(FAMILIES[family])]
    if unknown := sorted(set(options) - set(known)):
        raise GanError(f"family {family} has no option {unknown[0]!r}; it has: {', '.join(known)}")
    return variant_class(family)(FAMILIES[family](**options), shape, batch)


def variant_class(family: str) -> type["Variant"]:
    """The class of ``family``, imported on demand."""
    options = FAMILIES[family]
    return getattr(importlib.import_module(options.MODULE), options.CLASS)
