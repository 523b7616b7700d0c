"""Path patterns: ``{subject}/{subject}_{contrast}.nii.gz`` as a regular expression over paths below a folder."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from gan.data.endings import cut_ending
from gan.data.notices import shown
from gan.errors import GanError

FIELDS = ("subject", "session", "contrast", "label", "slice")
JUNK = re.compile(r"\..*|__MACOSX|Thumbs\.db|desktop\.ini")


def compile_pattern(pattern: str, contrasts: Sequence[str] = ()) -> re.Pattern[str]:
    """The regular expression of a pattern, to be matched against a whole relative path with ``/`` between its parts.

    ``{subject}``, ``{session}``, ``{contrast}``, ``{label}`` and ``{slice}`` match one or more characters of one
    part of the path, and for the same ones when repeated; ``*`` for any characters of one part. Everything else is
    literal and case-sensitive, except the ending of a format (``.nii.gz``). If given, ``contrasts`` are the only values
    of ``{contrast}``.

    Raises GanError for an unknown field or a pattern without ``{subject}``.
    """
    expression, seen = "", set()
    stem, ending = cut_ending(pattern)
    for token in re.split(r"(\{[^{}]*\}|\*)", stem):
        if token == "*":
            expression += "[^/]*"
        elif not token.startswith("{"):
            expression += re.escape(token)
        elif (field := token[1:-1]) not in FIELDS:
            raise GanError(f"pattern '{pattern}': unknown field {token}; the fields are {_braced(FIELDS)}")
        elif field in seen:
            expression += f"(?P={field})"
        else:
            choices = "|".join(map(re.escape, contrasts)) if field == "contrast" and contrasts else "[^/]+?"
            expression += f"(?P<{field}>{choices})"
            seen.add(field)
    if "subject" not in seen:
        raise GanError(f"pattern '{pattern}': {{subject}} is missing, so that files cannot be assigned to subjects")
    return re.compile(f"{expression}(?i:{re.escape(ending)})")


def _braced(fields: Sequence[str]) -> str:
    return ", ".join(f"{{{field}}}" for field in fields)


def walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder at and below ``root``, sorted, with its file names; links are followed, each real folder once.

    Hidden files and what desktop systems leave behind are passed over. A folder that may not be read is a `GanError`.
    """
    seen: set[Path] = set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=_refuse):
        real = Path(folder).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not JUNK.fullmatch(name))
        yield Path(folder), sorted(name for name in files if not JUNK.fullmatch(name))


def _refuse(error: OSError) -> None:
    remedy = "change its permissions, or move it out of the data set"
    raise GanError(f"{shown(error.filename)}: cannot be read ({error.strerror}); {remedy}") from error


def files_below(root: Path) -> list[str]:
    """Relative paths of all files below ``root``, in the order of `walk`."""
    return [(folder / name).relative_to(root).as_posix() for folder, names in walk(root) for name in names]


def folders_with_files(root: Path) -> list[str]:
    """Relative paths of the folders at or below ``root`` that hold files directly; ``.`` is ``root`` itself."""
    return [folder.relative_to(root).as_posix() for folder, names in walk(root) if names]
