"""Inception-v3 with the published weights, which FID and KID are defined by."""

from dataclasses import dataclass, field
from typing import ClassVar

from gan.scoring.extractors.contract import ExtractorOptions


def _text(description: str, **more: str) -> str | None:
    return field(default=None, metadata={"type": ["string", "null"], "description": description, **more})


@dataclass(frozen=True)
class Options(ExtractorOptions):
    """path or url: the weights file of clean-fid; sha256: its checksum, needed with url."""

    SENTENCE: ClassVar[str] = "Inception-v3 trained on ImageNet, with the weights and the resizing of clean-fid"
    PUBLISHED: ClassVar[bool] = True

    path: str | None = _text("file on this machine")
    url: str | None = _text("address to fetch it from, on the node where the workflow is started")
    sha256: str | None = _text("checksum; required with `url`", pattern="^[0-9a-f]{64}$")

    def fault(self, used: bool) -> str | None:
        if used and not (self.path or self.url):
            return (
                "metrics.extractors names inception, but metrics.inception names no file; "
                "give its path or url, or choose another extractor"
            )
        if self.url and not self.sha256:
            return "metrics.inception.url is given without sha256; add the checksum of the file"
        return None
