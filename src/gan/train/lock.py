"""One writer per run: a lock on the folder of its checkpoints that ends with its process, however that ends."""

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from gan import slurm
from gan.errors import GanError
from gan.files import take_lock
from gan.train.signals import StopSignals

POLL = 0.5  # s between two tries for a lock that another process holds


@contextlib.contextmanager
def locked(folder: Path, stop: StopSignals) -> Iterator[None]:
    """Hold ``<folder>/lock``; while another process holds it, say which one, where and since when, and wait.

    Two writers come about when a workflow is killed and started again while its jobs go on, and by two studies that
    share a cell. `Stopped` if a signal arrives while waiting; `GanError` on a file system without locks.
    """
    path, waiting = folder / "lock", False
    while (file := acquire(path)) is None:
        if not waiting:
            print(f"{path}: {_holder(path)} is training this run already; waiting for its end", file=sys.stderr)
            waiting = True
        stop.check("stopped while another process trains this run; nothing was done")
        time.sleep(POLL)
    with file:
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "job": slurm.job_id()}
        file.truncate(0)
        file.write(json.dumps(owner | {"since": time.strftime("%F %T")}))
        file.flush()
        yield


def acquire(path: Path) -> TextIO | None:
    """The open file of the lock, or None if another process holds it. Closing the file frees the lock.

    `GanError` on a file system without locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115, its life is that of the lock
    except FileNotFoundError:  # its folder has just been removed
        return None
    try:
        # If its folder was removed between the two calls, the held lock protects no folder.
        if take_lock(file) and path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return file
    except OSError as error:
        file.close()
        raise GanError(f"{path}: no locks on this file system ({error}); put the checkpoints on another one") from error
    file.close()
    return None


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        job = f"Slurm job {holder['job']}, " if holder.get("job") else ""
        return f"process {holder['pid']} on {holder['host']} ({job}since {holder['since']})"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "another process"
