"""Get the file that an extractor needs: from this machine, or from its address."""

import shutil
from pathlib import Path

from gan.data.download import download
from gan.errors import GanError
from gan.files import atomic_path, checksum
from gan.scoring.extractors.contract import FileOptions


def obtain(name: str, options: FileOptions, target: Path) -> None:
    """Put the file of the extractor ``name`` at ``target``: a copy of ``options.place()``, else a download.

    Raises `GanError` with the ways out if it cannot be had or is another file than ``options.sha256`` says; then
    ``target`` does not exist.
    """
    try:
        if place := options.place():
            _check(place, options)
            with atomic_path(target) as temporary:
                shutil.copyfile(place, temporary)
        else:
            arrived = target.with_name(f".{target.name}.download")
            download(options.url or "", arrived)
            try:
                _check(arrived, options)
            except GanError:
                arrived.unlink()
                raise
            arrived.replace(target)
    except GanError as error:
        places = "metrics.extractors"
        if options.maps((256, 256)):
            places += " and of options.features of the study's variants"
        raise GanError(
            f"{error}; name the file of metrics.{name} in {options.where(name)}, or take {name} out of {places}"
        ) from error


def from_root(path: Path) -> str:
    """``path`` from the study's root, the current folder, so that the project can be moved; else the whole of it."""
    here, whole = Path.cwd(), path.absolute()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else whole)


def _check(path: Path, options: FileOptions) -> None:
    if not path.is_file():
        raise GanError(f"{path}: no such file")
    found = checksum(path)
    if found != options.sha256:
        wanted = f"{options.sha256} ({options.size} bytes)" if options.size else options.sha256
        raise GanError(f"{path}: its sha256 is {found} ({path.stat().st_size} bytes), not {wanted}: another file")
