"""Options of StyleGAN2 in combination: every pair of values in one of a few trainings, and what ranks make of them."""

import dataclasses
import itertools
import random

import pytest
import torch
from golden import CASES
from parallel_worker import Data, recipe, start, steps
from tiny import TinyData, assert_equal

from gan.families.registry import defaults, options_of, trained
from gan.families.stylegan2.options import StyleGAN2Options
from gan.sampling.snapshot import Snapshot, load_generator, save_generator
from gan.sampling.tasks import sample
from gan.train.trainer import Trainer

CPU = torch.device("cpu")
FIXED = {
    **{"z_dim": 8, "w_dim": 8, "channel_base": 64, "channel_max": 8, "mbstd_group": 2, "attention_at": [8]},
    **{"attention_heads": 2, "attention_width": 4, "pl_every": 1, "r1_every": 2},
}
FACTORS = {
    "channels": (1, 3, 4),
    "conditional": (False, True),
    "objective": ("nonsaturating", "wgan_gp", "hinge", "r3gan"),
    "gp_weight": (None, 1.0),
    "r1_gamma": (None, 0.0),
    "lecam": (0.0, 0.1),
    "n_critic": (1, 2),
    "topk": (False, True),
    "lr_phases": ((), [[0.008, 0.001]]),
    "attention": ("none", "linear", "sagan"),
    "attention_in": ("both", "g", "d"),
    "quantize": ("none", "replace", "loss_only"),
    "modulation": ("demod", "adain"),
    "augment": ("none", "mri", "bg", "bgc", "bgcf", "bgcfn", "bgcfnc", "diffaugment"),
    "ada_oversample": (True, False),
    "pl_weight": (2.0, 0.0),
    "style_mixing": (0.9, 0.0),
    "xflip": (False, True),
}
OF_VOLUMES = ("augment_real",)  # which the images here refuse: tests/test_reals.py


def _pairs(row):
    return set(itertools.combinations(row.items(), 2))


def _covering():
    """Rows that hold every pair of values: greedily, the best of some at random that hold a pair still missing."""
    dice = random.Random(0)
    every = [[(name, place) for place in range(len(values))] for name, values in FACTORS.items()]
    missing = {pair for one, other in itertools.combinations(every, 2) for pair in itertools.product(one, other)}
    rows = []
    while missing:
        wanted = dict(min(missing))
        tries = [{n: wanted.get(n, dice.randrange(len(v))) for n, v in FACTORS.items()} for _ in range(60)]
        rows.append(max(tries, key=lambda row: len(_pairs(row) & missing)))
        missing -= _pairs(rows[-1])
    return [{name: FACTORS[name][place] for name, place in row.items()} for row in rows]


ROWS = _covering()


def _trainer(row):
    options = {name: value for name, value in row.items() if name != "channels"}
    given = recipe("stylegan2", batch=4)
    given["variant"]["options"] = defaults("stylegan2") | FIXED | options
    return Trainer(given, TinyData(12, row["channels"], _size(row), 2 if row["conditional"] else 0), CPU)


def _size(row):
    """Filters of the augmentation take 22 pixels."""
    return 24 if row["augment"].startswith("bgcf") else 16


def test_every_option_that_is_a_choice_is_combined():
    """An option of few values that is missing here is tested with nothing else."""
    fields = {item.name: item for item in dataclasses.fields(StyleGAN2Options)}
    few = {name for name, item in fields.items() if item.metadata["choices"] or isinstance(item.default, bool)}
    assert few - set(FACTORS) == {"diffaugment", *OF_VOLUMES}
    for name in few & set(FACTORS):
        assert set(FACTORS[name]) == set(fields[name].metadata["choices"] or (False, True))


def test_every_family_every_option_and_every_choice_is_tested():
    """In `CASES` or in the rows here: options of few values with each of them, others with one besides the default."""
    tested = [*CASES.values(), *(("stylegan2", FIXED | row) for row in ROWS)]
    missing = []
    for family in trained().keys() - {"tiny"}:
        options = options_of(family)
        given = [defaults(family) | choice for name, choice in tested if name == family]
        for item in (item for item in dataclasses.fields(options) if item.name not in OF_VOLUMES):
            values = [value for each in given for value in _members(each[item.name], item.metadata["choices"])]
            wanted = item.metadata["choices"] or ((False, True) if isinstance(item.default, bool) else ())
            missing += [f"{family}.{item.name}: {value}" for value in wanted if value not in values]
            if not wanted and all(value == item.default for value in values):
                missing.append(f"{family}.{item.name}: other than {item.default}")
    assert not missing, f"add a case to the golden.json of its family for {', '.join(missing)}"


def _members(value, choices):
    return value if choices and isinstance(value, list | tuple) else [value]


@pytest.mark.parametrize("row", ROWS, ids=[str(index) for index in range(len(ROWS))])
def test_combined_options_train_resume_and_sample(row, tmp_path):
    """Every phase before and after a save; gone on bit for bit; the generator from its file gives the same images."""
    whole = _trainer(row)
    for _ in range(2):
        whole.advance(measure=True)
    torch.save(whole.state_dict(), tmp_path / "state.pt")
    for _ in range(2):
        whole.advance(measure=True)
    assert whole.variant.epoch == 12
    for name, rate in whole.variant.learning_rates(3 * 4).items():
        assert row["lr_phases"] and whole.optimizers[name].param_groups[0]["lr"] == rate
    resumed = _trainer(row)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(2):
        resumed.advance(measure=True)
    assert_equal(resumed.state_dict(), whole.state_dict())
    means = whole.meter.read()
    whole.require_finite(0.016, means)
    assert {f"phase/{phase.name}" for phase in whole.phases} <= means.keys()
    options = whole.variant.options.__dict__
    snapshot = Snapshot(whole.ema, "stylegan2", options, whole.dataset.shape, 4, data=whole.dataset.meta)
    images = sample(snapshot, 3, seed=0)
    assert images.shape == (3, row["channels"], _size(row), _size(row)) and images.std() > 0
    save_generator(tmp_path / "generator.pt", snapshot)
    assert torch.equal(sample(load_generator(tmp_path / "generator.pt"), 3, seed=0), images)


TOGETHER = {
    "critic": {
        **{"objective": "wgan_gp", "n_critic": 2, "drift": 0.01, "r1_gamma": 0.1, "topk": True, "topk_decay": 0.8},
        **{"lecam": 0.1, "quantize": "replace", "quantize_codes": 6, "attention": "linear", "attention_at": [8]},
        **{"modulation": "adain", "augment": "diffaugment", "lr_phases": [[0.016, 0.001]]},
    },
    "pairs": {
        **{"objective": "r3gan", "r1_every": 1, "quantize": "loss_only", "quantize_decay": 0.5},
        **{"attention": "sagan", "attention_at": [8, 16], "topk": True, "topk_decay": 0.5},
    },
}


def courses(folder=None):
    """Four steps in float64: Adam makes much of the last digit of a small gradient."""
    before = torch.Tensor.float
    try:
        torch.set_default_dtype(torch.float64)
        torch.Tensor.float = torch.Tensor.double
        found = {}
        for name, options in TOGETHER.items():
            given = recipe("stylegan2")
            given["variant"]["options"] |= options
            trainer = Trainer(given, Data(), CPU)
            trainer.variant.epoch = 8
            for key, parameter in trainer.variant.generator.named_parameters():
                if (
                    "noise_strength" in key
                ):  # without, AdaIN takes away the bias of the constant: a gradient of rounding
                    parameter.data.fill_(1.0)
            found[name] = steps(trainer, 4)
        return found
    finally:
        torch.set_default_dtype(torch.float32)
        torch.Tensor.float = before


def test_two_ranks_take_the_steps_of_one(tmp_path):
    expected = courses()
    for found in start(2, courses, tmp_path):
        for name in TOGETHER:
            for step, (mine, its) in enumerate(zip(found[name], expected[name], strict=True)):
                assert mine.keys() == its.keys()
                for key in mine:
                    where = f"{name}, step {step}, {key}: "
                    torch.testing.assert_close(
                        mine[key], its[key], rtol=1e-9, atol=1e-12, msg=lambda text, at=where: at + text
                    )
    last = expected["critic"][-1]
    assert last["variant/anchors"].all() and last["fq/usage"] > 0 and 0 < last["topk/share"] < 1


WITHOUT_EFFECT = options_of("stylegan2")().without_effect()


@pytest.mark.parametrize("name", sorted(WITHOUT_EFFECT))
def test_an_option_that_is_said_to_do_nothing_does_nothing(name):
    """What the config refuses to train again under another key would give the very same losses."""
    other = {"attention_in": "g", "diffaugment": ("cutout",), "attention_at": (8,), "quantize_at": (4,), "ada_p": 0.5}
    value = other.get(name, defaults("stylegan2")[name])
    value = value if name in other else value / 2 if isinstance(value, float) else value + 1
    row = {name: values[0] for name, values in FACTORS.items()} | {"r1_gamma": 0.1}
    fixed = {key: each for key, each in FIXED.items() if key not in WITHOUT_EFFECT}
    means = []
    for change in ({}, {name: value}):
        given = recipe("stylegan2", batch=4)
        options = {key: each for key, each in row.items() if key not in ("channels", *WITHOUT_EFFECT)}
        given["variant"]["options"] = defaults("stylegan2") | fixed | options | change
        trainer = Trainer(given, TinyData(12, 1, 16, 0), CPU)
        trainer.advance(measure=False)
        means.append(trainer.meter.read())
    assert means[0] == means[1]
