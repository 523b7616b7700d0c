"""The study on a real Slurm: whole, and through all that goes wrong on a cluster.

One cell is trained under each mishap and must end with the bytes of an undisturbed run without Slurm. Some mishaps
happen at the same time, each in a folder of its own, on a cluster of this machine (`cluster.py`).
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from cluster import Cluster, missing
from driver import copy_workflow, merge, run_snakemake
from test_families import install

from gan.cells import last_stats

REPOSITORY = Path(__file__).resolve().parent.parent
pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.timeout(1800),
]
PATIENCE = 900  # s that one mishap may take on a busy machine
AT_ONCE = 5  # mishaps
HELD = 0.25, 3.0  # from so many kimg on a step of the training rests for so many seconds, until a test lets it go
FREE = 0.0, 0.0
# Snakemake that asks Slurm for the state of its jobs every second: by itself it adds 10 s to each wait in vain.
SNAKEMAKE = """
from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
RemoteExecutor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, seconds: None)
main()
"""
# On top of tests/tiny.yaml: one cell that trains for some seconds, and what its jobs ask of Slurm.
LONG = {
    "study": {"name": "long", "variants": ["dcgan"]},
    "variants": {"dcgan": {"family": "paused"}},
    "training": {"kimg": 1, "snapshot_kimg": 0.5},
    "resources": {"train": {"gpu": 1, "mem_mb": 1500, "runtime": 30, "checkpoint_kimg": 0.05}},
}
SHORT = {"training": {"kimg": 0.2, "snapshot_kimg": 0.2}}
CELL = "phantom/dcgan/seed0"
TRAINED = f"results/long/{CELL}/generator.pt"


class OnCluster:
    """A copy of the workflow that runs on the cluster through ``--profile slurm``."""

    def __init__(self, folder: Path, cluster: Cluster, overlay: dict, rests: tuple[float, float] = FREE):
        self.folder, self.cluster = folder, cluster
        self.rest(*rests)
        self.name, self.recipe = overlay["study"]["name"], overlay["training"]
        (folder / f"{self.name}.yaml").write_text(yaml.safe_dump(overlay))
        self.cell = folder / f"results/{self.name}/{CELL}"

    def start(self, *options: str, target: str | Sequence[str] = "all") -> subprocess.Popen:
        """Snakemake, at work; its words go to ``snakemake.log`` in the folder."""
        # tests in the background of a shell ignore Ctrl-C, and so would all that they start
        command = ["env", "--default-signal=INT", sys.executable, "-c", SNAKEMAKE, "--profile", "slurm"]
        command += ["--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5", *options]
        command += ["--configfile", "tiny.yaml", f"{self.name}.yaml", "--"]
        command += [target] if isinstance(target, str) else target
        environment = self.cluster.environment | {"PAUSE": str(self.folder / "pause")}
        with open(self.log, "a") as log:
            return subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def rest(self, kimg: float, seconds: float) -> None:
        """Let the training rest from ``kimg`` on, for so many seconds before each step."""
        (self.folder / "pause.new").write_text(f"{kimg} {seconds}")
        (self.folder / "pause.new").replace(self.folder / "pause")

    def finish(self, snakemake: subprocess.Popen) -> str:
        """Let the training go, and wait for the end, which must be a good one. What it has said."""
        self.rest(*FREE)
        try:
            code = snakemake.wait(PATIENCE)
        finally:
            if snakemake.poll() is None:
                snakemake.kill()
        said = self.log.read_text()
        slurm = "\n".join(path.read_text() for path in self.folder.glob(".snakemake/slurm_logs/rule_train/**/*.log"))
        assert code == 0, f"{said}\n{slurm}"
        return said

    def run(self, *options: str, target: str = "all") -> str:
        return self.finish(self.start(*options, target=target))

    def wait_for_kimg(self, kimg: float) -> None:
        """Until so much of the cell is trained and saved."""

        def trained() -> bool:
            return any(last_stats(path).get("saved_kimg", 0) >= kimg for path in self.states("stats.jsonl"))

        self.cluster.wait(trained, f"checkpoint at {kimg:g} kimg in {self.folder}", PATIENCE)

    @property
    def kimg(self) -> float:
        return max((last_stats(path).get("kimg", 0) for path in self.states("stats.jsonl")), default=0)

    def wait_for_words(self, words: str) -> None:
        """Until a log of the training says so."""

        def said() -> bool:
            return any(words in path.read_text() for path in self.folder.glob("results/*/logs/phantom/*_train.log"))

        self.cluster.wait(said, f"{words!r} in a log of {self.folder}", PATIENCE)

    def wait_for_job(self, job: str, words: re.Pattern) -> None:
        """Until Slurm says so of the job."""
        show = ("scontrol", "show", "job", job)
        self.cluster.wait(lambda: words.search(self.cluster(*show)), f"{words.pattern} of job {job}", 90)

    def states(self, name: str) -> list[Path]:
        return list(self.folder.glob(f"results/checkpoints/*/{name}"))

    @property
    def log(self) -> Path:
        return self.folder / "snakemake.log"

    @property
    def cost(self) -> dict:
        return json.loads((self.cell / "cost.json").read_text())

    def train_jobs(self) -> list[str]:
        """Slurm's ids of all training jobs that were submitted for this folder, in their order."""
        return re.findall(r"SLURM jobid (\d+) \(log: \S*rule_train", self.log.read_text())

    def files(self, scored: bool = False) -> dict[str, bytes]:
        """All that training has to show, and scoring if asked for, by name; times and costs are left out."""
        names = [
            "generator.pt",
            "weights.pt",
            "real.png",
            "recipe.json",
            *(["scores.json", "curve.json", "fake.png"] if scored else []),
        ]
        found = [*(self.cell / name for name in names), *sorted(self.cell.glob("snapshots/kimg*.*"))]
        return {str(path.relative_to(self.cell)): path.read_bytes() for path in found}


@pytest.fixture(scope="module", autouse=True)
def paused(tmp_path_factory):
    """Installs the family of tests/pausedfamily for all that is started here."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(REPOSITORY / "tests/pausedfamily", site / "pausedfamily")
    install(site, {"paused": "pausedfamily"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def cluster(paused, tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def local(paused, tmp_path_factory) -> OnCluster:
    """The long cell trained and scored on this machine, without Slurm and without mishaps."""
    folder = copy_workflow(tmp_path_factory.mktemp("local"))
    study = OnCluster(folder, None, LONG | {"resources": {}})  # type: ignore[arg-type]
    done = run_snakemake(folder, f"results/long/{CELL}/scores.json", overlays=("tiny.yaml", "long.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    return study


@pytest.fixture(scope="module")
def prepared(local, cluster) -> Callable[..., OnCluster]:
    """Makes a copy of the workflow in which all that comes before the training has been done."""

    def copy(folder: Path, changes: dict | None = None, rests: tuple[float, float] = HELD) -> OnCluster:
        shutil.copytree(local.folder, folder, symlinks=True)
        shutil.rmtree(folder / f"results/long/{CELL}")
        return OnCluster(folder, cluster, merge(LONG, changes or {}), rests)

    return copy


def whole_study(study: OnCluster) -> None:
    study.run()
    assert (study.folder / "results/long/comparison.html").exists()
    assert json.loads((study.folder / "results/long/tracking.json").read_text())["ok"]
    assert not study.states("*"), "what a run has kept goes when its scores are written"


def two_studies(study: OnCluster) -> None:
    """Both want the same cell at the same time, in one folder; what comes before the training is done in both."""
    shutil.copytree(study.folder / "results/long", study.folder / "results/twin", symlinks=True)
    twin = OnCluster(study.folder, study.cluster, merge(LONG, {"study": {"name": "twin"}}), HELD)
    calls = [study.start(target=TRAINED), twin.start(target=TRAINED.replace("long", "twin"))]
    study.wait_for_words("waiting for its end")
    for call in calls:
        study.finish(call)
    assert twin.files() == study.files()
    logs = "".join(path.read_text() for path in study.folder.rglob("*_train.log"))
    assert logs.count("was trained already") == 1


def cancelled(study: OnCluster) -> None:
    call = study.start(target=TRAINED)
    study.wait_for_kimg(0.2)
    study.cluster("scancel", study.train_jobs()[0])
    study.finish(call)
    assert len(study.train_jobs()) == 2 and study.cost["resumed"] == 1


def time_limit(study: OnCluster) -> None:
    """Twice the limit is drawn near, and Slurm sends its warning: it looks at limits every 30 s."""
    study.rest(0.1, 2.0)
    call = study.start("--set-resources", "train:slurm_extra='--signal=TERM@110 --open-mode=append'", target=TRAINED)
    for restarts in (1, 2):
        study.wait_for_kimg(study.kimg + 0.016)
        (job,) = study.train_jobs()
        minutes = int(study.cluster("squeue", "-h", "-j", job, "-o", "%M").split(":")[0])
        study.cluster("scontrol", "update", f"jobid={job}", f"timelimit={minutes + 2}")
        study.wait_for_job(job, re.compile(rf"JobState=PENDING .*Restarts={restarts} ", re.DOTALL))
        study.cluster("scontrol", "update", f"jobid={job}", "timelimit=30")
    said = study.finish(call)
    assert study.train_jobs() == [job] and study.cost["resumed"] == 2
    assert "Error in rule" not in said and "Trying to restart" not in said


def node_down(study: OnCluster) -> None:
    call = study.start("--set-resources", "train:slurm_partition=fragile", target=TRAINED)
    study.wait_for_kimg(0.2)
    study.cluster.kill("slurmd.n3")
    study.cluster("scontrol", "update", "nodename=n3", "state=down", "reason=test")
    (job,) = study.train_jobs()
    study.wait_for_job(job, re.compile("JobState=PENDING"))
    study.cluster.restart("slurmd.n3")
    study.finish(call)
    assert study.train_jobs() == [job] and study.cost["resumed"] == 1


def memory(study: OnCluster) -> None:
    """Slurm kills what takes more than it has asked for, which it looks at every second: each retry asks for more."""
    study.run(target=TRAINED)
    asked = [
        int(re.search(r"mem=(\d+)M", study.cluster("scontrol", "show", "job", job))[1])  # type: ignore[index]
        for job in study.train_jobs()
    ]
    assert len(asked) > 1 and asked == [asked[0] * attempt for attempt in range(1, len(asked) + 1)]


def killed(study: OnCluster) -> None:
    """kill -9 of Snakemake with a job at work, and a new call at once: its job waits until the other one ends."""
    call = study.start(target=TRAINED)
    study.wait_for_kimg(0.2)
    os.killpg(call.pid, signal.SIGKILL)
    call.wait()
    unlock = [sys.executable, "-m", "snakemake", "--unlock", "--configfile", "tiny.yaml", "long.yaml"]
    subprocess.run(unlock, cwd=study.folder, check=True, capture_output=True)
    again = study.start(target=TRAINED)
    study.wait_for_words("waiting for its end")
    study.finish(again)
    first, second = study.train_jobs()
    assert study.cluster.jobs("train")[second] == "COMPLETED"
    log = (study.folder / "results/long/logs/phantom/dcgan_seed0_train.log").read_text()
    assert f"Slurm job {first}, since" in log
    assert study.cost["resumed"] == 0, "the first job has trained it all"


def interrupted(study: OnCluster) -> None:
    """Ctrl-C, and the same call again."""
    call = study.start(target=TRAINED)
    study.wait_for_kimg(0.2)
    os.killpg(call.pid, signal.SIGINT)
    assert call.wait(PATIENCE) != 0
    study.wait_for_job(study.train_jobs()[0], re.compile("JobState=CANCELLED"))
    study.run(target=TRAINED)
    assert study.cost["resumed"] == 1


def gpu_cap(study: OnCluster) -> None:
    """Three cells of a GPU each, and a cap of two."""
    cells = [TRAINED.replace("seed0", f"seed{seed}") for seed in range(3)]
    seen, call = [0], study.start("--resources", "gpu=2", target=cells)
    while call.poll() is None:
        submitted = set(study.train_jobs()) & study.cluster.jobs("train", "pending,running,completing").keys()
        seen.append(len(submitted))
        time.sleep(0.5)
    study.finish(call)
    assert max(seen) == 2 and len(study.train_jobs()) == 3


def two_gpus(study: OnCluster) -> None:
    """Two ranks on a node, told to move on: `scancel --signal=TERM` queues the job again."""
    call = study.start(target=TRAINED)
    study.wait_for_kimg(0.2)
    (job,) = study.train_jobs()
    study.cluster("scancel", "--signal=TERM", job)
    study.finish(call)
    assert study.train_jobs() == [job] and study.cost["resumed"] == 1


def two_nodes(study: OnCluster) -> None:
    study.run(target=TRAINED)
    (job,) = study.train_jobs()
    assert "NodeList=n[1-2]" in study.cluster("scontrol", "show", "job", job)


SCENARIOS = {  # what happens, and how its study differs from LONG; those that wait longest for Slurm come first
    time_limit: {},
    memory: {"resources": {"train": {"mem_mb": 500}}},
    killed: {},
    node_down: {},
    two_gpus: {"resources": {"train": {"gpu": 2, "mem_mb": 4000}}},
    cancelled: {},
    interrupted: {},
    two_studies: {},
    gpu_cap: SHORT | {"study": {"seeds": [0, 1, 2]}},
    two_nodes: SHORT | {"resources": {"train": {"gpu": 4, "nodes": 2, "mem_mb": 4000}}},
}


@pytest.fixture(scope="module")
def happened(cluster, request, tmp_path_factory) -> dict[str, tuple[OnCluster, Future]]:
    """The whole study, and every mishap, by name: its study, and its end, which may be a failed assertion."""
    folder = {of: tmp_path_factory.mktemp(of.__name__) / "study" for of in (whole_study, *SCENARIOS)}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        study = OnCluster(copy_workflow(folder[whole_study]), cluster, LONG)
        results = {whole_study.__name__: (study, pool.submit(whole_study, study))}
        prepared = request.getfixturevalue("prepared")  # meanwhile
        for scenario, changes in SCENARIOS.items():
            study = prepared(folder[scenario], changes)
            results[scenario.__name__] = study, pool.submit(scenario, study)
    return results


@pytest.mark.parametrize("name", [of.__name__ for of in (whole_study, *SCENARIOS)])
def test_study_ends_well_whatever_happens(happened, local, name):
    study, end = happened[name]
    end.result()
    assert not study.states("checkpoint.pt"), "checkpoints go when a run has succeeded"
    if study.recipe == LONG["training"] and name != "two_gpus":  # two ranks sum in another order
        assert study.files(scored=name == "whole_study") == local.files(scored=name == "whole_study")


def test_controller_outage(happened, cluster, local, prepared, tmp_path):
    """Slurm's controller is gone for a while; the jobs are not. Last: it would disturb the others."""
    study = prepared(tmp_path / "study")
    call = study.start(target=TRAINED)
    study.wait_for_kimg(0.1)
    cluster.kill("slurmctld")
    time.sleep(5)  # Snakemake asks in vain meanwhile
    cluster.restart("slurmctld")
    study.finish(call)
    assert len(study.train_jobs()) == 1 and study.cost["resumed"] == 0
    assert study.files() == local.files()
