"""The options of the copy of the source."""

from dataclasses import dataclass
from typing import ClassVar

from gan.families.options import Options


@dataclass(frozen=True)
class CopyOptions(Options):
    """The source itself as its translation: what nothing at all would score."""

    TASK: ClassVar[str] = "translate"
    TRAINED: ClassVar[bool] = False
    REVISION: ClassVar[int] = 1

    def varies(self) -> bool:
        return False
