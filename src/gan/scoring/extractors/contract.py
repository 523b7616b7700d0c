"""What the folder of an extractor holds.

``options.py``: a frozen dataclass ``Options``, an `ExtractorOptions`, without torch. ``model.py``: ``make(options,
training_images, device)``, the content of the extractor's file, which ``torch.load(weights_only=True)`` can read, and
``load(content, device)``, a `gan.scoring.extractors.files.Extractor`.
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class ExtractorOptions:
    """Its section of ``metrics`` in the config. The metadata of a field are its JSON schema, without the default.

    SENTENCE: what it is, for the report; PUBLISHED: whether metrics keep their published names with it (FID).
    """

    SENTENCE: ClassVar[str]
    PUBLISHED: ClassVar[bool] = False

    def fault(self, used: bool) -> str | None:
        """What is wrong with the options, in use or not, and the remedy; None if they are valid."""
        return None
