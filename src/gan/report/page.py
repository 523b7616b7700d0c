"""The report of a study: comparison, scores and differences as csv, comparison.md and one page, comparison.html."""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from gan.cells import CellFiles
from gan.files import atomic_path
from gan.metrics import facts
from gan.report import context, cost, curves, figures, moved, pairs, pairs_view, snapshots, table, trust, verdict, view
from gan.report.declared import declared
from gan.report.table import MEASURE, WHOLE
from gan.report.template import template
from gan.report.utility_view import Utility


def write_report(
    title: str,
    cells: Sequence[CellFiles],
    folder: Path,
    *,
    stores: dict[str, Path] | None = None,
    baselines: Mapping[str, str] | None = None,
    looks: Path | None = None,
    utility: Mapping[str, Any] | None = None,
) -> None:
    """Write the files of the report into ``folder``, each whole or not at all; ``utility.csv`` with ``utility``, and
    ``moved.csv`` where features are known.

    cells: every cell that the study plans, in the order of the tables; one that is not finished is shown as such.
    stores: the store of each data set, for the counts of subjects and slices. baselines: of each variant that has one,
    the variant that it modifies (`gan.study.Study.baselines`). looks: the ledger of what was scored on a test split
    (`gan.cells.ledger`). utility: that section of the config (`Utility.of`). The metric by which snapshots were chosen
    leads.
    """
    seeds = table.scores(cells)
    rows = table.comparison(seeds)
    lead = table.headline(rows, table.chosen_by(cells))
    trusted = trust.of_variants(rows, cells, lead)
    rows["warnings"] = [", ".join(_warnings(trusted, row)) for row in rows.itertuples()]
    compared = pairs.compare(cells, pairs.by_seed(seeds, baselines or {}), baselines or {}, lead)
    useful = Utility.of(cells, utility)
    found = Tables(rows, seeds, compared, lead, context.looks(cells, looks), trusted, useful)
    table.write_csv(found.rows, folder / "comparison.csv")
    table.write_csv(found.seeds, folder / "scores.csv")
    table.write_csv(found.pairs, folder / "differences.csv")
    if useful is not None:
        table.write_csv(useful.table, folder / "utility.csv")
    features = moved.of_study(cells)
    (folder / "moved.csv").unlink(missing_ok=True)
    if any((cell.folder / "moved.json").exists() for cell in cells):
        table.write_csv(features, folder / "moved.csv")
    sections = {name: _sections(found, cells, name) for name in rows.dataset.unique()}
    _write_text(folder / "comparison.md", view.markdown(title, rows, lead, sections))
    _write_text(folder / "comparison.html", render(title, cells, found, stores or {}))


@dataclass(frozen=True)
class Tables:
    """Of all datasets: `gan.report.table.comparison`, its single ``seeds``, `gan.report.pairs.compare`, the metric that
    leads, by dataset how often its test split was looked at, what `gan.report.trust` says of each variant, and what
    images are good for."""

    rows: pd.DataFrame
    seeds: pd.DataFrame
    pairs: pd.DataFrame
    lead: str | None
    looks: dict[str, str]
    trust: dict[tuple[str, str], trust.Trust]
    utility: Utility | None = None


def _warnings(trusted: dict[tuple[str, str], trust.Trust], row: Any) -> list[str]:
    found = trusted.get((row.dataset, row.variant))
    return found.warnings if found else []


def _sections(found: Tables, cells: Sequence[CellFiles], dataset: str) -> list[str]:
    """The Markdown of a data set without its scores."""
    contrast = next(iter(view.contrasts(found.rows, dataset)), WHOLE)
    mine = [cell for cell in cells if cell.dataset == dataset]
    best = snapshots.best_snapshots(curves.curve_rows(mine), mine)
    parts = [view.markdown_trust(verdict.trusted(found.rows, dataset, found.lead, found.trust))]
    parts += [pairs_view.markdown(found.pairs, dataset, contrast, found.lead), snapshots.markdown(best, found.lead)]
    parts += [f"{view.escape(group.text())}\n" for group in declared(mine)]
    parts += [found.utility.markdown(dataset)] if found.utility else []
    parts.append(moved.markdown(moved.of_study(mine), dataset))
    return [*parts, f"{found.looks[dataset]}\n"] if dataset in found.looks else parts


def render(title: str, cells: Sequence[CellFiles], found: Tables, stores: dict[str, Path]) -> str:
    """The page as text: no address outside itself, no script."""
    looks = figures.look(list(dict.fromkeys(cell.variant for cell in cells)))
    datasets = []
    for name in dict.fromkeys(cell.dataset for cell in cells):
        mine = [cell for cell in cells if cell.dataset == name]
        datasets.append(_dataset(name, mine, found, looks, stores.get(name)))
    runs, jobs = cost.runs(cells), cost.jobs(cells)
    return template("comparison.html").render(
        title=title,
        datasets=datasets,
        variants=list(looks),
        seeds=sorted({cell.seed for cell in cells}),
        lead=facts.title(found.lead) if found.lead else None,
        finished_on=context.finished_on(cells),
        protocol=context.protocol(found.rows, cells),
        runs=runs,
        total=cost.total(runs),
        jobs=jobs.to_dict("records"),
        all_jobs=jobs[["jobs", "wall", "cpu"]].sum().to_dict() | {"memory": jobs.memory.max()},
        events=context.events(cells),
        versions=context.versions(),
    )


def _dataset(name: str, cells: list[CellFiles], found: Tables, looks: dict, store: Path | None) -> dict[str, Any]:
    """Everything the page shows of one data set."""
    rows, lead = found.rows[found.rows.dataset == name], found.lead
    shown, back = view.contrasts(rows, name), view.way_back(rows, name)
    real, fakes = context.pictures(cells)
    scored = curves.curve_rows(cells)
    runs = figures.statistics(cells)
    missing = rows[rows.status != "finished"]
    return {
        "name": name,
        "verdict": verdict.verdict(rows, name, lead),
        "trust": verdict.trusted(rows, name, lead, found.trust),
        "terms": declared(cells),
        "against": pairs_view.sentence(found.pairs, name, lead),
        "scores": [
            (
                view.heading(contrast, back) if contrast in back else view.HEADINGS.get(contrast, contrast),
                view.wide(rows, name, contrast, lead),
                pairs_view.tables(found.pairs, name, contrast, lead),
            )
            for contrast in shown
        ],
        "below": [word for word, there in (("contrast", set(shown[1:]) - {*back}), ("way back", back)) if there],
        "looks": found.looks.get(name),
        "pairs_caption": pairs_view.caption(found.pairs, name),
        "unpaired": pairs_view.left_out(found.pairs, name),
        "utility": found.utility and found.utility.shown(name),
        "intervals": Markup(_intervals(rows, found.seeds[found.seeds.dataset == name], lead, looks)),
        "floor": facts.floor_of(str(lead)),
        "curves": _curves(scored, lead, looks),
        "snapshots": snapshots.tables(snapshots.best_snapshots(scored, cells), lead),
        "moved": moved.section(moved.of_study(cells), name),
        "losses": Markup(figures.losses(runs, looks)),
        "details": Markup(figures.details(runs, looks)),
        "real": real,
        "fakes": fakes,
        "task": context.task(cells),
        "untrained": context.untrained(cells),
        "missing": list(zip(missing.variant, missing.status, strict=True)),
        "settings": context.settings(cells),
        "data": context.data_summary(store),
    }


def _intervals(rows: pd.DataFrame, seeds: pd.DataFrame, lead: str | None, looks: dict) -> str:
    """The figure of the leading measurement over all contrasts; its most common size when there are several."""
    done = rows[(rows.status == "finished") & (rows.metric == lead)]
    if done.empty:
        return ""
    done = done[done.contrast == table.leading_contrast(done.contrast)]
    measure = done.groupby(MEASURE, dropna=False, sort=False).size().idxmax()
    own = seeds[(seeds.contrast == done.contrast.iloc[0]) & table.same(seeds, measure)]
    return figures.intervals(own, done[table.same(done, measure)], looks)


def _curves(rows: pd.DataFrame, lead: str | None, looks: dict) -> list[tuple[Markup, str]]:
    """(figure, caption) of all metrics by each extractor, descriptive ones first, then the leading one; then of the
    contrasts of the leading metric."""
    found = []
    for group in view.by_conditions(rows[rows.contrast == WHOLE], lead):
        note = ", descriptive" if view.descriptive(group, lead) else ""
        note += f". {view.AGAINST_TRAINING.removesuffix('.')}" if view.against_training(group) else ""
        found.append((Markup(curves.by_metric(group, looks)), _conditions(group.iloc[0]) + note))
    leading = rows[rows.metric == lead]
    if figure := curves.by_contrast(leading, looks):
        label = f"{facts.title(str(lead))} of each contrast; {_conditions(leading.iloc[0])}"
        found.append((Markup(figure), label))
    return found


def _conditions(row: pd.Series) -> str:
    return ", ".join(table.conditions(row))


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
