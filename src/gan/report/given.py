"""What the sections of the page are given: the cells of a study, its tables, and where the page will be."""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportReturnType=false

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from gan.cells import CellFiles
from gan.report import curves, figures
from gan.report.shareable import left_out
from gan.report.trust import Trust
from gan.report.utility_view import Utility


@dataclass(frozen=True)
class Tables:
    """Of all data sets: `gan.report.table.comparison`, its single ``seeds``, `gan.report.pairs.compare`, by data set
    the metric that leads and how often its test split was looked at, what `gan.report.trust` says of each variant, what
    images are good for, if the config asks for it, and whether the page is for passing on."""

    rows: pd.DataFrame
    seeds: pd.DataFrame
    pairs: pd.DataFrame
    leads: dict[str, str | None]
    looks: dict[str, str]
    trust: dict[tuple[str, str], Trust]
    utility: Utility | None = None
    shareable: bool = False


@dataclass(frozen=True)
class Study:
    """A study. folder: of the page; stores: of each data set, as far as there are any."""

    title: str
    cells: Sequence[CellFiles]
    tables: Tables
    folder: Path
    stores: dict[str, Path] = field(default_factory=dict)

    @functools.cached_property
    def looks(self) -> dict[str, figures.Look]:
        """Colour and line of each variant."""
        return figures.look(list(dict.fromkeys(cell.variant for cell in self.cells)))

    @functools.cached_property
    def datasets(self) -> list["Dataset"]:
        return [Dataset(name, self) for name in dict.fromkeys(cell.dataset for cell in self.cells)]

    def link(self, path: Path) -> str | None:
        """The address of a file or folder, relative to the page; None if it does not exist, and on a page for passing
        on, which goes alone."""
        if self.tables.shareable:
            return None
        return quote(Path(os.path.relpath(path, self.folder)).as_posix()) if path.exists() else None


@dataclass(frozen=True)
class Dataset:
    """One data set of a study."""

    name: str
    study: Study

    @functools.cached_property
    def cells(self) -> list[CellFiles]:
        return [cell for cell in self.study.cells if cell.dataset == self.name]

    @functools.cached_property
    def hidden(self) -> list[tuple[str, str]]:
        """What a page for passing on leaves out, with the reasons (`gan.report.shareable`)."""
        tables = self.study.tables
        return left_out(self.cells, tables.trust) if tables.shareable else []

    @functools.cached_property
    def drawn(self) -> list[CellFiles]:
        """The cells whose pictures are shown."""
        hidden = {name for name, _ in self.hidden}
        return [cell for cell in self.cells if cell.variant not in hidden]

    @functools.cached_property
    def rows(self) -> pd.DataFrame:
        rows = self.study.tables.rows
        return rows[rows.dataset == self.name]

    @functools.cached_property
    def seeds(self) -> pd.DataFrame:
        seeds = self.study.tables.seeds
        return seeds[seeds.dataset == self.name]

    @functools.cached_property
    def curves(self) -> pd.DataFrame:
        """`gan.report.curves.curve_rows`."""
        return curves.curve_rows(self.cells)

    @property
    def pairs(self) -> pd.DataFrame:
        return self.study.tables.pairs

    @property
    def lead(self) -> str | None:
        return self.study.tables.leads.get(self.name)

    @property
    def looks(self) -> dict[str, figures.Look]:
        return self.study.looks

    @property
    def store(self) -> Path | None:
        return self.study.stores.get(self.name)
