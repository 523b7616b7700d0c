"""Where the files of a source lie on this machine."""

import os
import re
from pathlib import Path

from gan.errors import GanError


def locate(text: str) -> Path:
    """The folder or file that ``source.path`` names, with ``~`` and ``$NAME`` expanded; `GanError` if there is none."""
    path = Path(os.path.expandvars(text)).expanduser()
    if not path.exists():
        if unset := re.search(r"\$\{?(\w+)", str(path)):
            raise GanError(f"{path}: the environment variable {unset[1]} is not set; set it or write out source.path")
        raise GanError(f"{path}: no such file or folder; correct the data set's source.path")
    if not path.is_file() and not path.is_dir():
        raise GanError(f"{path}: a pipe, socket or device; give a folder or a file as source.path")
    if path.is_dir() and not any(path.iterdir()):
        raise GanError(f"{path}: the folder is empty; correct the data set's source.path")
    return path
