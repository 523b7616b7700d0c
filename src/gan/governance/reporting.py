"""The checklist CLAIM 2024 (Tejani et al., Radiology: Artificial Intelligence 2024): for each item what this study can
show, with the file, or ``author``. No box is ticked: whether an item is reported is for the author to say.

The items are told in few words of our own; the checklist itself has the full ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gan.governance.facts import Facts
from gan.governance.text import plain, render

AUTHOR = "author"
Evidence = Callable[[Facts], str]


@dataclass(frozen=True)
class Item:
    """Number, section and content of an item; evidence: what the files say, empty where they say nothing."""

    number: int
    section: str
    content: str
    evidence: Evidence | None = None


def reporting(facts: Facts) -> str:
    """The checklist as Markdown."""
    rows = [(item, (item.evidence(facts) if item.evidence else "") or AUTHOR) for item in ITEMS]
    return render("reporting.md", {"rows": rows, "author": AUTHOR, "facts": facts})


def _sources(facts: Facts) -> str:
    cited = "; ".join([*facts.terms.quoted("citation"), *facts.terms.quoted("url")])
    return f"data set {facts.cell.dataset}{f' ({cited})' if cited else ''}: README.md, recipe.json"


def _kept(facts: Facts) -> str:
    kept = facts.store.get("filter")
    return f"filter of images: {plain(kept)}: store.json; inclusion of patients: author" if kept else ""


def _prepared(facts: Facts) -> str:
    named = [key for key in ("intensity", "fit", "size", "spacing") if facts.store.get(key)]
    return f"{', '.join(named)}: store.json, reproducibility.json" if named else ""


def _missing(facts: Facts) -> str:
    kept = facts.recipe["data"].get("missing") == "leave"
    return f"a patient who lacks a contrast {'is kept, with zeros' if kept else 'stops the study'}: recipe.json"


def _annotated(facts: Facts) -> str:
    mask = facts.store.get("mask")
    return f"label volume {mask} as it came with the data: store.json; who drew it, and how: author" if mask else ""


def _assigned(facts: Facts) -> str:
    split = facts.recipe["data"].get("split")
    return f"drawn at random by patient, {plain(split)}: recipe.json" if split else ""


def _disjoint(facts: Facts) -> str:
    return "patient: no patient is in two splits: reproducibility.json" if facts.splits else ""


def _size(facts: Facts) -> str:
    test = facts.split("test")
    return f"{test.patients} patients, as many as there were; why these suffice: author" if test else ""


def _model(facts: Facts) -> str:
    revision = facts.recipe["variant"].get("revision")
    return f"family {facts.family}, revision {revision}, its options: recipe.json, README.md"


def _libraries(facts: Facts) -> str:
    if facts.cost.get("code"):
        return "versions and SHA-256 of the code at training, versions at the export: reproducibility.json"
    return "versions at the export: reproducibility.json; those at training: author"


def _initial(facts: Facts) -> str:
    start = facts.recipe["variant"].get("init_from")
    return (
        f"from other weights ({plain(start)}): recipe.json"
        if start
        else f"at random, seed {facts.recipe['seed']}: recipe.json"
    )


def _trained(facts: Facts) -> str:
    training = facts.recipe["training"]
    return f"{training.get('kimg')} kimg, batch {training.get('batch')}, {training.get('precision')}: recipe.json"


def _selected(facts: Facts) -> str:
    if not facts.chosen:
        return ""
    how = "lowest leading score on the validation split" if facts.chosen == "best" else "the last one"
    return f"{how}: scores.json, curve.json"


def _metrics(facts: Facts) -> str:
    names = ", ".join(score.name for score in facts.scores)
    return f"{names}: README.md, scores.json" if names else ""


def _uncertainty(facts: Facts) -> str:
    with_interval = any(score.low is not None for score in facts.scores)
    return "95 % intervals by resampling of patients: README.md, replicates.json" if with_interval else ""


def _internal(facts: Facts) -> str:
    test = facts.split("test")
    return f"{test.patients} patients of the test split: scores.json" if test and facts.scores else ""


def _flow(facts: Facts) -> str:
    counts = ", ".join(f"{split.name} {split.patients} patients and {split.images} images" for split in facts.splits)
    return f"{counts}: README.md; excluded ones: subjects.csv of the store" if counts else ""


def _characteristics(facts: Facts) -> str:
    classes = [f"{split.name}: {plain(split.classes)}" for split in facts.splits if split.classes]
    return f"patients of each class, {'; '.join(classes)}: README.md; age, sex, others: author" if classes else ""


def _failures(facts: Facts) -> str:
    found = ["copies of patients: README.md, copies.json"] if facts.copies else []
    found += ["warnings of training: stats.jsonl"] if facts.events else []
    return "; ".join(found)


def _available(facts: Facts) -> str:
    return f"software open; weights and images under {facts.terms.line()}: terms.json; data: author"


ITEMS = (
    Item(1, "Title, abstract", "says that it is a study of AI, and of which kind"),
    Item(2, "Title, abstract", "summary of design, methods, results, conclusions"),
    Item(3, "Introduction", "background and intended use"),
    Item(4, "Introduction", "aims and hypotheses"),
    Item(5, "Study design", "prospective or retrospective"),
    Item(6, "Study design", "goal of the study"),
    Item(7, "Data", "sources", _sources),
    Item(8, "Data", "inclusion and exclusion", _kept),
    Item(9, "Data", "preprocessing", _prepared),
    Item(10, "Data", "selection of subsets", _kept),
    Item(11, "Data", "de-identification", lambda facts: "names and dates never leave the data stage; faces: author"),
    Item(12, "Data", "missing data", _missing),
    Item(13, "Data", "acquisition protocol"),
    Item(14, "Reference standard", "how it was obtained", _annotated),
    Item(15, "Reference standard", "why it was chosen"),
    Item(16, "Reference standard", "source of annotations, qualification of annotators"),
    Item(17, "Reference standard", "annotation of the test set"),
    Item(18, "Reference standard", "variability of annotators"),
    Item(19, "Partitions", "how data were assigned", _assigned),
    Item(20, "Partitions", "level at which they are disjoint", _disjoint),
    Item(21, "Testing data", "intended sample size", _size),
    Item(22, "Model", "description", _model),
    Item(23, "Model", "software and packages", _libraries),
    Item(24, "Model", "initial parameters", _initial),
    Item(25, "Training", "approach", _trained),
    Item(26, "Training", "selection of the final model", _selected),
    Item(27, "Training", "ensembling", lambda facts: "none; a moving average of the weights is what is exported"),
    Item(28, "Evaluation", "metrics", _metrics),
    Item(29, "Evaluation", "significance and uncertainty", _uncertainty),
    Item(30, "Evaluation", "robustness, sensitivity"),
    Item(31, "Evaluation", "explainability"),
    Item(32, "Evaluation", "internal testing", _internal),
    Item(33, "Evaluation", "external testing"),
    Item(34, "Evaluation", "registration of a clinical trial"),
    Item(35, "Results", "patients included and excluded", _flow),
    Item(36, "Results", "characteristics of each partition", _characteristics),
    Item(37, "Results", "performance with uncertainty", _uncertainty),
    Item(38, "Results", "diagnostic accuracy", lambda facts: "none is claimed"),
    Item(39, "Results", "analysis of failures", _failures),
    Item(40, "Discussion", "limitations"),
    Item(
        41,
        "Discussion",
        "implications for practice",
        lambda facts: "intended and out-of-scope use: README.md; all else: author",
    ),
    Item(42, "Other", "full protocol or further details", lambda facts: "reproducibility.md, reproducibility.json"),
    Item(43, "Other", "availability of software, model, data", _available),
    Item(44, "Other", "funding"),
)
