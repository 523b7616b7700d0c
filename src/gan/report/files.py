"""The section of files: where the tables, generators, snapshots, samples and stores of a study are, from the page."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan.report.given import Study

# Of a cell: what it is called, and its path in the folder.
OF_A_CELL = {
    "generator": "generator.pt",
    "snapshots": "snapshots",
    "samples": "fake.png",
    "real images": "real.png",
    "scores": "scores.json",
    "curve": "curve.json",
    "recipe": "recipe.json",
    "statistics": "stats.jsonl",
    "nearest patients": "pairs.html",
}
OF_A_STORE = {"contact sheet": "contact_sheet.png", "subjects": "subjects.csv", "settings": "store.json"}
TABLES = {
    "comparison.csv": "a row a variant, contrast and measurement",
    "scores.csv": "a row a seed",
    "differences.csv": "variants against their baselines",
    "comparison.md": "this page's tables as text",
}


@dataclass(frozen=True)
class Links:
    """(name, address) of what there is of a cell or a store."""

    name: str
    links: list[tuple[str, str]]


def section(study: Study) -> dict[str, Any] | None:
    """Tables next to the page, links of each data set and cell as far as the files exist, and commands; None of a page
    that is passed on alone."""
    if study.tables.shareable:
        return None
    stores = [Links(name, _links(study, folder, OF_A_STORE)) for name, folder in study.stores.items()]
    cells = [Links(cell.name, _links(study, cell.folder, OF_A_CELL)) for cell in study.cells]
    return {
        "tables": list(TABLES.items()),
        "stores": [one for one in stores if one.links],
        "cells": [one for one in cells if one.links],
        "commands": _commands(study),
    }


def _commands(study: Study) -> list[tuple[str, str]]:
    """What to call in the folder of the project: (purpose, command)."""
    if not study.cells:
        return []
    first = study.cells[0].folder
    named = shlex.quote(f"results/{first.parents[2].name}")
    generator = shlex.quote(Path("results", *first.parts[-4:], "generator.pt").as_posix())
    return [
        ("charts of all runs, in MLflow", f"gan ui --study {named}"),
        ("this page of a study that still runs", f"gan report --study {named}"),
        ("more images of a generator", f"gan generate --generator {generator} --n 16 --out samples"),
    ]


def _links(study: Study, folder: Path, names: dict[str, str]) -> list[tuple[str, str]]:
    return [(name, link) for name, path in names.items() if (link := study.link(folder / path))]
