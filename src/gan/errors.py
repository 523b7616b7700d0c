"""The one exception that users are meant to see, and how commands and workflow scripts show it."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TextIO

P = ParamSpec("P")


class GanError(Exception):
    """A problem that the user can mend: one line that names the file or key, what is wrong, and the remedy."""


def command(main: Callable[P, int | None]) -> Callable[P, int]:
    """Make ``main`` a command line entry: a `GanError` becomes one line on stderr and exit code 1."""

    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs) or 0
        except GanError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1

    return run


@contextlib.contextmanager
def logged(path: str | Path | None) -> Iterator[None]:
    """Copy stderr, progress bars left out, into the file ``path``; a `GanError` becomes one line and exit code 1."""
    terminal = sys.stderr
    with contextlib.ExitStack() as stack:
        if path:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            log = stack.enter_context(open(path, "a", encoding="utf-8", buffering=1))
            stack.enter_context(contextlib.redirect_stderr(_Tee(terminal, log)))
        try:
            yield
        except GanError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(1) from None


class _Tee:
    def __init__(self, terminal: TextIO, log: TextIO):
        self._terminal, self._log = terminal, log

    def write(self, text: str) -> int:
        if not text.startswith("\r"):
            self._log.write(text)
        return self._terminal.write(text)

    def flush(self) -> None:
        self._terminal.flush()

    def __getattr__(self, name: str):
        return getattr(self._terminal, name)
