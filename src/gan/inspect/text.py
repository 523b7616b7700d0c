"""Tables and lists of a report as text."""

from collections.abc import Sequence

from gan.data.notices import shown

NAMED = 5


def table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of a table, columns as wide as they need to be; columns without content are left out."""
    cells = [[shown(cell) for cell in row] for row in rows]
    kept = [place for place in range(len(titles)) if any(row[place] for row in cells)]
    widths = {place: max(len(titles[place]), *(len(row[place]) for row in cells)) for place in kept}
    return ["  ".join(row[place].ljust(widths[place]) for place in kept).rstrip() for row in [list(titles), *cells]]


def span(values: Sequence[float], unit: str = "") -> str:
    """``3`` or ``3 to 7``, of the smallest and the largest value."""
    low, high = (_number(value) for value in (min(values), max(values)))
    return (low if low == high else f"{low} to {high}") + unit


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def spans(rows: Sequence[Sequence[float]]) -> str:
    """``128 x 128 x 20 to 88``: `span` of each column."""
    return " x ".join(span(column) for column in zip(*rows, strict=True))


def joined(things: Sequence[object]) -> str:
    """``a and b``, ``a, b and 3 more``."""
    words = [shown(thing) for thing in things]
    if len(words) > NAMED:
        return f"{', '.join(words[:NAMED])} and {len(words) - NAMED} more"
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def count(number: int, thing: str, plural: str = "") -> str:
    """``1 file``, ``3 files``."""
    return f"{number} {thing if number == 1 else plural or thing + 's'}"


def headed(title: str, lines: Sequence[str]) -> list[str]:
    """``lines`` below a title, after an empty line; nothing if there are none."""
    return ["", title, *(f"  {line}" for line in lines)] if lines else []
