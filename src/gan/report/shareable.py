"""Which pictures of a study may be on a page that is passed on: none with a pixel of a patient.

Real images are left out whatever their licence allows. So are translations, which are shown next to scans and are
derived from one, rows that show patients by construction, variants that copy patients or were not searched for copies,
and images whose terms do not let them be passed on.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from gan.cells import CellFiles
from gan.families.registry import make_options
from gan.report.declared import terms_of
from gan.report.trust import Trust
from gan.terms import NO, UNDECLARED

REAL = ("real images", "they show patients")


def left_out(cells: Sequence[CellFiles], trusted: Mapping[tuple[str, str], Trust]) -> list[tuple[str, str]]:
    """What a shareable page of the ``cells`` of a data set leaves out, each with the reason; `REAL` first."""
    variants: dict[str, CellFiles] = {}
    for cell in cells:
        variants.setdefault(cell.variant, cell)
    found = [(name, _reason(cell, cells, trusted.get((cell.dataset, name)))) for name, cell in variants.items()]
    return [REAL, *((name, reason) for name, reason in found if reason)]


def shows_patients(recipe: dict[str, Any]) -> bool:
    """Whether images of the cell of ``recipe`` are translations of scans, or show patients by construction."""
    translates, variant = "translate" in recipe["data"], recipe["variant"]
    return translates or make_options(variant["family"], variant["options"]).shows_patients(translates)


def _reason(cell: CellFiles, cells: Sequence[CellFiles], trust: Trust | None) -> str:
    """Why no image of the variant of ``cell`` is shown; empty if they may be."""
    recipe = cell.object("recipe.json")
    if not recipe:
        return "it has no recipe yet"
    if shows_patients(recipe):
        return "its images show patients or are derived from their scans"
    allowed = terms_of(cell).allows("share_synthetic")
    if allowed in (NO, UNDECLARED):
        word = "do not allow it" if allowed == NO else "are not declared"
        return f"the terms of the data {word}"
    drawn = [one for one in cells if one.variant == cell.variant and (one.folder / "fake.png").exists()]
    searches = [one.object("copies.json") for one in drawn]
    if not searches or not all(search and "left_out" not in search for search in searches):
        return "it was not searched for copies of patients"
    accused = [warning for warning in trust.warnings if "copy" in warning or "copies" in warning] if trust else []
    return f"it {accused[0]}" if accused else ""
