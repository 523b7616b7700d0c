"""The one exception meant for users, and how commands and workflow scripts show it."""

import contextlib
import errno
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec

from gan.lines import Lines

P = ParamSpec("P")
NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


class GanError(Exception):
    """A problem that the user can fix: one line that names the file or key, what is wrong, and the remedy."""


def no_space(path: object) -> GanError:
    """The error of a full disk or quota."""
    return GanError(f"{path}: not written, no space left on the disk or in the quota; free some and rerun")


@contextlib.contextmanager
def full_disk(path: object) -> Iterator[None]:
    """The OSError of a full disk or quota in the block becomes `no_space` of ``path``; also where torch, which then
    cannot end its archive, raises another error from it."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if _is_full(error):
            raise no_space(path) from error
        raise


def _is_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            return True
        error = error.__cause__ or error.__context__
    return False


def mendable(error: Exception) -> GanError | None:
    """The error to show for ``error``: a full, read-only or forbidden location is the user's to fix; a bug is not."""
    if isinstance(error, GanError):
        return error
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return no_space(error.filename or "results")
    if isinstance(error, OSError) and error.errno in REFUSED:
        return GanError(f"{error.filename}: {error.strerror}; change its permissions, or work in another folder")
    return None


def command(main: Callable[P, int | None]) -> Callable[P, int]:
    """Make ``main`` a command line entry: an error that is `mendable` becomes one line on stderr and exit code 1."""

    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs) or 0
        except (GanError, OSError) as error:
            known = mendable(error)
            if known is None:
                raise
            print(f"error: {known}", file=sys.stderr)
            return 1

    return run


@contextlib.contextmanager
def logged(path: str | Path | None) -> Iterator[None]:
    """Write stderr as `Lines`, into the file ``path`` too. `mendable` errors become one line and exit code 1; others
    leave their traceback there too."""
    lines = Lines(sys.stderr)
    with contextlib.redirect_stderr(lines):  # type: ignore[type-var]
        try:
            lines.open(path)
            yield
        except Exception as error:
            known = mendable(error)
            if known is None:
                lines.log(traceback.format_exc())
                raise
            print(f"error: {known}", file=lines)  # type: ignore[arg-type]
            raise SystemExit(1) from None
        finally:
            lines.close()


def failures(logs: str | Path, since: float) -> list[str]:
    """A line for each log below ``logs`` that ends in an error or a traceback, written after ``since`` (s since the
    epoch)."""
    found = []
    for path in sorted(Path(logs).rglob("*.log")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.stat().st_mtime >= since else []
        if lines and lines[-1].startswith("error: "):
            found.append(f"{lines[-1]} ({path})")
        elif _TRACEBACK in lines[-_LONGEST:]:
            found.append(f"error: unexpected, a bug in the program: {lines[-1]} ({path} has the traceback)")
    return found


_TRACEBACK = "Traceback (most recent call last):"
_LONGEST = 100  # lines of a traceback at the end of a log
