"""Unpack untrusted zip and tar archives: every member is checked before a byte is written."""

import errno
import gzip
import lzma
import re
import shutil
import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from tqdm import tqdm

from gan.errors import GanError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
BLOCK = 1 << 20
BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    LookupError,
)


class Member(NamedTuple):
    """A file or folder in an archive. flaw: why it must not be unpacked, or empty; open: returns its content."""

    name: str
    size: int
    is_folder: bool
    flaw: str
    open: Callable[[], IO[bytes] | None]


def is_archive(path: Path) -> bool:
    """Whether the name says that a file is an archive that `unpack` opens."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, folder: Path) -> None:
    """Write all files of a zip, tar or tar.gz archive below the existing ``folder``, with a progress bar.

    Permissions, owners and times are not taken over. Nothing is written unless all members are plain files and folders
    that stay below ``folder`` and their declared sizes fit on the disk.

    Raises GanError that names archive and member for absolute paths, ``..``, links, devices and encrypted members, and
    one that names the archive when it is broken, truncated or larger than the free space.
    """
    archive, folder = Path(archive), Path(folder)
    try:
        if archive.name.lower().endswith(".zip"):
            with zipfile.ZipFile(archive) as source:
                _unpack(archive, _zip_members(source), folder)
        else:
            with tarfile.open(archive, "r:*") as source:
                _unpack(archive, _tar_members(source), folder)
                _check_end(source)
    except BROKEN as error:
        raise _broken(archive, error) from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # EINVAL: it points before its own start
            raise
        raise _broken(archive, error) from error
    except NotImplementedError as error:
        raise GanError(f"{archive}: {error}; unpack it with another program and give the folder as source") from error


def _broken(archive: Path, error: Exception) -> GanError:
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
    return GanError(f"{archive}: broken or truncated archive ({reason}); get it again")


def _zip_members(source: zipfile.ZipFile) -> list[Member]:
    members = []
    for info in source.infolist():
        flaw = ""
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            flaw = "is a link or device"
        elif info.flag_bits & 1:
            flaw = "is encrypted"
        members.append(Member(info.filename, info.file_size, info.is_dir(), flaw, partial(source.open, info)))
    return members


def _tar_members(source: tarfile.TarFile) -> list[Member]:
    members = []
    for info in source.getmembers():
        flaw = "" if info.isreg() or info.isdir() else "is a link or device"
        members.append(Member(info.name, info.size, info.isdir(), flaw, partial(source.extractfile, info)))
    return members


def _check_end(source: tarfile.TarFile) -> None:
    """tarfile accepts a file that is cut or damaged between two members as whole; a whole one ends in zero blocks.

    The checksum of a compressed stream is behind its last byte, which nothing else reads.
    """
    if source.fileobj is not None:
        source.fileobj.seek(source.offset)
        if source.fileobj.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
            raise tarfile.ReadError("no end mark")
        while source.fileobj.read(BLOCK):
            pass


def _unpack(archive: Path, members: list[Member], folder: Path) -> None:
    for member in members:
        if flaw := member.flaw or _leaves(member.name):
            raise GanError(
                f"{archive}: member '{member.name}' {flaw}; nothing was unpacked: unpack it by hand with care"
            )
    size, free = sum(member.size for member in members), shutil.disk_usage(folder).free
    if size > free:
        raise GanError(
            f"{archive}: it unpacks to {size / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB free; "
            "free some, or move the results to another disk"
        )
    bar = tqdm(total=size, desc=f"unpack {archive.name}", unit="B", unit_scale=True, unit_divisor=1024, file=sys.stderr)
    with bar:
        for member in members:
            _write(member, folder / member.name, bar)


def _leaves(name: str) -> str:
    path = PurePosixPath(name.replace("\\", "/"))
    outside = path.is_absolute() or ".." in path.parts or bool(re.match("[A-Za-z]:", name))
    return "would be written outside its folder" if outside else ""


def _write(member: Member, target: Path, bar: tqdm) -> None:
    if member.is_folder:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    content = member.open()
    assert content is not None  # only links and devices have none, and those are refused
    with content, open(target, "wb") as file:
        while block := content.read(BLOCK):
            file.write(block)
            bar.update(len(block))
        if file.tell() != member.size:
            raise EOFError(f"member '{member.name}' ends after {file.tell()} of {member.size} bytes")
