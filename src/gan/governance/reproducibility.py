"""The reproducibility statement: one paragraph and the same as JSON. What is not known is said to be unknown."""

import hashlib
from pathlib import Path
from typing import Any

from gan.files import write_json
from gan.governance.facts import Facts, program, versions
from gan.governance.text import render
from gan.project import code
from gan.study import canonical
from gan.terms import ACTS

UNKNOWN = "unknown"
# What two runs of the same recipe share, by which a rerun is recognised; cost and machine may differ.
SAME = ("data", "preprocessing", "recipe", "run_key", "seeds", "choice")


def statement(facts: Facts) -> dict[str, Any]:
    """The ingredients; of each that no file names, `UNKNOWN`."""
    recipe, cost = facts.recipe, facts.cost
    data = recipe.get("data") or {}
    found = {
        "data": {
            "dataset": facts.cell.dataset,
            "source": data.get("source") or UNKNOWN,
            "split": data.get("split") or UNKNOWN,
            "patients": {split.name: split.patients for split in facts.splits} or UNKNOWN,
            "patients_of_classes": {s.name: s.classes for s in facts.splits if s.classes} or UNKNOWN,
            "subjects_sha256": facts.subjects or UNKNOWN,
            "store_sha256": facts.store.get("sha256") or UNKNOWN,
        },
        "preprocessing": {key: data.get(key) for key in PREPARED if key in data} or UNKNOWN,
        "recipe": recipe,
        "run_key": facts.run_key,
        "seeds": {
            "training": recipe.get("seed", UNKNOWN),
            "evaluation": facts.evaluation.get("seed", UNKNOWN),
        },
        "choice": {"rule": facts.chosen or UNKNOWN, "kimg": UNKNOWN if facts.kimg is None else facts.kimg},
        "code": {
            "training": cost.get("code") or UNKNOWN,
            "export": {"program": program(), "sources": code()["sources"]},
            "packages": versions(),
        },
        "hardware": {key: cost.get(key) or UNKNOWN for key in ("device", "threads")}
        | {"gpus": cost.get("gpus", UNKNOWN)},
        "precision": (recipe.get("training") or {}).get("precision") or UNKNOWN,
        "budget": {key: (recipe.get("training") or {}).get(key, UNKNOWN) for key in ("kimg", "batch")},
        "cost": {key: cost.get(key, UNKNOWN) for key in SPENT} | {"energy": "not measured"},
        "test_looks": UNKNOWN if facts.looks is None else facts.looks,
        "repeats": _repeats(cost.get("gpus")),
        "commands": ["snakemake all --cores N --configfile STUDY.yaml"],
        "not_available": _withheld(facts.terms.allows("share_images")),
    }
    same = {key: found[key] for key in SAME}
    return found | {"digest": hashlib.sha256(canonical(same).encode()).hexdigest()}


PREPARED = ("layout", "contrasts", "reference", "align", "mask", "missing", "labels", "slices", "volumes", "intensity")
SPENT = ("wall_s", "cpu_s", "gpu_s", "peak_mem_mb", "peak_gpu_mem_mb", "resumed")


def write_statement(facts: Facts, folder: Path) -> None:
    """Write ``reproducibility.json`` and ``reproducibility.md`` into ``folder``."""
    found = statement(facts)
    write_json(folder / "reproducibility.json", found)
    (folder / "reproducibility.md").write_text(render("reproducibility.md", {"found": found}), encoding="utf-8")


def _repeats(gpus: Any) -> str:
    if gpus == 0:
        return "on a CPU every file bit for bit, on the same model of CPU and with the same versions and threads"
    if gpus is None:
        return UNKNOWN
    return "data and splits bit for bit; weights, images and scores of a GPU up to rounding, so statistically"


def _withheld(word: str) -> list[str]:
    """What does not go along, and why; word: of the terms on real images."""
    return [
        f"the scans, which are not part of this folder (the terms of the data say of {ACTS['share_images']}: {word})",
        "names of patients and paths, which are never part of a result",
    ]
