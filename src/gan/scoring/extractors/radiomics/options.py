"""Features that a radiologist can name."""

from dataclasses import dataclass
from typing import ClassVar

from gan.scoring.extractors.contract import ExtractorOptions


@dataclass(frozen=True)
class Options(ExtractorOptions):
    """There is nothing to choose: bins, distances and regions are those of `gan.metrics.radiomics`."""

    SENTENCE: ClassVar[str] = (
        "radiomic features of brightness, texture, sharpness, size and background (IBSI definitions), standardised by "
        "the real training slices"
    )
