"""The report of a study: comparison, scores and differences as csv, comparison.md and one page, comparison.html."""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan.cells import CellFiles
from gan.files import atomic_path
from gan.metrics import facts
from gan.report import context, curves, moved, pairs, pairs_view, sections, snapshots, table, trust, verdict, view
from gan.report.declared import declared
from gan.report.given import Study, Tables
from gan.report.table import WHOLE
from gan.report.template import template
from gan.report.utility_view import Utility
from gan.report.verdict import enumerated


def write_report(
    title: str,
    cells: Sequence[CellFiles],
    folder: Path,
    *,
    stores: dict[str, Path] | None = None,
    baselines: Mapping[str, str] | None = None,
    looks: Path | None = None,
    utility: Mapping[str, Any] | None = None,
    shareable: bool = False,
) -> None:
    """Write the files of the report into ``folder``, each whole or not at all; ``utility.csv`` with ``utility``, and
    ``moved.csv`` where features are known.

    cells: every cell that the study plans, in the order of the tables; one that is not finished is shown as such.
    stores: the store of each data set, for the counts of subjects and slices. baselines: of each variant that has one,
    the variant that it modifies (`gan.study.Study.baselines`). looks: the ledger of what was scored on a test split
    (`gan.cells.ledger`). utility: that section of the config (`Utility.of`). shareable: without any picture of a
    patient (`gan.report.shareable`). The metric by which snapshots were chosen leads.
    """
    seeds = table.scores(cells)
    rows = table.comparison(seeds)
    leads = table.leads(rows, cells)
    trusted = trust.of_variants(rows, cells, leads)
    rows["warnings"] = [", ".join(_warnings(trusted, row)) for row in rows.itertuples()]
    joined = pairs.by_seed(cells, seeds, baselines or {})
    compared = pairs.compare(cells, joined, baselines or {}, leads)
    useful = Utility.of(cells, utility)
    found = Tables(rows, seeds, compared, leads, context.looks(cells, looks), trusted, useful, shareable)
    table.write_csv(found.rows, folder / "comparison.csv")
    table.write_csv(found.seeds, folder / "scores.csv")
    table.write_csv(found.pairs, folder / "differences.csv")
    if useful is not None:
        table.write_csv(useful.table, folder / "utility.csv")
    features = moved.of_study(cells)
    (folder / "moved.csv").unlink(missing_ok=True)
    if any((cell.folder / "moved.json").exists() for cell in cells):
        table.write_csv(features, folder / "moved.csv")
    parts = {name: _parts(found, cells, name) for name in rows.dataset.unique()}
    _write_text(folder / "comparison.md", view.markdown(title, rows, leads, parts))
    _write_text(folder / "comparison.html", render(Study(title, cells, found, folder, stores or {})))


def _warnings(trusted: dict[tuple[str, str], trust.Trust], row: Any) -> list[str]:
    found = trusted.get((row.dataset, row.variant))
    return found.warnings if found else []


def _parts(found: Tables, cells: Sequence[CellFiles], dataset: str) -> list[str]:
    """The Markdown of a data set without its scores."""
    contrast = next(iter(view.contrasts(found.rows, dataset)), WHOLE)
    mine = [cell for cell in cells if cell.dataset == dataset]
    best = snapshots.best_snapshots(curves.curve_rows(mine), mine)
    lead = found.leads[dataset]
    parts = [view.markdown_trust(verdict.trusted(found.rows, dataset, lead, found.trust))]
    parts += [pairs_view.markdown(found.pairs, dataset, contrast, lead), snapshots.markdown(best, lead)]
    parts += [f"{view.escape(group.text())}\n" for group in declared(mine)]
    parts += [found.utility.markdown(dataset)] if found.utility else []
    parts.append(moved.markdown(moved.of_study(mine), dataset))
    return [*parts, f"{found.looks[dataset]}\n"] if dataset in found.looks else parts


def render(study: Study) -> str:
    """The page as text: it loads nothing from outside itself, and reads without its script."""
    return template("comparison.html").render(
        title=study.title,
        variants=list(study.looks),
        seeds=sorted({cell.seed for cell in study.cells}),
        lead=_led_by(study.tables.leads),
        finished_on=context.finished_on(study.cells),
        datasets=[
            (dataset.name, f"dataset-{place}", sections.shown(sections.OF_DATASET, dataset, f"dataset-{place}-"))
            for place, dataset in enumerate(study.datasets, 1)
        ],
        sections=sections.shown(sections.OF_STUDY, study),
        shareable=study.tables.shareable,
    )


def _led_by(leads: Mapping[str, str | None]) -> str:
    """The metrics that lead, with their data sets where these have different ones."""
    found: dict[str, list[str]] = {}
    for dataset, metric in leads.items():
        if metric:
            found.setdefault(facts.title(metric), []).append(dataset)
    if len(found) < 2:
        return next(iter(found), "")
    return enumerated([f"{title} ({enumerated(datasets)})" for title, datasets in found.items()])


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
