"""The options of the table of levels."""

from dataclasses import dataclass
from typing import ClassVar

from gan.families.options import Options


@dataclass(frozen=True)
class LookupOptions(Options):
    """The mean target of each level of the source in the training images: nothing spatial, the floor of translation."""

    TASK: ClassVar[str] = "translate"
    TRAINED: ClassVar[bool] = False
    REVISION: ClassVar[int] = 1

    def varies(self) -> bool:
        return False
