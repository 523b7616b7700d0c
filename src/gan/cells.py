"""The finished (or unfinished) cells of a study on disk, as the tables, the page and the tracking read them.

A cell is one dataset x variant x seed and the folder that training and evaluation wrote. Nothing here raises for a cell
that is missing or half written: a study is looked at while it still runs, and what is absent is said as such.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan.errors import GanError
from gan.files import read_json, write_json

SPLITS = ("train", "val", "test")
WHOLE = "all"  # the contrast of a score that is the mean over all contrasts
CLASS = "class "  # before its name: the contrast of a score of the images of one class, meant over contrasts
JOINT = "joint"  # the contrast of a score that sees the contrasts of each sample together


def side_of(contrast: str) -> str:
    """What is translated in a score of that direction, ``t1n`` of ``t1n>t2w``; empty for other contrasts."""
    source, arrow, _ = contrast.partition(">")
    return source if arrow else ""


def no_scores(row: dict[str, Any]) -> str | None:
    """Why cells of a data set are trained and not scored, in a few words; None if they are.

    row: its row of the config, or what a recipe has of it.
    """
    split = row.get("split")
    for part, name in (("test", "test"), ("val", "validation")):
        if isinstance(split, dict) and split.get(part) == 0:
            return f"no {name} subjects"
    return None


def counted(data: Mapping[str, Any]) -> str:
    """What the images of a data set are: ``slices`` of volumes, whole ``volumes``, or ``pictures``.

    data: its row of the config, or what a recipe has of it.
    """
    if data.get("volumes"):
        return "volumes"
    return "pictures" if data.get("layout") == "images" else "slices"


@dataclass(frozen=True)
class CellFiles:
    """One run of the grid. ``folder`` is ``results/<study>/<dataset>/<variant>/seed<k>``."""

    dataset: str
    variant: str
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """``dataset/variant/s0``, for people."""
        return f"{self.dataset}/{self.variant}/s{self.seed}"

    @classmethod
    def below(cls, study: Path) -> list["CellFiles"]:
        """The cells of ``results/<study>`` that have begun, by name: those with a recipe."""
        folders = sorted(path.parent for path in study.glob("*/*/seed*/recipe.json"))
        return [cls(path.parts[-3], path.parts[-2], int(path.name.removeprefix("seed")), path) for path in folders]

    def json(self, name: str) -> Any:
        """The JSON file ``name`` of the cell, or None while it does not exist; a broken one raises `GanError`."""
        path = self.folder / name
        return read_json(path) if path.exists() else None

    def object(self, name: str) -> dict[str, Any]:
        """As `json`, for files that hold an object: empty while the file does not exist or is broken."""
        try:
            value = self.json(name)
        except GanError:
            return {}
        return value if isinstance(value, dict) else {}

    def unscored(self) -> str | None:
        """Why the study asks for no scores of the cell (`no_scores`); None if it does, or before there is a recipe."""
        data = self.object("recipe.json").get("data")
        return no_scores(data) if isinstance(data, dict) else None

    def unfinished(self) -> str | None:
        """Why the cell has no scores, in a few words; None when it has them."""
        try:
            scores = self.json("scores.json")
        except GanError:
            return "scores.json cannot be read; delete it and run the evaluation again"
        if isinstance(scores, dict) and scores.get("scores"):
            return None
        if scores is not None:
            return "scores.json holds no scores"
        if (self.folder / "generator.pt").exists():
            reason = self.unscored()
            return f"not scored: {reason}" if reason else "trained, not scored"
        last = last_stats(self.folder / "stats.jsonl")
        return f"training stopped or running at {last['kimg']:g} kimg" if "kimg" in last else "not started"


def baselines(study: Path) -> dict[str, str]:
    """The baseline of each variant that modifies another one, from ``baselines.json`` of ``results/<study>``."""
    path = study / "baselines.json"
    return read_json(path) if path.exists() else {}


def utility_asked(study: Path) -> dict[str, Any] | None:
    """The section ``utility`` of the config, from ``utility_asked.json`` of ``results/<study>``; None without one."""
    path = study / "utility_asked.json"
    return read_json(path) if path.exists() else None


def ledger(looks: Path, recipe: dict[str, Any]) -> Path:
    """The folder in ``looks`` (``results/looks``) of the test split that ``recipe`` is scored on.

    It has a file for each training run that was scored there, so that parallel jobs cannot lose one. Studies of the
    same source and split share it: each look at the same test patients makes a lucky result more likely.
    """
    data = recipe.get("data") or {}
    split = json.dumps([data.get("source"), data.get("split")], sort_keys=True)
    return looks / hashlib.sha256(split.encode()).hexdigest()[:12]


def note_look(looks: Path, recipe: dict[str, Any], run_key: str) -> None:
    """Remember that the run ``run_key`` was scored on its test split; a second time changes nothing."""
    cell = {"variant": (recipe.get("variant") or {}).get("name"), "seed": recipe.get("seed")}
    write_json(ledger(looks, recipe) / f"{run_key}.json", {"run_key": run_key, **cell})


def count_looks(looks: Path, recipe: dict[str, Any]) -> int:
    """How many runs were scored on the test split of ``recipe``."""
    return len(list(ledger(looks, recipe).glob("*.json")))


def stats_lines(path: Path, start: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """The objects in a ``stats.jsonl`` from byte ``start`` on, each with the byte after its line.

    A last line without its newline is still being written and is left out; a line that is not a JSON object (the tail
    of a crash) is skipped. A missing file has no lines.
    """
    if not path.exists():
        return
    with open(path, "rb") as file:
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n"):
                return
            start += len(line)
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row, start


def stats(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a ``stats.jsonl``."""
    return [row for row, _ in stats_lines(path)]


def last_stats(path: Path) -> dict[str, Any]:
    """The last whole line of a ``stats.jsonl``; empty when there is none."""
    rows = stats(path)
    return rows[-1] if rows else {}


def number(value: Any, missing: float | None = None) -> Any:
    """``value`` as a float if it is a number, else ``missing``."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else missing


def flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested object as ``{"variant.options.r1_gamma": 1.0, ...}``; lists and scalars stay as they are."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, dict):
            flat.update(flatten(item, f"{name}."))
        else:
            flat[name] = item
    return flat
