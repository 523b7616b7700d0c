"""The states of cells, told from files alone: what a study on a cluster leaves while it runs, breaks and ends."""

import contextlib
import copy
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import REPOSITORY
from tiny import TinyData

from gan.files import write_json
from gan.status.command import main, read_study
from gan.status.jobs import read_jobs
from gan.status.last import last, note
from gan.status.left import Benchmarks, Left, time_left
from gan.status.show import render
from gan.status.states import Row, survey
from gan.status.steps import Shared, Step, Steps
from gan.study import Cell, Study, run_key
from gan.train.loop import train
from gan.train.outputs import Paths

RESULTS = Path("results")
DCGAN, ADA = Cell("phantom", "dcgan", 0), Cell("phantom", "stylegan2_ada", 0)
HOLD = """
import sys
from pathlib import Path
from gan.train.lock import locked
from gan.train.signals import StopSignals
with StopSignals() as stop, locked(Path(sys.argv[1]), stop):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def read() -> Study:
    with contextlib.chdir(REPOSITORY):
        return read_study([Path("tests/tiny.yaml")])


@pytest.fixture
def study(read, tmp_path, monkeypatch) -> Study:
    """The study of tests/tiny.yaml, seen from an empty working folder with its config and the data all made."""
    for name in ("config.yaml", "tests/tiny.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("data/phantom/raw", "data/phantom/volumes/volumes.csv", "data/phantom/store/store.json"):
        touch(RESULTS / "tiny" / name)
    for name in ("indomain/extractor.pt", "indomain/real.npz", "images.npz", "judge.json"):
        touch(RESULTS / "tiny/features/phantom" / name)
    touch(RESULTS / "tiny/kernels.json")
    return copy.deepcopy(read)


def touch(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def state_of(study: Study, cell: Cell = DCGAN) -> Path:
    return RESULTS / "checkpoints" / run_key(study.recipe(cell))


def begin(study: Study, cell: Cell = DCGAN, kimg: float = 0.096, age: float = 3600.0, **owner) -> Path:
    """A run that has trained so far and left its lock behind ``age`` seconds ago."""
    state, then = state_of(study, cell), time.time() - age
    lock = touch(state / "lock", json.dumps({"pid": 1, "host": "n1", "job": None, "since": "x"} | owner))
    rows = [
        {"kimg": kimg * part, "time": then, "speed/s_per_kimg": 60.0, "resumed": 2, "saved_kimg": 0}
        | {"cost/wall_h": part, "cost/gpu_h": 2 * part, "cost/cpu_h": 3 * part}
        for part in (0.5, 1.0)
    ]
    event = {"kimg": kimg, "time": then, "event": "collapse", "message": "few images"}
    touch(state / "stats.jsonl", "".join(json.dumps(row) + "\n" for row in [*rows, event]) + '{"kimg": 0.1')
    os.utime(lock, (then, then))
    return state


def finish(study: Study, cell: Cell = DCGAN, *, scored: bool = True) -> Path:
    """What a cell has in the end."""
    recipe = study.recipe(cell)
    folder = RESULTS / "tiny" / cell.folder
    write_json(folder / "recipe.json", recipe)
    write_json(folder / "cost.json", {"wall_s": 3600, "cpu_s": 7200.0, "gpu_s": 5400.0, "resumed": 1})
    touch(folder / "generator.pt")
    row = {"metric": "kd_indomain", "contrast": "t1c", "split": "test", "value": 9.0}
    rows = [row, row | {"contrast": "all", "value": 0.0123}]
    if scored:
        found = {"run_key": run_key(recipe), "snapshot": {"kimg": 0.128, "metric": "kd_indomain"}, "scores": rows}
        write_json(folder / "scores.json", found)
    return folder


@contextlib.contextmanager
def trainer(state: Path, job: str = "17"):
    """Another process that holds the lock of a run, as training does in a Slurm job."""
    command = [sys.executable, "-c", HOLD, str(state)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"SLURM_JOB_ID": job}
    ) as process:
        assert process.stdout and process.stdin
        assert process.stdout.readline() == "held\n"
        yield
        process.stdin.close()


class Snakemake:
    """Writes what Snakemake 9 with its Slurm plugin writes; each ``Snakemake`` is a call of it, one after the other."""

    def __init__(self, number: int = 1):
        self.path = touch(Path(f".snakemake/log/2026-11-2{number}T101505.822429.snakemake.log"))
        self.say("SNAKEMAKE\n=========\n  Date: 2026-11-21 10:07:37\n\nBuilding DAG of jobs...\n")

    def say(self, text: str) -> None:
        with open(self.path, "a") as file:
            file.write(text + "\n")

    def begin(self, job: int, rule: str = "train", cell: Cell = DCGAN, age: float = 60.0, local: bool = False) -> None:
        log = f"results/tiny/logs/{cell.dataset}/{cell.variant}_seed{cell.seed}_{rule}.log"
        self.say(
            f"\n[{time.asctime(time.localtime(time.time() - age))}]\n{'local' if local else ''}rule {rule}:\n"
            f"    input: results/tiny/data/phantom/store, results/tiny/features/phantom/judge.json\n"
            f"    output: results/tiny/{cell.folder}/generator.pt\n    log: {log}\n    jobid: {job}\n"
            f"    reason: Missing output files\n    wildcards: dataset=phantom\n    resources: mem_mb=2000"
        )

    def submit(self, job: int, slurm: int, rule: str = "train", cell: Cell = DCGAN, age: float = 60.0) -> Path:
        """Begin a job in Slurm; returns the log that exists once it starts."""
        self.begin(job, rule, cell, age)
        path = Path(
            f".snakemake/slurm_logs/rule_{rule}/{cell.dataset}_{cell.variant}_{cell.seed}/{slurm}.log"
        ).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.say(f"Job {job} has been submitted with SLURM jobid {slurm} (log: {path}).")
        return path

    def fail(self, job: int, rule: str = "train", shown: str = "") -> None:
        self.say(
            f"[{time.asctime()}]\nError in rule {rule}:\n    message: None\n    jobid: {job}\n"
            f"    log: results/x.log, /x/.snakemake/slurm_logs/1.log (check log file(s) for error details)"
        )
        if shown:
            fence = "=" * 60
            self.say(f"Logfile results/x.log:\n{fence}\n{shown}\n{fence}")


def started(age: float = 1.0) -> str:
    """The beginning of a Slurm job's log: a Snakemake in a Snakemake."""
    stamp = time.asctime(time.localtime(time.time() - age))
    return f"Building DAG of jobs...\n[{stamp}]\nlocalrule train:\n    jobid: 0\n"


def look(study: Study, cell: Cell = DCGAN):
    return next(row for row in survey(study, RESULTS).rows if row.cell == cell)


def words(study: Study, cell: Cell = DCGAN) -> tuple[str, str]:
    row = look(study, cell)
    return row.state, row.note


# states


def test_before_anything_has_run_cells_wait_for_the_data(study):
    shutil.rmtree(RESULTS)
    seen = survey(study, RESULTS)
    assert [(row.state, row.note) for row in seen.rows] == [("waiting", "fetch")] * 2
    assert {job.state for job in seen.shared} == {"waiting"}


STEPS = {
    "fetch": "data/phantom/raw",
    "convert": "data/phantom/volumes/volumes.csv",
    "slices": "data/phantom/store/store.json",
    "extractor indomain": "features/phantom/indomain/extractor.pt",
    "features indomain": "features/phantom/indomain/real.npz",
    "image facts": "features/phantom/images.npz",
    "judge": "features/phantom/judge.json",
    "kernels": "kernels.json",
}


@pytest.mark.parametrize("step", STEPS)
def test_a_waiting_cell_says_what_it_waits_for(study, step):
    for name in list(STEPS)[list(STEPS).index(step) :]:
        (RESULTS / "tiny" / STEPS[name]).unlink()
    assert words(study) == ("waiting", step)


def test_a_file_that_cannot_be_had_is_shown(study):
    study.metrics["extractors"] = ["inception", "indomain"]
    assert words(study) == ("waiting", "file of inception")
    touch(RESULTS / "tiny/logs/inception-f58cb9b6ec32.log", "error: https://x/y.pt: the server answers 404\n")
    assert words(study) == ("waiting", "file of inception failed")


def test_what_the_data_was_made_of_may_go(study):
    for name in ("fetch", "convert", "features indomain"):
        (RESULTS / "tiny" / STEPS[name]).unlink()
    assert words(study) == ("waiting", "its turn")


def test_what_all_cells_wait_for_has_failed(study, capsys):
    (RESULTS / "tiny/data/phantom/store/store.json").unlink()
    log = touch(RESULTS / "tiny/logs/phantom/slices.log", "reading\nerror: x.nii: all-zero; remove it\n")
    assert words(study) == ("waiting", "slices failed")
    assert main(["--configfile", "tiny.yaml"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("phantom: slices: error: x.nii: all-zero; remove it") == 1, "said once for all cells"
    assert str(log) in shown


def test_submitted_and_not_started_is_queued(study):
    Snakemake().submit(3, 17, age=7300)
    row = look(study)
    assert (row.state, row.note, row.job) == ("queued", "2h 1m", "17")
    assert words(study, ADA) == ("waiting", "its turn")


def test_a_job_that_loads_is_starting_and_one_that_went_silent_is_not(study):
    log = Snakemake().submit(3, 17)
    touch(log, started())
    assert words(study) == ("running", "starting")
    os.utime(log, (time.time() - 600,) * 2)
    row = look(study)
    assert (row.state, row.log) == ("failed", log)
    assert "before it trained (killed?)" in row.said


def test_a_run_whose_lock_is_held_is_running(study):
    state = begin(study, kimg=0.096)
    for name, value in (("kimg00000", 9), ("kimg0.064", 3)):
        rows = [{"metric": "kid", "contrast": "all", "value": 7, "extractor": "inception-clean-f58cb9b6"}]
        rows += [{"metric": "kd_indomain", "contrast": "all", "value": value, "extractor": "indomain-1"}]
        write_json(state / f"snapshots/{name}.json", {"rows": rows})
    touch(state / "snapshots/kimg0.096.json", '{"rows": [{"metric"')
    with trainer(state, job="17"):
        row = look(study)
        assert (row.state, row.note, row.job, row.resumed) == ("running", "", "17", 2)
        assert (row.kimg, row.total, row.rate) == (0.096, 0.128, 60.0)
        assert row.eta == pytest.approx(0.032 * 60)
        assert (row.gpu_h, row.cpu_h) == (2.0, 3.0)
        assert row.score == ("kd_indomain", 3.0, "")
        then = time.time() - 1500
        os.utime(state / "lock", (then, then))
        assert words(study) == ("running", "silent 25m")
    assert look(study).state == "stopped"
    assert json.loads((state / "lock").read_text())["job"] == "17", "looking has not touched it"


@pytest.mark.parametrize("ended", [False, True], ids=["nobody has seen it", "Snakemake has"])
def test_a_run_killed_without_a_word_is_stopped(study, ended):
    snakemake = Snakemake()
    log = touch(snakemake.submit(3, 17), started(age=40))
    begin(study, kimg=0.096, age=20, job="17")
    touch(RESULTS / "tiny/logs/phantom/dcgan_seed0_train.log", "resuming at 0.064 kimg from results/checkpoints/x\n")
    if ended:
        snakemake.fail(3)
    row = look(study)
    assert (row.state, row.said, row.log) == ("stopped", "stopped at 0.096 kimg (killed?)", log)
    assert row.eta is None


@pytest.mark.parametrize(
    ("slurm", "state", "said"),
    [
        ("n1: error: *** JOB 17 ON n1 CANCELLED AT 2026-11-21T10:16:34 DUE TO TIME LIMIT ***", "stopped", "time limit"),
        ("n1: error: *** JOB 17 ON n1 CANCELLED AT 2026-11-21T10:15:29 ***", "stopped", "cancelled"),
        ("n1: error: Exceeded job memory limit\n*** STEP 17.0 CANCELLED AT x ***", "failed", "out of memory"),
        ("error: Detected 1 oom-kill event(s) in StepId=17.batch", "failed", "out of memory"),
        (
            "Slurm job 17 was requeued and will resume from this point\n*** CANCELLED AT x DUE TO JOB REQUEUE ***",
            "queued",
            "",
        ),
    ],
)
def test_what_slurm_says_of_an_end(study, slurm, state, said):
    log = touch(Snakemake().submit(3, 17), started(age=40) + slurm + "\n")
    begin(study, age=20)
    row = look(study)
    assert (row.state, row.job) == (state, "17")
    assert said in row.said
    assert row.note == ("again" if state == "queued" else "")
    with open(log, "a") as file:  # queued again, and started again
        file.write(started())
    assert words(study) == ("running", "starting")


def test_a_run_that_saved_and_left_is_stopped(study):
    begin(study)
    touch(
        RESULTS / "tiny/logs/phantom/dcgan_seed0_train.log", "stopped at 0.096 kimg, state saved; run again to resume\n"
    )
    row = look(study)
    assert (row.state, row.said) == ("stopped", "stopped at 0.096 kimg (state saved)")


@pytest.mark.parametrize(
    "end",
    ["error: training diverged by 3 kimg", "Traceback (most recent call last):\n  File \"x\"\n    a\nKeyError: 'a'"],
)
def test_a_failed_run_says_its_last_line_until_it_is_tried_again(study, end, capsys):
    snakemake = Snakemake()
    snakemake.submit(3, 17)
    begin(study, kimg=0.096)
    log = touch(RESULTS / "tiny/logs/phantom/dcgan_seed0_train.log", f"warning\n{end}\n")
    snakemake.fail(
        3, shown="localrule train:\n    log: results/tiny/logs/y.log\n    jobid: 3\nFinished jobid: 3 (Rule: y)"
    )
    row = look(study)
    assert (row.state, row.said, row.log) == ("failed", end.splitlines()[-1], log)
    main(["--configfile", "tiny.yaml"])
    shown = capsys.readouterr().out
    assert f"phantom/dcgan/s0: {end.splitlines()[-1]}\n  {log}\n" in shown
    snakemake.submit(3, 18, age=0)
    assert (look(study).state, look(study).job) == ("queued", "18")


def test_a_run_that_was_interrupted_with_its_snakemake_is_not_queued(study):
    snakemake = Snakemake()
    snakemake.submit(3, 17)
    snakemake.say("Terminating processes on user request, this might take some time.\nComplete log(s): /x.log")
    assert words(study) == ("waiting", "its turn")
    begin(study)
    assert look(study).state == "stopped"
    Snakemake(2).submit(5, 18)
    assert look(study).job == "18"


def test_training_without_slurm(study):
    snakemake = Snakemake()
    snakemake.begin(3, age=5)
    assert words(study) == ("running", "starting")
    begin(study, age=2)
    assert look(study).state == "stopped", "it has held its lock since"
    snakemake.fail(3)
    snakemake.begin(3, age=0)
    assert words(study) == ("running", "starting")


def test_from_the_first_step_to_the_scores(study):
    """By the code that really trains: what it leaves is what is looked for."""
    recipe, folder, seen = study.recipe(DCGAN), RESULTS / "tiny" / DCGAN.folder, []
    paths = Paths(folder, state_of(study))
    train(recipe, TinyData(size=16), paths, emit=lambda row: seen.append(look(study)))
    assert {row.state for row in seen} == {"running"}
    assert sorted({row.kimg for row in seen}) == [0.032, 0.064, 0.096, 0.128]
    row = look(study)
    assert (row.state, row.kimg, row.resumed) == ("trained", 0.128, 0)
    assert row.cpu_h > 0 and row.gpu_h == 0
    finish(study)
    shutil.rmtree(state_of(study))
    row = look(study)
    assert (row.state, row.score, row.gpu_h) == ("done", ("kd_indomain", 0.0123, "test"), 1.5)


def test_scoring_is_part_of_a_cell(study):
    finish(study, scored=False)
    assert words(study) == ("trained", "")
    snakemake = Snakemake()
    log = snakemake.submit(7, 21, "curve", age=0)
    assert words(study) == ("trained", "curve queued")
    touch(log, started())
    assert words(study) == ("trained", "curve runs")
    snakemake.fail(7, "curve")
    row = look(study)
    assert (row.state, row.said, row.log) == ("failed", "curve: ended without a word (killed?)", log)
    snakemake.submit(7, 22, "curve", age=0)
    snakemake.say("Finished jobid: 7 (Rule: curve)")
    snakemake.begin(8, "score", age=0)
    said = touch(RESULTS / "tiny/logs/phantom/dcgan_seed0_score.log", "error: no space left\n")
    snakemake.fail(8, "score")
    assert (look(study).said, look(study).log) == ("error: no space left", said)
    finish(study)
    assert look(study).state == "done"


def test_utility_is_part_of_a_cell(study):
    study.utility = {"arms": [], "also": []}
    study.config["datasets"]["phantom"]["mask"] = "seg"
    folder, snakemake = finish(study), Snakemake()
    reference = RESULTS / "tiny/utility/phantom/segment/seed0/reference.json"
    assert words(study) == ("scored", "reference of segment, seed 0")
    assert look(study).ahead == ("utility",) and look(study, ADA).ahead == ("train", "curve", "score", "utility")
    snakemake.say(
        f"\n[{time.asctime()}]\nrule reference:\n    log: results/tiny/logs/phantom/segment_seed0_reference.log\n"
        "    jobid: 5"
    )
    seen = survey(study, RESULTS)
    (runs,) = [job for job in seen.shared if job.state == "running"]
    assert (runs.name, runs.step.made) == ("phantom: reference of segment, seed 0", reference)
    shown = render(seen.rows, 150, shared=seen.shared, cpu_h=0.25).splitlines()[-1]
    told = re.sub(r"\(\ds\)", "(0s)", shown)
    assert told == (
        "8 of 12 shared jobs done; running: phantom: reference of segment, seed 0 (0s); 0.25 CPU-hours of other jobs"
    )
    snakemake.fail(5, "reference")
    assert words(study) == ("scored", "reference of segment, seed 0 failed")
    text = render((seen := survey(study, RESULTS)).rows, 100, shared=seen.shared)
    assert text.count("phantom: reference of segment, seed 0: ended without a word (killed?)\n  results/") == 1
    touch(reference)
    snakemake.begin(6, "utility", age=0)
    assert words(study) == ("scored", "utility runs")
    for key, state in (("other", "scored"), (run_key(study.recipe(DCGAN)), "done")):
        write_json(folder / "utility.json", {"run_key": key, "tasks": {"segment": {}}})
        assert look(study).state == state


def test_a_cell_that_is_made(study):
    """Not trained: its job has another log, no statistics, and no checkpoint."""
    study.variants.append("lookup")
    study.config["variants"]["lookup"] = {"family": "copy", "options": {}, "training": {}, "init_from": None}
    made, snakemake = Cell("phantom", "lookup", 0), Snakemake()
    (RESULTS / "tiny/features/phantom/judge.json").unlink()
    assert words(study, made) == ("waiting", "its turn"), "it is made without a judge"
    snakemake.begin(3, "make", made, age=600)
    assert words(study, made) == ("running", "10m")
    snakemake.fail(3, "make")
    assert (look(study, made).state, look(study, made).said) == ("failed", "ended before it was made (killed?)")
    snakemake.begin(4, "make", made, age=0)
    log = touch(RESULTS / "tiny/logs/phantom/lookup_seed0_make.log", "error: no images\n")
    assert (look(study, made).state, look(study, made).log) == ("failed", log)
    finish(study, made, scored=False)
    state_of(study, made).mkdir(parents=True)
    assert words(study, made) == ("trained", "judge"), "the folder of what it has kept is no training"
    finish(study, made)
    row = look(study, made)
    assert (row.state, row.ahead) == ("done", ())
    shown = render([row], 100, bar=True).splitlines()[1]
    assert "█" in shown and "░" not in shown and "0/0" not in shown


def test_what_others_start_from_is_a_row_too(study):
    start = {"dataset": "phantom", "variant": "stylegan2", "seed": None, "path": None, "sha256": None}
    study.config["variants"]["dcgan"]["init_from"] = start
    (source,) = study.sources()
    assert words(study) == ("waiting", f"train {source.folder}")
    assert words(study, source) == ("waiting", "its turn") and look(study, source).ahead == ("train",)
    touch(finish(study, source, scored=False) / "weights.pt")
    assert words(study, source) == ("done", "not scored, others are made with it")
    assert words(study) == ("waiting", "its turn")


def test_every_rule_of_the_workflow_is_known(study):
    """A new rule has to be shown and counted here, or it is a target."""
    rules = "".join(path.read_text() for path in (REPOSITORY / "workflow/rules").glob("*.smk"))
    study.utility, study.metrics["extractors"] = {"also": []}, ["inception", "indomain"]
    study.config["datasets"]["phantom"]["mask"] = "seg"
    of_cells = {"train", "make", "derive", "curve", "score", "utility"}
    shared = {step.rule for step in Steps(study, RESULTS / "tiny").all()}
    assert {*re.findall(r"^rule (\w+):", rules, re.MULTILINE)} == of_cells | shared | {"prefetch"}


def test_results_of_other_settings_are_not_this_study(study):
    folder = finish(study)
    recipe = json.loads((folder / "recipe.json").read_text())
    recipe["training"]["kimg"] = 99
    write_json(folder / "recipe.json", recipe)
    scores = json.loads((folder / "scores.json").read_text())
    write_json(folder / "scores.json", scores | {"run_key": run_key(recipe)})
    row = look(study)
    assert (row.state, row.note, row.score, row.gpu_h) == ("waiting", "its turn", None, 0)


# files that are broken


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"kimg": "x", "rows": 3, "scores": {}}\n', b"\xff\xfe\n\x00"])
def test_broken_files_never_raise(study, content):
    state, folder = begin(study), finish(study, scored=False)
    log = Snakemake().submit(3, 17)
    names = ("lock", "stats.jsonl", "snapshots/kimg00001.json", "recipe.json")
    paths = [*(state / name for name in names), log, Path(".snakemake/log/2026-12-01T0.snakemake.log")]
    paths += [folder / name for name in ("scores.json", "cost.json", "stats.jsonl", "recipe.json")]
    paths += [RESULTS / f"tiny/logs/phantom/dcgan_seed0_{rule}.log" for rule in ("train", "score")]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        survey(study, RESULTS)
    for path in paths:  # a folder where a file should be
        path.unlink()
        path.mkdir()
        survey(study, RESULTS)
    assert look(study).kimg is None


def test_snakemake_logs_of_another_kind_are_passed_over(study):
    touch(
        Path(".snakemake/log/1.snakemake.log"),
        "[Sat Nov 21 10:07:37 2026]\nrule x:\n    jobid: 1\nFinished jobid: 9 (x)\n",
    )
    assert read_jobs(Path(".snakemake")) == {}


# what is shown


def test_the_table_is_aligned_fits_and_sums_up(study):
    finish(study)
    state = begin(study, ADA, kimg=0.064)
    with trainer(state):
        seen = survey(study, RESULTS)
    rows = seen.rows
    left = time_left(rows, seen.shared, Benchmarks(RESULTS / "tiny/benchmarks"))
    text = render(rows, 100, left, seen.shared, bar=True)
    head, ada, dcgan = text.splitlines()[:3]
    assert all(len(line) <= 100 for line in text.splitlines())
    for name, shown in {"kimg": "0.064/0.128", "ETA": "3s", "job": "17"}.items():
        assert ada[: head.index(name) + len(name)].endswith(shown)
    assert head.startswith("phantom  ") and "kd_indomain" in head
    assert re.search(r"^stylegan2_ada/s0  running +█+░+ +0.064/0.128 +60 +3s +2x +17 +2.00$", ada)
    assert re.search(r"^dcgan/s0 +done +█+ +0.128/0.128 +1x +0.0123 test +1.50$", dcgan)
    assert text.splitlines()[-3:] == [
        "1 done, 1 running, 0 failed of 2 cells; 3.50 GPU-hours of training so far",
        "8 of 11 shared jobs done",
        "about 3s left, one job at a time; not counted, as none has ended yet: curve, score",
    ]
    assert "phantom/stylegan2_ada/s0: collapse at 0.064 kimg: few images" in text.splitlines()
    plain = render(rows, 100, left, bar=True, utf8=False)
    assert plain.isascii() and re.search(r"#+\.+  ", plain)
    assert "\033[34mrunning\033[0m" in render(rows, 100, colour=True)
    assert "█" not in render(rows, 70, bar=True), "no room for a bar"


def row_of(state, kimg=None, rate=None, variant="dcgan", seed=0, ahead=("train", "curve", "score"), **own):
    cell = Cell("phantom", variant, seed)
    own |= {"busy": state == "running", "ahead": () if state == "done" else ahead}
    return Row(cell, 100.0, state=state, kimg=kimg, rate=rate, **own)


def test_the_time_left_is_that_of_the_whole_study(tmp_path):
    def left(*rows, shared=()):
        return time_left(rows, shared, Benchmarks(tmp_path))

    waiting, unknown = row_of("waiting", variant="ada"), ("curve", "score")
    assert left(waiting) is None, "no speed to go by"
    running = row_of("running", kimg=40.0, rate=2.0)
    rows = [running, waiting, row_of("done", 100.0, 7.0), row_of("running", 50.0, 4.0, variant="ada")]
    # 60 kimg at 2 s, 100 at 4 s as the other cell of the variant, 50 at 4 s: 720 s in two rows, one of which has 400 s
    assert left(*rows) == Left(400.0, 2, unknown)
    assert left(rows[2]) is None, "nothing is left"
    for rule, text in {"curve": "30\t36", "score": "50.5\t-", "make": "9\t99"}.items():
        touch(tmp_path / f"phantom/dcgan_seed0_{rule}.tsv", f"s\tcpu_time\n{text}\n")
    assert left(running) == Left(200.5, 1)
    assert left(row_of("trained", 100.0, ahead=unknown)) == Left(80.5, 1)
    assert Benchmarks(tmp_path).cpu_h == 0.01, "what is made has a cost of its own"
    # one that is made, then judged by networks: 9 s, 80.5 s, and what none has taken yet
    made = row_of("waiting", ahead=("make", *unknown, "utility"))
    made.total = 0.0
    step = Step("reference", "x", "phantom", tmp_path, tmp_path / "logs/segment_seed0_reference.log")
    wanted = [Shared(step, "running"), Shared(step, "done")]
    assert left(made, shared=wanted) == Left(89.5, 1, ("utility", "reference"))
    touch(tmp_path / "phantom/segment_seed3_reference.tsv", "s\n600\n")
    assert left(made, running, shared=wanted) == Left(600, 2, ("utility",))


def test_an_event_of_many_cells_is_one_line():
    said = {"ops": "ops at 0 kimg: slower"}
    text = render([row_of("running", seed=seed, events=said) for seed in range(5)], 200)
    shown = "phantom/dcgan/s0, phantom/dcgan/s1, phantom/dcgan/s2 and 2 more: ops at 0 kimg: slower"
    assert text.count("slower") == 1 and shown in text


def test_the_study_that_ran_last_is_shown(study, capsys):
    other = read_study([Path("tiny.yaml"), touch(Path("other.yaml"), "study: {name: other, seeds: [3]}")])
    for age, one in ((100, other), (50, study)):
        note(one)
        path, then = Path(f".snakemake/gan/{one.name}.json"), time.time() - age
        os.utime(path, (then, then))
    wanted = {(): "tiny", ("--study", "results/other"): "other", ("--configfile", "config.yaml"): "ixi"}
    for words, name in wanted.items():
        assert main([*words]) == 0
        title, table, *_ = capsys.readouterr().out.splitlines()
        assert title.startswith(f"{name}, ") and ("phantom" in table) == (name != "ixi")
    found = last()
    assert found and [run_key(found.study.recipe(cell)) for cell in study.cells()] == [
        run_key(study.recipe(cell)) for cell in study.cells()
    ]
    assert main(["--study", "results/nobody"]) == 1
    assert "no such study was started from here" in capsys.readouterr().err


def test_long_errors_are_wrapped_but_paths_are_not(study):
    log = touch(RESULTS / "tiny/logs/phantom/dcgan_seed0_train.log", "error: " + "lower the learning rate " * 9)
    lines = render(survey(study, RESULTS).rows, 60).splitlines()
    assert all(len(line) <= 60 for line in lines)
    assert f"  {log}" in lines


# the command


def test_config_mistakes_are_one_line(study, capsys):
    assert main(["--configfile", "nope.yaml"]) == 1
    touch(Path("wrong.yaml"), "training: {kimgs: 3}\n")
    assert main(["--configfile", "tiny.yaml", "wrong.yaml"]) == 1
    touch(Path("list.yaml"), "[1]\n")
    assert main(["--configfile", "list.yaml"]) == 1
    touch(Path("broken.yaml"), "a: [\n")
    assert main(["--configfile", "broken.yaml"]) == 1
    Path("config.yaml").unlink()
    assert main([]) == 1  # as in any other folder
    errors = capsys.readouterr().err.splitlines()
    assert [line[: line.index(":", 8)] for line in errors] == [
        *("error: nope.yaml", "error: config", "error: list.yaml", "error: broken.yaml", "error: config.yaml")
    ]
    assert "training.kimgs" in errors[1]
    assert errors[-1].endswith("no such file here; go to the folder of a study, or make one: gan init my_study")


def test_overlays_are_merged_as_snakemake_merges_them(study):
    touch(Path("more.yaml"), "study: {seeds: [0, 1]}\nvariants: {dcgan: {options: {channels: 16}}}\n")
    both = read_study([Path("tiny.yaml"), Path("more.yaml")])
    assert len(both.cells()) == 4
    options = both.recipe(DCGAN)["variant"]["options"]
    assert (options["channels"], options["z_dim"]) == (16, 16)


def test_it_needs_no_torch(study):
    code = "import sys; from gan.status.command import main; main(['--configfile', 'tiny.yaml']); print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "0 done, 2 waiting, 0 failed of 2 cells" in shown
    assert not {"torch", "pandas", "mlflow"} & set(shown.splitlines()[-1].split())


def test_watching_ends_with_ctrl_c(study, capsys, monkeypatch):
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        if len(naps) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    assert main(["--configfile", "tiny.yaml", "--watch", "30"]) == 0
    assert naps == [30, 30]
    assert capsys.readouterr().out.count("of 2 cells") == 2
