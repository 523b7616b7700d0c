"""Where a data set comes from: a folder, an archive, an address or the phantom becomes its ``raw`` folder."""

import hashlib
import re
import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from gan.data.archives import is_archive, unpack
from gan.data.download import download
from gan.data.endings import PARTED, is_volume
from gan.data.folders import atomic_folder
from gan.data.phantom import write_phantom
from gan.data.places import locate
from gan.errors import GanError
from gan.files import checksum

LENGTHS = {"sha256": 64, "md5": 32}  # hex digits


def fetch(source: dict[str, Any], folder: Path, *, workers: int = 1) -> Path:
    """Make ``folder`` from a source and return it; it appears whole or not at all.

    source: ``{"path": folder or archive}``, where ``~`` and ``$NAME`` are expanded, or ``{"url": address}``, both with
    optional ``sha256`` and ``md5``, or ``{"phantom": arguments of write_phantom}``. A user's folder is linked, never
    copied. A download is kept next to ``folder`` until it has been verified and unpacked. workers: processes that make
    the phantom.

    Raises GanError when the source is missing, empty, broken or not the one that the checksum pins.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.is_symlink():
        folder.unlink()
    if source.get("phantom"):
        with atomic_folder(folder) as part:
            write_phantom(part, **source["phantom"], workers=workers)
    elif source.get("url"):
        _from_url(source, folder)
    elif source.get("path"):
        _from_path(source, folder)
    else:
        raise GanError("source: it needs one of the keys path, url, phantom")
    return folder


def _from_path(source: dict[str, Any], folder: Path) -> None:
    path = locate(source["path"])
    if path.is_file():
        verify(path, source)
        _open_into(path, folder)
        return
    if any(source.get(algorithm) for algorithm in LENGTHS):
        raise GanError(f"{path}: a checksum needs a file, and this is a folder; set sha256 and md5 to null")
    if folder.resolve().is_relative_to(path.resolve()):
        raise GanError(f"{path}: the study's results are inside it; keep raw data and results apart")
    if folder.exists():
        shutil.rmtree(folder)
    folder.symlink_to(path.resolve(), target_is_directory=True)


def _from_url(source: dict[str, Any], folder: Path) -> None:
    url = source["url"]
    name = re.sub(r"[^\w.+-]", "_", unquote(urlsplit(url).path).rstrip("/").rsplit("/", 1)[-1])
    if not name.strip("._"):
        raise GanError(f"url '{url}': its path names no file; give the address of an archive or an image")
    store = folder.with_name(f"{folder.name}.download") / hashlib.sha256(url.encode()).hexdigest()[:8]
    path = store / name
    if not path.exists():
        download(url, path)
    try:
        verify(path, source)
    except GanError:
        path.unlink()
        raise
    if not any(source.get(algorithm) for algorithm in LENGTHS):
        print(f"{name}: sha256 {checksum(path)}; pin it in the data set's source", file=sys.stderr)
    _open_into(path, folder)
    shutil.rmtree(store.parent)


def _open_into(path: Path, folder: Path) -> None:
    """Make ``folder`` from one file: the content of an archive, or a single volume."""
    with atomic_folder(folder) as part:
        if is_archive(path):
            unpack(path, part)
            if not any(part.iterdir()):
                raise GanError(f"{path}: the archive is empty; get it again")
        elif is_volume(path.name) and not path.name.lower().endswith(PARTED):
            shutil.copyfile(path, part / path.name)
        else:
            raise GanError(
                f"{path}: neither a folder nor a .zip, .tar, .tar.gz or NIfTI file; unpack it and give the folder"
            )


def verify(path: Path, source: dict[str, Any]) -> None:
    """Compare a file with the ``sha256`` and ``md5`` of its source, if given; GanError if it differs."""
    for algorithm, length in LENGTHS.items():
        expected = (source.get(algorithm) or "").lower()
        if not expected:
            continue
        if not re.fullmatch(rf"[0-9a-f]{{{length}}}", expected):
            raise GanError(f"source.{algorithm}: '{expected}' is not {length} hex digits; correct it")
        actual = checksum(path, algorithm)
        if actual != expected:
            raise GanError(
                f"{path}: its {algorithm} is {actual}, not {expected}: it is damaged or another version; "
                f"get it again, or pin the new {algorithm} if you trust it"
            )
