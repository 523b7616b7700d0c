"""At which address `gan ui` serves the MLflow store of a study. No mlflow here: the end of a run asks, too."""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

from gan.files import take_lock

STATE = ".mlflow"  # folder in that of a study: what its publisher and its server note


@contextlib.contextmanager
def serving(folder: Path, url: str) -> Iterator[None]:
    """Note that this process serves the store of the study ``folder`` at ``url``; a lock says how long, also after a
    kill. A folder that cannot be written or locked is no reason not to serve."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            (folder / STATE).mkdir(exist_ok=True)
            file = held.enter_context(open(folder / STATE / "served.json", "a+", encoding="utf-8"))
            if take_lock(file):
                file.truncate(0)
                file.write(json.dumps({"url": url, "host": socket.gethostname()}))
                file.flush()
        yield


def address(folder: Path) -> str | None:
    """Where the store of the study ``folder`` is served on this machine now; None if it is not."""
    try:
        with open(folder / STATE / "served.json", encoding="utf-8") as file:
            if take_lock(file, shared=True):
                return None
            noted = json.load(file)
            return str(noted["url"]) if noted["host"] == socket.gethostname() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
