"""Bring the cells of a study to MLflow. Doing it again adds only what is new; a problem is reported, never raised."""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan.cells import CellFiles, baselines, flatten, stats
from gan.files import write_json
from gan.metrics.facts import direction, published, training
from gan.report.declared import terms_of
from gan.study import run_key
from gan.tracking import client as stores
from gan.tracking import names, points, views
from gan.tracking.client import Unavailable
from gan.tracking.paired import Pairs
from gan.tracking.shared import NOTE, Shared

from mlflow import MlflowClient  # isort: skip  (after gan.tracking.client, which switches telemetry off)
from mlflow.entities import Metric, Param, Run, RunTag  # isort: skip
from mlflow.exceptions import MlflowException  # isort: skip

BATCH = 1000
PARAMS_BATCH, PARAM_LENGTH = 100, 500


@dataclass(frozen=True)
class Result:
    """The result of publishing. ``message``: one line for the log; ``links`` open the saved views, one per data set."""

    ok: bool
    message: str
    links: tuple[str, ...] = ()
    runs: int = 0
    points: int = 0


def publish(
    cells: Sequence[CellFiles], *, uri: str | None, folder: Path, study: str, base: str = "http://127.0.0.1:5000"
) -> Result:
    """Publish ``cells`` to the server ``uri``, or without one to the store ``mlflow.db`` in ``folder``.

    An experiment is a data set, named ``<study>/<dataset>``; a run is a variant and seed, found by its run key. A cell
    whose recipe has changed gets a new run and the old one the tag ``superseded``. base: where ``gan ui``
    serves a local store, for the links. Never raises: a store that is locked, broken or out of reach is said in
    ``message``, within seconds, and the files of the study stay what they are.
    """
    try:
        with stores.single_writer(folder):
            client = stores.connect(uri, folder)
            publisher = _Publisher(client, folder, uri is None)
            datasets, links = dict.fromkeys(cell.dataset for cell in cells), []
            keys = {dataset: publisher.experiment(f"{study}/{dataset}", dataset) for dataset in datasets}
            for dataset, key in keys.items():
                mine = [cell for cell in cells if cell.dataset == dataset]
                publisher.dataset(key, mine, {name: other for name, other in keys.items() if name != dataset})
                tags = client.get_experiment(key).tags
                links.append(views.entrance(_without_password(uri or base), key, tags))
            if uri is None:
                stores.drop_default(client)
    except Exception as error:  # MLflow raises errors of many kinds; the study continues after any of them
        reason = str(error) if isinstance(error, Unavailable) else f"{type(error).__name__}: {error}"
        reason = _without_password(" ".join(reason.split())[:300])
        return Result(False, f"tracking: not published, {reason}; the results of the study are not affected")
    target = _without_password(uri or str(stores.database(folder)))
    text = f"tracking: {publisher.runs} runs, {publisher.points} points sent to {target}{publisher.left_out}"
    return Result(True, text, tuple(links), publisher.runs, publisher.points)


class _Publisher:
    """One pass over a study: what it sends, it counts."""

    def __init__(self, client: MlflowClient, folder: Path, local: bool):
        self.client, self.folder, self.local = client, folder.resolve(), local
        self.runs = self.points = 0
        self.left_out = ""

    def dataset(self, experiment_id: str, cells: list[CellFiles], others: Mapping[str, str]) -> None:
        """Publish the cells of one data set, what they share, and the views of its experiment. others: the experiments
        of the other data sets by their name."""
        known = list(_all_runs(self.client, experiment_id))
        shared = Shared(self.client, self.folder, experiment_id, known)
        pairs = Pairs(cells, baselines(self.folder), points.stamp(self.folder / "baselines.json"))
        for cell in cells:
            recipe = cell.object("recipe.json")
            if recipe:
                self._cell(cell, recipe, experiment_id, known, pairs)
        self.points += shared.real(cells)
        try:
            self._views(experiment_id, cells, pairs)
        except MlflowException as error:  # their format is MLflow's own, and may change
            self.left_out = f"; saved views left out ({' '.join(str(error).split())[:100]})"
        shared.describe(cells[0].dataset, shared.page(), others)

    def experiment(self, name: str, dataset: str) -> str:
        """The id of the experiment of a data set, which is made if it is missing."""
        found = self.client.get_experiment_by_name(name)
        if found is None:
            # Without a location MLflow writes under the working folder of whoever is first.
            location = (self.folder / stores.ARTIFACTS / dataset).as_uri() if self.local else None
            tags = {"dataset": dataset, "mlflow.experimentKind": "custom_model_development"}
            return self.client.create_experiment(name, location, tags)
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return found.experiment_id

    def _cell(
        self, cell: CellFiles, recipe: dict[str, Any], experiment_id: str, known: list[Run], pairs: Pairs
    ) -> None:
        key = run_key(recipe)
        run = None
        for other in known:
            if (other.data.tags.get("variant"), other.data.tags.get("seed")) != (cell.variant, str(cell.seed)):
                continue
            same = other.data.tags.get("run_key") == key
            run = other if same else run
            self._tag(other, {"superseded": "false" if same else "true"})
        run = run or self._create(cell, recipe, key, experiment_id)
        self._params(run, cell, recipe)
        self._metrics(run.info.run_id, cell, pairs)
        self._tag(run, pairs.tags(cell, run.data.tags))
        self._images(run.info.run_id, cell)
        self._status(run, cell)
        self.runs += 1

    def _create(self, cell: CellFiles, recipe: dict[str, Any], key: str, experiment_id: str) -> Run:
        lines = stats(cell.folder / "stats.jsonl")
        start = int(lines[0]["time"] * 1000) if lines and "time" in lines[0] else None
        tags = {"run_key": key, "variant": cell.variant, "seed": str(cell.seed), "superseded": "false"}
        tags["family"] = str((recipe.get("variant") or {}).get("family", ""))
        tags[NOTE] = f"`{cell.variant}` with seed {cell.seed} on `{cell.dataset}`; {tags['family']}, recipe {key}"
        return self.client.create_run(experiment_id, start, tags, f"{cell.variant}/s{cell.seed}")

    def _params(self, run: Run, cell: CellFiles, recipe: dict[str, Any]) -> None:
        """The recipe, flat; options of the variant under their own names, since they are what is compared."""
        values = {"dataset": cell.dataset, "variant": cell.variant, "seed": cell.seed}
        for key, value in flatten(recipe).items():
            values.setdefault(key.removeprefix("variant.options."), value)
        new = [
            Param(names.allowed(key), (value if isinstance(value, str) else json.dumps(value))[:PARAM_LENGTH])
            for key, value in values.items()
            if names.allowed(key) not in run.data.params
        ]
        for start in range(0, len(new), PARAMS_BATCH):
            self.client.log_batch(run.info.run_id, params=new[start : start + PARAMS_BATCH])

    def _metrics(self, run_id: str, cell: CellFiles, pairs: Pairs) -> None:
        """The points since the mark of the last pass. Without it all is sent again, and MLflow drops duplicates."""
        path = self.folder / stores.STATE / f"{run_id}.json"
        mark = _read_mark(path)
        stamps = points.stamps(cell) | {"pairs": pairs.stamp(cell)}
        if stamps != mark["stamps"]:
            self._send(run_id, [*points.final(cell), *points.curve(cell), *pairs.points(cell)])
        start = points.Progress(offset=mark["offset"], step=mark["step"])
        found = points.progress(cell, start, points.durable_kimg(cell))
        self._send(run_id, found.points)
        new = {"offset": found.offset, "step": found.step, "stamps": stamps}
        if new != mark:
            write_json(path, new)

    def _send(self, run_id: str, metrics: list[Metric]) -> None:
        for start in range(0, len(metrics), BATCH):
            self.client.log_batch(run_id, metrics[start : start + BATCH])
        self.points += len(metrics)

    def _images(self, run_id: str, cell: CellFiles) -> None:
        """The sample grid of each snapshot as a slider over kimg, and the grids of real and generated images.

        MLflow keeps the step of an image in the name of its file.
        """
        steps = views.image_steps(self.client, run_id)
        kimgs = {
            path: float(path.stem.removeprefix("kimg")) for path in (cell.folder / "snapshots").glob("kimg[0-9]*.png")
        }
        for path in sorted(kimgs, key=kimgs.__getitem__):
            step = names.step(kimgs[path])
            if step not in steps:
                steps.add(step)
                views.log_image(self.client, run_id, path, step)
        grids = {item.path for item in self.client.list_artifacts(run_id, "grids")}
        for name in ("real.png", "fake.png"):
            if (cell.folder / name).exists() and f"grids/{name}" not in grids:
                self.client.log_artifact(run_id, str(cell.folder / name), "grids")

    def _status(self, run: Run, cell: CellFiles) -> None:
        lines = stats(cell.folder / "stats.jsonl")
        events = list(dict.fromkeys(line["event"] for line in lines if line.get("event")))
        tags = {"terms": terms_of(cell).line()} | ({"events": ", ".join(events)} if events else {})
        if (cell.folder / "generator.pt").exists():
            # A path and not a copy: weights are the largest files of a study, and theirs is the one that stays true.
            tags["generator"] = os.path.relpath(cell.folder / "generator.pt", self.folder)
        rows = cell.object("scores.json").get("scores") or []
        tags |= {"extractors": ", ".join(dict.fromkeys(row["extractor"] for row in rows))} if rows else {}
        self._tag(run, tags)
        done = cell.unfinished() is None or (cell.unscored() and (cell.folder / "generator.pt").exists())
        status = "FINISHED" if done else "FAILED" if "diverged" in events else "RUNNING"
        if status == run.info.status:
            return
        if status == "RUNNING":
            self.client.update_run(run.info.run_id, status="RUNNING")
            return
        end = max((line["time"] for line in lines if "time" in line), default=None)
        self.client.set_terminated(run.info.run_id, status, None if end is None else int(end * 1000))

    def _tag(self, run: Run, tags: dict[str, str]) -> None:
        new = [RunTag(key, value) for key, value in tags.items() if run.data.tags.get(key) != value]
        if new:
            self.client.log_batch(run.info.run_id, tags=new)

    def _views(self, experiment_id: str, cells: list[CellFiles], pairs: Pairs) -> None:
        """Saved views on the metrics that the cells really have; none before there is a score or a curve."""
        lead = pairs.lead
        rows = [row for cell in cells for row in cell.object("curve.json").get("rows") or []]
        rows.sort(
            key=lambda row: (
                training(row["metric"]),
                row.get("contrast") != names.WHOLE,
                not published(row["metric"]),
                row["metric"] != lead,
            )
        )
        curves = list(dict.fromkeys(names.curve(row) for row in rows))
        if lead is None:
            return
        done = pairs.seeds[pairs.seeds.status == "finished"]
        leading = done[done.metric == lead]
        whole = leading[leading.contrast == names.WHOLE]
        led = names.final(dict((whole if len(whole) else leading).iloc[0]))
        read = done[done.metric.map(published) & (done.contrast == names.WHOLE) & (done.metric != lead)]
        first = dict.fromkeys(names.final(dict(row)) for _, row in read.iterrows())
        known = {point.key for cell in cells for point in (*points.final(cell), *pairs.points(cell))}
        last = max((names.step(row["kimg"]) for row in rows), default=0)
        views.save(
            self.client,
            experiment_id,
            **{"lead": led, "lower": direction(lead) < 0, "first": list(first)},
            **{"known": known, "curves": curves[:4], "step": last},
        )


def _without_password(text: str) -> str:
    """``text`` without the ``user:password@`` of an address."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def _all_runs(client: MlflowClient, experiment_id: str) -> Iterable[Run]:
    token = None
    while True:
        page = client.search_runs([experiment_id], max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _read_mark(path: Path) -> dict[str, Any]:
    """Where the last pass ended; the beginning when the mark is missing or broken."""
    try:
        mark = json.loads(path.read_text(encoding="utf-8"))
        return {"offset": int(mark["offset"]), "step": int(mark["step"]), "stamps": dict(mark["stamps"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"offset": 0, "step": -1, "stamps": {}}
