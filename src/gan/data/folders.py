"""Folders that are either whole or absent."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from gan.errors import full_disk


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty sibling of ``folder`` that takes its place when the block succeeds and is removed when it fails.

    An earlier ``folder`` is untouched until then. What a killed process left behind is cleared first, so one folder
    has one writer at a time. A full disk is a `GanError`.
    """
    folder = Path(folder)
    part, old = (folder.with_name(f".{kind}-{folder.name}") for kind in ("part", "old"))
    try:
        for stale in (part, old):
            shutil.rmtree(stale, ignore_errors=True)
        with full_disk(folder):
            part.mkdir(parents=True)
            yield part
            if folder.exists():
                folder.rename(old)
            part.rename(folder)
    finally:
        for stale in (part, old):
            shutil.rmtree(stale, ignore_errors=True)
