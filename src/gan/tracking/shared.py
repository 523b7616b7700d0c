"""What the cells of a data set share in MLflow: a run of real images, the floor of every chart, a run with
the page and the tables, and the text on top of the experiment."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gan.answer import TABLES, verdicts
from gan.cells import CellFiles
from gan.tracking import names, points, views

from mlflow import MlflowClient  # isort: skip  (after gan.tracking.client, which switches telemetry off)
from mlflow.entities import Metric, Param, Run, RunTag  # isort: skip

NOTE = "mlflow.note.content"  # what MLflow shows as a description
REAL, PAGE = "real images", "comparison"  # names of runs
BATCH = 1000


class Shared:
    """One experiment, and the ``runs`` that it had before; folder: of the study."""

    def __init__(self, client: MlflowClient, folder: Path, experiment_id: str, runs: list[Run]):
        self.client, self.folder, self.experiment_id, self.runs = client, folder, experiment_id, runs
        self.has_real = False

    def real(self, cells: Sequence[CellFiles]) -> int:
        """The floors of ``cells`` as scores of a run, next to those of the variants, and the real grid at every step
        that has a grid of samples; returns the number of points sent. No run before there is a floor."""
        found = floors(cells)
        self.has_real = bool(found)
        if not found:
            return 0
        note = "Not a variant: scores and grid of real images of other patients, which are the floor of all."
        run = self._run(REAL, {"superseded": "false", "variant": REAL}, note)
        if "variant" not in run.data.params:
            self.client.log_batch(run.info.run_id, params=[Param("variant", REAL)])
        sent = run.data.tags.get("stamp")
        if sent != (stamp := str(max(point.timestamp for point in found))):
            for start in range(0, len(found), BATCH):
                self.client.log_batch(run.info.run_id, metrics=found[start : start + BATCH])
            self._tag(run, {"stamp": stamp})
            self._grid(run.info.run_id, cells)
        self._end(run)
        return 0 if sent == stamp else len(found)

    def page(self) -> str | None:
        """The page and the tables as artifacts of a run, if they are made; returns its id."""
        page = self.folder / "comparison.html"
        if not page.exists():
            return None
        run = self._run(PAGE, {}, "Not a variant: page and tables of the whole study, as artifacts.")
        if run.data.tags.get("stamp") != (stamp := str(points.stamp(page))):
            for name in (page.name, *TABLES):
                if (self.folder / name).exists():
                    self.client.log_artifact(run.info.run_id, str(self.folder / name))
            self._tag(run, {"stamp": stamp})
        self._end(run)
        return run.info.run_id

    def describe(self, dataset: str, page: str | None, others: Mapping[str, str]) -> None:
        """The text on top of the experiment: what it holds, the verdict, and links to its views, the page, and the
        ``others``, the experiments of the study's other data sets by their name."""
        base = f"#/experiments/{self.experiment_id}"
        tags = self.client.get_experiment(self.experiment_id).tags  # with the views that were saved just now
        lines = []
        text = self.folder / "comparison.md"
        if text.exists():
            lines += [line for name, line in verdicts(text.read_text(encoding="utf-8")) if name == dataset]
        real = f"; `{REAL}` has what real images get" if self.has_real else ""
        lines.append(f"One run for each variant and seed on `{dataset}`{real}.")
        shown = [f"[{key}]({views.link('', self.experiment_id, key).lstrip('/')})" for key in views.saved(tags)]
        links = [f"Views: {', '.join(shown)}."] if shown else []
        if page:
            links.append(f"[The page of the study]({base}/runs/{page}/artifacts/comparison.html).")
        if others:
            named = ", ".join(f"[{name}](#/experiments/{key})" for name, key in others.items())
            links.append(f"Other data sets of the study: {named}.")
        lines.append(" ".join(links))
        note = "\n\n".join(filter(None, lines))
        if tags.get(NOTE) != note:
            self.client.set_experiment_tag(self.experiment_id, NOTE, note)

    def _run(self, name: str, tags: Mapping[str, str], note: str) -> Run:
        for run in self.runs:
            if run.info.run_name == name and "run_key" not in run.data.tags:
                return run
        return self.client.create_run(self.experiment_id, None, {**tags, NOTE: note}, name)

    def _grid(self, run_id: str, cells: Sequence[CellFiles]) -> None:
        real = next((cell.folder / "real.png" for cell in cells if (cell.folder / "real.png").exists()), None)
        if real is None:
            return
        there = views.image_steps(self.client, run_id)
        paths = [path for cell in cells for path in (cell.folder / "snapshots").glob("kimg[0-9]*.png")]
        for step in sorted({names.step(float(path.stem.removeprefix("kimg"))) for path in paths} - there):
            views.log_image(self.client, run_id, real, step)

    def _tag(self, run: Run, tags: Mapping[str, str]) -> None:
        self.client.log_batch(run.info.run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def _end(self, run: Run) -> None:
        if run.info.status != "FINISHED":
            self.client.set_terminated(run.info.run_id, "FINISHED")


def floors(cells: Sequence[CellFiles]) -> list[Metric]:
    """The floor of each score and snapshot of ``cells`` under the name of the score itself, with its interval."""
    found: dict[tuple[str, int], Metric] = {}
    for cell in cells:
        for file, key, named in (("curve.json", "rows", names.curve), ("scores.json", "scores", names.final)):
            time = points.stamp(cell.folder / file)
            for row in points.measured(cell, file, key):
                step = names.step(row["kimg"]) if key == "rows" else 0
                values = {named(row): row.get("floor")}
                if key == "scores" and row.get("contrast") in (None, names.WHOLE):
                    values |= {names.final(row, kind): row.get(f"floor_{kind}") for kind in ("low", "high")}
                for name, value in values.items():
                    if points.finite(value):
                        found.setdefault((name, step), Metric(name, round(value, 6), time, step))
    return list(found.values())
