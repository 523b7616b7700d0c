"""The section of pictures: real images next to generated ones of each variant, in the same columns."""

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan.cells import CellFiles
from gan.report import over_training
from gan.report.context import panels, real_panels, task
from gan.report.given import Dataset
from gan.report.pictures import Grid, Heads, Picture, cut, over_panels, over_samples, read, spread, whole, within

BUDGET = 2_400_000  # bytes of the page, of all data sets together, in base64


@dataclass(frozen=True)
class Row:
    """The pictures of a variant: that of its first run that has one, and those of the others; pairs: (seed, address) of
    the pages of nearest patients, which are files of their own."""

    variant: str
    first: Picture
    others: list[Picture]
    pairs: list[tuple[int, str]]


@dataclass(frozen=True)
class _Found:
    """A grid; kimg: of the snapshot, None if not trained; ranges: of slice positions of its columns, if it has them."""

    path: Path
    grid: Grid | None
    kimg: float | None = None
    ranges: tuple[str, ...] = ()


def section(dataset: Dataset) -> dict[str, Any] | None:
    """Pictures as far as there are any; None without."""
    grids = {cell: found for cell in dataset.drawn if (found := _grid(cell))}
    translates = task(dataset.cells)
    by_position = not translates and any(found.ranges for found in grids.values())
    real = None if dataset.hidden else _real(dataset.cells, by_position)
    if not grids and real is None and not dataset.hidden:
        return None
    pictures = _pictures(dataset, real, grids)
    rows = []
    for variant in dict.fromkeys(cell.variant for cell in grids):
        mine = [cell for cell in grids if cell.variant == variant and cell in pictures]
        links = [(cell.seed, dataset.study.link(cell.folder / "pairs.html")) for cell in mine]
        if mine:
            first, *others = (pictures[cell] for cell in mine)
            rows.append(Row(variant, first, others, [(seed, link) for seed, link in links if link]))
    return {
        **{"real": pictures.get(None), "rows": rows, "by_position": by_position, "task": translates},
        **{"panels": panels(dataset.cells), "hidden": dataset.hidden},
        **over_training.section(dataset),
    }


def _grid(cell: CellFiles) -> _Found | None:
    """The grid of a run: by slice position where there is one, else that of its samples.

    Of a variant that is trained and not scored it is that of the last snapshot.
    """
    kimg = (cell.object("scores.json").get("snapshot") or {}).get("kimg")
    if (grid := read(path := cell.folder / "shown/fake.png")) is not None:
        return _Found(path, grid, kimg, _ranges(cell))
    path = cell.folder / "fake.png"
    if not path.exists() and cell.unscored() and (cell.folder / "generator.pt").exists():
        snapshots = over_training.snapshots(cell)
        last = max(snapshots, default=0.0)
        path, kimg = snapshots.get(last, path), last or None
    return _Found(path, read(path), kimg) if path.exists() else None


def _real(cells: list[CellFiles], by_position: bool) -> _Found | None:
    """The real images: those of the same slice positions as the generated ones, or of the same layout."""
    for cell in cells:
        path = cell.folder / ("shown/real.png" if by_position else "real.png")
        if path.exists():
            return _Found(path, read(path), ranges=_ranges(cell) if by_position else ())
    return None


def _ranges(cell: CellFiles) -> tuple[str, ...]:
    """The ranges of slice positions, in % of the way through the volume."""
    edges = cell.object("shown/positions.json").get("edges") or []
    percent = [round(100 * edge) for edge in edges]
    return tuple(f"{low} to {high} %" for low, high in itertools.pairwise(percent))


def _pictures(dataset: Dataset, real: _Found | None, grids: dict[CellFiles, _Found]) -> dict[CellFiles | None, Picture]:
    """The picture of each run, and of the real images (None), with as many samples as the budget allows."""
    known = [found.grid for found in (real, *grids.values()) if found and found.grid]
    most = max((grid.fitting() for grid in known), default=1)
    title = "source and target (validation)" if task(dataset.cells) else "real (training images)"
    own, drawn = real_panels(dataset.cells), panels(dataset.cells)

    def attempt(samples: int) -> dict[CellFiles | None, Picture]:
        made: dict[CellFiles | None, Picture | None] = {}
        if real:
            made[None] = _picture(dataset, real, title, own, samples)
        for cell, found in grids.items():
            trained = ", not trained" if found.kimg is None else f", {found.kimg:g} kimg"
            caption = f"{cell.variant} (seed {cell.seed}{trained})"
            made[cell] = _picture(dataset, found, caption, drawn, samples, cell.folder / "fake.png")
        return {key: one for key, one in made.items() if one}

    fewer = dict.fromkeys((most, -(-most // 2), -(-most // 4), 1))
    attempts = [functools.partial(attempt, samples) for samples in fewer]
    return within(BUDGET // len(dataset.study.datasets), attempts)


def _picture(
    dataset: Dataset, found: _Found, caption: str, names: list[str], samples: int, large: Path | None = None
) -> Picture | None:
    """The picture of a grid; large: the file to link to, the grid itself by default."""
    link = (dataset.study.link(large) if large else None) or dataset.study.link(found.path)
    if found.grid is None:
        source = whole(found.path)
        return Picture(caption, source, link=link) if source else None
    count = min(samples, found.grid.fitting())
    columns = spread(found.grid.columns, count) if found.ranges else list(range(count))
    ranges = [found.ranges[column] for column in columns] if found.ranges else []
    if found.ranges:  # a mask is not shown by position
        names = names[: found.grid.panels]
    heads: Heads = [over_samples(found.grid, ranges, count), over_panels(found.grid, names, count)]
    return cut(found.grid, caption, columns, link=link, heads=heads)
