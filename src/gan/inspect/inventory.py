"""The files of a folder by what they can be: volumes, DICOM, pictures, and what is not read."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from gan.data.endings import DICOM, PICTURES, UNREAD, is_volume
from gan.data.patterns import walk
from gan.errors import GanError

COMPANIONS = (".hdr", ".raw", ".zraw", ".raw.gz")  # of .img, .mhd and .nhdr
TEXT = (
    *(".md", ".txt", ".json", ".csv", ".tsv", ".xlsx", ".xls", ".pdf", ".xml", ".html", ".yaml", ".yml", ".log", ".gz"),
    *(".bval", ".bvec", ".py", ".m", ".sh", ".zip", ".tar", ".docx", ".mat", ".npy", ".npz", ".h5", ".svg", ".gif"),
)


@dataclass
class Inventory:
    """Relative paths below ``root``: volumes, pictures, folders with DICOM files by their path, others."""

    root: Path
    volumes: list[str] = field(default_factory=list)
    dicom: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    pictures: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """What most of it is: volumes, dicom or pictures; empty if it is none of these."""
        if len(self.volumes) >= max(1, len(self.dicom)):
            return "volumes"
        return "dicom" if self.dicom else "pictures" if self.pictures else ""


def take(folder: Path) -> Inventory:
    """The inventory of ``folder``, or of the folder inside where that is all it holds. Raises `GanError` if it is none,
    may not be read, or is empty."""
    if folder.is_file():
        raise GanError(f"{folder}: a file, not a folder; unpack it, or give the folder that it is in")
    if not folder.is_dir():
        raise GanError(f"{folder}: no such folder; correct its path")
    while len(entries := [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX"))]) == 1:
        if not entries[0].is_dir():
            break
        folder = entries[0]
    found = Inventory(folder)
    for place, names in walk(folder):
        below = place.relative_to(folder).as_posix()
        for name in names:
            _sort(found, below, name, place)
    if not any((found.volumes, found.dicom, found.pictures, found.others)):
        raise GanError(f"{folder}: the folder is empty; give the one that holds the images")
    return found


def _sort(found: Inventory, below: str, name: str, place: Path) -> None:
    path = name if below == "." else f"{below}/{name}"
    lower = name.lower()
    if is_volume(name):
        found.volumes.append(path)
    elif lower.endswith(PICTURES):
        found.pictures.append(path)
    elif lower.endswith(DICOM) or (not lower.endswith((*TEXT, *UNREAD, *COMPANIONS)) and _is_dicom(place / name)):
        found.dicom[below].append(name)
    elif not lower.endswith(COMPANIONS):
        found.others.append(path)


def _is_dicom(path: Path) -> bool:
    """Whether a file without a known ending begins as DICOM does (PS3.10, 7.1)."""
    try:
        if not path.is_file():
            return False
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM" and path.name.upper() != "DICOMDIR"
    except OSError:
        return False
