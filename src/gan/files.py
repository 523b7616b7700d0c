"""Files that are either whole or absent: atomic writes, checksums, JSON."""

import contextlib
import fcntl
import hashlib
import json
import os
import pickle
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from gan.errors import GanError, full_disk

DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, pickle.UnpicklingError),
    *(RuntimeError, EOFError, ValueError, LookupError),
)  # exceptions that damaged tensor archives raise

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "'")  # how cells begin that are more than text to a spreadsheet


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary sibling of ``path`` that replaces it when the block succeeds and is removed when it fails.

    The suffix is kept, since libraries choose a format by it. A full disk becomes a `GanError`; an existing
    ``path`` is untouched until the new content is on disk.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-", suffix="".join(path.suffixes[-2:]))
    os.close(handle)
    temporary = Path(name)
    try:
        with full_disk(path):
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def take_lock(file: IO[Any], *, shared: bool = False, wait: bool = False) -> bool:
    """Lock the open ``file`` until it is closed; False if another process, of any machine, holds it, unless ``wait``.

    On NFS the file must be open for writing, for a ``shared`` lock for reading. OSError on a file system without locks.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; NaN and infinities are refused (`ValueError`)."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: str | os.PathLike, remedy: str = "delete it and rerun the step that makes it") -> Any:
    """Read a JSON file; a missing or broken one is a `GanError` that names it, and what to do with a broken one."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise GanError(f"{path}: no such file") from error
    except ValueError as error:
        raise GanError(f"{path}: not valid JSON ({error}); {remedy}") from error


def inert(value: Any) -> Any:
    """``value`` as a cell of a table: text that a spreadsheet would take for a formula gets a ``'`` in front."""
    if not isinstance(value, str) or not value.startswith(FORMULAS):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def as_named(cell: str) -> str:
    """The text of which `inert` has made ``cell``."""
    return cell.removeprefix("'")


def require_whole(path: str | os.PathLike) -> None:
    """`zipfile.BadZipFile` if an archive of tensors fails its own checksums.

    torch does not compare them: a flipped bit would become a weight.
    """
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise zipfile.BadZipFile(f"checksum of {damaged}")


def checksum(path: str | os.PathLike, algorithm: str = "sha256") -> str:
    """Hex digest of a file, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
