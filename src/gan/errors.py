"""The one exception that users are meant to see, and how a command line shows it."""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")


class GanError(Exception):
    """A problem that the user can mend: one line that names the file or key, what is wrong, and the remedy."""


def command(main: Callable[P, int | None]) -> Callable[P, int]:
    """Make ``main`` a command line entry: a `GanError` becomes one line on stderr and exit code 1."""

    @functools.wraps(main)
    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs) or 0
        except GanError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1

    return run
