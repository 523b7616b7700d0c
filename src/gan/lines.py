"""What a job says, as whole lines: on a terminal that other jobs share, and in its log. Bars are for calls by hand."""

import contextlib
import re
import time
from pathlib import Path
from typing import TextIO

EVERY = 30.0  # s between two lines of a bar
_UP = "\x1b[A"  # what a bar below another one leaves
_DRAWING = re.compile(r"\s*\d+%\|[^|]*\|")
_CELL = re.compile(r"(.+)_seed(\d+)_\w+")


def speaker(log: Path) -> str:
    """Whose log it is: ``phantom/dcgan/s0`` of ``logs/phantom/dcgan_seed0_train.log``, ``phantom`` of
    ``logs/phantom/slices.log``, nobody of others."""
    if log.parent.parent.name != "logs":
        return ""
    found = _CELL.fullmatch(log.stem)
    return f"{log.parent.name}/{found[1]}/s{found[2]}" if found else log.parent.name


class Lines:
    """In the place of ``terminal``: each line is written there in one piece, after the ``speaker`` of the log, and to
    the log without it. If the log cannot be written, only the terminal gets the line.

    A progress bar, text that starts with a carriage return, becomes a line every `EVERY` seconds.
    """

    def __init__(self, terminal: TextIO):
        self._terminal, self._log, self._prefix = terminal, None, ""
        self._begun, self._shown = "", time.monotonic()

    def open(self, path: str | Path | None) -> None:
        """Write to the log ``path``, too, below what it has."""
        if path:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._log = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115, closed by `close`
            name = speaker(Path(path))
            self._prefix = f"{name}: " if name else ""

    def close(self) -> None:
        """Write what has begun, and close the log."""
        if self._begun:
            self.write("\n")
        if self._log:
            with contextlib.suppress(OSError):
                self._log.close()

    def log(self, text: str) -> None:
        """Write to the log alone."""
        if self._log:
            with contextlib.suppress(OSError):
                self._log.write(text)

    def write(self, text: str) -> int:
        if text.startswith("\r"):
            self._bar(_DRAWING.sub("", text).strip())
            return len(text)
        *lines, self._begun = (self._begun + text.replace(_UP, "")).split("\n")
        for line in filter(str.strip, lines):
            self._line(line)
        return len(text)

    def _bar(self, status: str) -> None:
        begun = status and "[00:00<" not in status
        if begun and time.monotonic() - self._shown >= EVERY:
            self._shown = time.monotonic()
            self._line(status)

    def _line(self, line: str) -> None:
        self.log(f"{line}\n")
        self._terminal.write(f"{self._prefix}{line}\n")  # in one piece: another job may write between two

    def flush(self) -> None:
        self._terminal.flush()

    def isatty(self) -> bool:
        """False: a bar would be drawn over the lines of other jobs."""
        return False

    def __getattr__(self, name: str):
        return getattr(self._terminal, name)
