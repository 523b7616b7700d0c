"""SIGTERM and SIGINT as a wish to stop: the loop saves at the end of its step and leaves."""

import signal
import threading
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):
    """A signal ended the run after its state was saved. ``code``: the exit status, 143 for SIGTERM, 130 for SIGINT."""

    def __init__(self, signum: int, message: str):
        super().__init__(message)
        self.code = 128 + signum


class StopSignals:
    """Context in which the first SIGTERM or SIGINT sets ``signum`` and the second one acts as usual.

    Outside the main thread Python delivers no signals; the context then does nothing.
    """

    def __init__(self):
        self.signum: int | None = None
        self._before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._before = {signum: signal.signal(signum, self._note) for signum in SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        self._restore()

    def _restore(self) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before = {}
