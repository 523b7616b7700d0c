"""A network of torchvision with weights that the config declares, by a name of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gan.scoring.extractors.contract import FileOptions

ARCHITECTURES = ("resnet50", "densenet121", "inception_v3")
RESAMPLINGS = ("bilinear", "bicubic")
GOLDEN = 12  # numbers of a golden check


def _option(description: str, default: Any = None, **schema: Any) -> Any:
    return field(default=default, metadata={"description": description, **schema})


def _required(description: str, **schema: Any) -> Any:
    return field(metadata={"description": description, **schema})


def _numbers(number: int) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "number"}, "minItems": number, "maxItems": number}


_TEXT = {"type": ["string", "null"]}


@dataclass(frozen=True, kw_only=True)
class Options(FileOptions):
    """name: what the config calls it; the other fields decide its features."""

    SENTENCE: ClassVar[str] = "a network of torchvision with the weights and the preparation that the config declares"
    REQUIRED: ClassVar[tuple[str, ...]] = ("golden",)

    name: str
    architecture: str = _required("network of torchvision", enum=list(ARCHITECTURES))
    path: str | None = _option("the file on this machine, a state for `torch.load(weights_only=True)`", **_TEXT)
    url: str | None = _option("else its address, for the node where the workflow is started", **_TEXT)
    size: int | None = _option("bytes, for the message when another file comes", type=["integer", "null"])
    sha256: str = _required("checksum of the file", type="string", pattern="^[0-9a-f]{64}$")
    side: int = _required("pixels of a side of its input", type="integer", minimum=32, maximum=1024)
    resampling: str = _required("how images come to that size, with antialiasing, by Pillow", enum=list(RESAMPLINGS))
    mean: tuple[float, ...] = _required("taken off the three channels, whose values are 0 to 1", **_numbers(3))
    std: tuple[float, ...] = _required("by which they are divided then", **_numbers(3))
    layer: str = _required("node of torchvision's graph whose output is the features; maps are averaged", type="string")
    keys: Mapping[str, str | None] | None = _option(
        'prefixes of the file\'s keys and what torchvision has instead, `{"module.": ""}`; null: left out',
        **{"type": ["object", "null"], "additionalProperties": {"type": ["string", "null"]}},
    )
    golden: tuple[float, ...] | None = _option("what `gan evaluate golden` prints for it", **_numbers(GOLDEN))

    @property
    def section(self) -> str:
        """Where the config declares it."""
        return f"metrics.network.{self.name}"

    def where(self, name: str) -> str:
        return f"{self.section}.path"

    def fault(self, used: bool) -> str | None:
        if used and not (self.path or self.url):
            return f"metrics.extractors names {self.name}, but {self.section} names no file; give its path or url"
        if not all(self.std):
            return f"{self.section}.std is {list(self.std)}, and channels are divided by it; give numbers above 0"
        return None
