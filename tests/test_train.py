"""The loop and its parts: what a step trains, what is written when, what is noticed."""

import io
import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny import TinyData, machine, paths, recipe
from tinyfamily.model import Tiny

from gan import check, grids, project
from gan.cells import stats as read_stats
from gan.data.store import Store, writing
from gan.errors import GanError
from gan.families.contract import Phase
from gan.run import main, read_recipe
from gan.study import TRAIN_REVISION, run_key
from gan.train import cost, trainer
from gan.train.cost import CostMeter
from gan.train.device import pick_device
from gan.train.images import StoreDataset
from gan.train.loop import train
from gan.train.progress import Progress
from gan.train.sampler import Sampler
from gan.train.schedule import Schedule, stem
from gan.train.stats import Meter, StatsFile
from gan.train.trainer import Trainer

CPU = torch.device("cpu")


def run(base: Path, given=None, data=None, checkpoint_kimg=20.0, **options):
    on = machine(checkpoint_kimg=checkpoint_kimg)
    return train(given or recipe(), data or TinyData(), paths(base), on, **options)


# ---------------------------------------------------------------- sampler, schedule


@given(length=st.integers(1, 40), batch=st.integers(1, 24), seed=st.integers(0, 2**31))
def test_an_epoch_shows_every_image_once(length, batch, seed):
    sampler = Sampler(length, batch, seed)
    seen = np.concatenate([sampler.indices(step) for step in range(2 * length)])
    for epoch in range(batch):
        assert sorted(seen[epoch * length : (epoch + 1) * length]) == list(range(length))


def test_order_depends_on_the_step_alone():
    forwards = Sampler(17, 6, seed=3)
    order = [forwards.indices(step) for step in range(12)]
    for step in (7, 0, 11, 3):
        assert (Sampler(17, 6, seed=3).indices(step) == order[step]).all()
    assert any((Sampler(17, 6, seed=4).indices(step) != order[step]).any() for step in range(12))


@pytest.mark.parametrize("world", [2, 3, 6])
def test_ranks_share_one_global_batch(world):
    for step in range(8):
        parts = [Sampler(17, 6, 0, rank, world).indices(step) for rank in range(world)]
        assert (np.concatenate(parts) == Sampler(17, 6, 0).indices(step)).all()


def test_batch_that_does_not_divide_among_ranks():
    with pytest.raises(GanError, match=r"training\.batch is 6; .* a multiple .*resources\.train\.gpu \(4\)"):
        Sampler(17, 6, 0, 0, 4)


def test_no_training_images():
    with pytest.raises(GanError, match="no training images"):
        Sampler(0, 4, 0)


@pytest.mark.parametrize(
    ("kimg", "batch", "every", "snapshots", "steps"),
    [
        (24, 32, 4, [0, 4, 8, 12, 16, 20, 24], 750),
        (10, 32, 4, [0, 4, 8, 10], 313),
        (2, 16, 40, [0, 2], 125),
        (0.3, 100, 0.1, [0, 0.1, 0.2, 0.3], 3),
        (0.001, 8, 1, [0, 0.001], 1),
    ],
)
def test_schedule(kimg, batch, every, snapshots, steps):
    schedule = Schedule.of({"kimg": kimg, "batch": batch, "snapshot_kimg": every}, checkpoint_kimg=20)
    assert schedule.steps == steps and schedule.kimg(steps) == pytest.approx(kimg, abs=batch / 1000)
    assert list(schedule.snapshots.values()) == pytest.approx(snapshots)
    for step, mark in schedule.snapshots.items():
        assert 0 <= schedule.kimg(step) - mark + 1e-9 < batch / 1000 + 1e-9
    assert schedule.is_tick(steps) and schedule.is_checkpoint(steps)


@pytest.mark.parametrize(
    ("kimg", "name"), [(0, "kimg00000"), (40, "kimg00040"), (25000.0, "kimg25000"), (0.5, "kimg000.5")]
)
def test_names_of_snapshots(kimg, name):
    assert stem(kimg) == name


# ---------------------------------------------------------------- a step


def test_a_phase_trains_its_network_alone(monkeypatch):
    trainer = Trainer(recipe(), TinyData(), CPU)
    seen = []
    loss = trainer.variant.loss

    def spy(phase, batch):
        names = {name: {p.requires_grad for p in net.parameters()} for name, net in trainer.networks.items()}
        seen.append((phase, names))
        return loss(phase, batch)

    monkeypatch.setattr(trainer.variant, "loss", spy)
    for _ in range(5):
        trainer.advance(measure=False)
    assert [phase for phase, _ in seen] == ["Gmain", "Dmain", "Dr1"] + ["Gmain", "Dmain"] * 3 + [
        "Gmain",
        "Dmain",
        "Dr1",
    ]
    for phase, names in seen:
        assert names == {"G": {phase[0] == "G"}, "D": {phase[0] == "D"}}


def test_moving_average_follows_the_decay_of_the_variant():
    trainer = Trainer(recipe(), TinyData(), CPU)
    source, average = trainer.variant.generator.linear.weight, trainer.ema.linear.weight
    trainer.advance(measure=False)
    assert torch.equal(source, average), "beta is 0 at the first step: the weights are copied"
    before = average.clone()
    trainer.advance(measure=False)
    beta = trainer.variant.ema_beta(8)
    torch.testing.assert_close(average, beta * before + (1 - beta) * source)
    assert torch.equal(trainer.ema.norm.running_mean, trainer.variant.generator.norm.running_mean)
    assert not trainer.ema.training and not any(p.requires_grad for p in trainer.ema.parameters())


def test_measured_gradient_norm():
    trainer = Trainer(recipe(), TinyData(), CPU)
    trainer.advance(measure=True)
    means = trainer.meter.read()
    grads = [p.grad for p in trainer.variant.generator.parameters()]
    assert means["grad/G"] == pytest.approx(math.sqrt(sum(float(g.square().sum()) for g in grads)))


def test_every_row_has_the_gradient_of_a_network_that_is_trained_now_and_then(tmp_path, monkeypatch):
    """A generator step to three of the discriminator, rows of four steps."""
    phases = (Phase("Gmain", "G", 3), Phase("Dmain", "D"), Phase("Dr1", "D", 4))
    monkeypatch.setattr(Tiny, "phases", lambda variant: phases)
    measured, rows = [], []
    descend = Trainer._descend

    def spy(trainer, phase, batch, measure):
        measured.extend([(trainer.step, phase.name)] if measure else [])
        descend(trainer, phase, batch, measure)

    monkeypatch.setattr(Trainer, "_descend", spy)
    run(tmp_path, recipe(kimg=0.096), emit=rows.append)
    rows = [row for row in rows if "loss/D" in row]
    assert [row["step"] for row in rows] == [4, 8, 12] and all(row["grad/G"] > 0 for row in rows)
    assert [step for step, name in measured if name == "Gmain"] == [3, 6, 9]
    assert [step for step, name in measured if name == "Dmain"] == [1, 2, 3, 5, 6, 7, 9, 10, 11]
    assert {name for _, name in measured} == {"Gmain", "Dmain"}, "no penalty"


def test_unknown_precision():
    given = recipe()
    given["training"]["precision"] = "fp8"
    with pytest.raises(GanError, match=r"training\.precision is 'fp8'; allowed: fp32"):
        Trainer(given, TinyData(), CPU)


def test_it_learns(tmp_path):
    """Weights move away from where they started, and the moving average with them."""
    run(tmp_path)
    first, last = (torch.load(tmp_path / f"cell/snapshots/{name}.pt")["state"] for name in ("kimg00000", "kimg00.32"))
    assert (first["linear.weight"] - last["linear.weight"]).abs().max() > 1e-3


GOLDEN = {  # of TRAIN_REVISION 1
    4: {"loss/G": 0.705773, "loss/D": 1.374572, "logits/real": 0.012343, "grad/G": 0.253660},
    40: {"loss/G": 0.719019, "loss/D": 1.335726, "logits/real": 0.066261, "grad/G": 0.226185},
}


def test_results_belong_to_their_revision(tmp_path):
    """If it fails on purpose: raise TRAIN_REVISION in gan/study.py, so that cells are trained again; renew GOLDEN."""
    rows = {}
    run(tmp_path, emit=lambda row: rows.setdefault(row["step"], {}).update(row))
    assert TRAIN_REVISION == 1
    for step, values in GOLDEN.items():
        assert {name: rows[step][name] for name in values} == pytest.approx(values, rel=1e-3)


# ---------------------------------------------------------------- what is written


def test_files_of_a_run(tmp_path):
    rows, snapshots = [], []

    def on_snapshot(kimg, path):
        snapshots.append((kimg, path.name, path.exists()))

    run(tmp_path, emit=rows.append, on_snapshot=on_snapshot, checkpoint_kimg=0.08)
    names = [
        f"snapshots/{name}.{suffix}" for name in ("kimg00000", "kimg00.16", "kimg00.32") for suffix in ("png", "pt")
    ]
    files = sorted(str(path.relative_to(tmp_path / "cell")) for path in (tmp_path / "cell").rglob("*.*"))
    assert files == sorted(
        ["cost.json", "recipe.json", "generator.pt", "weights.pt", "real.png", "stats.jsonl", *names]
    )
    assert snapshots == [(0.0, "kimg00000.pt", True), (0.16, "kimg00.16.pt", True), (0.32, "kimg00.32.pt", True)]
    assert rows == read_stats(tmp_path / "cell/stats.jsonl")
    grids, rows = ([row for row in rows if ("samples/ms_ssim" in row) == flag] for flag in (True, False))
    assert [(row["step"], set(row)) for row in grids] == [
        (step, {"kimg", "step", "time", "saved_kimg", "samples/ms_ssim", "samples/ms_ssim_real"}) for step in (20, 40)
    ]
    assert [row["step"] for row in rows] == list(range(4, 41, 4))
    expected = {"kimg", "step", "time", "loss/G", "loss/D", "logits/real", "logits/fake", "ada/p", "grad/G", "grad/D"}
    expected |= {"saved_kimg", "resumed", "speed/s_per_kimg", "memory/peak_gb"}
    assert set(rows[-1]) == expected | {"cost/wall_h", "cost/cpu_h", "cost/gpu_h"}
    assert [row["saved_kimg"] for row in rows] == [0, 0, *[0.08] * 3, *[0.16] * 2, *[0.24] * 3]
    assert rows[-1]["kimg"] == 0.32


def test_grids_of_real_and_generated_images_have_one_layout(tmp_path):
    run(tmp_path, data=TinyData(channels=2))
    sizes = {Image.open(tmp_path / "cell" / name).size for name in ("real.png", "snapshots/kimg00.32.png")}
    rows, columns = grids.layout(2, (8, 8))
    assert sizes == {(columns * (2 * 8 + grids.GAP) - grids.GAP, rows * 8)}


def test_grids_show_a_mask_in_colours(tmp_path):
    data = TinyData(channels=2)
    data.meta |= {"mask": "seg", "full_scale": [65535, 3]}
    run(tmp_path, data=data)
    assert {Image.open(tmp_path / "cell" / name).mode for name in ("real.png", "snapshots/kimg00.32.png")} == {"RGB"}


def test_stats_reader_leaves_out_a_torn_line(tmp_path):
    path = tmp_path / "stats.jsonl"
    stats = StatsFile(path)
    stats.append({"kimg": 1.0, "step": 4, "loss/G": float("nan")})
    with open(path, "a") as file:
        file.write('{"kimg": 2.0, "st')
    assert read_stats(path) == [{"kimg": 1.0, "step": 4, "loss/G": None}]
    stats.cut(100)
    stats.append({"kimg": 2.0, "step": 8})
    assert [row["step"] for row in read_stats(path)] == [4, 8]
    stats.close()
    assert read_stats(tmp_path / "absent.jsonl") == []


def test_stats_are_cut_in_place(tmp_path):
    stats = StatsFile(tmp_path / "stats.jsonl")
    (tmp_path / "link").hardlink_to(stats.path)
    for step in range(5):
        stats.append({"step": step})
    stats.cut(2)
    assert [row["step"] for row in read_stats(tmp_path / "link")] == [0, 1, 2]
    stats.close()


def test_meter_keeps_its_sums_over_a_checkpoint():
    meter, other = Meter(), Meter()
    meter.add({"a": torch.tensor(1.0), "b": torch.tensor(5.0)})
    other.load_state_dict(meter.state_dict(), CPU)
    for each in (meter, other):
        each.add({"a": torch.tensor(2.0)})
        assert each.peek() == each.read() == {"a": 1.5, "b": 5.0}
        assert each.read() == {}


def test_progress_in_a_log_is_a_line_now_and_then(monkeypatch, capsys):
    clock = iter([0.0, 10.0, 40.0, 100.0])
    monkeypatch.setattr("gan.train.progress.time.perf_counter", lambda: next(clock))
    progress = Progress(total=4, start=0, title="phantom/dcgan/s0")
    for kimg in (1, 2, 4):
        progress.row({"kimg": kimg, "loss/G": 1.5, "loss/D": 0.25})
    progress.close()
    assert capsys.readouterr().err.splitlines() == [
        "2.0/4 kimg, 20 s/kimg, 00:40 left, G 1.5, D 0.25",
        "4.0/4 kimg, 30 s/kimg, 00:00 left, G 1.5, D 0.25",
    ]


def test_progress_on_a_terminal_is_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = Progress(total=4, start=1, title="phantom/dcgan/s0")
    progress.row({"kimg": 4.0, "loss/G": 1.5, "ada/p": 0.125})
    progress.close()
    last = terminal.getvalue().split("\r")[-1]
    assert last.startswith("phantom/dcgan/s0: 4.0/4 kimg |") and "G 1.5, p 0.125" in last


# ---------------------------------------------------------------- failed trainings


def test_divergence_is_reported(tmp_path):
    with pytest.raises(
        GanError, match=r"training diverged by 0\.128 kimg: the loss of phase Gmain .*lower .*lr"
    ) as error:
        run(tmp_path, recipe(fail_at=13), checkpoint_kimg=0.08)
    assert "\n" not in str(error.value)
    last = read_stats(tmp_path / "cell/stats.jsonl")[-1]
    assert (last["event"], last["step"]) == ("diverged", 16)
    assert not (tmp_path / "cell/generator.pt").exists()


@pytest.mark.parametrize("where", ["checkpoint", "snapshot"])
def test_a_diverged_state_is_never_saved(tmp_path, where):
    """The step that diverges is neither a row of statistics nor the last: the check must come before the write."""
    every = {"checkpoint": 0.112, "snapshot": 100}[where]
    given = recipe(fail_at=13, snapshot_kimg={"checkpoint": 0.16, "snapshot": 0.112}[where])
    with pytest.raises(GanError, match="training diverged"):
        run(tmp_path, given, checkpoint_kimg=every)
    assert not (tmp_path / "state/checkpoint.pt").exists()
    assert not (tmp_path / "cell/snapshots/kimg0.112.pt").exists()


# ---------------------------------------------------------------- the application


def make_store(folder: Path, *, size=16, mask=None, labels=("a", "b"), split="train") -> Path:
    """24 images, 12 of them for training; the mask holds the labels 0 to 3."""
    random = np.random.default_rng(0)
    channels = ["t1", *([mask] if mask else [])]
    images = random.integers(0, 65536, (24, len(channels), size, size)).astype(np.uint16)
    if mask:
        images[:, 1] %= 4
    index = pd.DataFrame({"subject": [f"s{row // 4}" for row in range(24)], "slice": range(24), "row": range(24)})
    index = index.assign(position=0.5, fraction=0.5, kept=True, reason="", split=[split] * 12 + ["test"] * 12)
    index["label"] = [labels[row % len(labels)] if labels else "" for row in range(24)]
    meta = {"channels": channels, "mask": mask, "labels": list(labels), "size": [size, size], "spacing": [1.5, 2.0]}
    with writing(folder, images.shape[1:]) as writer:
        writer.append(images)
        writer.finish(index, pd.DataFrame(), meta | {"intensity": {"map": "percentiles"}})
    return folder


def dcgan(**changes):
    given = recipe(**{"kimg": 0.064, "snapshot_kimg": 0.032} | changes)
    given["data"] = {"contrasts": ["t1"], "mask": None}
    given["variant"] = {"name": "dcgan", "family": "dcgan", "revision": 1, "options": {"z_dim": 8, "channels": 4}}
    given["variant"]["options"] |= changes.get("options", {})
    return given


def cli(base: Path, given, *more: str) -> int:
    fixed = ["--store", str(base / "store"), "--folder", str(base / "cell"), "--checkpoints", str(base / "states")]
    on = () if "--runtime" in more else ("--runtime", "device=cpu")
    return main(["--recipe", given if isinstance(given, str) else json.dumps(given), *on, *fixed, *more])


def test_store_values_become_minus_one_to_one(tmp_path):
    store = Store.open(make_store(tmp_path / "store", mask="seg"))
    data = StoreDataset(store, CPU, conditional=True)
    assert len(data) == 12 and (data.shape.channels, data.shape.size, data.shape.labels) == (4, (16, 16), 2)
    batch = data.batch(np.array([3, 0, 11]))
    raw = store.images[[3, 0, 11]].astype(np.float64)
    np.testing.assert_allclose(batch.real[:, 0], raw[:, 0] / 32767.5 - 1, atol=1e-6)
    assert (batch.real[:, 1:].numpy() == np.where(raw[:, 1:] == [[[1]], [[2]], [[3]]], 1, -1)).all()
    assert batch.labels.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert data.meta["label_counts"] == [6, 6]


def test_judging_is_no_cost_of_a_run():
    meter = CostMeter(CPU)
    with meter.paused():
        spent = time.process_time() + 0.05
        while time.process_time() < spent:
            pass
        inside = meter.now()
    after = meter.now()
    assert inside.cpu_s > 0.05 > after.cpu_s and inside.wall_s > after.wall_s


def test_moments_take_the_memory_format_of_their_weights():
    """Those of a CPU's checkpoint, on a GPU, where weights of convolutions are channels_last."""
    states = []
    for order in (torch.contiguous_format, torch.channels_last):
        weight = torch.nn.Parameter(torch.zeros(3, 4, 2, 2).contiguous(memory_format=order))
        optimizer = torch.optim.Adam([weight])
        if states:
            optimizer.load_state_dict(states[0])
            trainer._in_the_formats_of_the_weights(optimizer)
        else:
            weight.grad = torch.randn(3, 4, 2, 2)
            optimizer.step()
        states.append(optimizer.state_dict())
    (old,), (new,) = (state["state"].values() for state in states)
    for name in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(old[name], new[name]) and new[name].stride() == weight.stride() != old[name].stride()
    assert new["step"] == 1


def test_the_code_of_each_attempt_is_noted(monkeypatch):
    """An attempt with the code of the one before adds nothing; a state of before this was noted has none."""
    codes = [{"sources": name} for name in ("a", "a", "b", "a")]
    state = CostMeter(CPU).state_dict() | {"code": []}
    for code in codes:
        monkeypatch.setattr(cost, "code", lambda code=code: code)
        state = CostMeter(CPU, state).state_dict()
    assert [code["sources"] for code in state["code"]] == ["a", "b", "a"]
    del state["code"]
    assert CostMeter(CPU, state).state_dict()["code"] == [{"sources": "a"}]


def test_the_code_is_known_by_every_character(tmp_path, monkeypatch):
    for name, text in (("one.py", "1"), ("two.cu", "2"), ("three.txt", "3")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(project, "PACKAGE", tmp_path)
    found = []
    for name, text in (("one.py", "1"), ("three.txt", "4"), ("two.cu", "5"), ("two.cu", "2")):
        (tmp_path / name).write_text(text)
        found.append(project.code.__wrapped__()["sources"])
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/Snakefile.py").write_text("of a wheel")
    assert found[0] == found[1] == found[3] == project.code.__wrapped__()["sources"] != found[2]
    assert project.code.__wrapped__().keys() >= {"python", "torch", "numpy", "gan-study"}


def test_command_trains_a_cell_and_keeps_no_checkpoint(tmp_path):
    make_store(tmp_path / "store")
    (tmp_path / "recipe.json").write_text(json.dumps(dcgan()))
    more = ["--runtime", "device=cpu,threads=1", "--log", str(tmp_path / "log")]
    assert cli(tmp_path, str(tmp_path / "recipe.json"), *more) == 0
    assert json.loads((tmp_path / "cell/recipe.json").read_text()) == dcgan()
    cost = json.loads((tmp_path / "cell/cost.json").read_text())
    assert {"wall_s", "cpu_s", "gpu_s", "peak_mem_mb", "device", "threads", "resumed", "started", "finished"} <= set(
        cost
    )
    assert cost["cpu_s"] > 0 and cost["gpu_s"] == 0 and cost["device"] == "cpu" and cost["finished"] >= cost["started"]
    assert list((tmp_path / "states").rglob("stats.jsonl")) and not list((tmp_path / "states").rglob("checkpoint.pt"))
    assert (tmp_path / "cell/generator.pt").exists()


def test_kernels_that_are_not_used_are_an_event(tmp_path, monkeypatch, capfd):
    make_store(tmp_path / "store")
    asked = []
    monkeypatch.setattr(check, "choose", lambda *wanted: asked.append(wanted) or "sm_75 is too old")
    assert cli(tmp_path, dcgan()) == 0
    assert asked == [("auto", CPU)]
    first, *_ = events = [row for row in read_stats(tmp_path / "cell/stats.jsonl") if "event" in row]
    assert first["kimg"] == 0 and [row["event"] for row in events].count("ops_reference") == 1
    assert first["message"].endswith("slower than the kernels: sm_75 is too old")
    assert capfd.readouterr().err.count("warning at 0 kimg: falling back to PyTorch's functions") == 1


BAD = [
    ("{not json", "--recipe: not valid JSON"),
    ("absent.json", "absent.json: no such file"),
    (json.dumps({"data": {}}), "--recipe: the key variant.family is missing"),
    (dcgan() | {"variant": {"family": "dcgna", "options": {}}}, "variant.family is 'dcgna'; allowed: "),
    (dcgan() | {"data": {"contrasts": ["t2"], "mask": None}}, "its channels are t1, the recipe requires t2"),
    (dcgan(options={"chanels": 4}), "has no option 'chanels'"),
    (dcgan(options={"conditional": True}), "it has no labels, but options.conditional is true"),
]


@pytest.mark.parametrize(("given", "message"), BAD)
def test_bad_recipes(tmp_path, capfd, given, message):
    make_store(tmp_path / "store", labels=())
    assert cli(tmp_path, given) == 1
    error = capfd.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_gpu_that_is_too_small(tmp_path, capfd, monkeypatch):
    make_store(tmp_path / "store")

    def full(recipe, dataset, paths, machine, **options):
        assert machine.runtime.microbatches == 2
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("gan.run.train", full)
    assert cli(tmp_path, dcgan(), "--runtime", "device=cpu,microbatches=2") == 1
    said = capfd.readouterr().err
    assert said.startswith("error: a step does not fit") and "resources.train.microbatches above 2, or on more" in said


def test_store_without_training_images(tmp_path, capfd):
    make_store(tmp_path / "store", split="val")
    assert cli(tmp_path, dcgan()) == 1
    assert "no images in the split train" in capfd.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU where there is none")
def test_gpu_that_a_job_holds_and_torch_does_not_see(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert pick_device("auto").type == "cpu"
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with pytest.raises(GanError, match=r"this Slurm job holds GPU 0, and torch sees none.*device cpu"):
        pick_device("auto")
    assert pick_device("cpu").type == "cpu"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "NoDevFiles")
    assert pick_device("auto").type == "cpu"


def test_gpu_asked_for_where_there_is_none(tmp_path, capfd):
    make_store(tmp_path / "store")
    assert cli(tmp_path, dcgan(), "--runtime", "device=cuda") == 1
    assert "device cuda: torch sees no GPU here" in capfd.readouterr().err


def test_recipe_by_text_and_by_file_are_one(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(dcgan(), indent=4))
    assert run_key(read_recipe(str(tmp_path / "r.json"))) == run_key(read_recipe(json.dumps(dcgan())))


def test_sigterm_of_the_command(tmp_path):
    """As a scheduler does it: a process in the middle of training gets SIGTERM, saves, and leaves with 143."""
    make_store(tmp_path / "store")
    fixed = ["--store", str(tmp_path / "store"), "--folder", str(tmp_path / "cell")]
    states = ["--checkpoints", str(tmp_path / "states"), "--runtime", "device=cpu"]
    long = json.dumps(dcgan(kimg=1000, snapshot_kimg=1000))
    process = subprocess.Popen(
        [sys.executable, "-m", "gan", "run", "--recipe", long, *fixed, *states], stderr=subprocess.PIPE
    )
    stats = tmp_path / "cell/stats.jsonl"
    end = time.monotonic() + 300
    while not (stats.exists() and stats.stat().st_size) and time.monotonic() < end and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=240)
    assert process.returncode == 143, error.decode()
    assert b"state saved; run again to resume" in error
    saved = tmp_path / "states" / run_key(json.loads(long)) / "checkpoint.pt"
    assert saved.exists()
