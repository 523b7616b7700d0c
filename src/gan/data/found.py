"""One volume or picture of a data set, and the check that its file is readable."""

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan.data.notices import shown
from gan.errors import GanError

Row = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """One volume or image of a data set.

    path: a NIfTI file, a folder with one DICOM series or several, or an image file; label: class name, empty without
    labels; split: ``train`` or ``test`` where the layout has such folders, else empty; scan: which of several scans of
    the subject (session, run), else empty; files: those of the folder ``path`` that are meant, if not all, and series
    their number.
    """

    subject: str
    contrast: str
    path: Path
    label: str = ""
    split: str = ""
    scan: str = ""
    files: tuple[Path, ...] = ()
    series: str = ""

    @property
    def name(self) -> str:
        """Name of the scan in messages and file names: ``s1``, or ``s1_ses-2``."""
        return f"{self.subject}_{self.scan}" if self.scan else self.subject

    @property
    def place(self) -> str:
        """The path, and the series in it."""
        return f"{self.path} (series {self.series})" if self.series else str(self.path)


def channels(row: Row) -> list[str]:
    """The contrasts of ``row``, and last its mask, if any."""
    return [*row["contrasts"], *([row["mask"]] if row.get("mask") else [])]


def leaves(row: Row) -> bool:
    """Whether ``row`` takes subjects that lack a contrast, too."""
    return row.get("missing") == "leave"


def has(contrast: str) -> str:
    """The column of the index that says whether a slice has ``contrast``, where some may lack it."""
    return f"has_{contrast}"


def check_files(found: Sequence[Found]) -> None:
    """Raise `GanError` for a file whose name is not UTF-8, a pipe, or a broken link."""
    for item in found:
        if shown(item.path) != str(item.path):
            raise GanError(f"{shown(item.path)}: its name is not UTF-8 (shown as \\udc..); rename it, e.g. with convmv")
        try:
            mode = item.path.stat().st_mode
        except OSError as error:
            raise GanError(f"{item.path}: cannot be read ({error.strerror}); restore it or remove it") from error
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise GanError(f"{item.path}: a pipe, socket or device, not a file; remove it")
