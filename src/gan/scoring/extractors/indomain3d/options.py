"""An encoder of the data set's own whole volumes."""

from dataclasses import dataclass
from typing import ClassVar

from gan.scoring.extractors.contract import ExtractorOptions
from gan.scoring.extractors.indomain.options import number


@dataclass(frozen=True)
class Options(ExtractorOptions):
    """steps: of training, with 32 volumes each; dim: features per volume; seed: of the encoder."""

    SENTENCE: ClassVar[str] = "an encoder trained on the real training volumes of this data set"
    AXES: ClassVar[int] = 3
    FEWEST: ClassVar[int] = 32

    steps: int = number(500, 1, "training steps")
    dim: int = number(64, 8, "features per volume")
    seed: int = number(0, 0, "seed of the encoder")
