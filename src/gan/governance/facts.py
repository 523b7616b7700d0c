"""What the files of a study say of one cell. Nothing here is made up: what no file says is None or empty."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gan.cells import SPLITS, WHOLE, CellFiles, count_looks
from gan.errors import GanError
from gan.files import read_json
from gan.metrics import facts as metrics
from gan.report import context, table, trust
from gan.report.declared import terms_of
from gan.study import run_key
from gan.terms import Terms


@dataclass(frozen=True)
class Split:
    """Patients and images of a split; classes: patients of each class, empty without labels of patients."""

    name: str
    patients: int
    images: int
    classes: dict[str, int]


@dataclass(frozen=True)
class Score:
    """One score on the test split, of the mean over contrasts, as a person reads it."""

    name: str
    column: str
    extractor: str
    value: float
    low: float | None
    high: float | None
    floor: float | None
    patients: int | None
    real: int | None
    generated: int | None


@dataclass(frozen=True)
class Facts:
    """Of one cell. store: ``store.json``; splits, subjects (a digest of who is in which split): of its index; kimg,
    chosen: of the snapshot that was scored; copies: ``copies.json``; looks: how often its test split was scored."""

    cell: CellFiles
    recipe: dict[str, Any]
    terms: Terms
    store: dict[str, Any]
    splits: list[Split]
    subjects: str | None
    scores: list[Score]
    evaluation: dict[str, Any]
    kimg: float | None
    chosen: str | None
    copies: dict[str, Any]
    trust: list[str]
    cost: dict[str, Any]
    events: list[str]
    looks: int | None

    @property
    def run_key(self) -> str:
        return run_key(self.recipe)

    @property
    def name(self) -> str:
        """``ixi-dcgan-s0``."""
        return f"{self.cell.dataset}-{self.cell.variant}-s{self.cell.seed}"

    @property
    def family(self) -> str:
        return self.recipe["variant"]["family"]

    @property
    def task(self) -> str:
        """``generate`` or ``translate``."""
        return "translate" if "translate" in self.recipe["data"] else "generate"

    def split(self, name: str) -> Split | None:
        """The split ``name``, if the store is there."""
        return next((split for split in self.splits if split.name == name), None)


def read_facts(cell: CellFiles) -> Facts:
    """What is known of ``cell``. `GanError` if it has no recipe: then it is no cell, or has not begun."""
    recipe = cell.object("recipe.json")
    if not recipe:
        raise GanError(
            f"{cell.folder}: no recipe.json; name the folder of a cell, results/<study>/<dataset>/<variant>/seed<k>"
        )
    study = cell.folder.parents[2]
    store = study / "data" / cell.dataset / "store"
    scored = cell.object("scores.json")
    rows = scored.get("scores") or []
    snapshot = scored.get("snapshot") or {}
    looks = study.parent / "looks"
    return Facts(
        cell=cell,
        recipe=recipe,
        terms=terms_of(cell),
        store=_store(store),
        splits=_splits(store),
        subjects=_subjects(store),
        scores=[_score(row) for row in rows if (row.get("contrast") or WHOLE) == WHOLE],
        evaluation={key: rows[0].get(key) for key in ("seed", "truncation", "n_fake", "n_subjects")} if rows else {},
        kimg=snapshot.get("kimg"),
        chosen=snapshot.get("chosen"),
        copies=cell.object("copies.json"),
        trust=_trust(cell),
        cost=cell.object("cost.json"),
        events=[text for _, text in context.events([cell])],
        looks=count_looks(looks, recipe) if looks.exists() else None,
    )


def versions() -> dict[str, str]:
    """The versions of this program and of what it stands on, at the time of the export."""
    return dict(context.versions())


def program() -> str:
    """Name and version of this program."""
    return f"gan-study {versions().get('gan-study', '(unknown version)')}"


def _score(row: dict[str, Any]) -> Score:
    column = row["metric"]
    known = {key: row.get(key) for key in ("low", "high", "floor")}
    counts = {"patients": row.get("n_subjects"), "real": row.get("n_real"), "generated": row.get("n_fake")}
    return Score(metrics.title(column), column, row.get("extractor", ""), row["value"], **known, **counts)


def _trust(cell: CellFiles) -> list[str]:
    """The sentences of `gan.report.trust` on this cell alone."""
    rows = table.comparison(table.scores([cell]))
    found = trust.of_variants(rows, [cell], table.leads(rows, [cell])).get((cell.dataset, cell.variant))
    return [*found.sentences, *(f"Warning: it {warning}." for warning in found.warnings)] if found else []


def _store(folder: Path) -> dict[str, Any]:
    try:
        return read_json(folder / "store.json")
    except GanError:
        return {}


def _index(folder: Path) -> pd.DataFrame | None:
    path = folder / "index.parquet"
    if not path.exists():
        return None
    index = pd.read_parquet(path, columns=["subject", "split", "kept", "label"])
    return index.loc[index["kept"]]


def _splits(folder: Path) -> list[Split]:
    index, by_patient = _index(folder), _store(folder).get("label_of") == "subject"
    if index is None:
        return []
    found = []
    for name in SPLITS:
        mine = index.loc[index["split"] == name]
        classes = mine.groupby("label").subject.nunique().to_dict() if by_patient else {}
        found.append(Split(name, mine.subject.nunique(), len(mine), {str(key): int(n) for key, n in classes.items()}))
    return found


def _subjects(folder: Path) -> str | None:
    """The sha256 of the list of who is in which split: it names nobody and tells whether two lists are equal."""
    index = _index(folder)
    if index is None:
        return None
    pairs = sorted(set(zip(index.subject.astype(str), index.split.astype(str), strict=True)))
    return hashlib.sha256("\n".join(f"{subject} {split}" for subject, split in pairs).encode()).hexdigest()
