"""MedicalNet: 3D ResNets trained to segment 23 data sets of medical volumes."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from gan.scoring.extractors.contract import FileOptions


def _option(default: Any, description: str, **schema: Any) -> Any:
    return field(default=default, metadata={"type": ["string", "null"], "description": description, **schema})


@dataclass(frozen=True)
class Options(FileOptions):
    """A file ``resnet_<depth>_23dataset.pth`` of MedicalNet (Chen et al. 2019; MIT licence). No checksum of them is
    published, so the config names that of the file at hand."""

    SENTENCE: ClassVar[str] = (
        "a 3D ResNet trained to segment 23 data sets of medical volumes (MedicalNet), which sees z-scores of the body"
    )
    DESCRIPTIVE: ClassVar[bool] = True
    AXES: ClassVar[int] = 3
    VARIABLE: ClassVar[str] = "GAN_MEDICALNET"

    path: str | None = _option(None, "the file on this machine; else GAN_MEDICALNET in the environment, else `url`")
    url: str | None = _option(None, "address to fetch it from, on the node where the workflow is started")
    size: int | None = _option(None, "bytes, for the message when another file comes", type=["integer", "null"])
    sha256: str = _option("", "checksum of the file", **{"type": "string", "pattern": "^([0-9a-f]{64})?$"})
    depth: int = _option(50, "of the ResNet", **{"type": "integer", "enum": [10, 50]})

    def fault(self, used: bool) -> str | None:
        if used and not (self.place() or self.url):
            return (
                f"metrics.extractors names medicalnet, but metrics.medicalnet names no file; give its path or url, or "
                f"set {self.VARIABLE}, or choose another extractor"
            )
        if used and not self.sha256:
            return (
                "metrics.medicalnet.sha256 is empty; no checksum of these files is published, so give that of yours "
                "(sha256sum FILE prints it)"
            )
        return None
