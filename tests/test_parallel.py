"""Several ranks do what one does: same numbers, same files, and they stop and fail as one."""

import functools
import json
import multiprocessing
import os
import signal
import sys
import threading
import time

import pytest
import torch
from parallel_worker import CASES, SAVED, STEPS, STOPPED, courses, doubled, everything, pieces, reduced, resumed, start
from test_train import dcgan, make_store

from gan import launch, parallel, slurm
from gan.cells import stats as read_stats
from gan.files import read_json
from gan.run import main
from gan.runtime import Runtime
from gan.sampling.snapshot import load_generator
from gan.study import run_key
from gan.train.checkpoint import load_checkpoint
from gan.train.signals import StopSignals

CLOSE = {"rtol": 1e-9, "atol": 1e-12}  # all in float64


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    return folder, courses(folder, None)


@pytest.fixture(scope="module")
def pair(alone, tmp_path_factory):
    """What each of two ranks found."""
    folder = tmp_path_factory.mktemp("pair")
    return folder, start(2, everything, folder, alone[0])


@pytest.fixture(scope="module")
def on_one(pair):
    """Runs that go on alone from the checkpoints of two ranks."""
    with doubled():
        return {case: resumed(case, pair[0]) for case in CASES}


def assert_same(found, expected, exactly=False):
    """exactly: all but the logged means, which are summed up in another order after a resume."""
    for step, (mine, its) in enumerate(zip(found, expected, strict=True)):
        assert mine.keys() == its.keys()
        for name in mine:
            if name == "random" or (exactly and name.startswith(("gradient/", "variant/", "ema/"))):
                assert torch.equal(mine[name], its[name]), (step, name)
            else:
                torch.testing.assert_close(
                    mine[name], its[name], **CLOSE, msg=lambda text, at=(step, name): f"{at}: {text}"
                )


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_take_the_steps_of_one(alone, pair, case):
    """Losses, gradients, weights, moving average, statistics of every kind, and the state of the random generator."""
    expected = alone[1][case]["whole"]
    for rank in pair[1]:
        assert_same(rank["courses"][case]["whole"], expected)
    first, last = expected[0], expected[-1]
    assert any(not torch.equal(first[name], last[name]) for name in first if name.startswith("ema/"))
    names = {
        "progan": {"variant/generator.level", "loss/gp", "loss/drift"},
        "stylegan2_wgan": {"topk/share", "variant/anchors", "loss/gp"},
        "stylegan2": {"ada/p", "variant/path_length_mean", "loss/r1", "loss/pl", "ema/mapping.w_avg"},
        "dcgan": {"variant/generator.layers.1.running_mean", "variant/generator.layers.1.running_var"},
    }
    for name in names.get(case, ()):
        assert last[name].abs().sum() > 0, name


@pytest.mark.parametrize("case", ["stylegan2", "stylegan2_wgan"])
def test_two_ranks_with_two_pieces_each_take_the_steps_of_one(alone, pair, case):
    for rank in pair[1]:
        assert_same(rank["in pieces"][case], alone[1][case]["whole"][:SAVED])


@pytest.mark.parametrize("case", CASES)
def test_a_checkpoint_goes_on_on_another_number_of_ranks(alone, pair, case):
    whole = alone[1][case]["whole"][-STEPS // 2 :]
    for rank in pair[1]:
        assert_same(rank["courses"][case]["other"], whole)
        assert_same(rank["courses"][case]["own"], rank["courses"][case]["whole"][-STEPS // 2 :], exactly=True)
    assert_same(alone[1][case]["own"], whole, exactly=True)


@pytest.mark.parametrize("case", CASES)
def test_a_checkpoint_of_two_ranks_goes_on_on_one(alone, on_one, case):
    assert_same(on_one[case], alone[1][case]["whole"][-STEPS // 2 :])


@pytest.mark.parametrize("case", CASES)
def test_ranks_hold_the_same_bits(pair, case):
    one, other = (rank["courses"][case]["whole"] for rank in pair[1])
    assert_same(one, other, exactly=True)


@pytest.mark.parametrize("case", CASES)
def test_bfloat16_on_two_ranks(pair, case):
    """Within the rounding of gradients of 8 bits, which are added up in another order."""
    expected = reduced(case)
    for rank in pair[1]:
        assert rank["reduced"][case] == pytest.approx(expected, rel=0.03, abs=0.01)


def test_augmentation_and_batch_norm_are_those_of_the_whole_batch(pair):
    expected = pieces()
    for rank in pair[1]:
        assert_same([rank["pieces"]], [expected])


def test_a_signal_to_one_rank_stops_all_at_one_step(pair):
    folder, ranks = pair
    (calls, signum, said), other = (rank["stopped"] for rank in ranks)
    assert (calls, signum, said) == other and signum == signal.SIGTERM and "state saved" in said
    (checkpoint,) = folder.rglob("checkpoint.pt")
    step = torch.load(checkpoint, weights_only=True)["state"]["trainer"]["step"]
    assert step == calls - 1 and step in (STOPPED, STOPPED + 1)


def test_ranks_that_differ_are_noticed(pair):
    for rank in pair[1]:
        assert "diverged from each other: generator.layers.0.weight differs between the 2" in rank["apart"]


def test_ranks_compute_with_the_same_implementation(pair):
    """One of them may not use the kernels, so none does."""
    assert [rank["implementation"] for rank in pair[1]] == [("no kernels", "reference")] * 2


def test_batches_that_cannot_be_shared_out(pair):
    for rank in pair[1]:
        odd, group, half, fine = rank["refused"]
        assert "training.batch is 9" in odd and "resources.train.gpu (2)" in odd
        assert (
            "resources.train.gpu is 2: training.batch, 4 images, gives 2 each, not a multiple of option mbstd_group (4)"
            in group
        )
        assert "half of training.batch" in half and "3 images, cannot be split evenly" in half
        assert fine == ""


def test_one_rank_draws_as_torch_does():
    like = torch.empty(4, 2, 3, 3).to(memory_format=torch.channels_last)
    for mine, its in (
        (lambda: parallel.randn(4, 3), lambda: torch.randn(4, 3)),
        (lambda: parallel.rand(2, 5, axis=1), lambda: torch.rand(2, 5)),
        (lambda: parallel.randint(1, 7, 9), lambda: torch.randint(1, 7, [9])),
        (lambda: parallel.randn_like(like), lambda: torch.randn_like(like)),
    ):
        torch.manual_seed(0)
        found = mine()
        torch.manual_seed(0)
        assert torch.equal(found, its())


# ---------------------------------------------------------------- the command


@pytest.fixture
def forks(monkeypatch):
    """Lets the command fork its processes, which need not import torch then; as a rule it starts new interpreters."""
    monkeypatch.setattr(launch, "start_processes", functools.partial(launch.start_processes, start_method="fork"))


def command(base, given, gpus):
    places = ["--store", str(base / "store"), "--folder", str(base / "cell"), "--checkpoints", str(base / "states")]
    more = ["--runtime", f"device=cpu,gpus={gpus},threads={gpus}", "--log", str(base / "log")]
    return main(["--recipe", json.dumps(given), *places, *more])


def test_stopped_and_gone_on_with_two_processes(tmp_path, request):
    """SIGTERM to the process that started them; then one cell comes of it, as of one process."""
    make_store(tmp_path / "store")
    given = dcgan(kimg=0.4, snapshot_kimg=0.2)
    stats = tmp_path / "cell/stats.jsonl"

    def stop():
        end = time.monotonic() + 240
        while not (stats.exists() and stats.stat().st_size) and time.monotonic() < end:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    assert command(tmp_path, given, 2) == 143
    assert (tmp_path / "log").read_text().splitlines()[-1].endswith("state saved; run again to resume")
    saved = load_checkpoint(tmp_path / "states" / run_key(given), run_key(given))
    assert saved is not None and 4 <= saved[0]["trainer"]["step"] < 50
    request.getfixturevalue("forks")
    assert command(tmp_path, given, 2) == 0
    (one := tmp_path / "one").mkdir()
    (one / "store").symlink_to(tmp_path / "store")
    assert command(one, given, 1) == 0
    cost = read_json(tmp_path / "cell/cost.json")
    assert cost["resumed"] == 1 and cost["peak_mem_mb"] > 1.5 * read_json(one / "cell/cost.json")["peak_mem_mb"]
    rows, expected = (read_stats(base / "cell/stats.jsonl") for base in (tmp_path, one))
    assert [row["step"] for row in rows] == [row["step"] for row in expected]
    for row, its in list(zip(rows, expected, strict=True))[:3]:
        assert [row[name] for name in ("loss/G", "loss/D")] == pytest.approx([its["loss/G"], its["loss/D"]], rel=1e-3)
    assert len(list((tmp_path / "cell/snapshots").glob("*.pt"))) == 3
    assert load_generator(tmp_path / "cell/generator.pt").kimg == 0.4


def test_an_error_of_all_ranks_is_one_line(tmp_path, capfd):
    make_store(tmp_path / "store")
    assert command(tmp_path, dcgan(batch=9), 2) == 1
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert line.startswith("error: training.batch is 9; it must be a multiple of the number of GPUs")
    assert capfd.readouterr().err.count("training.batch is 9") == 1


def test_a_killed_process_ends_all_and_is_named(forks, tmp_path):
    make_store(tmp_path / "store")

    def kill():
        end = time.monotonic() + 240
        while not list(tmp_path.glob("states/*/stats.jsonl")) and time.monotonic() < end:
            time.sleep(0.02)
        multiprocessing.active_children()[-1].kill()

    threading.Thread(target=kill).start()
    with pytest.raises(SystemExit) as ended:
        command(tmp_path, dcgan(kimg=1000, snapshot_kimg=1000), 2)
    assert ended.value.code == 1
    last = (tmp_path / "log").read_text().splitlines()[-1]
    assert last.startswith("error: process ") and "was ended by SIGKILL; if memory ran out" in last
    assert not multiprocessing.active_children()


def test_more_gpus_than_there_are(tmp_path, capfd):
    places = ["--store", "store", "--folder", "cell", "--checkpoints", "states"]
    assert main(["--recipe", "r.json", *places, "--runtime", "gpus=99"]) == 1
    assert "asks for 99 GPUs on a machine, torch sees" in capfd.readouterr().err
    assert main(["--recipe", "r.json", *places, "--runtime", "gpus=3,nodes=2"]) == 1
    assert "is 3; it must be a multiple of the number of nodes, 2" in capfd.readouterr().err


def test_what_another_program_left_in_the_environment_makes_no_rank(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert not parallel.launched()
    with parallel.joined(torch.device("cpu")) as device:
        assert device.type == "cpu" and parallel.world() == 1
    for name in parallel.RENDEZVOUS:
        monkeypatch.setenv(name, "1")
    assert parallel.launched()


def test_on_several_nodes_srun_starts_the_same_command_with_an_endpoint(monkeypatch):
    def become(program, words, environment):
        raise SystemExit(words[words.index(sys.executable) :])

    monkeypatch.setattr(os, "execvpe", become)
    monkeypatch.setattr(slurm, "first_node", lambda: "n1")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    given = ["--recipe", "r.json", "--runtime", "gpus=4,nodes=2"]
    with StopSignals() as stop, pytest.raises(SystemExit) as started:
        launch.launch(given, Runtime.parse("gpus=4,nodes=2"), None, stop)
    assert started.value.code == [sys.executable, "-m", "gan", "run", *given, "--endpoint", "n1:20007"]
