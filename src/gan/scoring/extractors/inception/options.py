"""Inception-v3 with the published weights, which FID and KID are defined by."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from gan.scoring.extractors.contract import FileOptions


def _option(default: Any, description: str, **schema: Any) -> Any:
    return field(default=default, metadata={"type": ["string", "null"], "description": description, **schema})


@dataclass(frozen=True)
class Options(FileOptions):
    """The weights file of clean-fid, a TorchScript network, or another one with that interface and its checksum."""

    SENTENCE: ClassVar[str] = "Inception-v3 trained on ImageNet, with the weights and the resizing of clean-fid"
    PUBLISHED: ClassVar[bool] = True
    DESCRIPTIVE: ClassVar[bool] = True
    VARIABLE: ClassVar[str] = "GAN_INCEPTION"

    path: str | None = _option(None, "the file on this machine; else GAN_INCEPTION in the environment, else `url`")
    url: str | None = _option(
        "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",
        "address to fetch it from, on the node where the workflow is started",
    )
    size: int | None = _option(95_607_719, "bytes, for the message when another file comes", type=["integer", "null"])
    sha256: str = _option(
        "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
        "checksum of the file",
        **{"type": "string", "pattern": "^[0-9a-f]{64}$"},
    )

    def fault(self, used: bool) -> str | None:
        if used and not (self.place() or self.url):
            return (
                f"metrics.extractors names inception, but metrics.inception names no file; give its path or url, or "
                f"set {self.VARIABLE}, or choose another extractor"
            )
        return None
