"""Interrupted, killed, full disk, damaged: a run goes on where it was, and ends as if nothing had happened."""

import fcntl
import multiprocessing
import os
import re
import shutil
import signal
import threading
import time
import zipfile
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from golden import SMALL
from tiny import TinyData, machine, outcome, paths, recipe, sources

from gan.cells import stats as read_stats
from gan.errors import GanError
from gan.families.registry import defaults
from gan.study import run_key
from gan.train import lock
from gan.train.checkpoint import load_checkpoint, publish, read_archive, save_checkpoint
from gan.train.loop import train
from gan.train.outputs import release
from gan.train.resume import changes
from gan.train.signals import Stopped, StopSignals

FORK = multiprocessing.get_context("fork")  # a process of its own that need not import torch
CHECKPOINT_KIMG = 0.08  # every 10 of the 40 steps


def run(base: Path, *, emit=None, given=None, warnings=()):
    return train(
        given or recipe(),
        TinyData(),
        paths(base),
        machine(warnings, checkpoint_kimg=CHECKPOINT_KIMG),
        emit=emit,
    )


def stop_at(step: int, signum: int = signal.SIGTERM):
    def emit(row):
        if row["step"] == step and "loss/D" in row:  # once, though a snapshot has a row too
            os.kill(os.getpid(), signum)

    return emit


def in_child(work: Callable[[], object]) -> int:
    """How a fork of this process ends that does ``work``: its exit code, or minus the signal that ended it."""
    child = FORK.Process(target=work)
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The outcome of a run without interruptions."""
    base = tmp_path_factory.mktemp("whole")
    run(base)
    return outcome(base / "cell")


def test_same_seed_same_bytes(whole, tmp_path):
    run(tmp_path)
    assert outcome(tmp_path / "cell") == whole


def test_another_seed_gives_another_generator(whole, tmp_path):
    run(tmp_path, given=recipe(seed=1))
    assert outcome(tmp_path / "cell")["generator.pt"] != whole["generator.pt"]


@pytest.mark.parametrize(
    ("step", "signum", "code"), [(4, signal.SIGTERM, 143), (20, signal.SIGINT, 130), (36, signal.SIGTERM, 143)]
)
def test_signal_saves_and_the_next_run_ends_as_if_uninterrupted(whole, tmp_path, step, signum, code):
    with pytest.raises(Stopped, match="state saved") as stopped:
        run(tmp_path, emit=stop_at(step, signum))
    assert stopped.value.code == code
    assert not (tmp_path / "cell/generator.pt").exists()
    saved = load_checkpoint(tmp_path / "state", run_key(recipe()))
    assert saved is not None and saved[0]["trainer"]["step"] == step
    cost = run(tmp_path)
    assert cost.resumed == 1
    assert outcome(tmp_path / "cell") == whole


OFTEN = {"augment": "mri", "ada_kimg": 0.5, "r1_gamma": 0.1, "r1_every": 3, "pl_every": 2}  # of families that have them


@pytest.mark.parametrize("family", SMALL)
def test_every_family_resumes_exactly(tmp_path, family):
    """All that decides a step must be a parameter or buffer of the variant, its controllers and penalties included."""
    given = recipe(kimg=0.096, snapshot_kimg=0.048)
    options = defaults(family) | SMALL[family]
    options |= {"conditional": True, **{name: value for name, value in OFTEN.items() if name in options}}
    given["variant"] = {"family": family, "options": options}
    results = []
    for name, stop in (("whole", None), ("parts", stop_at(8))):
        places = paths(tmp_path / name)
        if stop:
            with pytest.raises(Stopped):
                train(given, TinyData(size=16, labels=2, sources=sources(family)), places, emit=stop)
            torch.manual_seed(5)
        train(given, TinyData(size=16, labels=2, sources=sources(family)), places)
        results.append(outcome(places.cell))
    assert results[0] == results[1]
    assert results[0]["stats"][-1]["step"] == 12


def test_outputs_cleared_by_a_scheduler_come_back(whole, tmp_path):
    """Snakemake deletes what a failed job has written; the statistics and snapshots must outlive that."""
    with pytest.raises(Stopped):
        run(tmp_path, emit=stop_at(24))
    shutil.rmtree(tmp_path / "cell")
    run(tmp_path)
    assert outcome(tmp_path / "cell") == whole


@pytest.mark.parametrize("step", [8, 32])
def test_kill_9_then_resume(whole, tmp_path, step):
    """Killed before the first checkpoint and between two; rows and files after the checkpoint are written again."""
    assert in_child(lambda: run(tmp_path, emit=stop_at(step, signal.SIGKILL))) == -signal.SIGKILL
    assert read_stats(tmp_path / "cell/stats.jsonl")[-1]["step"] == step
    cost = run(tmp_path)
    assert cost.resumed == (1 if step > 10 else 0)
    assert outcome(tmp_path / "cell") == whole


def test_a_snapshot_lost_from_the_state_is_named(tmp_path):
    with pytest.raises(Stopped):
        run(tmp_path, emit=stop_at(24))
    lost = sorted((tmp_path / "state/snapshots").glob("*.pt"))[0]
    lost.unlink()
    with pytest.raises(GanError, match="to train from the start") as error:
        run(tmp_path)
    assert str(lost) in str(error.value)


def test_kill_9_while_a_checkpoint_is_written(whole, tmp_path, monkeypatch):
    save = torch.save

    def half(content, file):
        if content.get("state", {}).get("trainer", {}).get("step") == 20:
            file.write(b"half of it")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        save(content, file)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        assert in_child(lambda: run(tmp_path)) == -signal.SIGKILL
    assert len(list((tmp_path / "state").glob(".part-*"))) == 1
    assert run(tmp_path).resumed == 1
    assert outcome(tmp_path / "cell") == whole
    assert not list(tmp_path.rglob(".part-*"))


def test_cost_adds_up_over_resumes(tmp_path):
    with pytest.raises(Stopped):
        run(tmp_path, emit=stop_at(20))
    saved = load_checkpoint(tmp_path / "state", run_key(recipe()))
    assert saved is not None
    before = saved[0]["cost"]
    cost = run(tmp_path)
    assert cost.wall_s > before["wall_s"] > 0 and cost.cpu_s > before["cpu_s"] > 0
    assert cost.started == before["started"]


def test_checkpoint_of_another_recipe(tmp_path):
    with pytest.raises(Stopped):
        run(tmp_path, emit=stop_at(12))
    other = recipe(lr=0.01)
    with pytest.raises(GanError) as error:
        run(tmp_path, given=other)
    for part in (run_key(recipe()), run_key(other), "checkpoint.pt", "delete"):
        assert part in str(error.value)
    assert load_checkpoint(tmp_path / "state", run_key(recipe())) is not None, "the refused run damaged the checkpoint"


def hold(state: Path) -> BaseProcess:
    """Another process that holds the lock of ``state`` until it is killed."""
    held = FORK.Event()

    def work() -> None:
        os.environ["SLURM_JOB_ID"] = "4242"
        with lock.locked(state, StopSignals()):
            held.set()
            time.sleep(600)

    holder = FORK.Process(target=work, daemon=True)
    holder.start()
    assert held.wait(60)
    return holder


def test_second_writer_waits_and_goes_on_where_the_first_was_killed(whole, tmp_path, capfd):
    with pytest.raises(Stopped):
        run(tmp_path, emit=stop_at(24))
    holder = hold(tmp_path / "state")
    threading.Timer(1.5, holder.kill).start()
    began = time.monotonic()
    assert run(tmp_path).resumed == 1
    assert time.monotonic() - began > 1.0
    assert re.search(rf"lock: process {holder.pid} on \S+ \(Slurm job 4242, since .*waiting", capfd.readouterr().err)
    assert outcome(tmp_path / "cell") == whole


def test_a_waiting_writer_can_be_stopped(tmp_path):
    holder = hold(tmp_path / "state")
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
    try:
        with pytest.raises(Stopped, match="while another process trains this run"):
            run(tmp_path)
    finally:
        holder.kill()
    assert not (tmp_path / "state/stats.jsonl").exists()


def test_a_run_whose_end_nobody_saw_is_not_trained_again(whole, tmp_path, capfd):
    cost = run(tmp_path)
    shutil.rmtree(tmp_path / "cell")
    began = time.time()

    def never(row):
        raise AssertionError("trained again")

    assert run(tmp_path, emit=never) == cost
    assert "was trained already, its outputs are in" in capfd.readouterr().err
    assert outcome(tmp_path / "cell") == whole
    assert all(path.stat().st_mtime >= began - 1 for path in (tmp_path / "cell").rglob("*") if path.is_file())
    release(tmp_path / "state")
    assert not (tmp_path / "state").exists()
    release(tmp_path / "state")


def test_a_signal_after_the_last_step_changes_nothing(whole, tmp_path):
    with StopSignals() as stop:
        train(recipe(), TinyData(), paths(tmp_path), stop=stop)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert outcome(tmp_path / "cell") == whole


def test_a_folder_cleared_while_training_is_whole_in_the_end(whole, tmp_path):
    def clear(row):
        if row["step"] == 24:
            shutil.rmtree(tmp_path / "cell")

    run(tmp_path, emit=clear)
    assert outcome(tmp_path / "cell") == whole


def test_a_run_at_work_is_not_released(tmp_path):
    holder = hold(tmp_path / "state")
    release(tmp_path / "state")
    assert (tmp_path / "state/lock").exists()
    holder.kill()
    holder.join()
    release(tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_a_run_begun_while_the_former_one_goes_is_whole(whole, tmp_path, monkeypatch):
    run(tmp_path)
    remove = shutil.rmtree

    def begin_then_remove(path, **options):
        if path.exists():
            run(tmp_path)
        remove(path, **options)

    monkeypatch.setattr(shutil, "rmtree", begin_then_remove)
    release(tmp_path / "state")
    assert (tmp_path / "state/cost.json").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".gone")] == []
    assert outcome(tmp_path / "cell") == whole


def test_a_lock_whose_folder_has_just_gone_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", lambda *arguments, **options: None)
    assert lock.acquire(tmp_path / "gone/lock") is None


def test_an_ended_run_without_its_generator_is_named(tmp_path):
    run(tmp_path)
    (last,) = (tmp_path / "state/snapshots").glob("kimg00.32.pt")
    last.unlink()
    with pytest.raises(GanError, match=r"kimg00\.32\.pt: gone, though its run has ended; .*delete .*state"):
        run(tmp_path)
    assert (tmp_path / "cell/generator.pt").exists(), "what is there stays"


def damage_truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def damage_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES = [damage_truncate, damage_bit, damage_empty]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoint_falls_back_to_the_previous_one(whole, tmp_path, damage, capfd):
    with pytest.raises(Stopped):
        run(tmp_path, emit=stop_at(24))
    damage(tmp_path / "state/checkpoint.pt")
    cost = run(tmp_path)
    assert cost.resumed == 1
    assert "checkpoint.pt is broken" in capfd.readouterr().err
    result = outcome(tmp_path / "cell")
    events = [row for row in result["stats"] if "event" in row]
    assert [(row["event"], row["step"]) for row in events] == [("checkpoint_broken", 20)]
    result["stats"] = [row for row in result["stats"] if "event" not in row]
    assert result == whole


def test_damage_at_any_byte_is_told_or_harmless(tmp_path):
    path, content = tmp_path / "weights.pt", {"format": "form", "weights": torch.arange(8.0)}
    torch.save(content, path)
    whole, problems = path.read_bytes(), set()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x80]) + whole[place + 1 :])
        found, problem = read_archive(path, "form")
        problems.add(problem)
        assert problem or (found and torch.equal(found["weights"], content["weights"])), place
    assert {"it ends too early", "a wrong offset"} <= problems


def test_a_packed_archive_that_is_damaged_is_told(tmp_path):
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", "x" * 1000)
    damaged = bytearray(path.read_bytes())
    damaged[31] ^= 0xFF  # the first byte of the packed text
    path.write_bytes(damaged)
    found, problem = read_archive(path, "form")
    assert found is None and "decompressing" in problem


def test_all_checkpoints_damaged(tmp_path):
    with pytest.raises(Stopped):
        run(tmp_path, emit=stop_at(24))
    for name in ("checkpoint.pt", "previous.pt"):
        damage_truncate(tmp_path / "state" / name)
    with pytest.raises(GanError, match=r"checkpoint\.pt is broken .* delete .*state to train from the start"):
        run(tmp_path)


def test_a_file_of_something_else_is_not_a_checkpoint(tmp_path):
    torch.save({"weights": torch.zeros(3)}, tmp_path / "checkpoint.pt")
    with pytest.raises(GanError, match="unknown format"):
        load_checkpoint(tmp_path, "key")


def test_a_checkpoint_runs_no_code(tmp_path):
    torch.save({"format": "gan-checkpoint-1", "run_key": "key", "state": Path("x")}, tmp_path / "checkpoint.pt")
    with pytest.raises(GanError, match=r"is broken.*more than tensors, numbers and text") as error:
        load_checkpoint(tmp_path, "key")
    assert "weights_only" not in str(error.value), "no advice to run it all the same"


@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_full_disk_keeps_the_former_checkpoint(tmp_path, monkeypatch, where):
    save_checkpoint(tmp_path, "key", {"step": 1})
    save_checkpoint(tmp_path, "key", {"step": 2})

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        target = {"write": (torch, "save"), "fsync": (os, "fsync"), "replace": (Path, "replace")}[where]
        patch.setattr(*target, full)
        with pytest.raises(GanError, match=r"checkpoint\.pt: not written, no space left"):
            save_checkpoint(tmp_path, "key", {"step": 3})
    assert load_checkpoint(tmp_path, "key") == ({"step": 2}, None)
    assert sorted(path.name for path in tmp_path.iterdir()) in (
        ["checkpoint.pt", "previous.pt"],
        [".part-previous.pt", "checkpoint.pt", "previous.pt"],
    )


def test_full_disk_in_training_then_resume(whole, tmp_path, monkeypatch):
    saves = []

    def fill_up(folder, key, state):
        saves.append(state["trainer"]["step"])
        if len(saves) == 3:
            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
                return save_checkpoint(folder, key, state)
        return save_checkpoint(folder, key, state)

    with monkeypatch.context() as patch:
        patch.setattr("gan.train.loop.save_checkpoint", fill_up)
        with pytest.raises(GanError, match="no space left"):
            run(tmp_path)
    assert saves == [10, 20, 30]
    run(tmp_path)
    assert outcome(tmp_path / "cell") == whole


def test_full_disk_while_writing_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "write", lambda file, line: len(line) - 5)
    with pytest.raises(GanError, match=r"stats\.jsonl: not written, no space left"):
        run(tmp_path)


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(GanError, match="no locks on this file system"):
        run(tmp_path)


def test_another_device_is_noted(tmp_path):
    with pytest.raises(Stopped):
        run(tmp_path, emit=stop_at(12))
    path = tmp_path / "state/checkpoint.pt"
    content = torch.load(path)
    content["state"]["device"] = "cuda"
    torch.save(content, path)
    run(tmp_path)
    events = [row for row in read_stats(tmp_path / "cell/stats.jsonl") if "event" in row]
    assert [(row["event"], row["step"]) for row in events] == [("device_changed", 12)]


def test_other_implementations_of_the_operations_are_noted(tmp_path):
    with pytest.raises(Stopped):
        run(tmp_path, emit=stop_at(12), warnings=[("ops_reference", "no kernels")])
    path = tmp_path / "state/checkpoint.pt"
    content = torch.load(path)
    assert content["state"]["ops"] == "reference"
    content["state"]["ops"] = "cuda"
    torch.save(content, path)
    run(tmp_path)
    events = [row for row in read_stats(tmp_path / "cell/stats.jsonl") if "event" in row]
    assert [(row["event"], row["step"]) for row in events] == [("ops_reference", 0), ("ops_changed", 12)]
    assert events[0]["message"] == "no kernels"
    assert "resumed with PyTorch's functions after running with the kernels" in events[1]["message"]


def test_what_has_changed_is_told_and_not_twice():
    """Another device has other implementations; a checkpoint that does not say is of one process and whole batches."""
    now = {"device": "cpu", "ops": "reference", "ranks": 2, "microbatches": 4}
    assert list(changes({"device": "cuda", "ops": "cuda", "microbatches": 4}, now)) == [
        ("device_changed", "resumed on cpu after running on cuda: results will not be bit-identical"),
        ("ranks_changed", "resumed with 2 processes after running with 1: results will not be bit-identical"),
    ]
    assert not list(changes(now, now))


def test_half_written_files_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / "state/snapshots").mkdir(parents=True)
    for name in ("state/.part-abc.pt", "state/snapshots/.part-abc.png"):
        (tmp_path / name).write_bytes(b"half")
    run(tmp_path)
    assert not list(tmp_path.rglob(".part-*"))


def test_snapshots_of_an_earlier_recipe_are_replaced(tmp_path):
    old = tmp_path / "cell/snapshots/kimg09999.pt"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    run(tmp_path)
    assert not old.exists()


def test_publish_copies_where_links_are_impossible(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_text("1")
    publish(tmp_path / "a", tmp_path / "to/b")
    assert (tmp_path / "to/b").read_text() == "1"
    (tmp_path / "a").write_text("2")
    publish(tmp_path / "a", tmp_path / "to/b")
    assert (tmp_path / "to/b").read_text() == "2"


def test_a_run_without_links_ends_the_same(whole, tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    run(tmp_path)
    assert outcome(tmp_path / "cell") == whole
