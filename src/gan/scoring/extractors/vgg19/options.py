"""VGG-19 with the weights of torchvision, whose feature maps style transfer compares."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from gan.scoring.extractors.contract import FileOptions

DEPTHS = (2, 2, 4, 4, 1)  # convolutions of each block, up to the last map that is used
MAPS = tuple(f"conv{block}_{one}" for block, depth in enumerate(DEPTHS, 1) for one in range(1, depth + 1))


def _option(default: Any, description: str, **schema: Any) -> Any:
    return field(default=default, metadata={"type": ["string", "null"], "description": description, **schema})


@dataclass(frozen=True)
class Options(FileOptions):
    """The state of torchvision's VGG-19 (Simonyan and Zisserman 2015), or another one with that graph."""

    SENTENCE: ClassVar[str] = "mean responses of conv5_1 of VGG-19 trained on ImageNet, with the weights of torchvision"
    DESCRIPTIVE: ClassVar[bool] = True
    VARIABLE: ClassVar[str] = "GAN_VGG19"

    path: str | None = _option(None, "the file on this machine; else GAN_VGG19 in the environment, else `url`")
    url: str | None = _option(
        "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        "address to fetch it from, on the node where the workflow is started",
    )
    size: int | None = _option(574_673_361, "bytes, for the message when another file comes", type=["integer", "null"])
    sha256: str = _option(
        "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
        "checksum of the file",
        **{"type": "string", "pattern": "^[0-9a-f]{64}$"},
    )

    @classmethod
    def maps(cls, size: tuple[int, int]) -> tuple[str, ...]:
        return MAPS

    def fault(self, used: bool) -> str | None:
        if used and not (self.place() or self.url):
            return (
                f"the study uses vgg19, but metrics.vgg19 names no file; give its path or url, or set {self.VARIABLE}, "
                f"or choose another extractor (options.features: indomain)"
            )
        return None
