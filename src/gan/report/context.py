"""What the page shows in addition to scores, from the folders of a study: images, settings, data, cost, events."""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

import importlib.metadata
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from gan.cells import SPLITS, CellFiles, count_looks, counted, flatten, last_stats, stats
from gan.errors import GanError
from gan.files import read_json
from gan.metrics import facts
from gan.scoring.extractors import registry

PACKAGES = (
    "gan-study",
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "clean-fid",
    "nibabel",
    "SimpleITK",
    "mlflow",
    "snakemake",
)


def task(cells: Sequence[CellFiles]) -> str | None:
    """``t1n > t2w`` of a data set whose images are translated, from the first recipe; None if images are generated."""
    sides = _data(cells).get("translate")
    return f"{' + '.join(sides['source'])} > {' + '.join(sides['target'])}" if sides else None


def panels(cells: Sequence[CellFiles]) -> list[str]:
    """The names of the panels of a generated sample, from the first recipe; empty where they have no fixed ones.

    Of a translation: sources, translations, targets, differences.
    """
    data = _data(cells)
    names = [*(data.get("contrasts") or []), *filter(None, [data.get("mask")])]
    if sides := data.get("translate"):
        targets = sides["target"]
        names = [*sides["source"], *(f"{one}, translated" for one in targets), *targets]
        names += [f"{one}, difference" for one in targets]
    return [] if data.get("labels") == "contrast" else names


def real_panels(cells: Sequence[CellFiles]) -> list[str]:
    """The names of the panels of a real sample: `panels`, or of a translation source and target."""
    sides = _data(cells).get("translate")
    return [*sides["source"], *sides["target"]] if sides else panels(cells)


def _data(cells: Sequence[CellFiles]) -> dict[str, Any]:
    data = next((recipe for cell in cells if (recipe := cell.object("recipe.json"))), {}).get("data", {})
    return data if isinstance(data, dict) else {}


def untrained(cells: Sequence[CellFiles]) -> list[str]:
    """The variants that were made and not trained."""
    made = [cell for cell in cells if (cell.object("recipe.json").get("training") or {}).get("kimg") == 0]
    return list(dict.fromkeys(cell.variant for cell in made))


@dataclass(frozen=True)
class Settings:
    """The recipes of the variants: rows of (key, values) that differ or are shared, and each recipe whole as JSON."""

    variants: list[str]
    differing: list[tuple[str, list[str]]]
    shared: list[tuple[str, str]]
    recipes: list[tuple[str, str]]


def settings(cells: Sequence[CellFiles]) -> Settings | None:
    """The settings of one data set's variants from the recipe of each one's first seed; None without recipes."""
    recipes: dict[str, dict[str, Any]] = {}
    for cell in cells:
        recipe = cell.object("recipe.json")
        if recipe and cell.variant not in recipes:
            recipes[cell.variant] = recipe
    if not recipes:
        return None
    flat = {variant: flatten(recipe) for variant, recipe in recipes.items()}
    keys = list(dict.fromkeys(key for values in flat.values() for key in values))
    differing, shared = [], []
    for key in keys:
        values = [shown(flat[variant].get(key, "–")) for variant in flat]
        if len(set(values)) > 1:
            differing.append((key, values))
        else:
            shared.append((key, values[0]))
    whole = [(variant, json.dumps(recipe, indent=2, ensure_ascii=False)) for variant, recipe in recipes.items()]
    return Settings(list(flat), differing, shared, whole)


def shown(value: Any) -> str:
    """A setting as text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def data_summary(store: Path | None) -> dict[str, Any] | None:
    """Subjects and kept images of each split, subjects without one, and what ``store.json`` says; None without a store.

    Counts come from ``index.parquet``; no subject is named.
    """
    if store is None or not (store / "index.parquet").exists():
        return None
    index = pd.read_parquet(store / "index.parquet", columns=["subject", "split", "kept"])
    kept = index[index.kept]
    splits = []
    for name in SPLITS:
        mine = kept[kept.split == name]
        splits.append({"name": name, "subjects": mine.subject.nunique(), "images": len(mine)})
    try:
        meta = read_json(store / "store.json")
    except GanError:
        meta = {}
    empty = index.subject.nunique() - kept.subject.nunique()
    facts = [(key, shown(value)) for key, value in flatten(meta).items() if value not in (None, "", [])]
    channels = meta.get("channels") or []
    counts = {"candidates": len(index), "kept": len(kept), "empty": empty}
    pictures = {"layout": "images"} if meta.get("spacing", ()) is None else {}
    counts |= {"images": counted(meta | pictures)}
    return {"splits": splits, "facts": facts, "channels": channels, **counts}


def looks(cells: Sequence[CellFiles], folder: Path | None) -> dict[str, str]:
    """A sentence for each dataset: how often its test split was looked at, by the ledger ``folder``.

    None for a dataset of which no run has a recipe.
    """
    found = {}
    for cell in cells:
        recipe = cell.object("recipe.json")
        if folder is None or not recipe or cell.dataset in found:
            continue
        number = count_looks(folder, recipe)
        found[cell.dataset] = (
            f"Looks at the test split so far: {number} training run{'s' if number != 1 else ''}, of all studies of "
            f"this results folder. The more there are, the more likely the best of them was lucky."
        )
    return found


def events(cells: Sequence[CellFiles]) -> list[tuple[str, str]]:
    """The events of training: (cell, message), from lines of stats.jsonl with an ``event``."""
    found = []
    for cell in cells:
        for row in stats(cell.folder / "stats.jsonl"):
            if not row.get("event"):
                continue
            text = row.get("message") or row["event"]
            at = f" at {row['kimg']:g} kimg" if isinstance(row.get("kimg"), int | float) else ""
            found.append((cell.name, f"{text}{at}"))
    return found


def protocol(table: pd.DataFrame, cells: Sequence[CellFiles]) -> dict[str, Any]:
    """A sentence on each metric and extractor in ``table``, and on how snapshots were chosen."""
    metrics, extractors = {}, {}
    for metric in table.metric.dropna().unique():
        if known := facts.fact(str(metric)):
            metrics[known.label] = known.sentence
    for extractor in table.extractor.dropna().unique():
        own = "none: the images themselves" if extractor == facts.PIXELS else None
        extractors[str(extractor)] = own or registry.sentence(str(extractor)) or "as named"
    for cell in cells:
        left_out = cell.object("scores.json").get("left_out") or {}
        extractors |= {name: f"left out: {reason}" for name, reason in left_out.items()}
    chosen = {(cell.object("scores.json").get("snapshot") or {}).get("chosen") for cell in cells} - {None}
    return {
        **{"metrics": list(metrics.items()), "extractors": list(extractors.items())},
        **{"chosen": chosen, "intervals": bool(table.low.notna().any())},
    }


def extractor(id: str) -> str | None:
    """`gan.scoring.extractors.registry.sentence`."""
    return registry.sentence(id)


def versions() -> list[tuple[str, str]]:
    """Versions of what made the report, with Python and the operating system."""
    found = [("Python", platform.python_version()), ("system", f"{platform.system()} {platform.machine()}")]
    for package in PACKAGES:
        try:
            found.append((package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def finished_on(cells: Sequence[CellFiles]) -> str | None:
    """The day of the last line of any ``stats.jsonl``; None if no cell was trained."""
    times = [row["time"] for cell in cells if "time" in (row := last_stats(cell.folder / "stats.jsonl"))]
    return f"{datetime.fromtimestamp(max(times), UTC):%-d %B %Y}" if times else None
