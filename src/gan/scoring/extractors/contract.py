"""What the folder of an extractor holds.

``options.py``: a frozen dataclass ``Options``, an `ExtractorOptions`, without torch. ``model.py``: ``make(options,
training_images, device)``, the content of the extractor's file, which ``torch.load(weights_only=True)`` can read, and
``load(content, device)``, a `gan.scoring.extractors.files.Extractor`. Where the options name feature maps also
``encoder(content, device)``, a `gan.families.contract.Encoder` of them.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True)
class ExtractorOptions:
    """Its section of ``metrics`` in the config. The metadata of a field are its JSON schema, without the default.

    SENTENCE: what it is, for the report; PUBLISHED: whether metrics keep their published names with it (FID);
    DESCRIPTIVE: whether its scores are shown first for reading and decide nothing, if another extractor can; AXES: of
    what it sees, 2 of images and of the slices of volumes, 3 of whole volumes alone; FEWEST: training images without
    which it is left out; REQUIRED: fields with a default that a config has to give all the same.
    """

    SENTENCE: ClassVar[str]
    PUBLISHED: ClassVar[bool] = False
    DESCRIPTIVE: ClassVar[bool] = False
    AXES: ClassVar[int] = 2
    FEWEST: ClassVar[int] = 0
    REQUIRED: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def maps(cls, size: tuple[int, int]) -> tuple[str, ...]:
        """The feature maps that variants may be made with, of images of ``size``; none by default."""
        return ()

    def fault(self, used: bool) -> str | None:
        """What is wrong with the options, in use or not, and the remedy; None if they are valid."""
        return None


@dataclass(frozen=True)
class FileOptions(ExtractorOptions):
    """Of an extractor that needs a file, which this project does not hold.

    VARIABLE: the environment variable that may name it, empty for none; path, url: where it is, or where to fetch it;
    size (bytes) and sha256: which file it is.
    """

    VARIABLE: ClassVar[str] = ""

    path: str | None
    url: str | None
    size: int | None
    sha256: str

    def place(self) -> Path | None:
        """The file on this machine, by ``path`` or else the environment; None if it has to be fetched."""
        named = self.path or os.environ.get(self.VARIABLE)
        return Path(os.path.expandvars(named)).expanduser() if named else None

    def where(self, name: str) -> str:
        """Where the file of the extractor ``name`` can be named, for messages."""
        return f"{self.VARIABLE} or metrics.{name}.path"
