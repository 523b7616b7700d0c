"""What is noticed of a training that goes wrong, by numbers made up and by trainings that do."""

import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TinyData, outcome, paths, recipe
from tinyfamily.model import Tiny

from gan.cells import stats as read_stats
from gan.families.contract import ImageShape, Phase
from gan.families.registry import build, defaults
from gan.metrics.ssim import similarity_of_set
from gan.nn.quantize import Quantizer, learn
from gan.objectives import OBJECTIVES
from gan.train.loop import train
from gan.train.signals import Stopped
from gan.train.watch import SATURATED, SIGNS, WINDOW, Watch

HEALTHY = {
    **{"loss/D": 0.5, "ada/p": 0.3, "logits/real": 1.0, "logits/fake": -1.5, "loss/gp": 0.1, "fq/evenness": 0.2},
    **{"samples/ms_ssim": 0.3, "samples/ms_ssim_real": 0.2},
}
CASES = [  # event, numbers just beyond its limit, numbers just within
    ("discriminator_saturated", {"loss/D": 0.009}, {"loss/D": 0.011}),
    ("ada_runaway", {"ada/p": 0.81}, {"ada/p": 0.79}),
    ("critic_drift", {"logits/real": -100.0, "logits/fake": -101.0}, {"logits/real": -98.0, "logits/fake": -99.0}),
    ("critic_drift", {"logits/real": 310.0, "logits/fake": 281.0}, {"logits/real": 310.0, "logits/fake": 279.0}),
    ("critic_steep", {"loss/gp": 1.01}, {"loss/gp": 0.99}),
    ("codes_collapsed", {"fq/evenness": 0.049}, {"fq/evenness": 0.051}),
    ("collapse", {"samples/ms_ssim": 0.81}, {"samples/ms_ssim": 0.79}),
]


def events(folder) -> list[tuple[str, int]]:
    return [(row["event"], row["step"]) for row in read_stats(folder / "stats.jsonl") if "event" in row]


@pytest.mark.parametrize(("event", "beyond", "within"), CASES)
def test_a_sign_is_told_once_and_after_a_while(event, beyond, within):
    watch, rows = Watch(), next(sign.rows for sign in SIGNS if sign.event == event)
    assert [watch.row(HEALTHY | within) for _ in range(2 * WINDOW)] == [[]] * 2 * WINDOW
    found = [[name for name, _ in watch.row(HEALTHY | beyond)] for _ in range(2 * WINDOW)]
    assert found == [[]] * (rows - 1) + [[event]] + [[]] * (2 * WINDOW - rows)


def test_every_sign_is_tested():
    assert {sign.event for sign in SIGNS} == {event for event, _, _ in CASES} | {"recall_lost"}


def test_a_sign_that_goes_away_is_counted_anew():
    watch, bad = Watch(), HEALTHY | {"loss/D": 0.001}
    for row in [bad] * (WINDOW - 1) + [HEALTHY] + [bad] * (WINDOW - 1):
        assert watch.row(row) == []


def test_rows_without_its_numbers_neither_count_nor_break_a_series():
    watch, found = Watch(), []
    for _ in range(WINDOW):
        found += watch.row({"loss/D": 0.001}) + watch.row({"samples/ms_ssim": 0.2, "samples/ms_ssim_real": 0.2})
    assert [event for event, _ in found] == ["discriminator_saturated"]


def test_messages_hold_their_numbers():
    watch = Watch()
    ((_, said),) = watch.row({"samples/ms_ssim": 0.912, "samples/ms_ssim_real": 0.153})
    assert "0.91" in said and "0.15" in said and "collapsed" in said


@pytest.mark.parametrize(("recalls", "told"), [((0.3, 0.2, 0.029), 0.029), ((0.3, 0.031), None), ((0.09, 0.0), None)])
def test_recall_is_lost_when_it_falls_from_where_it_was(recalls, told):
    watch = Watch()
    found = [(recall, event) for recall in recalls for event, _ in watch.row({"scores/recall": recall})]
    assert found == ([(told, "recall_lost")] if told else [])


def test_a_watch_goes_on_where_another_stopped():
    rows = [{"scores/recall": 0.5}] + [{"ada/p": 0.9}] * (WINDOW - 1) + [{"ada/p": 0.9}, {"scores/recall": 0.0}]
    whole, first, second = Watch(), Watch(), Watch()
    expected = [whole.row(row) for row in rows]
    found = [first.row(row) for row in rows[:3]]
    second.load_state_dict(first.state_dict())
    assert found + [second.row(row) for row in rows[3:]] == expected
    assert [event for step in expected for event, _ in step] == ["ada_runaway", "recall_lost"]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_loss_says_that_a_discriminator_is_perfect_where_only_that_makes_it_small(name):
    objective = OBJECTIVES[name]
    real, fake = (torch.full([4, 1], logit) for logit in ((1.0, 0.0) if name == "lsgan" else (8.0, -8.0)))
    undecided = objective.discriminator(real, real).item()
    assert objective.discriminator(real, fake).item() < SATURATED
    assert objective.saturates == (undecided >= SATURATED)


@pytest.mark.parametrize(
    ("family", "options", "saturates"),
    [
        ("stylegan2", {"objective": "nonsaturating"}, True),
        ("stylegan2", {"objective": "wgan_gp"}, False),
        ("dcgan", {}, True),
        ("progan", {}, False),
    ],
)
def test_a_variant_says_whether_its_loss_saturates(family, options, saturates):
    small = {"channel_base": 16, "channel_max": 4} if family != "dcgan" else {"channels": 2}
    variant = build(family, defaults(family) | small | options, ImageShape(1, (16, 16)), 4)
    watch = Watch(variant.saturates)
    found = [event for _ in range(WINDOW) for event, _ in watch.row({"loss/D": 0.0})]
    assert found == (["discriminator_saturated"] if saturates else [])


@pytest.mark.parametrize(("target", "limit"), [(0.0, 1.0), (1.0, 1.0), (3.0, 9.0)])
def test_a_penalty_is_steep_beside_the_norm_that_it_asks_for(target, limit):
    small = {"channel_base": 16, "channel_max": 4, "objective": "wgan_gp", "gp_target": target}
    variant = build("stylegan2", defaults("stylegan2") | small, ImageShape(1, (16, 16)), 4)
    for penalty, told in ((0.99 * limit, []), (1.01 * limit, ["critic_steep"])):
        watch = Watch(variant.saturates, variant.gp_target)
        assert [event for _ in range(WINDOW) for event, _ in watch.row({"loss/gp": penalty})] == told


# ---------------------------------------------------------------- trainings


def run(base, given=None, data=None, **more):
    """Train and return the events with their steps."""
    train(given or recipe(), data or TinyData(), paths(base), **more)
    return events(base / "cell")


def test_a_discriminator_that_trains_alone_saturates(tmp_path, monkeypatch):
    monkeypatch.setattr(Tiny, "phases", lambda variant: (Phase("Dmain", "D"),))
    given = recipe(lr=0.05, kimg=0.64)
    assert [event for event, _ in run(tmp_path / "of_logits", given)] == ["discriminator_saturated"]
    monkeypatch.setattr(Tiny, "saturates", False)
    assert run(tmp_path / "of_a_critic", given) == []


def test_warnings_reach_the_statistics_and_the_terminal_once(tmp_path, capfd):
    assert run(tmp_path, recipe(p=0.95)) == [("ada_runaway", 20)]
    assert capfd.readouterr().err.count("augmentation probability is 0.95") == 1


def test_the_grid_of_a_generator_that_makes_one_image_shows_its_collapse(tmp_path):
    """A DCGAN that has not learned anything makes nearly the same grey image of every latent."""
    given, data = recipe(kimg=0.064, snapshot_kimg=0.032), TinyData(size=16)
    given["variant"] = {"family": "dcgan", "options": defaults("dcgan") | {"z_dim": 8, "channels": 4, "lr": 0.0}}
    assert run(tmp_path, given, data) == [("collapse", 4)]
    rows = [row for row in read_stats(tmp_path / "cell/stats.jsonl") if "samples/ms_ssim" in row]
    assert [row["step"] for row in rows] == [4, 8]
    for name, picture in (("samples/ms_ssim", "snapshots/kimg0.064.png"), ("samples/ms_ssim_real", "real.png")):
        samples = untile(tmp_path / "cell" / picture, 16)
        assert rows[-1][name] == pytest.approx(similarity_of_set(samples, 100), rel=1e-9)
    assert rows[-1]["samples/ms_ssim_real"] < 0.1 < 0.9 < rows[-1]["samples/ms_ssim"]


def untile(path, side: int) -> np.ndarray:
    """The samples of a grid of one contrast, [N, 1, side, side]."""
    with Image.open(path) as image:
        pixels = np.asarray(image)
    blocks = pixels.reshape(pixels.shape[0] // side, side, -1, side)
    return blocks.swapaxes(1, 2).reshape(-1, 1, side, side)


def test_codes_that_do_not_follow_their_features_collapse():
    """Features that move on leave codes behind that hardly move: the nearest one takes all."""
    torch.manual_seed(0)
    told = {}
    for decay in (0.8, 0.9999):
        quantizer, watch = Quantizer(4, codes=64, decay=decay), Watch()
        for step in range(40):
            notes = []
            quantizer(torch.randn(8, 4, 8, 8) + 0.08 * step, notes)
            logs = {name: value.item() for name, value in learn(notes).items()}
            told.setdefault(decay, []).extend(event for event, _ in watch.row(logs))
    assert told == {0.8: [], 0.9999: ["codes_collapsed"]}


def test_scores_of_a_snapshot_are_watched_and_a_resumed_run_remembers_them(tmp_path):
    """Recall falls between two snapshots, and the run is stopped between them."""
    given, recall = recipe(snapshot_kimg=0.08), {0.0: 0.0, 0.08: 0.4, 0.16: 0.5, 0.24: 0.3, 0.32: 0.01}

    def score(kimg, path):
        return {"scores/recall": recall[kimg]}

    def stop(row):
        if row["step"] == 24:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        run(tmp_path / "parts", given, on_snapshot=score, emit=stop)
    assert run(tmp_path / "parts", given, on_snapshot=score) == [("recall_lost", 40)]
    assert run(tmp_path / "whole", given, on_snapshot=score) == [("recall_lost", 40)]
    assert outcome(tmp_path / "parts/cell") == outcome(tmp_path / "whole/cell")
    rows = [row for row in read_stats(tmp_path / "whole/cell/stats.jsonl") if "scores/recall" in row]
    assert [(row["kimg"], row["scores/recall"]) for row in rows] == list(recall.items())
