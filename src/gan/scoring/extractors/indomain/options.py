"""An encoder of the data set's own."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

from gan.scoring.extractors.contract import ExtractorOptions


def number(default: int, minimum: int, description: str) -> int:
    return field(default=default, metadata={"type": "integer", "minimum": minimum, "description": description})


@dataclass(frozen=True)
class Options(ExtractorOptions):
    """steps: of training, with 64 slices each; dim: features per image; seed: of the encoder."""

    SENTENCE: ClassVar[str] = "an encoder trained on the real training slices of this data set"

    steps: int = number(1000, 1, "training steps")
    dim: int = number(128, 8, "features per image")
    seed: int = number(0, 0, "seed of the encoder")

    @classmethod
    def maps(cls, size: tuple[int, int]) -> tuple[str, ...]:
        return tuple(f"stage{place}" for place in range(1, halvings(size) + 2))


def halvings(size: tuple[int, ...]) -> int:
    """Stages of stride 2, to about 4 a side."""
    return max(2, round(math.log2(min(size) / 4)))
