"""Publishing a study to MLflow: complete, idempotent, restorable, and never in the way of the study."""

import asyncio
import importlib
import json
import multiprocessing
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest
from conftest import REPOSITORY
from fake_study import make_study, score, write

from gan.cells import CellFiles
from gan.errors import GanError
from gan.terms import PHANTOM, Origin, Terms
from gan.tracking import client as stores
from gan.tracking import command, names, points, publish, shared, ui, views

SMALL = {"stylegan2_ada": 0.012, "dcgan": 0.075}
STEPS = [250 * place // 100 * 100 for place in range(1, 161)]  # of make_study's statistics: a line each 0.25 kimg


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    """An empty store: making one takes a second, so the tests copy it."""
    folder = tmp_path_factory.mktemp("store")
    stores.connect(None, folder)
    return folder / stores.DATABASE


@pytest.fixture(scope="module")
def ready(tmp_path_factory, empty_store):
    """A study that nobody publishes: drawing its grids takes longer than copying them."""
    folder = tmp_path_factory.mktemp("ready") / "demo"
    make_study(folder, variants=SMALL, seeds=2)
    shutil.copy(empty_store, folder / stores.DATABASE)
    return folder


@pytest.fixture
def study(tmp_path, ready, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return copied(ready, tmp_path / "results/demo", "*/*")


@pytest.fixture
def one(tmp_path, ready, monkeypatch):
    """A study of one cell, for what does not depend on their number."""
    monkeypatch.chdir(tmp_path)
    return copied(ready, tmp_path / "results/demo", "stylegan2_ada/seed0")


def copied(ready: Path, folder: Path, which: str) -> tuple[Path, list[CellFiles]]:
    """The cells ``which`` of ``ready`` in ``folder``, in their order there."""
    for path in (ready / "phantom").glob(which):
        shutil.copytree(path, folder / path.relative_to(ready))
    shutil.copy(ready / stores.DATABASE, folder)
    order = [*SMALL]
    return folder, sorted(CellFiles.below(folder), key=lambda cell: (order.index(cell.variant), cell.seed))


def send(folder: Path, cells: list[CellFiles], uri: str | None = None):
    return publish(cells, uri=uri, folder=folder, study="demo")


def open_store(folder: Path):
    return stores.MlflowClient(tracking_uri=f"sqlite:///{stores.database(folder)}")


def runs_of(folder: Path, filter_string: str = "") -> dict:
    """The runs of demo/phantom by name, without that of real images."""
    client = open_store(folder)
    experiment = client.get_experiment_by_name("demo/phantom")
    found = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id], filter_string)}
    return {name: run for name, run in found.items() if name != shared.REAL}


def counts(folder: Path) -> dict[str, int]:
    """Everything that the store holds, counted: rows of the tables that publishing fills, and image files."""
    with sqlite3.connect(stores.database(folder)) as connection:
        tables = ("experiments", "runs", "metrics", "params", "tags", "experiment_tags")
        found = {name: connection.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0] for name in tables}
    return found | {"files": sum(path.is_file() for path in (folder / stores.ARTIFACTS).rglob("*"))}


def test_publishes_everything_that_a_cell_says(study):
    folder, cells = study
    result = send(folder, cells)
    assert result.ok, result.message
    assert "\n" not in result.message
    runs = runs_of(folder)
    assert set(runs) == {"stylegan2_ada/s0", "stylegan2_ada/s1", "dcgan/s0", "dcgan/s1"}
    run = runs["stylegan2_ada/s0"]
    assert run.info.status == "FINISHED"
    assert run.data.tags["superseded"] == "false"
    assert run.data.tags["run_key"] == json.loads((cells[0].folder / "scores.json").read_text())["run_key"]
    assert run.data.tags["generator"] == "phantom/stylegan2_ada/seed0/generator.pt"
    wanted = {"variant": "stylegan2_ada", "seed": "0", "dataset": "phantom", "augment": "mri", "training.kimg": "40"}
    assert wanted.items() <= run.data.params.items()
    scores = json.loads((cells[0].folder / "scores.json").read_text())["scores"]
    whole = next(row for row in scores if (row["metric"], row["contrast"]) == ("kd_indomain", "all"))
    assert run.data.metrics["best/kd_indomain_n2000"] == pytest.approx(whole["value"], abs=1e-6)
    assert {"best/fd_indomain_n2000_t1c", "floor/kd_indomain_n2000", "cost/cpu_h", "ada/p"} <= set(run.data.metrics)
    client = open_store(folder)
    curve = client.get_metric_history(run.info.run_id, "kd_indomain/val_n500")
    assert sorted(point.step for point in curve) == [0, 10_000, 20_000, 30_000, 40_000]
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "loss/G")]
    assert sorted(steps) == STEPS, "one point for each line, which are further apart than a point is wide"
    images = [item.path for item in client.list_artifacts(run.info.run_id, "images") if item.path.endswith(".png")]
    assert len(images) == 5
    assert not (Path.cwd() / "mlruns").exists()


def test_present_terms_of_the_data_are_on_the_runs(one):
    folder, cells = one
    send(folder, cells)
    tags = [runs_of(folder)["stylegan2_ada/s0"].data.tags["terms"]]
    terms = Terms((Origin.of(cells[0].dataset, PHANTOM),))
    (folder / "terms.json").write_text(json.dumps({cells[0].dataset: {"stylegan2_ada": terms.record()}}))
    send(folder, cells)
    tags += [runs_of(folder)["stylegan2_ada/s0"].data.tags["terms"]]
    assert tags == ["terms of the data not declared: do not pass on", terms.line()]


def test_cost_is_a_total_and_never_a_mean(study):
    folder, cells = study
    cell = cells[1]
    (cell.folder / "generator.pt").unlink()
    running = points.progress(cell, points.Progress(), points.durable_kimg(cell)).points
    assert [point.value for point in running if point.key == "cost/cpu_h" and point.step == 1000] == [0.2 * 4 / 160]
    (cell.folder / "generator.pt").write_bytes(b"weights")
    write(cell, "cost.json", {"gpu_s": 7200.0, "cpu_s": 3600.0, "peak_gpu_mem_mb": 2048.0, "resumed": 3, "gpus": 2})
    send(folder, cells)
    metrics = runs_of(folder)["stylegan2_ada/s1"].data.metrics
    wanted = {"cost/gpu_h": 2, "cost/cpu_h": 1, "cost/peak_gpu_mem_gb": 2, "cost/resumed": 3, "cost/gpus": 2}
    assert {name: metrics[name] for name in wanted} == wanted
    assert "cost/wall_h" not in metrics


def test_differences_to_the_baseline_are_on_the_runs(study):
    folder, cells = study
    (folder / "baselines.json").write_text('{"dcgan": "stylegan2_ada"}')
    send(folder, cells)
    runs = runs_of(folder)
    name = "kd_indomain_n2000"
    last = {run: found.data.metrics[f"best/{name}"] for run, found in runs.items()}
    own = {seed: last[f"dcgan/s{seed}"] - last[f"stylegan2_ada/s{seed}"] for seed in (0, 1)}
    for seed in (0, 1):
        found = runs[f"dcgan/s{seed}"].data
        assert found.metrics[f"difference/{name}"] == pytest.approx(own[seed], abs=2e-6)
        assert found.metrics[f"paired/{name}"] == pytest.approx((own[0] + own[1]) / 2, abs=2e-6)
        assert (
            found.metrics[f"paired_low/{name}"] < found.metrics[f"paired/{name}"] < found.metrics[f"paired_high/{name}"]
        )
        tags = {"baseline": "stylegan2_ada", "against_baseline": "kd_indomain: no evidence (two seeds)"}
        assert tags.items() <= found.tags.items()
    baseline = runs["stylegan2_ada/s0"].data
    assert "baseline" not in baseline.tags and f"difference/{name}" not in baseline.metrics
    assert send(folder, cells).points == 0
    (folder / "baselines.json").write_text("{}")
    send(folder, cells)
    assert runs_of(folder)["dcgan/s0"].data.tags["baseline"] == ""


def test_only_distances_have_logarithmic_charts():
    charts = views._charts("best/fid_n10", ["fid/val_n5", "kd_indomain/val_n5", "recall_indomain/val_n5"], step=4000)
    scales = {chart["metricKey"]: chart["scaleType"] for chart in charts if chart["uuid"].startswith("curve")}
    assert scales == {"fid/val_n5": "log", "kd_indomain/val_n5": "log", "recall_indomain/val_n5": "linear"}


def test_publishing_twice_adds_nothing(one):
    folder, cells = one
    send(folder, cells)
    before = counts(folder)
    assert send(folder, cells).points == 0
    assert counts(folder) == before
    shutil.rmtree(folder / stores.STATE)
    assert send(folder, cells).ok
    assert counts(folder) == before, "without its marks all is sent again, and MLflow keeps one of each"


def test_a_deleted_store_comes_back_whole(one):
    folder, cells = one
    send(folder, cells)
    before = counts(folder)
    metrics = {name: run.data.metrics for name, run in runs_of(folder).items()}
    stores.database(folder).unlink()
    shutil.rmtree(folder / stores.ARTIFACTS)
    assert send(folder, cells).ok
    assert counts(folder) == before
    assert {name: run.data.metrics for name, run in runs_of(folder).items()} == metrics
    assert not list(folder.glob(".part-*"))


def test_a_new_recipe_is_a_new_run_and_the_old_one_is_superseded(one):
    folder, cells = one
    send(folder, cells)
    recipe = json.loads((cells[0].folder / "recipe.json").read_text())
    old = runs_of(folder)["stylegan2_ada/s0"].info.run_id
    recipe["variant"]["options"]["r1_gamma"] = 3.0
    write(cells[0], "recipe.json", recipe)
    send(folder, cells)
    current = runs_of(folder, "tags.superseded = 'false'")
    assert len(current) == 1
    assert current["stylegan2_ada/s0"].info.run_id != old
    assert current["stylegan2_ada/s0"].data.params["r1_gamma"] == "3.0"
    assert open_store(folder).get_run(old).data.tags["superseded"] == "true"
    recipe["variant"]["options"]["r1_gamma"] = None
    write(cells[0], "recipe.json", recipe)
    send(folder, cells)
    assert runs_of(folder, "tags.superseded = 'false'")["stylegan2_ada/s0"].info.run_id == old


@pytest.mark.parametrize(("event", "status"), [(None, "RUNNING"), ("collapse", "RUNNING"), ("diverged", "FAILED")])
def test_status_of_an_unfinished_run(one, event, status):
    folder, cells = one
    for name in ("scores.json", "curve.json", "generator.pt"):
        (cells[0].folder / name).unlink()
    if event:
        with open(cells[0].folder / "stats.jsonl", "a") as file:
            file.write(json.dumps({"kimg": 40.0, "time": 1.0, "event": event, "message": "said"}) + "\n")
    send(folder, cells)
    run = runs_of(folder)["stylegan2_ada/s0"]
    assert run.info.status == status
    assert run.data.tags.get("events") == event


def test_a_running_cell_is_published_up_to_its_checkpoint_and_then_on(one):
    folder, cells = one
    (cells[0].folder / "generator.pt").unlink()
    path = cells[0].folder / "stats.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:100]) + lines[100][:20])
    send(folder, cells)
    client, run = open_store(folder), runs_of(folder)["stylegan2_ada/s0"].info.run_id

    def steps():
        return sorted(point.step for point in client.get_metric_history(run, "loss/G"))

    assert steps() == STEPS[:79], "25 kimg are written, the last checkpoint was at 20, whose point is not complete"
    path.write_bytes(whole)
    (cells[0].folder / "generator.pt").write_bytes(b"weights")
    send(folder, cells)
    assert steps() == STEPS, "no point twice"


def test_command_publishes_a_study_that_still_runs(study, capsys):
    folder, cells = study
    for name in ("generator.pt", "scores.json", "curve.json", "cost.json"):
        (cells[0].folder / name).unlink()
    (cells[1].folder / "recipe.json").unlink()
    assert command.publish(["--study", str(folder)]) == 0
    assert "3 runs" in capsys.readouterr().out
    assert set(runs_of(folder)) == {cell.name.removeprefix("phantom/") for cell in cells if cell != cells[1]}
    assert command.publish(["--study", str(folder.parent)]) == 1
    assert "no cell has begun there" in capsys.readouterr().err


def test_statistics_that_are_not_finite_are_left_out(one):
    _, cells = one
    (cells[0].folder / "stats.jsonl").write_text(
        '{"kimg": 1, "time": 1, "loss/G": NaN, "loss/D": 2.0}\nnot json\n[1]\n'
    )
    found = points.progress(cells[0], points.Progress(), float("inf"))
    assert [(point.key, point.value, point.step) for point in found.points] == [("loss/D", 2.0, 1000)]


def test_long_runs_go_in_batches_of_a_thousand(one, monkeypatch):
    folder, cells = one
    lines = [json.dumps({"kimg": kimg, "time": kimg, "loss/G": 1.0, "loss/D": 0.5}) for kimg in range(1, 1301)]
    (cells[0].folder / "stats.jsonl").write_text("\n".join(lines) + "\n")
    assert send(folder, cells).ok
    history = open_store(folder).get_metric_history(runs_of(folder)["stylegan2_ada/s0"].info.run_id, "loss/D")
    assert len(history) == 1300


def test_a_locked_store_is_reported_in_one_line(one, monkeypatch):
    folder, cells = one
    monkeypatch.setattr(stores, "LOCK_WAIT_S", 0.2)
    held = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(stores.database(folder))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert held.stdout.readline() == b"held\n"
        result = send(folder, cells)
    finally:
        held.communicate(b"\n")
    assert not result.ok
    assert "mlflow.db is locked by another program" in result.message
    assert "\n" not in result.message
    assert send(folder, cells).ok


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
"""


def test_a_second_publisher_is_turned_away(one):
    folder, cells = one
    with stores.single_writer(folder):
        result = send(folder, cells)
    assert not result.ok
    assert "another process is publishing" in result.message


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://127.0.0.1:9", "http://127.0.0.1:9 does not answer"),
        ("http://nowhere.invalid:5000", "does not answer"),
        ("sqlite:///x.db", "tracking.uri sqlite:///x.db is not the address of a server"),
        ("http://me:secret@127.0.0.1:9", "http://127.0.0.1:9 does not answer"),
    ],
)
def test_a_server_out_of_reach_is_reported_and_nothing_raised(one, uri, said):
    folder, cells = one
    result = send(folder, cells, uri)
    assert not result.ok
    assert said in result.message
    assert "\n" not in result.message


def test_a_broken_store_is_reported_with_the_remedy(one):
    folder, cells = one
    stores.database(folder).write_bytes(b"this is no database" * 100)
    result = send(folder, cells)
    assert not result.ok
    assert "delete it and publish again" in result.message


def test_a_cell_that_has_not_started_makes_no_run(one, tmp_path):
    folder, cells = one
    result = send(folder, [*cells, CellFiles("phantom", "future", 0, folder / "phantom" / "future" / "seed0")])
    assert result.ok
    assert "future/s0" not in runs_of(folder)


@pytest.mark.parametrize(
    ("total", "images"), [(0.05, 1), (0.128, 1), (1.5, 10), (20, 100), (40, 100), (100, 1000), (25_000, 1000)]
)
def test_short_trainings_have_a_hundred_points_too(total, images):
    assert points.width(total) == images


def test_the_scores_of_a_single_contrast_are_sent_once(one):
    _, (cell,) = one
    result = cell.object("scores.json")
    result["scores"] = [row for row in result["scores"] if row["contrast"] != "t2f"]
    write(cell, "scores.json", result)
    assert not [point.key for point in points.final(cell) if point.key.endswith("_t1c")]
    result["scores"] = [row for row in result["scores"] if row["contrast"] != "all"]
    write(cell, "scores.json", result)
    assert "best/kd_indomain_n2000_t1c" in {point.key for point in points.final(cell)}, "unless it stands alone"


def test_real_images_are_a_run_next_to_the_variants(one):
    folder, (cell,) = one
    send(folder, [cell])
    client = open_store(folder)
    experiment = client.get_experiment_by_name("demo/phantom")
    (run,) = client.search_runs([experiment.experiment_id], f"run_name = '{shared.REAL}'")
    wanted = {"best/kd_indomain_n2000": 0.006, "low/kd_indomain_n2000": -0.004, "kd_indomain/val_n500": 0.006}
    assert wanted.items() <= run.data.metrics.items()
    assert run.data.tags["superseded"] == "false" and run.data.params == {"variant": shared.REAL}
    curve = client.get_metric_history(run.info.run_id, "kd_indomain/val_n500")
    assert sorted(point.step for point in curve) == [0, 10_000, 20_000, 30_000, 40_000]
    assert views.image_steps(client, run.info.run_id) == {0, 10_000, 20_000, 30_000, 40_000}


def test_the_page_and_a_text_lead_to_the_comparison(one):
    folder, cells = one
    (folder / "comparison.md").write_text("# demo\n\n## phantom\n\nOne is best.\n\nCan one be trusted? Yes.\n")
    (folder / "comparison.html").write_text("<p>first")
    send(folder, cells)
    client = open_store(folder)
    assert [one.name for one in client.search_experiments()] == ["demo/phantom"], "without MLflow's empty one"
    experiment = client.get_experiment_by_name("demo/phantom")
    (run,) = client.search_runs([experiment.experiment_id], f"run_name = '{shared.PAGE}'")
    text = experiment.tags[shared.NOTE]
    assert "One is best.\n\nCan one be trusted? Yes." in text and f"viewStateShareKey={views.LEADERBOARD}" in text
    assert f"(#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}/artifacts/comparison.html)" in text
    assert shared.NOTE in runs_of(folder)["stylegan2_ada/s0"].data.tags
    page = folder / "comparison.html"
    page.write_text("<p>second")
    os.utime(page, (1, 1))
    send(folder, cells)
    assert Path(client.download_artifacts(run.info.run_id, page.name, str(folder))).read_text() == "<p>second"
    assert set(runs_of(folder, "tags.superseded = 'false'")) == {"stylegan2_ada/s0"}, "no row of the views"


def test_views_that_cannot_be_saved_or_read_fail_nothing(one, monkeypatch):
    folder, cells = one
    send(folder, cells)
    client = open_store(folder)
    experiment = client.get_experiment_by_name("demo/phantom")
    client.set_experiment_tag(experiment.experiment_id, views.TAG + views.CURVES, '{"state": "zip;x"}')
    assert send(folder, cells).ok
    tag = client.get_experiment(experiment.experiment_id).tags[views.TAG + views.CURVES]
    assert views.unpack(json.loads(tag)["state"])["compareRunCharts"], "written again"
    monkeypatch.setattr(views, "pack", lambda state: "x" * 100_000)
    monkeypatch.setattr(views, "_saved", lambda tag: None)
    result = send(folder, cells)
    assert result.ok and "saved views left out" in result.message and "\n" not in result.message


def test_saved_views_decode_and_name_metrics_that_exist(study):
    folder, cells = study
    link = send(folder, cells).links[0]
    client = open_store(folder)
    experiment = client.get_experiment_by_name("demo/phantom")
    tags = {
        key.removeprefix(views.TAG): json.loads(value) for key, value in experiment.tags.items() if views.TAG in key
    }
    assert set(tags) == {views.LEADERBOARD, views.CURVES, views.MEANS}
    assert link.endswith(f"viewStateShareKey={views.CURVES}")
    assert f"/experiments/{experiment.experiment_id}/runs" in link
    known = {f"metrics.`{name}`" for run in runs_of(folder).values() for name in run.data.metrics}
    charted = set()
    for value in tags.values():
        state = views.unpack(value["state"])
        assert state["orderByKey"] in known
        assert state["orderByAsc"] is True
        missing = {name for name in state["selectedColumns"] if name.startswith("metrics")} - known
        assert not missing
        sections = {section["uuid"] for section in state.get("compareRunSections", [])}
        for chart in state.get("compareRunCharts", []):
            assert chart["metricSectionId"] in sections
            charted |= {f"metrics.`{chart['metricKey']}`"} if "metricKey" in chart else set()
    assert charted <= known
    assert {"metrics.`kd_indomain/val_n500`", "metrics.`best/kd_indomain_n2000`"} <= charted
    assert views.unpack(tags[views.MEANS]["state"])["groupBy"]["groupByKeys"][0]["groupByData"] == "variant"


def test_the_leaderboard_shows_published_scores_first(one):
    folder, (cell,) = one
    scores = cell.object("scores.json")
    read = [score(name, 0.5, extractor="inception-clean-f58cb9b6") for name in ("kid", "fid")]
    write(cell, "scores.json", scores | {"scores": read + scores["scores"]})
    arms = {name: {"dice": [[0.5]], "hd95": [[None]]} for name in ("real", "mixed_50")}
    write(cell, "utility.json", {"tasks": {"segment": {"regions": {"a": [1]}, "arms": arms}}})
    assert send(folder, [cell]).ok
    tags = open_store(folder).get_experiment_by_name("demo/phantom").tags
    state = views.unpack(json.loads(tags[views.TAG + views.LEADERBOARD])["state"])
    after = state["selectedColumns"].index("metrics.`above_floor/kd_indomain_n2000`") + 1
    of_use = [f"metrics.`utility/segment_dice_{arm}`" for arm in ("mixed_50", "real")]
    assert state["selectedColumns"][after : after + 3] == [*of_use, "metrics.`best/kimg`"]
    wanted = ["metrics.`best/kid_n2000`", "metrics.`best/fid_n2000`", "metrics.`best/kd_indomain_n2000`"]
    assert state["selectedColumns"][:3] == wanted
    assert state["orderByKey"] == wanted[2], "read, not ranked by"


@pytest.mark.parametrize(
    ("name", "wanted"), [("loss/G", "loss/G"), ("a<b>", "a_b_"), ("t1 c:x", "t1 c:x"), ("Größe", "Gr__e")]
)
def test_names_that_mlflow_allows(name, wanted):
    assert names.allowed(name) == wanted


def test_scores_of_unlike_sizes_have_unlike_names():
    row = {"metric": "fid", "contrast": "all", "split": "val", "n_fake": 500}
    assert names.curve(row) == "fid/val_n500"
    assert names.final({**row, "n_fake": 10000}) == "best/fid_n10000"
    assert names.final({**row, "contrast": "t1c"}, "low") == "low/fid_n500_t1c"


def test_importing_the_package_imports_neither_mlflow_nor_torch():
    code = "import sys, gan.tracking, gan.report; print([m for m in ('mlflow', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_store_appears_whole_when_several_begin_at_once(tmp_path):
    fork = multiprocessing.get_context("fork")  # mlflow is imported already
    begun = [fork.Process(target=stores.connect, args=(None, tmp_path)) for _ in range(2)]
    for process in begun:
        process.start()
    for process in begun:
        process.join()
    assert [process.exitcode for process in begun] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == [stores.DATABASE]
    with sqlite3.connect(tmp_path / stores.DATABASE) as connection:
        assert connection.execute("SELECT COUNT(*) FROM experiments").fetchone()[0] == 1


def test_a_moved_study_has_its_artifacts_where_it_lies(one, tmp_path):
    (before, cells), after = one, tmp_path / "moved here/demo"
    assert send(before, cells).ok
    before.rename(after.parent.mkdir() or after)
    client = stores.connect(None, after)
    (run,) = runs_of(after).values()
    assert run.info.artifact_uri.startswith((after / "mlartifacts/phantom").as_uri() + "/")
    assert Path(unquote(urlsplit(run.info.artifact_uri).path), "images").is_dir()
    found = client.get_experiment_by_name("demo/phantom").artifact_location
    assert found == (after / "mlartifacts/phantom").as_uri()


def test_ui_names_a_missing_store(tmp_path):
    with pytest.raises(GanError, match=r"mlflow\.db: no such file; publish the study first"):
        ui.serve(tmp_path, 5000)


def test_ui_takes_the_next_free_port():
    with socket.socket() as taken:
        taken.bind((ui.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        free, claim = ui.free_port(port)
        assert free > port
        other, second = ui.free_port(free)
        assert other > free, "claimed, though nothing listens there yet"
        claim.close()
        again, third = ui.free_port(free)
        assert again == free
        for one in (second, third):
            one.close()
        with pytest.raises(GanError, match=f"--port {port}: no free port"):
            ui.free_port(port, tries=1)


def test_ui_is_bound_to_this_machine_without_telemetry(tmp_path):
    command = ui.command(tmp_path / "mlflow.db", 5000)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert ui.environment(tmp_path / "mlflow.db")["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_data_sets_lead_to_each_other_and_to_what_they_have(one):
    """Of a study with several: the second one has one contrast, the third is trained and not scored."""
    folder, cells = one
    single, unscored = (
        CellFiles(name, "stylegan2_ada", 0, folder / name / "stylegan2_ada/seed0") for name in ("single", "unscored")
    )
    for cell in (single, unscored):
        shutil.copytree(cells[0].folder, cell.folder)
    (unscored.folder / "stats.jsonl").write_text("")
    for name, key in (("scores.json", "scores"), ("curve.json", "rows")):
        value = single.object(name)
        write(single, name, value | {key: [row for row in value[key] if row["contrast"] != "t2f"]})
        (unscored.folder / name).unlink()
    result = send(folder, [*cells, single, unscored])
    client = open_store(folder)
    found = {one.name: one for one in client.search_experiments()}
    assert set(found) == {"demo/phantom", "demo/single", "demo/unscored"}
    key = {name.removeprefix("demo/"): one.experiment_id for name, one in found.items()}
    texts = {name.removeprefix("demo/"): one.tags[shared.NOTE] for name, one in found.items()}
    others = f"Other data sets of the study: [phantom](#/experiments/{key['phantom']}), [unscored](#/experiments/"
    assert others in texts["single"]
    # No link to a view, and no word of a run, that is not there; no column twice.
    assert "Views: [curves](" in texts["single"] and shared.REAL in texts["single"]
    assert "Views:" not in texts["unscored"] and shared.REAL not in texts["unscored"]
    state = views.unpack(json.loads(found["demo/single"].tags[views.TAG + views.LEADERBOARD])["state"])
    (run,) = client.search_runs([key["single"]], "run_name = 'stylegan2_ada/s0'")
    assert len({*state["selectedColumns"]}) == len(state["selectedColumns"])
    assert not [name for name in run.data.metrics if name.endswith("_t1c")]
    assert [link.partition("viewStateShareKey=")[2] for link in result.links] == ["curves", "curves", ""]
    lines = ui.links(stores.database(folder), 5001)
    assert [line.split()[0] for line in lines] == [
        *("demo/phantom", *views.KEYS, "demo/single", *views.KEYS, "demo/unscored", "runs")
    ]
    assert all(" http://127.0.0.1:5001/#/experiments/" in line or line in found for line in lines)
    assert ui.environment(stores.database(folder))["GAN_UI_LANDING"] == "/#/experiments"


def test_the_bare_address_leads_to_the_curves_and_the_page_itself_to_no_other(one, monkeypatch):
    folder, cells = one
    send(folder, cells)
    landing = ui.environment(stores.database(folder))["GAN_UI_LANDING"]
    answers = []

    async def served(scope, receive, send):
        answers.append("served")

    async def answer(message):
        answers.append(message.get("body", b"").decode())

    monkeypatch.setitem(sys.modules, "mlflow.server.fastapi_app", SimpleNamespace(app=served))
    monkeypatch.setenv("GAN_UI_LANDING", landing)
    app = importlib.import_module("gan.tracking.app").app
    page = {"type": "http", "path": "/", "query_string": b""}
    asyncio.run(app(page, None, answer))
    assert f'location.replace("/?study" + (location.hash || "{landing[1:]}"))' in answers[1]
    assert landing.startswith("/#/experiments/") and f"viewStateShareKey={views.CURVES}" in landing
    answers.clear()
    for other in ({"query_string": b"study"}, {"path": "/health"}, {"type": "lifespan"}):
        asyncio.run(app(page | other, None, answer))
    assert answers == ["served"] * 3, "no circle"
    points_to = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["entry-points"]["mlflow.app"]
    assert points_to == {ui.APP: "gan.tracking.app:app"}


@pytest.mark.slow
def test_saved_view_opens_in_a_browser(one, tmp_path):
    """The curves and the grids are drawn from the link that is printed."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    folder, cells = one
    send(folder, cells)
    port, _ = ui.free_port(5600)
    server = subprocess.Popen(
        ui.command(stores.database(folder), port), env=ui.environment(stores.database(folder)), cwd=tmp_path
    )
    try:
        ui.wait(f"http://{ui.HOST}:{port}", server)
        link = ui.links(stores.database(folder), port)[1].split()[1]
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}"]
        flags += ["--window-size=1600,2400", "--virtual-time-budget=60000", "--dump-dom"]
        wanted = ("2 Curves and samples", "kd_indomain/val_n500", "stylegan2_ada/s0", "samples/ema")
        deadline, text = time.monotonic() + 180, ""
        while not all(word in text for word in wanted) and time.monotonic() < deadline:
            text = subprocess.run([chromium, *flags, link], capture_output=True, text=True, timeout=120).stdout
    finally:
        server.terminate()
        server.wait()
    assert [word for word in wanted if word not in text] == []


def test_a_run_has_the_leading_score_of_each_arm_of_its_utility(tmp_path):
    cell = CellFiles("set", "dcgan", 0, tmp_path)
    arms = {"real": {"dice": [[0.8, 0.6], [0.5, None]]}, "mixed_50": {"dice": [[0.2, 0.4], [None, None]]}}
    scores = {name: of | {"hd95": [[None, None]] * 2} for name, of in arms.items()}
    write(cell, "utility.json", {"tasks": {"segment": {"regions": {"a": [1], "b": [2]}, "arms": scores}}})
    found = {point.key: point.value for point in points.final(cell) if point.key.startswith("utility/")}
    assert found == pytest.approx({"utility/segment_dice_real": 0.6, "utility/segment_dice_mixed_50": 0.3})
    assert points.stamps(cell)["utility.json"] > 0
