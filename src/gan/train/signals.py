"""SIGTERM and SIGINT as a request to stop: the loop saves at the end of its step and exits."""

import signal
import threading
from collections.abc import Callable
from types import FrameType

from gan import parallel

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):
    """A signal ended the run after its state was saved. ``code``: the exit status, 143 for SIGTERM, 130 for SIGINT."""

    def __init__(self, signum: int, message: str):
        super().__init__(message)
        self.signum, self.code = signum, 128 + signum


class StopSignals:
    """Context in which SIGTERM or SIGINT sets ``signum``, and a second SIGINT acts as usual.

    A second SIGTERM has no effect: schedulers send it to a job's parent and children alike, and parents pass it on;
    SIGKILL still ends the process. Outside the main thread Python delivers no signals; the context then has no effect.
    """

    def __init__(self):
        self.signum: int | None = None
        self._before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._before = {signum: signal.signal(signum, self._note) for signum in SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before = {}

    def check(self, message: str) -> None:
        """Raise `Stopped` with ``message`` if a signal has arrived."""
        if self.signum is not None:
            raise Stopped(self.signum, message)

    def poll(self) -> Callable[[], int | None]:
        """Begin to ask all ranks for a signal. The returned function waits for the answer, the same on all ranks; with
        one rank it returns the current ``signum``."""
        if parallel.world() == 1:
            return lambda: self.signum
        answer = parallel.largest(self.signum or 0)
        return lambda: answer() or None

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.signum = self.signum or signum
        if signum == signal.SIGINT:
            signal.signal(signum, self._before[signum])
