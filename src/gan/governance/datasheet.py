"""The datasheet of exported images, by the questions of Gebru et al. (2021)."""

from gan.governance.facts import Facts
from gan.governance.images import Exported
from gan.governance.text import render
from gan.terms import ACTS


def datasheet(facts: Facts, images: Exported, warnings: list[str]) -> str:
    """The datasheet as Markdown."""
    acts = {name: facts.terms.allows(act) for act, name in ACTS.items()}
    return render("datasheet.md", {"facts": facts, "images": images, "acts": acts, "warnings": warnings})
