"""A methods paragraph with its references, ready to paste, from the recipes, the scores and the stores of a study."""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

import inspect
from typing import Any

from gan.cells import counted
from gan.errors import GanError
from gan.families.registry import options_of
from gan.metrics import facts
from gan.report.context import data_summary, extractor, versions
from gan.report.given import Dataset, Study
from gan.report.references import named, references
from gan.report.table import conditions
from gan.report.verdict import enumerated

SHOWN_VERSIONS = ("gan-study", "torch", "snakemake", "Python")


def section(study: Study) -> dict[str, Any] | None:
    """``paragraphs``, their ``references``, and the ``command`` that repeats the study; None before a recipe."""
    paragraphs = [text for dataset in study.datasets if (text := _paragraph(dataset))]
    if not paragraphs:
        return None
    known = dict(versions())
    used = ", ".join(f"{name} {known[name]}" for name in SHOWN_VERSIONS if name in known)
    paragraphs.append(f"All steps were run as one workflow by {used}.")
    cited = list(dict.fromkeys(name for text in paragraphs for name in named(text)))
    return {
        "paragraphs": paragraphs,
        "references": [f"{name}: {references()[name]}" for name in cited if name in references()],
        "command": "snakemake --cores all --configfile CONFIG -- all",
    }


def _paragraph(dataset: Dataset) -> str:
    recipes = {cell.variant: recipe for cell in dataset.cells if (recipe := cell.object("recipe.json"))}
    if not recipes:
        return ""
    seeds = len({cell.seed for cell in dataset.cells})
    parts = [_data(dataset, next(iter(recipes.values())).get("data") or {})]
    parts += _models({variant: recipe.get("variant") or {} for variant, recipe in recipes.items()})
    budgets = sorted({(recipe.get("training") or {}).get("kimg") or 0 for recipe in recipes.values()} - {0})
    if budgets:
        span = f"{budgets[0]:g}" if len(budgets) == 1 else f"{budgets[0]:g} to {budgets[-1]:g}"
        parts.append(f"Each was trained on {span} thousand real images with {seeds} seed{'s' if seeds > 1 else ''}.")
    return " ".join([*parts, *_scores(dataset)])


def _data(dataset: Dataset, data: dict[str, Any]) -> str:
    contrasts = enumerated([*map(str, data.get("contrasts") or [])] or ["images"])
    size = (data.get("slices") or data.get("volumes") or {}).get("size")
    known = data_summary(dataset.store)
    points = "voxels" if data.get("volumes") else "pixels"
    text = f"The data set {dataset.name} ({contrasts}) was stored as {counted(data)}"
    text += f" of {'x'.join(map(str, size)) if isinstance(size, list) else size} {points} a side." if size else "."
    if known:
        split = ", ".join(
            f"{one['subjects']} ({one['images']} {known['images']}) {one['name']}" for one in known["splits"]
        )
        text += f" It was split by patient: {split}."
    return text


def _models(variants: dict[str, dict[str, Any]]) -> list[str]:
    """A sentence on each family, as its options describe it."""
    by_family: dict[str, list[str]] = {}
    for name, variant in variants.items():
        by_family.setdefault(str(variant.get("family")), []).append(name)
    return [f"{_described(family)}: {enumerated(names)}." for family, names in by_family.items()]


def _described(family: str) -> str:
    try:
        return (inspect.getdoc(options_of(family)) or family).splitlines()[0].rstrip(".")
    except GanError:
        return family


def _scores(dataset: Dataset) -> list[str]:
    done = dataset.rows[(dataset.rows.status == "finished")]
    if done.empty or dataset.lead is None:
        return []
    first = done[done.metric == dataset.lead].iloc[0]
    known, sentence = facts.fact(dataset.lead), extractor(str(first.extractor))
    said = f"The leading score is {facts.title(dataset.lead)}"
    said += f" ({', '.join(conditions(first)[1:])})" + (f": {known.sentence}" if known else "")
    parts = [f"{said}.", f"Its extractor is {first.extractor}" + (f", {sentence}." if sentence else ".")]
    others = dict.fromkeys(found.name for name in done.metric.unique() if (found := facts.fact(str(name))))
    cited = [
        f"{known.label} ({enumerated(names)})"
        for name in others
        if (known := facts.FACTS[name]) and (names := named(known.sentence))
    ]
    if cited:
        parts.append(f"All other metrics are descriptive, among them {enumerated(cited)}.")
    if first.low == first.low:
        parts.append(
            "Intervals are 95 %, over patients (bootstrap) and seeds (Student's t); a difference is claimed only where "
            "they do not overlap."
        )
    return parts
