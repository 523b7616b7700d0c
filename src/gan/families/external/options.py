"""The options of images made elsewhere."""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from gan.errors import GanError
from gan.families.options import Options, option
from gan.files import checksum


@dataclass(frozen=True)
class ExternalOptions(Options):
    """Images that any other program made, in a folder: nothing is trained, the same judge scores them."""

    TASK: ClassVar[str] = "generate"
    TRAINED: ClassVar[bool] = False
    FROM_ELSEWHERE: ClassVar[bool] = True
    REVISION: ClassVar[int] = 1

    path: str = option("", "folder of the images; {seed} in it stands for the seed of the cell")
    low: float | None = option(None, "value that becomes 0 on the scale 0..255; null: 0, of files of 8 bits")
    high: float | None = option(None, "value that becomes 255; null: 255, of files of 8 bits")
    conditional: bool = option(False, "the folders in it are named as the classes of the data set")
    files: str = option("", "checksum of the folder, in recipes instead of its path; the study fills it in")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.low is None) != (self.high is None):
            raise GanError("options low and high: give both or none of them")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise GanError(f"option low is {self.low:g}; it must be below high, {self.high:g}")

    def varies(self) -> bool:
        return "{seed}" in self.path

    def place(self, seed: int) -> str | None:
        """See `Options.place`. `GanError` without a folder there."""
        path = self.path.replace("{seed}", str(seed))
        if not path or not Path(path).is_dir():
            raise GanError(f"option path is {path!r}, which is no folder; name the folder of the images")
        return path

    def stated(self, seed: int) -> dict[str, Any]:
        return super().stated(seed) | {"path": "", "files": _content(str(self.place(seed)))}


def image_files(folder: Path) -> list[Path]:
    """All files below ``folder`` that may be images, in order of their names."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


@functools.cache
def _content(folder: str) -> str:
    """A checksum of the names and the content of all files."""
    digest = hashlib.sha256()
    for path in image_files(Path(folder)):
        digest.update(f"{path.relative_to(folder).as_posix()}\n{checksum(path)}\n".encode())
    return digest.hexdigest()[:12]
