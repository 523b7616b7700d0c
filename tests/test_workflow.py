"""The workflow runs a whole tiny study, and after an edit it runs again what the edit touches and nothing else."""

import base64
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from driver import copy_workflow, edit, planned, run_snakemake, snakemake

from gan.sampling.snapshot import load_header
from gan.terms import Terms

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


def test_finished_study_has_nothing_to_do_and_says_where_the_answer_is(study):
    lines = snakemake(study, "all").splitlines()
    assert lines[-7].startswith("Nothing to be done") and lines[-6].startswith("phantom: ")
    assert lines[-3:-1] == [
        "tables   results/tiny/comparison.csv, differences.csv, scores.csv",
        "samples  results/tiny/*/*/seed*/fake.png",
    ]
    assert (study / ".snakemake/gan/tiny.json").exists(), "the study that `gan status` shows"


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


def test_a_row_that_works_on_another_one_is_made_after_it(study):
    row = {"family": "style", "options": {"of": "dcgan", "n": 4}}
    edit(study, {"study": {"variants": ["stylegan2_ada", "restyled"]}, "variants": {"restyled": row}})
    jobs = planned(study, "all")
    assert cell_jobs(jobs) == {(rule, "restyled", "0") for rule in ("derive", "curve", "score")}
    assert {"extractor_file", "extractor"} <= {job[0] for job in jobs}, "VGG-19 and what the data set has of it"


def test_size_of_the_final_sample_rescores_and_never_retrains(study):
    edit(study, {"metrics": {"n_fake": 80}})
    assert {job[0] for job in planned(study, "all")} == {"score"} | TABLES


def test_filter_of_slices_reruns_from_the_slices(study):
    edit(study, {"datasets": {"phantom": {"slices": {"fraction": 0.2}}}})
    rules = {job[0] for job in planned(study, "all")}
    assert rules >= {"slices", "train", "score"} and not rules & {"fetch", "convert"}


def test_edits_that_decide_nothing_here_run_nothing(study):
    edit(study, {"resources": {"train": {"mem_mb": 3000, "runtime": 7, "checkpoint_kimg": 1}}})
    edit(study, {"datasets": {"ixi": {"slices": {"size": 64}}}})
    edit(study, {"variants": {"stylegan2": {"options": {"lr": 0.001}}}})
    assert planned(study, "all") == Counter()


def test_baseline_of_a_variant_makes_the_tables_again_alone(study):
    edit(study, {"variants": {"stylegan2_ada": {"baseline": "dcgan"}}})
    assert {job[0] for job in planned(study, "all")} == {"baselines"} | TABLES


def test_terms_train_and_score_nothing_again(study):
    snapshot = study / "results/tiny/phantom/dcgan/seed0/generator.pt"
    assert Terms.read(load_header(snapshot)["data"]["terms"]).licences == ["Apache-2.0"]
    edit(study, {"datasets": {"phantom": {"terms": {"licence": "other", "allows": {"share_weights": "no"}}}}})
    assert {job[0] for job in planned(study, "all")} == TABLES


def test_one_cell_again_by_its_target(study):
    target = "results/tiny/phantom/dcgan/seed0/scores.json"
    jobs = planned(study, target, "--forcerun", "train")
    assert jobs == Counter({(rule, "dcgan", "0"): 1 for rule in {"train"} | AFTER_TRAINING})


def test_utility_adds_its_jobs_where_there_is_a_task_and_nothing_else(study):
    edit(study, {"utility": {}})
    assert {job[0] for job in planned(study, "all")} == {"baselines"} | TABLES, "neither a mask nor classes"
    conditional = {"stylegan2_ada": {"options": {"conditional": True}}}
    edit(study, {"datasets": {"phantom": {"labels": "folder"}}, "variants": conditional})
    jobs = planned(study, "all")
    assert {job: jobs[job] for job in jobs if job[0] in ("reference", "utility")} == {
        ("reference", None, "0"): 1,
        ("utility", "stylegan2_ada", "0"): 1,
    }


@pytest.mark.parametrize(("name", "repeated"), [("dcgan", ["dcgan"]), ("phantom", ["dcgan", "stylegan2_ada"])])
def test_a_name_asks_for_its_cells_beside_a_folder_of_that_name(study, name, repeated):
    (study / name).mkdir()
    (study / "results/tiny/phantom/dcgan/seed0/scores.json").unlink()
    assert planned(study, name) == Counter([("score", "dcgan", "0"), (name, None, None)]), "what it lacks"
    jobs = planned(study, name, "--forcerun", "train")
    wanted = [(rule, variant, "0") for rule in {"train"} | AFTER_TRAINING for variant in repeated]
    assert jobs == Counter([*wanted, (name, None, None)]), "all of it"


def test_deleted_table_is_made_again_alone(study):
    (study / "results/tiny/comparison.html").unlink()
    assert {job[0] for job in planned(study, "all")} <= TABLES | {"compare"}


def test_publishing_again_runs_nothing_else(study):
    """As after the tracking store was deleted, which then comes back whole (test_tracking)."""
    assert planned(study, "all", "--forcerun", "publish") == Counter(
        {(rule, None, None): 1 for rule in ("publish", "all")}
    )


def test_dead_tracking_server_is_told_and_fails_nothing(study):
    uri = "http://127.0.0.1:9"
    edit(study, {"tracking": {"uri": uri}})
    page = (study / "results/tiny/comparison.html").read_bytes()
    output = snakemake(study, "all")
    assert f"{uri} does not answer" in output and "Traceback" not in output
    assert "afterwards: snakemake all --forcerun publish" in output
    assert not json.loads((study / "results/tiny/tracking.json").read_text())["ok"]
    assert (study / "results/tiny/comparison.html").read_bytes() == page


def test_a_file_that_cannot_be_had_stops_before_any_training(study, served):
    shutil.rmtree(study / "results/tiny/phantom/dcgan")
    address = f"{served[1]}/nowhere.pt"
    edit(study, {"metrics": {"extractors": ["inception", "indomain"], "inception": {"url": address}}})
    done = run_snakemake(study, "all", "--keep-going")
    assert done.returncode == 1
    told = f"error: {address}: the server answers 404"
    (line,) = {line for line in done.stderr.splitlines() if line.startswith(told) and line.endswith(".log)")}
    assert "GAN_INCEPTION" in line and "metrics.extractors" in line
    assert not (study / "results/tiny/phantom/dcgan").exists(), "no job of the cell has begun"


CONFIG_MISTAKES = {
    "a target that is not there": (
        lambda folder: edit(folder, {"study": {"variants": ["dcgan"]}}),
        "error: stylegan2_ada: a row of the config that study.variants does not name; add it there",
        "stylegan2_ada",
    ),
    "unknown key": (
        lambda folder: edit(folder, {"training": {"kimgs": 3}}),
        "error: config: unknown key training.kimgs; allowed here: kimg",
    ),
    "labels of an unlabelled set": (
        lambda folder: edit(
            folder,
            {"datasets": {"phantom": {"labels": None}}, "variants": {"dcgan": {"options": {"conditional": True}}}},
        ),
        "error: config: variants.dcgan.options.conditional is true, but datasets.phantom.labels is null; name its",
    ),
    "an unclosed brace": (
        lambda folder: (folder / "config.yaml").write_text("study: {name: x}\ntraining: {kimg: 3\nmetrics: {}\n"),
        "error: config.yaml: line 3, column 8: expected ',' or '}', but got ':'; correct it there or just above",
    ),
    "a variant called as a rule": (
        lambda folder: edit(
            folder, {"study": {"variants": ["dcgan", "all"]}, "variants": {"all": {"family": "dcgan"}}}
        ),
        "error: config: study.variants names 'all', as a rule of the workflow is called; what `snakemake all` runs",
    ),
    "a variant called as a data set": (
        lambda folder: edit(
            folder, {"study": {"variants": ["dcgan", "phantom"]}, "variants": {"phantom": {"family": "dcgan"}}}
        ),
        "error: config: 'phantom' is a data set and a variant of the study; what `snakemake phantom` runs would be",
    ),
    "a source that is not there": (
        lambda folder: edit(folder, {"study": {"datasets": ["nifti"]}}),
        "error: data set nifti: data/nifti: no such file or folder; correct the data set's source.path",
    ),
    "a key twice in an overlay": (
        lambda folder: (folder / "tiny.yaml").open("a").write("study: {name: other}\n"),
        "error: tiny.yaml: line 18: the key 'study' is given twice, also in line 2; keep one",
    ),
    "a tab in an overlay": (
        lambda folder: (folder / "tiny.yaml").open("a").write("\tx: 1\n"),
        "error: tiny.yaml: line 18, column 1: found character '\\t' that cannot start any token; correct it",
    ),
    "a tab": (
        lambda folder: (folder / "config.yaml").write_text("study:\n\tname: x\n"),
        "error: config.yaml: line 2, column 1: found character '\\t' that cannot start any token; correct it",
    ),
}


@pytest.mark.parametrize("name", CONFIG_MISTAKES)
def test_mistake_in_the_config_is_one_line(name, tmp_path):
    mistake, message, *targets = CONFIG_MISTAKES[name]
    mistake(copy_workflow(tmp_path))
    done = run_snakemake(tmp_path, *(targets or ["all"]), "--dry-run")
    assert done.returncode == 1
    assert (done.stdout + done.stderr).splitlines()[-1].startswith(message)


def scans(folder: Path, *contrasts: str) -> dict:
    """Four subjects below ``folder``, and the row of their data set."""
    for number in range(4):
        for contrast in contrasts:
            voxels = np.random.default_rng(number).integers(60, 250, (16, 16, 16)).astype(np.int16)
            (folder / f"s{number}").mkdir(parents=True, exist_ok=True)
            nib.Nifti1Image(voxels, np.eye(4)).to_filename(folder / f"s{number}/{contrast}.nii.gz")
    pattern = "{subject}/{contrast}.nii.gz"
    row = {"source": {"path": str(folder)}, "layout": "nifti", "pattern": pattern, "contrasts": list(contrasts)}
    return row | {"slices": {"size": 16}, "split": {"train": 0.5, "val": 0.25, "test": 0.25}}


def bad_rows(folder: Path) -> dict[str, tuple[dict, str]]:
    """Data sets with a fault each: name -> row, what is said."""
    rows = {name: scans(folder / name, "t1", "t2") for name in ("cut", "lacking", "dark")}
    cut = folder / "cut/s2/t1.nii.gz"
    cut.write_bytes(cut.read_bytes()[:500])
    (folder / "lacking/s1/t2.nii.gz").unlink()
    rows["dark"]["slices"]["fraction"] = 0.999
    archive = folder / "pinned.zip"
    archive.write_bytes(b"another version")
    pinned = rows["dark"] | {"source": {"path": str(archive), "sha256": "0" * 64}}
    return {
        "cut": (rows["cut"], "data/cut/raw/s2/t1.nii.gz: damaged or not NIfTI (the file ends too early); restore it"),
        "lacking": (
            rows["lacking"],
            "subject s1: no contrast t2; it has t1 (in results/tiny/data/lacking/raw/s1); add",
        ),
        "dark": (rows["dark"], "data set dark: no slice passes the filter (fraction 0.999 above threshold 50); the"),
        "pinned": (pinned, f"{archive}: its sha256 is "),
    }


def test_bad_data_is_told_at_the_end_while_the_rest_goes_on(study, tmp_path):
    bad = bad_rows(tmp_path / "sets")
    edit(study, {"datasets": {name: row for name, (row, _) in bad.items()} | {"good": scans(tmp_path / "good", "t1")}})
    edit(study, {"study": {"datasets": ["phantom", *bad, "good"]}})
    page = (study / "results/tiny/comparison.html").read_bytes()
    stores = [f"results/tiny/data/{name}/store" for name in (*bad, "good")]
    done = run_snakemake(study, *stores, "--keep-going")
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr
    told = done.stderr[done.stderr.index("Exiting because a job execution failed") :].splitlines()
    for name, (_, message) in bad.items():
        assert sum(line.startswith("error: ") and message in line for line in told) == 1, (name, told)
        assert not (study / f"results/tiny/data/{name}/store").exists()
    assert (study / "results/tiny/data/good/store/images.npy").exists()
    assert (study / "results/tiny/comparison.html").read_bytes() == page


def test_kernels_that_were_interrupted_do_not_hide_the_rest(tmp_path):
    folder = copy_workflow(tmp_path)
    receipt = folder / "results/tiny/kernels.json"
    receipt.parent.mkdir(parents=True)
    receipt.write_text("{")
    marks = folder / ".snakemake/incomplete"
    marks.mkdir(parents=True)
    (marks / base64.b64encode(b"results/tiny/kernels.json").decode()).touch()
    jobs = planned(folder, "all")
    assert jobs["kernels", None, None] == 1 and jobs["train", "dcgan", "0"] == 1


def test_cells_without_test_subjects_are_trained_and_not_scored(study):
    """A second data set of another split; all of it runs, and the status says so."""
    unscored = {"source": {"phantom": {"subjects": 3, "matrix": 16, "spacing": 12.0}}, "layout": "brats"}
    unscored |= {"contrasts": ["t1c"], "slices": {"size": 16, "fraction": 0.0}}
    unscored["split"] = {"train": 0.7, "val": 0.3, "test": 0}
    edit(study, {"study": {"variants": ["dcgan"], "datasets": ["phantom", "few"]}, "datasets": {"few": unscored}})
    edit(study, {"tracking": {"enabled": False}})
    snakemake(study, "all")
    cell = study / "results/tiny/few/dcgan/seed0"
    assert (cell / "generator.pt").exists() and not (cell / "scores.json").exists()
    assert not (study / "results/tiny/features/few").exists()
    assert "few,dcgan" in (study / "results/tiny/comparison.csv").read_text()
    assert "not scored: no test subjects" in (study / "results/tiny/comparison.md").read_text()
    status = [sys.executable, "-m", "gan", "status", "--configfile", "tiny.yaml"]
    said = subprocess.run(status, cwd=study, capture_output=True, text=True).stdout
    assert "done: not scored, no test subjects" in said and "2 done" in said
    assert planned(study, "all") == Counter()


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
    jobs = planned(folder, "all", fresh=True)
    assert sum(count for job, count in jobs.items() if job[0] == "train") == 4 * 15 * 3


CUDA, NO_CUDA = "cuda: Optional[str] = '13.0'", "cuda: Optional[str] = None"


@pytest.mark.parametrize(
    ("kind", "asked", "torch", "how"),
    [
        ("train", {"ops": "cuda", "device": "auto"}, NO_CUDA, "gan build-ops --receipt"),
        ("train", {"device": "auto", "gpu": 1}, CUDA, "gan build-ops --optional"),
        ("evaluate", {"device": "cuda"}, CUDA, "gan build-ops --optional"),
        ("train", {"device": "auto", "gpu": 1}, NO_CUDA, "echo"),
        ("train", {"device": "auto", "gpu": 0}, CUDA, "echo"),
        ("train", {"ops": "reference", "device": "cuda", "gpu": 1}, CUDA, "echo"),
    ],
)
def test_kernels_are_built_for_those_who_may_use_them(tmp_path, kind, asked, torch, how):
    """As seen without importing torch."""
    folder = copy_workflow(tmp_path)
    (folder / "torch").mkdir()
    (folder / "torch/__init__.py").write_text("raise ImportError('the driver must not import torch')")
    (folder / "torch/version.py").write_text(f"__version__ = '2.11.0+any'\n{torch}\n")
    edit(folder, {"resources": {kind: asked}})
    output = snakemake(folder, "--dry-run", "--printshellcmds", "results/tiny/kernels.json")
    assert how in output and ("build-ops" in output) == ("build-ops" in how)


def test_another_device_asks_for_kernels_and_trains_nothing_again(study):
    """Kernels that cannot be built are an error for those alone who insist on them; the receipt says why."""
    receipt = study / "results/tiny/kernels.json"
    assert json.loads(receipt.read_text()) == {"library": None, "refused": "no job asks for a GPU"}
    with open(study / "workflow/rules/ops.smk", "a", encoding="utf-8") as rules:
        rules.write('\nos.environ |= {"CXX": "no-such-compiler", "GAN_OPS_CACHE": os.path.abspath("results/ops")}\n')
    edit(study, {"resources": {"train": {"device": "auto", "gpu": 1}}})
    assert planned(study, "all") == Counter({("kernels", None, None): 1, ("all", None, None): 1})
    snakemake(study, receipt.relative_to(study))
    found = json.loads(receipt.read_text())
    assert found["library"] is None and "no-such-compiler (CXX): install g++" in found["refused"]
    assert planned(study, "all") == Counter()
    edit(study, {"resources": {"train": {"ops": "cuda"}}})
    done = run_snakemake(study, receipt.relative_to(study))
    assert done.returncode == 1 and "error: no C++ compiler no-such-compiler" in done.stderr
