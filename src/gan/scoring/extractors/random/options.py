"""Inception-v3 that has seen no data at all."""

from dataclasses import dataclass, field
from typing import ClassVar

from gan.scoring.extractors.contract import ExtractorOptions


@dataclass(frozen=True)
class Options(ExtractorOptions):
    """seed: of the weights."""

    SENTENCE: ClassVar[str] = "the Inception-v3 architecture with fixed random weights (Naeem et al. 2020)"

    seed: int = field(default=0, metadata={"type": "integer", "minimum": 0, "description": "seed of the weights"})
