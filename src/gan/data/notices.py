"""Warnings in the log about files and subjects: one line each, with only the first few names."""

import sys
from collections.abc import Sequence

NAMED = 5


def warn(message: str) -> None:
    """One line on stderr, which the workflow copies into the job's log."""
    print(f"warning: {shown(message)}", file=sys.stderr)


def some(names: Sequence[object], most: int = NAMED) -> str:
    """``a, b and 7 more``."""
    rest = len(names) - most
    return ", ".join(shown(name) for name in names[:most]) + (f" and {rest} more" if rest > 0 else "")


def warn_of(notes: Sequence[tuple[str, str]], unit: str, where: str) -> None:
    """Warn of notes, given as pairs of name and note (empty: none): each note with the first names."""
    names: dict[str, list[str]] = {}
    for name, note in notes:
        if note:
            names.setdefault(note, []).append(name)
    if names:
        listed = "; ".join(f"{note} ({some(named, 3)})" for note, named in list(names.items())[:NAMED])
        rest = f"; more in {where}" if len(names) > NAMED else ""
        warn(f"{sum(map(len, names.values()))} of {len(notes)} {unit}: {listed}{rest}")


def first(faults: Sequence[str], most: int = 3) -> str:
    """Several faults in one line, the first of them by name; the log gets all when there are more than ``most``."""
    if len(faults) > most:
        for fault in faults:
            warn(fault)
        return f"{len(faults)} times (the log lists all): {'; '.join(faults[:most])}"
    return "; ".join(faults)


def shown(name: object) -> str:
    r"""``name`` as it can be written in UTF-8: bytes of a file name that are not UTF-8 become ``\udcfc``."""
    return str(name).encode("utf-8", "backslashreplace").decode()
