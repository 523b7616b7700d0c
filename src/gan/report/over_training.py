"""Pictures of a run over training, and between its samples: interpolation and mixed styles with their sources."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan.cells import CellFiles
from gan.report.context import panels
from gan.report.given import Dataset
from gan.report.pictures import Grid, Picture, cut, over_panels, read, spread, within

# Bytes of the page, of all data sets together, in base64.
OVER, BETWEEN = 1_000_000, 600_000
FRAMES = (9, 6, 4)  # snapshots of a run: the first that is within budget
WIDTH = 300  # px on the screen of a snapshot, unless a single sample is wider
KINDS = {"interpolation": "interpolation", "mixing": "mixed styles"}


@dataclass(frozen=True)
class Run:
    """(kimg, picture) of some of the ``count`` snapshots of a run; link: to all of them."""

    variant: str
    seed: int
    frames: list[tuple[float, Picture]]
    count: int
    link: str | None


def section(dataset: Dataset) -> dict[str, Any]:
    """``over``: a `Run` of each variant that was trained; ``kimgs`` of all their pictures; ``between``: pictures."""
    over = _over(dataset)
    kimgs = sorted({kimg for run in over for kimg, _ in run.frames})
    return {"over": over, "kimgs": kimgs, "between": _between(dataset)}


def snapshots(cell: CellFiles) -> dict[float, Path]:
    """The grids over training by kimg, in order."""
    found = {float(path.stem.removeprefix("kimg")): path for path in (cell.folder / "snapshots").glob("kimg*.png")}
    return dict(sorted(found.items()))


def _over(dataset: Dataset) -> list[Run]:
    cells: dict[str, CellFiles] = {}
    for cell in dataset.drawn:
        if cell.variant not in cells and len(snapshots(cell)) > 1:
            cells[cell.variant] = cell
    found = {cell: snapshots(cell) for cell in cells.values()}
    names = panels(dataset.cells)

    def attempt(frames: int) -> dict[tuple[CellFiles, float], Picture]:
        made = {}
        for cell, paths in found.items():
            kimgs = list(paths)
            for kimg in (kimgs[place] for place in spread(len(kimgs), frames)):
                if grid := read(paths[kimg]):
                    caption, link = f"{cell.variant} at {kimg:g} kimg", dataset.study.link(paths[kimg])
                    count = max(1, min(grid.fitting(), WIDTH // (grid.cell * grid.times)))
                    heads = [over_panels(grid, names, count)]
                    made[cell, kimg] = cut(grid, caption, range(count), link=link, heads=heads)
        return made

    pictures = within(OVER // len(dataset.study.datasets), [functools.partial(attempt, frames) for frames in FRAMES])
    runs = []
    for cell, paths in found.items():
        frames = [(kimg, one) for (of, kimg), one in pictures.items() if of == cell]
        link = dataset.study.link(cell.folder / "snapshots")
        runs += [Run(cell.variant, cell.seed, frames, len(paths), link)] if frames else []
    return runs


def _between(dataset: Dataset) -> list[tuple[str, Picture]]:
    """(kind, picture) of the first run of each variant that has such a grid, one of `KINDS`."""
    grids: dict[tuple[str, str], tuple[Grid, CellFiles, Path]] = {}
    for cell in dataset.drawn:
        for kind in KINDS:
            path = cell.folder / f"shown/{kind}.png"
            if (kind, cell.variant) not in grids and (grid := read(path)):
                grids[kind, cell.variant] = grid, cell, path

    def attempt(rows: int) -> dict[tuple[str, str], Picture]:
        return {
            key: cut(
                *(grid, f"{cell.variant}, seed {cell.seed}: {KINDS[key[0]]}", range(grid.columns)),
                **{"link": dataset.study.link(path), "rows": rows},
            )
            for key, (grid, cell, path) in grids.items()
        }

    attempts = [functools.partial(attempt, rows) for rows in (99, 3, 2, 1)]
    made = within(BETWEEN // len(dataset.study.datasets), attempts)
    return [(kind, one) for (kind, _), one in made.items()]
