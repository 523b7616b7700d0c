"""Recorded losses of each family, ``golden.json`` in its folder: cases of its options, and what their first steps gave.

``python tests/golden.py [family ...]`` records new cases, and old ones again once a revision was raised: ``REVISION``
of the family or, if the training of all families changed, ``TRAIN_REVISION`` (gan/study.py). It is part of every run
key: raise it when cells that were trained before would come out otherwise, so that they are trained again. Leave it,
and pass ``--same-revision``, when only the record changed: another torch, fewer steps, other options.

By hand, in each case: ``options`` besides those that all cases share, ``steps`` to compare, and the ``tolerance``, as a
fraction of a phase's losses (``tolerance_of`` a phase, where it has its own). They have to hold on every CPU, see
CONTRIBUTING.md.
"""

import argparse
import json
import re
import sys
from typing import Any

import torch
from tiny import TinyData, recipe, sources

from gan.families.registry import families, options_of, trained
from gan.study import TRAIN_REVISION
from gan.train.trainer import Trainer

BATCH, BUDGET = 4, 80


def read(family: str) -> dict[str, Any]:
    """What is recorded of ``family``."""
    return json.loads(families()[family].golden.read_text(encoding="utf-8"))


def cases(family: str) -> dict[str, dict[str, Any]]:
    """The options of each case of ``family`` by its name."""
    golden = read(family)
    return {name: golden["options"] | case["options"] for name, case in golden["cases"].items()}


SMALL = {family: read(family)["options"] for family in trained()}
CASES = {name: (family, options) for family in trained() for name, options in cases(family).items()}


def losses(family: str, options: dict[str, Any], steps: int) -> dict[str, list[float]]:
    """The loss of each phase in the steps that have it, in float32 on two classes of images [2, 32, 32].

    Those to translate, where that is the task, have two channels too; neither depends on the other.
    """
    given, rows = recipe(batch=BATCH, kimg=BUDGET / 1000), {}
    given["variant"] = {"name": family, "family": family, "options": options}
    data = TinyData(2 * BATCH, channels=2, size=32, labels=2, sources=sources(family))
    trainer = Trainer(given, data, torch.device("cpu"))
    for _ in range(steps):
        trainer.advance(measure=False)
        for name, value in trainer.meter.read().items():
            if name.startswith("phase/"):
                rows.setdefault(name.removeprefix("phase/"), []).append(value)
    return rows


def differing(case: dict[str, Any], found: dict[str, list[float]]) -> str | None:
    """The first phase of ``case`` whose losses are not those recorded, in words; None if all are."""
    recorded = case["losses"]
    if {name: len(values) for name, values in found.items()} != {
        name: len(values) for name, values in recorded.items()
    }:
        return f"phases {', '.join(found)}, recorded are {', '.join(recorded)}"
    for phase, values in recorded.items():
        tolerance, scale = case.get("tolerance_of", {}).get(phase, case["tolerance"]), _mean(values)
        for step, (value, new) in enumerate(zip(values, found[phase], strict=True)):
            if not abs(new - value) <= tolerance * max(abs(value), scale):
                return f"phase {phase}, its step {step}: {new:.6g}, recorded is {value:.6g} within {tolerance:.2%}"
    return None


def _mean(values: list[float]) -> float:
    return sum(map(abs, values)) / len(values)


def record(family: str, same_revision: bool) -> str | None:
    """Write the record of ``family``; or nothing, and why not."""
    golden = read(family)
    revisions = {"revision": options_of(family).REVISION, "train": TRAIN_REVISION}
    free = same_revision or any(golden[name] != value for name, value in revisions.items())
    for name, case in golden["cases"].items():
        found = losses(family, golden["options"] | case["options"], case["steps"])
        if "losses" in case and not free and (why := differing(case, found)):
            return (
                f"{name}: {why}. Would cells that were trained before come out otherwise? Then raise REVISION of the "
                f"family (TRAIN_REVISION if all changed); else record with --same-revision"
            )
        case["losses"] = {phase: [float(f"{value:.6g}") for value in values] for phase, values in found.items()}
    content = golden | revisions | {"torch": torch.__version__}
    families()[family].golden.write_text(text(content), encoding="utf-8")
    return None


def text(content: dict[str, Any]) -> str:
    """JSON with a list of numbers on one line."""
    whole = json.dumps(content, indent=1)
    return re.sub(r"\[[^][{}]*\]", lambda found: f"[{' '.join(found[0][1:-1].split())}]", whole) + "\n"


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description="Record the golden losses of families.")
    parser.add_argument("families", nargs="*", metavar="family", help=f"default: all ({', '.join(trained())})")
    parser.add_argument("--same-revision", action="store_true", help="the record changes, results do not")
    given = parser.parse_args()
    refused = [why for family in given.families or trained() if (why := record(family, given.same_revision))]
    sys.exit("\n".join(refused) or None)


if __name__ == "__main__":
    main()
