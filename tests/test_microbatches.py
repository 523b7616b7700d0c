"""A batch in pieces, one after another, takes the steps of a batch at once."""

import math

import pytest
import torch
from golden import BATCH, CASES
from parallel_worker import doubled, steps
from test_variants import _make
from tiny import TinyData, machine, paths, recipe, sources

from gan import parallel
from gan.errors import GanError
from gan.nn import BatchNorm
from gan.train.loop import train
from gan.train.trainer import Trainer

CPU = torch.device("cpu")
NORMALISED = [case for case in CASES if any(isinstance(module, BatchNorm) for module in _make(case).modules())]


@pytest.fixture
def exact():
    with doubled():
        yield


def made(case, batch, **options):
    family, base = CASES[case]
    given = recipe(precision="fp32", batch=batch)
    given["variant"] = {"name": case, "family": family, "revision": 1, "options": base | options}
    return given


def of(case, microbatches=1, batch=BATCH, size=16, **options):
    data = TinyData(length=20, size=size, channels=2, labels=2, sources=sources(CASES[case][0]))
    trainer = Trainer(made(case, batch, **options), data, CPU, microbatches)
    for optimizer in trainer.optimizers.values():
        optimizer.param_groups[0]["eps"] = 1.0  # with 1e-8 Adam makes steps of what is rounding in a gradient of 0
    return trainer


def assert_same(found, expected):
    """To 1e-9 of the values from 1 on."""
    for step, (mine, its) in enumerate(zip(found, expected, strict=True)):
        assert mine.keys() == its.keys() and torch.equal(mine["random"], its["random"])
        for name in mine.keys() - {"random"}:
            error = (mine[name].double() - its[name].double()).abs() / (1 + its[name].abs())
            assert (error < 1e-9).all(), (step, name, float(error.max()))


@pytest.mark.parametrize("case", [case for case in CASES if case not in NORMALISED])
def test_steps_of_every_variant(case, exact):
    """Losses, gradients, weights, moving average, statistics of every kind, and the state of the random generator."""
    assert_same(steps(of(case, 2), 2), steps(of(case), 2))


def test_four_pieces(exact):
    """ADA adapts after the fourth step, the path length term comes back in the fifth."""
    options = {"ada_p": None}
    found, expected = (steps(of("stylegan2_ada", pieces, 8, **options), 5) for pieces in (4, 1))
    assert_same(found, expected)
    assert all(
        expected[-1][name] != expected[0][name] for name in ("variant/controller.rt", "variant/path_length_mean")
    )


def test_volumes_with_all_that_changes_them(exact):
    options = {"augment": "mri", "ada_p": 0.8, "ada_oversample": False, "augment_real": "all"}
    found, expected = (steps(of("stylegan2_plain", pieces, size=(12, 12, 16), **options), 1) for pieces in (2, 1))
    assert_same(found, expected)


@pytest.mark.parametrize("case", NORMALISED)
def test_batch_normalisation_is_refused(case):
    with pytest.raises(GanError, match=r"resources.train.microbatches is 2, but this variant normalises by moments"):
        of(case, 2).advance(measure=False)


@pytest.mark.parametrize(
    ("case", "pieces", "batch", "group", "words"),
    [
        ("stylegan2", 4, 4, 2, "training.batch, 4 images, gives 1 each, not a multiple of option mbstd_group"),
        (
            "stylegan2",
            2,
            6,
            1,
            "half of training.batch, as the path length term takes it, 3 images, cannot be split",
        ),
        (
            "stylegan2_plain",
            3,
            4,
            1,
            "training.batch, 4 images, cannot be split evenly; use another number of GPUs or",
        ),
    ],
)
def test_pieces_are_whole_groups_and_whole_images(case, pieces, batch, group, words):
    with pytest.raises(GanError) as error:
        of(case, pieces, batch, mbstd_group=group)
    assert str(error.value).startswith(f"resources.train.gpu is 1, resources.train.microbatches {pieces}: {words}")


def test_what_the_pieces_know_together():
    """Not before all have been there; then the same for each, whatever a loss makes of it."""
    pieces, found = parallel.Pieces(2), []
    with parallel.together():
        for _ in range(2):
            for index in range(2):
                with pieces.at(index):
                    found.append(parallel.mean(torch.tensor([1.0, 10.0])[index]))
                    assert (parallel.parts(), parallel.place()) == (2, index)
        assert parallel.parts() == 1
    assert math.isnan(found[0]) and torch.stack(found[1:]).tolist() == [5.5] * 3


def test_a_loss_whose_exchange_nobody_announced_is_not_a_number(monkeypatch):
    trainer = of("stylegan2", 2)
    monkeypatch.setattr(trainer, "phases", [phase._replace(exchanges=0) for phase in trainer.phases])
    trainer.advance(measure=False)
    means = trainer.meter.read()
    assert math.isnan(means["loss/pl"]) and math.isfinite(means["loss/G"])


def test_a_run_goes_on_in_another_number_of_pieces(tmp_path):
    """It is told, since the last digits may differ."""
    given = made("stylegan2_plain", BATCH)
    given["training"] |= {"kimg": 0.012, "snapshot_kimg": 0.004}
    rows = []
    data = TinyData(length=8, size=16)

    class Enough(Exception):
        pass

    def stop(kimg, path):
        if kimg > 0.004:  # the checkpoint of a step comes after its snapshot
            raise Enough

    with pytest.raises(Enough):
        train(given, data, paths(tmp_path), machine(checkpoint_kimg=0.004), emit=rows.append, on_snapshot=stop)
    train(given, data, paths(tmp_path), machine(microbatches=2), emit=rows.append)
    (said,) = [row["message"] for row in rows if row.get("event") == "microbatches_changed"]
    assert said == "resumed with 2 microbatches after running with 1: results will not be bit-identical"
