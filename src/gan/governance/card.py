"""The model card: the header that Hugging Face reads, and the sections of Mitchell et al. (2019)."""

from typing import Any

import yaml

from gan.governance.facts import Facts, program, versions
from gan.governance.text import Safe, plain, render
from gan.terms import ACTS

# Licences by SPDX name that Hugging Face has an identifier for: it is the name in small letters.
KNOWN = (
    *("Apache-2.0", "MIT", "CC0-1.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0"),
    *("CC-BY-NC-2.0", "CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-2.0", "CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0"),
    *("CC-BY-ND-4.0", "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0"),
)
PIPELINES = {"generate": "unconditional-image-generation", "translate": "image-to-image"}


def card(facts: Facts, files: list[str], warnings: list[str]) -> str:
    """The card of the cell of ``facts`` as Markdown; files: what is exported; warnings: what was said at the export."""
    values = {
        **{"facts": facts, "files": files, "warnings": warnings, "program": program(), "versions": versions()},
        **{"header": Safe(header(facts)), "acts": {name: facts.terms.allows(act) for act, name in ACTS.items()}},
        "options": {key: plain(value) for key, value in facts.recipe["variant"]["options"].items()},
        "training": facts.recipe["training"],
    }
    return render("card.md", values)


def header(facts: Facts) -> str:
    """The YAML at the top of the card, without its lines of dashes."""
    found: dict[str, Any] = {
        **_licence(facts),
        "library_name": "gan-study",
        "pipeline_tag": PIPELINES[facts.task],
        "datasets": [facts.cell.dataset],
        "tags": ["medical", "mri", "synthetic", "gan", facts.family],
    }
    if facts.scores:
        found["model-index"] = [{"name": facts.name, "results": [_results(facts)]}]
    return yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=1000)


def _licence(facts: Facts) -> dict[str, str]:
    terms = facts.terms
    if len(terms.licences) == 1 and terms.licences[0] in KNOWN:
        return {"license": terms.licences[0].lower()}
    found = {"license": "other", "license_name": " and ".join(terms.licences) or "not declared"}
    return found | ({"license_link": terms.quoted("url")[0]} if terms.quoted("url") else {})


def _results(facts: Facts) -> dict[str, Any]:
    """The scores on the test split, as ``model-index`` has them."""
    return {
        "task": {"type": PIPELINES[facts.task]},
        "dataset": {"name": facts.cell.dataset, "type": facts.cell.dataset, "split": "test"},
        "metrics": [{"type": one.column, "name": one.name, "value": float(f"{one.value:.6g}")} for one in facts.scores],
    }
