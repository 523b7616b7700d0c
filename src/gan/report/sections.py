"""The sections of the page. A section is a function that returns its data, and the template of its name.

To add one: write the function in a module of its own (None: nothing to show), its template in templates/sections, and
its line in `OF_DATASET` or `OF_STUDY`. The template finds the data as ``it``, and a unique id as ``id``.
"""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pandas as pd
from markupsafe import Markup

from gan.metrics import facts
from gan.report import (
    context,
    cost,
    curves,
    figures,
    files,
    gallery,
    methods,
    moved,
    pairs_view,
    plots,
    snapshots,
    table,
    verdict,
    view,
)
from gan.report.declared import Declared, declared
from gan.report.given import Dataset, Study
from gan.report.table import MEASURE, WHOLE

Of = TypeVar("Of")


@dataclass(frozen=True)
class Section(Generic[Of]):
    """name: of the template; title: its heading and its line in the contents, empty for a section without them."""

    name: str
    title: str
    data: Callable[[Of], Any]


@dataclass(frozen=True)
class Shown:
    """A section with its data, as the template of the page takes it."""

    id: str
    title: str
    template: str
    it: Any


def shown(sections: Sequence[Section[Of]], of: Of, prefix: str = "") -> list[Shown]:
    """The sections that have something to show."""
    found = ((section, section.data(of)) for section in sections)
    return [
        Shown(f"{prefix}{section.name}", section.title, f"sections/{section.name}.html", it)
        for section, it in found
        if it is not None
    ]


def answer(dataset: Dataset) -> str:
    return verdict.verdict(dataset.rows, dataset.name, dataset.lead)[0]


def terms(dataset: Dataset) -> list[Declared]:
    return declared(dataset.cells)


def trust(dataset: Dataset) -> dict[str, Any] | None:
    """What limits the answer, and what speaks for and against the variants."""
    found = {
        "against": pairs_view.sentence(dataset.pairs, dataset.name, dataset.lead),
        "limits": verdict.verdict(dataset.rows, dataset.name, dataset.lead)[1:],
        "trust": verdict.trusted(dataset.rows, dataset.name, dataset.lead, dataset.study.tables.trust),
    }
    return found if any(found.values()) else None


def scores(dataset: Dataset) -> dict[str, Any]:
    """The tables of scores and differences, by contrast, and what has none."""
    rows, name, lead = dataset.rows, dataset.name, dataset.lead
    contrasts, back = view.contrasts(rows, name), view.way_back(rows, name)
    missing = rows[rows.status != "finished"]
    return {
        "intervals": Markup(_intervals(dataset)),
        "floor": facts.floor_of(str(lead)),
        "scores": [
            (
                view.heading(contrast, back) if contrast in back else view.HEADINGS.get(contrast, contrast),
                view.wide(rows, name, contrast, lead),
                pairs_view.tables(dataset.pairs, name, contrast, lead),
            )
            for contrast in contrasts
        ],
        "below": [word for word, there in (("contrast", set(contrasts[1:]) - {*back}), ("way back", back)) if there],
        "pairs_caption": pairs_view.caption(dataset.pairs, name),
        "unpaired": pairs_view.left_out(dataset.pairs, name),
        "untrained": context.untrained(dataset.cells),
        "missing": list(zip(missing.variant, missing.status, strict=True)),
    }


def _intervals(dataset: Dataset) -> str:
    """The figure of the leading measurement over all contrasts; its most common size when there are several."""
    done = dataset.rows[(dataset.rows.status == "finished") & (dataset.rows.metric == dataset.lead)]
    if done.empty:
        return ""
    done = done[done.contrast == table.leading_contrast(done.contrast)]
    measure = done.groupby(MEASURE, dropna=False, sort=False).size().idxmax()
    own = dataset.seeds[(dataset.seeds.contrast == done.contrast.iloc[0]) & table.same(dataset.seeds, measure)]
    return figures.intervals(own, done[table.same(done, measure)], dataset.looks)


def utility(dataset: Dataset) -> dict[str, Any] | None:
    """What the images are good for, where the config asks for it."""
    found = dataset.study.tables.utility and dataset.study.tables.utility.shown(dataset.name)
    return found if found and any(found.values()) else None


def what_moved(dataset: Dataset) -> list[moved.Moved] | None:
    return moved.section(moved.of_study(dataset.cells), dataset.name) or None


def training(dataset: Dataset) -> dict[str, Any] | None:
    """Curves of scores, best snapshots, losses and what else training reported."""
    runs = figures.statistics(dataset.cells)
    best = snapshots.best_snapshots(dataset.curves, dataset.cells)
    found = {
        "curves": _curves(dataset.curves, dataset.lead, dataset.looks),
        "snapshots": snapshots.tables(best, dataset.lead),
        "losses": Markup(figures.losses(runs, dataset.looks)),
        "details": Markup(figures.details(runs, dataset.looks)),
    }
    return found if any(found.values()) else None


def _curves(rows: pd.DataFrame, lead: str | None, looks: dict) -> list[tuple[Markup, str]]:
    """(figure, caption) of all metrics by each extractor, descriptive ones first, then the leading one; then of the
    contrasts of the leading metric."""
    found = []
    for group in view.by_conditions(rows[rows.contrast == WHOLE], lead):
        note = ", descriptive" if view.descriptive(group, lead) else ""
        note += f". {view.AGAINST_TRAINING.removesuffix('.')}" if view.against_training(group) else ""
        found.append((Markup(curves.by_metric(group, looks)), ", ".join(table.conditions(group.iloc[0])) + note))
    leading = rows[rows.metric == lead]
    if figure := curves.by_contrast(leading, looks):
        label = f"{facts.title(str(lead))} of each contrast; {', '.join(table.conditions(leading.iloc[0]))}"
        found.append((Markup(figure), label))
    return found


def data(dataset: Dataset) -> dict[str, Any] | None:
    found = context.data_summary(dataset.store)
    return None if found is None else found | {"looks": dataset.study.tables.looks.get(dataset.name)}


def costs(study: Study) -> dict[str, Any] | None:
    runs, jobs = cost.runs(study.cells), cost.jobs(study.cells)
    if not runs and jobs.empty:
        return None
    together = jobs[["jobs", "wall", "cpu"]].sum().to_dict() | {"memory": jobs.memory.max()}
    return {"runs": runs, "total": cost.total(runs), "jobs": jobs.to_dict("records"), "all_jobs": together}


OF_DATASET: tuple[Section[Dataset], ...] = (
    Section("answer", "", answer),
    Section("terms", "", terms),
    Section("pictures", "Real and generated", gallery.section),
    Section("trust", "Can it be trusted?", trust),
    Section("scores", "Scores", scores),
    Section("utility", "Utility", utility),
    Section("moved", "What moved", what_moved),
    Section("plots", "Plots", plots.section),
    Section("training", "Over training", training),
    Section("data", "Data", data),
    Section("settings", "Settings", lambda dataset: context.settings(dataset.cells)),
)
OF_STUDY: tuple[Section[Study], ...] = (
    Section("protocol", "How it was measured", lambda study: context.protocol(study.tables.rows, study.cells)),
    Section("methods", "Methods, to paste", methods.section),
    Section("cost", "Cost", costs),
    Section("files", "Files", files.section),
    Section("warnings", "Warnings", lambda study: context.events(study.cells)),
    Section("versions", "Versions", lambda study: context.versions()),
)
