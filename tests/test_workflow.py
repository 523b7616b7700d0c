"""The workflow runs a whole tiny study, and after an edit it runs again what the edit touches and nothing else."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.xdist_group("workflow")  # one process, one finished study


def snakemake(folder: Path, *arguments: str, check: bool = True) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, "--configfile", "tiny.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    output = done.stdout + done.stderr
    assert not check or done.returncode == 0, output
    return output


def planned(folder: Path, *arguments: str) -> Counter:
    """Jobs of a dry run as (rule, its wildcards)."""
    output = snakemake(folder, "--dry-run", *arguments)
    jobs = Counter()
    for block in re.split(r"\n(?=(?:local)?rule \w+:)", output):
        if found := re.match(r"(?:local)?rule (\w+):", block):
            wildcards = re.search(r"^    wildcards: (.*)$", block, re.MULTILINE)
            values = dict(part.split("=") for part in wildcards[1].split(", ")) if wildcards else {}
            jobs[found[1], values.get("variant"), values.get("seed")] += 1
    return jobs


def edit(folder: Path, changes: dict) -> None:
    """Merge ``changes`` into tiny.yaml."""

    def merge(base: dict, over: dict) -> dict:
        return base | {k: merge(base.get(k, {}), v) if isinstance(v, dict) else v for k, v in over.items()}

    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(merge(yaml.safe_load(path.read_text()), changes)))


def copy_workflow(folder: Path) -> Path:
    shutil.copytree(REPOSITORY / "workflow", folder / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml", "tests/tiny.yaml"):
        shutil.copy(REPOSITORY / name, folder)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder in which the tiny study has run to the end."""
    folder = copy_workflow(tmp_path_factory.mktemp("study"))
    snakemake(folder, "all")
    return folder


@pytest.fixture
def study(finished, tmp_path) -> Path:
    """A copy of the finished study that a test may edit; times of files are kept."""
    return Path(shutil.copytree(finished, tmp_path / "study", symlinks=True))


AFTER_TRAINING = {"curve", "score"}
TABLES = {"compare", "publish", "all"}


def cell_jobs(jobs: Counter) -> set:
    return {job for job in jobs if job[1]}


def test_whole_study_gives_tables_pictures_and_runs(finished):
    root = finished / "results/tiny"
    for name in ("comparison.csv", "comparison.md", "comparison.html", "mlflow.db"):
        assert (root / name).stat().st_size > 0, name
    cell = root / "phantom/dcgan/seed0"
    scores = json.loads((cell / "scores.json").read_text())
    assert {row["metric"] for row in scores["scores"]} >= {"fd_indomain", "kd_indomain", "precision_indomain"}
    assert not any(row["metric"] in ("fid", "kid") for row in scores["scores"])
    assert (cell / "real.png").exists() and (cell / "fake.png").exists()
    assert not list((finished / "results/checkpoints").glob("*/checkpoint*")), "checkpoints go when a run has succeeded"
    page = (root / "comparison.html").read_text()
    assert "stylegan2_ada" in page and "dcgan" in page
    tracked = json.loads((root / "tracking.json").read_text())
    assert tracked["ok"] and tracked["runs"] == 2 and tracked["points"] > 0


def test_finished_study_has_nothing_to_do(study):
    assert planned(study, "all") == Counter()


def test_options_of_one_variant_rerun_that_variant_and_the_tables(study):
    edit(study, {"variants": {"dcgan": {"options": {"lr": 0.001}}}})
    jobs = planned(study, "all")
    assert {job[1] for job in cell_jobs(jobs)} == {"dcgan"}
    assert {job[0] for job in jobs} == {"train"} | AFTER_TRAINING | TABLES


def test_new_seed_runs_the_new_cells(study):
    edit(study, {"study": {"seeds": [0, 1]}})
    jobs = planned(study, "all")
    assert {job[2] for job in cell_jobs(jobs)} == {"1"}
    assert {job[0] for job in jobs} == {"train"} | AFTER_TRAINING | TABLES


def test_new_variant_runs_its_cells(study):
    edit(study, {"study": {"variants": ["stylegan2_ada", "dcgan", "stylegan2"]}})
    assert {job[1] for job in cell_jobs(planned(study, "all"))} == {"stylegan2"}


def test_size_of_the_final_sample_rescores_and_never_retrains(study):
    edit(study, {"metrics": {"n_fake": 80}})
    assert {job[0] for job in planned(study, "all")} == {"score"} | TABLES


def test_filter_of_slices_reruns_from_the_slices(study):
    edit(study, {"datasets": {"phantom": {"slices": {"fraction": 0.2}}}})
    rules = {job[0] for job in planned(study, "all")}
    assert rules >= {"slices", "train", "score"} and not rules & {"fetch", "convert"}


@pytest.mark.parametrize(
    "change",
    [
        {"resources": {"train": {"mem_mb": 3000, "runtime": 7, "checkpoint_kimg": 1}}},
        {"datasets": {"ixi": {"slices": {"size": 64}}}},
        {"variants": {"stylegan2": {"options": {"lr": 0.001}}}},
    ],
)
def test_edits_that_decide_nothing_here_run_nothing(study, change):
    edit(study, change)
    assert planned(study, "all") == Counter()


def test_one_cell_again_by_its_target(study):
    target = "results/tiny/phantom/dcgan/seed0/scores.json"
    jobs = planned(study, target, "--forcerun", "train")
    assert jobs == Counter({(rule, "dcgan", "0"): 1 for rule in {"train"} | AFTER_TRAINING})


def test_deleted_table_is_made_again_alone(study):
    (study / "results/tiny/comparison.html").unlink()
    assert {job[0] for job in planned(study, "all")} <= TABLES | {"compare"}


def test_deleted_tracking_store_is_published_again(study):
    store = study / "results/tiny/mlflow.db"
    store.unlink()
    snakemake(study, "all", "--forcerun", "publish")
    assert store.stat().st_size > 0


def test_mistake_in_the_config_is_one_line(tmp_path):
    folder = copy_workflow(tmp_path)
    edit(folder, {"training": {"kimgs": 3}})
    output = snakemake(folder, "all", check=False)
    assert "unknown key training.kimgs; allowed here: kimg" in output
    assert "Traceback" not in output


def test_missing_source_names_the_path_and_keeps_earlier_results(study):
    edit(
        study,
        {"study": {"datasets": ["phantom", "nifti"]}, "datasets": {"nifti": {"source": {"path": "no/such/folder"}}}},
    )
    output = snakemake(study, "results/tiny/data/nifti/store", check=False)
    assert "no/such/folder" in output and "Traceback" not in output
    assert (study / "results/tiny/comparison.html").exists()


def test_large_study_is_planned_without_torch(tmp_path):
    folder = copy_workflow(tmp_path)
    base = yaml.safe_load((folder / "config.yaml").read_text())["datasets"]["phantom"]
    edit(
        folder,
        {
            "study": {
                "datasets": [f"d{i}" for i in range(4)],
                "variants": [f"v{i}" for i in range(15)],
                "seeds": [0, 1, 2],
            },
            "datasets": {f"d{i}": base for i in range(4)},
            "variants": {f"v{i}": {"family": "dcgan"} for i in range(15)},
        },
    )
    blocked = folder / "torch.py"
    blocked.write_text("raise ImportError('the driver must not import torch')")
    jobs = planned(folder, "all")
    assert sum(count for job, count in jobs.items() if job[0] == "train") == 4 * 15 * 3
