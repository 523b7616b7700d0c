"""The checkpoint: the whole state of a run in one file, the one before it kept until the new one is whole.

The folder ``results/checkpoints/<run key>`` holds ``checkpoint.pt``, ``previous.pt``, and the statistics and snapshots
so far: a scheduler that clears the outputs of a failed job does not touch it.
"""

import contextlib
import errno
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from gan.errors import GanError
from gan.files import DAMAGED, atomic_path, require_whole

FORMAT = "gan-checkpoint-1"
CURRENT, PREVIOUS = "checkpoint.pt", "previous.pt"


def save_checkpoint(folder: Path, run_key: str, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, text, lists, dicts) as the current checkpoint.

    At any moment at least one whole checkpoint is on disk. A full disk is a `GanError`, and the former checkpoint
    stays the current one.
    """
    current = folder / CURRENT
    with atomic_path(current) as temporary:
        with open(temporary, "wb") as file:
            torch.save({"format": FORMAT, "run_key": run_key, "state": state}, file)
        if current.exists():
            _link(current, folder / PREVIOUS)
    _sync_folder(folder)


def load_checkpoint(folder: Path, run_key: str) -> tuple[dict[str, Any], str | None] | None:
    """The state of the newest whole checkpoint, and a warning if a newer one was broken; None without any.

    `GanError` if the checkpoint belongs to another recipe, or if all checkpoints are broken.
    """
    broken = ""
    for path in (folder / CURRENT, folder / PREVIOUS):
        if not path.exists():
            continue
        content, problem = read_archive(path, FORMAT)
        if content is None:
            broken = broken or f"{path} is broken ({problem})"
            continue
        if content["run_key"] != run_key:
            raise GanError(
                f"{path} belongs to the run {content['run_key']}, this recipe is {run_key}; "
                f"name another folder for the checkpoints or delete {folder}"
            )
        return content["state"], f"{broken}; resuming from {path.name}" if broken else None
    if broken:
        raise GanError(f"{broken} and there is no earlier one; delete {folder} to train from the start")
    return None


def clean(folder: Path) -> None:
    """Remove half-written files of a killed process. Only for the holder of the lock."""
    for part in folder.rglob(".part-*"):
        part.unlink(missing_ok=True)


def publish(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source`` by a hard link, or a copy where the file system has no links."""
    if target.exists() and target.samefile(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    _link(source, target)


def read_archive(path: Path, form: str) -> tuple[dict[str, Any] | None, str]:
    """Read a file of `torch.save` if it is whole and its ``format`` is ``form``; else None and what is wrong."""
    try:
        require_whole(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        return None, "it holds more than tensors, numbers and text"
    except DAMAGED as error:
        return None, str(error).partition("\n")[0] or "it ends too early"
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return None, "a wrong offset"
    if not isinstance(content, dict) or content.get("format") != form:
        return None, "unknown format"
    return content, ""


def _link(source: Path, target: Path) -> None:
    aside = target.with_name(f".part-{target.name}")
    aside.unlink(missing_ok=True)
    try:
        os.link(source, aside)
    except OSError:
        with atomic_path(target) as temporary:
            temporary.write_bytes(source.read_bytes())
        return
    aside.replace(target)
    aside.unlink(missing_ok=True)  # rename of two names of one file leaves both


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every network file system can
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
