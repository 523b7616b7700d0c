"""Pictures of the page: strips of whole samples, cut out of the grids of a run and not scaled.

A grid says where its samples are (`gan.grids.geometry`); one that does not, of an earlier version, is shown whole. The
page enlarges a picture by a whole number of times and never reduces one. A strip holds as many samples as the budget of
the page allows, and links to the grid that it is from.
"""

import base64
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

from gan.grids import GAP_GREY, GEOMETRY, png_text

LARGEST = 1400  # px a side of a grid that is shown whole
ROW = 1080  # px on the screen for a strip
_GREY = {"L": GAP_GREY, "RGB": (GAP_GREY,) * 3}  # between samples
LEAST = 112  # px on the screen for the height of a panel, by enlarging each pixel a whole number of times
Key = TypeVar("Key")
Heads = Sequence[Sequence[tuple[str, int]]]


@dataclass(frozen=True)
class Grid:
    """Where samples are in a PNG of `gan.grids.write_grid`, and its pixels and text. cell: px from one to the next."""

    image: Image.Image
    text: dict[str, str]
    number: int
    columns: int
    panels: int
    height: int
    width: int
    gap: int

    @property
    def cell(self) -> int:
        return self.panels * self.width + self.gap

    @property
    def times(self) -> int:
        """How many px on the screen, a side, a pixel has."""
        return max(1, -(-LEAST // self.height))

    def fitting(self) -> int:
        """Samples of a row that fit on the screen, at least one."""
        return max(1, min(self.columns, self.number, (ROW + self.gap) // (self.cell * self.times)))


@dataclass(frozen=True)
class Picture:
    """A PNG as ``data:`` address. width, height: stored px; times: screen px for each; link: the file that it is from;
    heads: lines of (text, width in stored px) over its parts."""

    caption: str
    source: str
    width: int = 0
    height: int = 0
    times: int = 1
    link: str | None = None
    heads: Heads = ()


def read(path: Path) -> Grid | None:
    """A grid with its geometry; None when it is missing, broken, or says nothing of its samples."""
    try:
        with Image.open(path) as image:
            image.load()
            text = {str(key): said for key, said in image.info.items() if isinstance(said, str)}
            where = json.loads(text.pop(GEOMETRY))
            shown = image.copy() if image.mode in _GREY else image.convert("L")
            return Grid(shown, text, **{key: int(value) for key, value in where.items()})
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, AttributeError):
        return None


def strip(grid: Grid, columns: Sequence[int], rows: int = 1) -> tuple[str, tuple[int, int]]:
    """The samples of these ``columns`` in the first ``rows``, side by side: an address, and (width, height).

    The file keeps the grid's text, by which a synthetic image is known.
    """
    height = rows * grid.height
    part = Image.new(grid.image.mode, (len(columns) * grid.cell - grid.gap, height), _GREY[grid.image.mode])
    for place, column in enumerate(columns):
        left = column * grid.cell
        part.paste(grid.image.crop((left, 0, left + grid.cell - grid.gap, height)), (place * grid.cell, 0))
    return _address(part, grid.text), part.size


def whole(path: Path) -> str | None:
    """A PNG of unknown layout, reduced to at most `LARGEST` px a side; None when it is missing or broken."""
    try:
        with Image.open(path) as image:
            image.load()
            if max(image.size) <= LARGEST:
                return _encoded(path.read_bytes())
            text = {str(key): said for key, said in image.info.items() if isinstance(said, str)}
            image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
            return _address(image, text)
    except (OSError, ValueError, SyntaxError):
        return None


def cut(
    grid: Grid, caption: str, columns: Sequence[int], *, link: str | None = None, rows: int = 1, heads: Heads = ()
) -> Picture:
    """The samples of these ``columns`` of a grid, in its first ``rows``."""
    source, (width, height) = strip(grid, columns, min(rows, -(-grid.number // grid.columns)))
    return Picture(caption, source, width, height, grid.times, link, [line for line in heads if line])


def over_samples(grid: Grid, names: Sequence[str], samples: int) -> list[tuple[str, int]]:
    """A name over each of ``samples``; nothing without names."""
    return [(name, grid.cell - grid.gap * (place == samples - 1)) for place, name in enumerate(names)][:samples]


def over_panels(grid: Grid, names: Sequence[str], samples: int) -> list[tuple[str, int]]:
    """A name over each panel of ``samples``; nothing where the names are not those of its panels, or there is one."""
    if grid.panels < 2 or len(names) != grid.panels:
        return []
    ends = [0] * (grid.panels - 1) + [grid.gap]
    found = [(name, grid.width + end) for name, end in zip(names, ends, strict=True)] * samples
    return [*found[:-1], (found[-1][0], grid.width)]


def spread(number: int, most: int) -> list[int]:
    """At most ``most`` of the places 0 to ``number`` - 1, evenly spread, with the first and the last one."""
    if number <= most:
        return list(range(number))
    return [round(place * (number - 1) / max(1, most - 1)) for place in range(most)]


def within(budget: int, attempts: Iterable[Callable[[], dict[Key, Picture]]]) -> dict[Key, Picture]:
    """The pictures of the first of ``attempts`` that are within the ``budget`` in bytes, else those of the last one."""
    found: dict[Key, Picture] = {}
    for attempt in attempts:
        found = attempt()
        if sum(len(one.source) for one in found.values()) <= budget:
            break
    return found


def _address(image: Image.Image, text: dict[str, str]) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=png_text(text))
    return _encoded(buffer.getvalue())


def _encoded(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()
