"""The contract of variants, over every family and a set of options for each; then what each family promises."""

import copy
import dataclasses
import json
import math
import re
import sys
import textwrap
import types
from pathlib import Path

import pytest
import torch
from tiny import TinyData, assert_equal, recipe

from gan.errors import GanError
from gan.train.snapshot import Snapshot, load_generator, save_generator
from gan.train.trainer import Trainer
from gan.variants import build, variant_class
from gan.variants import options as options_module
from gan.variants.base import Batch, ImageShape, half_life_beta, mirrored
from gan.variants.options import FAMILIES, defaults

BATCH, BUDGET = 4, 80
DOCS = Path(__file__).parent.parent / "docs" / "variants.md"
STYLEGAN2 = {"z_dim": 8, "w_dim": 8, "channel_base": 64, "channel_max": 8, "mbstd_group": 2}
DCGAN = {"z_dim": 8, "channels": 4}
PROGAN = {"z_dim": 8, "channel_base": 64, "channel_max": 8, "mbstd_group": 2}
CASES = {
    "stylegan2": ("stylegan2", STYLEGAN2),
    "stylegan2_ada": ("stylegan2", STYLEGAN2 | {"augment": "bgc", "ada_p": 0.5, "xflip": True}),
    "stylegan2_plain": ("stylegan2", STYLEGAN2 | {"pl_weight": 0.0, "r1_gamma": 0.0, "style_mixing": 0.0}),
    "stylegan2_labels": ("stylegan2", STYLEGAN2 | {"augment": "mri", "conditional": True}),
    "stylegan2_wgan": ("stylegan2", STYLEGAN2 | {"objective": "wgan_gp", "n_critic": 2, "drift": 0.001, "beta2": 0.9}),
    "stylegan2_hinge": ("stylegan2", STYLEGAN2 | {"objective": "hinge", "beta1": 0.5}),
    "stylegan2_r3gan": ("stylegan2", STYLEGAN2 | {"objective": "r3gan", "r1_every": 1, "pl_weight": 0.0}),
    "stylegan2_topk": ("stylegan2", STYLEGAN2 | {"topk": True, "topk_decay": 0.7, "lecam": 0.1}),
    "stylegan2_attention": ("stylegan2", STYLEGAN2 | {"attention": "linear", "attention_at": [4, 16]}),
    "stylegan2_sagan": ("stylegan2", STYLEGAN2 | {"attention": "sagan", "attention_at": [8], "attention_in": "d"}),
    "stylegan2_fq": ("stylegan2", STYLEGAN2 | {"quantize": "replace", "quantize_codes": 8}),
    "stylegan2_fq_loss": ("stylegan2", STYLEGAN2 | {"quantize": "loss_only", "quantize_at": [4]}),
    "stylegan2_adain": ("stylegan2", STYLEGAN2 | {"modulation": "adain"}),
    "stylegan2_diffaugment": ("stylegan2", STYLEGAN2 | {"augment": "diffaugment"}),
    "stylegan2_adaptive": (
        "stylegan2",
        STYLEGAN2
        | {"augment": "mri", "ada_target": 0.5, "ada_kimg": 1.0, "mapping_layers": 3, "ema_kimg": 1.0}
        | {"ema_rampup": None, "lr": 0.002, "lr_warmup_kimg": 0.01},
    ),
    "stylegan2_penalties": (
        "stylegan2",
        STYLEGAN2
        | {"gp_weight": 1.0, "gp_target": 2.0, "r2_gamma": 0.2, "lecam": 0.1, "lecam_decay": 0.9}
        | {"topk": True, "topk_min": 0.4, "quantize": "replace", "quantize_decay": 0.5, "quantize_commitment": 0.5},
    ),
    "stylegan2_frozen": ("stylegan2", STYLEGAN2 | {"freeze_d": 4}),
    "dcgan": ("dcgan", DCGAN | {"xflip": True, "ema_kimg": 1.0}),
    "dcgan_labels": ("dcgan", DCGAN | {"conditional": True}),
    "dcgan_layers": (
        "dcgan",
        DCGAN
        | {"layers": 3, "activation": "leaky_relu", "noise": "uniform"}
        | {"lr": 1e-3, "lr_d": 1e-4, "beta1": 0.4},
    ),
    "progan": ("progan", PROGAN | {"phase_kimg": 0.008, "xflip": True, "lr_d": 0.002}),
    "progan_labels": (
        "progan",
        PROGAN
        | {"conditional": True, "lr": 0.002, "gp_weight": 5.0, "drift": 0.01, "ema_kimg": 1.0, "ema_rampup": None},
    ),
}
SHAPES = [ImageShape(1, (16, 16)), ImageShape(3, (32, 32), 2), ImageShape(4, (24, 32), 3, masks=1)]


def _fits(case, shape):
    return shape.labels or not CASES[case][1].get("conditional")


PAIRS = [pytest.param(c, s, id=f"{c}-{s.channels}x{s.size[0]}") for c in CASES for s in SHAPES if _fits(c, s)]


def _make(case, shape=SHAPES[1], seed=0, **options):
    torch.manual_seed(seed)
    family, base = CASES[case]
    variant = build(family, base | options, shape, BATCH)
    variant.epoch, variant.budget = 2 * BATCH, BUDGET
    return variant


def _batch(shape, seed=1):
    random = torch.Generator().manual_seed(seed)
    real = torch.rand(BATCH, shape.channels, *shape.size, generator=random) * 2 - 1
    return Batch(
        real, torch.eye(shape.labels)[torch.arange(BATCH) % shape.labels] if shape.labels else real.new_zeros(BATCH, 0)
    )


def _step(variant, optimizers, phase, batch):
    """One backward pass and step as the training loop does it."""
    for name, network in variant.networks().items():
        network.requires_grad_(name == phase.trains)
    loss, scalars = variant.loss(phase.name, batch)
    loss.backward()
    optimizers[phase.trains].step()
    optimizers[phase.trains].zero_grad(set_to_none=True)
    return loss, scalars


@pytest.mark.parametrize("case", ["stylegan2", "dcgan", "progan"])
def test_a_volume_has_a_finite_loss_in_every_phase(case):
    shape = ImageShape(1, (16, 16, 16))
    variant = _make(case, shape)
    for phase in variant.phases():
        assert torch.isfinite(variant.loss(phase.name, _batch(shape))[0])


@pytest.mark.parametrize(("case", "shape"), PAIRS)
def test_each_phase_trains_its_network_and_no_other(case, shape):
    variant = _make(case, shape)
    optimizers, batch = variant.optimizers(), _batch(shape)
    assert set(optimizers) == set(variant.networks())
    variant.begin_step(BATCH * 3, optimizers)
    assert {phase.trains for phase in variant.phases()} == set(variant.networks())
    for phase in variant.phases():
        before = copy.deepcopy({name: list(network.parameters()) for name, network in variant.networks().items()})
        loss, scalars = _step(variant, optimizers, phase, batch)
        assert loss.ndim == 0 and torch.isfinite(loss)
        assert scalars and all(v.ndim == 0 and not v.requires_grad and math.isfinite(v) for v in scalars.values())
        for name, network in variant.networks().items():
            pairs = zip(before[name], network.parameters(), strict=True)
            changed = any(not torch.equal(old, new) for old, new in pairs)
            assert changed == (name == phase.trains), f"phase {phase.name}, network {name}"


@pytest.mark.parametrize(("case", "shape"), PAIRS)
def test_samples_have_the_shape_of_the_data_and_depend_on_the_seed_alone(case, shape):
    variant = _make(case, shape).eval()
    z, labels = torch.randn(3, variant.options.z_dim), _batch(shape).labels[:3]

    def sample(seed, truncation=1.0):
        torch.manual_seed(seed)
        with torch.no_grad():
            return variant.sample(variant.generator, z, labels, truncation)

    assert sample(0).shape == (3, shape.channels, *shape.size)
    assert sample(0).dtype == torch.float32
    assert torch.equal(sample(0), sample(0))
    assert not torch.equal(sample(0), sample(0, truncation=0.5))
    one = sample(0, truncation=0.0)
    if not variant.labels:
        torch.testing.assert_close(one[0], one[1], msg="truncation 0 is one image")


@pytest.mark.parametrize("case", CASES)
def test_state_dict_is_the_whole_state(case):
    """A variant that loads the state of another goes on exactly as the other does, controllers and averages too."""
    one, other, batch = _make(case), _make(case, seed=9), _batch(SHAPES[1])
    mine = one.optimizers()
    for step in range(8):
        one.begin_step(step * BATCH, mine)
        for phase in one.phases():
            _step(one, mine, phase, batch)
        one.end_step(step)
    other.load_state_dict(one.state_dict())
    for variant in (one, other):
        variant.begin_step(8 * BATCH, variant.optimizers())
    for phase in one.phases():
        losses = []
        for variant in (one, other):
            torch.manual_seed(5)
            losses.append(variant.loss(phase.name, batch)[0])
        assert torch.equal(*losses), phase.name
        _step(one, mine, phase, batch)
        other.load_state_dict(one.state_dict())


@pytest.mark.parametrize(("channels", "labels"), [(1, 0), (3, 2), (4, 3)])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_training_goes_on_bit_for_bit_and_its_generator_is_a_file(family, channels, labels, tmp_path):
    """Two steps before and after the checkpoint; the generator from its file gives the same images."""
    options = next(options for name, options in CASES.values() if name == family) | {"conditional": labels > 0}
    given = recipe(batch=BATCH, kimg=BUDGET / 1000)
    given["variant"] = {"name": family, "family": family, "options": defaults(family) | options}
    whole, resumed = (Trainer(given, TinyData(12, channels, 16, labels), torch.device("cpu")) for _ in range(2))
    for step in range(4):
        if step == 2:
            torch.save(whole.state_dict(), tmp_path / "state.pt")
        whole.advance(measure=True)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(2):
        resumed.advance(measure=True)
    assert_equal(resumed.state_dict(), whole.state_dict())
    options, data = dataclasses.asdict(whole.variant.options), whole.dataset
    snapshot = Snapshot(whole.ema, family, options, data.shape, BATCH, data=data.meta)
    images = snapshot.sample(3, seed=0)
    assert images.shape == (3, channels, 16, 16) and images.std() > 0
    save_generator(tmp_path / "generator.pt", snapshot)
    assert torch.equal(load_generator(tmp_path / "generator.pt").sample(3, seed=0), images)


@pytest.mark.parametrize("case", CASES)
def test_equal_seeds_give_equal_variants(case):
    one, other = _make(case).state_dict(), _make(case).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("case", ["stylegan2_labels", "dcgan_labels", "progan_labels"])
def test_the_label_changes_the_image(case):
    variant = _make(case).eval()
    z = torch.randn(1, 8).expand(2, -1)
    torch.manual_seed(0)
    images = variant.sample(variant.generator, z, torch.eye(2))
    assert not torch.allclose(images[0], images[1])


@pytest.mark.parametrize("case", ["stylegan2", "dcgan", "progan"])
def test_labels_of_the_data_are_ignored_unless_asked_for(case):
    variant = _make(case, SHAPES[1]).eval()
    z = torch.randn(1, 8).expand(2, -1)
    images = variant.sample(variant.generator, z, torch.eye(2))
    torch.testing.assert_close(images[0], images[1])


@pytest.mark.parametrize("family", FAMILIES)
def test_conditioning_needs_labels(family):
    with pytest.raises(GanError, match="the data set has no labels"):
        build(family, {"conditional": True}, ImageShape(1, (16, 16)), BATCH)


@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_that_no_doubling_reaches_are_refused(family):
    with pytest.raises(GanError, match=r"image size \[100, 100\]"):
        build(family, {}, ImageShape(1, (100, 100)), BATCH)


@pytest.mark.parametrize("family", FAMILIES)
def test_options_are_frozen_described_and_within_their_own_bounds(family):
    options = FAMILIES[family]()
    assert variant_class(family).OPTIONS is FAMILIES[family]
    assert family == options.FAMILY
    assert all(item.metadata["doc"] for item in dataclasses.fields(options))
    assert defaults(family) == dataclasses.asdict(options)
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.lr = 1.0


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        ("stylegan2", {"augment": "rgb"}, "option augment is 'rgb'; allowed: none, mri, bgc, blit_geom, diff"),
        ("stylegan2", {"diffaugment": ["colour", "hue"]}, "; allowed: colour, translation, cutout"),
        ("stylegan2", {"style_mixing": 1.5}, "option style_mixing is 1.5; it must be at most 1"),
        ("stylegan2", {"z_dim": 0}, "option z_dim is 0; it must be at least 1"),
        ("stylegan2", {"lr": math.nan}, "option lr is nan; it must be at least 0"),
        ("stylegan2", {"mbstd_group": 3}, "mbstd_group is 3"),
        ("stylegan2", {"lr_phases": [[5, 0.1], [5, 0.01]]}, "each pair must begin at more kimg than the last"),
        ("stylegan2", {"lr_phases": [[5, -0.1]]}, "; it must be at least 0"),
        ("stylegan2", {"attention": "sagan", "attention_at": []}, "option attention_at is empty; name a resolution"),
        ("stylegan2", {"quantize": "replace", "quantize_at": []}, "option quantize_at is empty; name a resolution"),
        ("stylegan2", {"augment": "diffaugment", "diffaugment": []}, "option diffaugment is empty; name a policy"),
        ("stylegan2", {"quantize": "loss_only", "quantize_at": [32]}, "quantize_at has 32; images of size .16, 16."),
        ("stylegan2", {"depth": 3}, "family stylegan2 has no option 'depth'; it has: z_dim"),
        ("dcgan", {"beta1": -0.1}, "option beta1 is -0.1; it must be at least 0"),
        ("dcgan", {"layers": 4}, "option layers is 4; images of this size double 2 times, so take at most 3, or null"),
        ("pix2pix", {}, "unknown family 'pix2pix'; known: stylegan2, dcgan, progan"),
    ],
)
def test_bad_options_are_named(family, options, message):
    with pytest.raises(GanError, match=message.replace(";", ".")):
        build(family, options, ImageShape(1, (16, 16)), BATCH)


def test_mirrored_flips_about_half():
    images = torch.arange(3.0).expand(400, 1, 2, 3)
    flipped = mirrored(images)
    turned = (flipped[:, 0, 0, 0] == 2).sum().item()
    assert 150 < turned < 250
    assert ((flipped == images) | (flipped == images.flip(-1))).all()


def test_half_life():
    assert half_life_beta(32, 32) == 0.5
    assert half_life_beta(1, 1000) ** 1000 == pytest.approx(0.5)
    assert half_life_beta(32, 0.0) == 0


@pytest.mark.parametrize(
    ("options", "seen", "half_life"),
    [
        ({}, 10**9, 1250),  # batch 4: 4 * 10 / 32 kimg
        ({}, 1000, 50),  # the ramp-up: a twentieth of what was seen
        ({"ema_rampup": None}, 0, 1250),
        ({"ema_kimg": 20.0}, 10**9, 20000),
    ],
)
def test_moving_average_of_stylegan2(options, seen, half_life):
    assert _make("stylegan2", **options).ema_beta(seen) == pytest.approx(0.5 ** (BATCH / half_life))


def test_moving_average_starts_as_a_copy():
    assert _make("stylegan2").ema_beta(0) == 0
    assert _make("dcgan", ema_kimg=0.0).ema_beta(10**6) == 0
    assert _make("dcgan").ema_beta(0) == pytest.approx(0.5 ** (BATCH / 1000))


def test_lazy_regularisation_scales_optimizers_and_terms():
    variant = _make("stylegan2", lr=0.01)
    settings = {name: optimizer.param_groups[0] for name, optimizer in variant.optimizers().items()}
    assert settings["G"]["lr"] == pytest.approx(0.01 * 4 / 5)
    assert settings["D"]["lr"] == pytest.approx(0.01 * 16 / 17)
    assert settings["D"]["betas"] == (0.0, pytest.approx(0.99 ** (16 / 17)))
    plain = _make("stylegan2_plain", lr=0.01)
    assert [phase.name for phase in plain.phases()] == ["G", "D"]
    assert all(optimizer.param_groups[0]["lr"] == 0.01 for optimizer in plain.optimizers().values())
    shape = SHAPES[1]
    losses = {}
    for every in (1, 16):
        variant = _make("stylegan2", r1_every=every, r1_gamma=2.0)
        torch.manual_seed(3)
        loss, scalars = variant.loss("Dr1", _batch(shape))
        losses[every] = loss
        torch.testing.assert_close(loss.detach(), scalars["loss/r1"] * every)
    torch.testing.assert_close(losses[16], losses[1] * 16)


def test_r1_gamma_defaults_to_the_heuristic():
    assert _make("stylegan2").r1_gamma == pytest.approx(0.0002 * 32 * 32 / BATCH)
    assert _make("stylegan2", r1_gamma=3.0).r1_gamma == 3.0


def test_penalties_that_an_objective_brings():
    """(R1, R2, gradient penalty) of each objective unless told otherwise; any goes with any."""
    heuristic = pytest.approx(0.0002 * 32 * 32 / BATCH)

    def weights(case, **options):
        variant = _make(case, **options)
        return variant.r1_gamma, variant.r2_gamma, variant.gp_weight

    assert weights("stylegan2") == weights("stylegan2_hinge") == (heuristic, 0, 0)
    assert weights("stylegan2_wgan") == (0, 0, 10)
    assert weights("stylegan2_r3gan") == (heuristic, heuristic, 0)
    assert weights("stylegan2_r3gan", r2_gamma=0.5, gp_weight=2.0) == (heuristic, 0.5, 2)
    assert weights("stylegan2_wgan", r1_gamma=0.1, gp_weight=0.0) == (0.1, 0, 0)


def test_critic_steps_slow_the_generator_alone():
    every = {phase.name: phase.every for phase in _make("stylegan2", n_critic=5).phases()}
    assert every == {"G": 5, "Gpl": 20, "D": 1, "Dr1": 16}
    settings = _make("stylegan2", n_critic=5, lr=0.01).optimizers()["G"].param_groups[0]
    assert settings["lr"] == pytest.approx(0.01 * 4 / 5), "lazy by the generator's own steps"


def test_terms_of_the_critic_are_weighted_and_logged():
    options = {"drift": 0.5, "gp_weight": 3.0, "gp_target": 2.0, "r1_gamma": 4.0, "r2_gamma": 6.0, "r1_every": 8}
    variant = _make("stylegan2_wgan", **options)
    loss, logs = variant.loss("D", _batch(SHAPES[1]))
    assert all(logs[f"loss/{name}"] > 0 for name in ("drift", "gp"))
    torch.testing.assert_close(loss.detach(), logs["loss/D"] + 0.5 * logs["loss/drift"] + 3 * logs["loss/gp"])
    loss, logs = variant.loss("Dr1", _batch(SHAPES[1]))
    torch.testing.assert_close(loss.detach(), 8 * (2 * logs["loss/r1"] + 3 * logs["loss/r2"]))
    only = _make("stylegan2", r1_gamma=0.0, r2_gamma=6.0).loss("Dr1", _batch(SHAPES[1]))[1]
    assert list(only) == ["loss/r2"]


def test_topk_keeps_less_with_every_epoch():
    variant = _make("stylegan2_topk", topk_min=0.4)
    shares = []
    for step in range(8):
        _, logs = variant.loss("G", _batch(SHAPES[1]))
        shares.append(logs["topk/share"].item())
        variant.end_step(step)
    assert shares == pytest.approx([1, 1, 0.7, 0.7, 0.49, 0.49, 0.4, 0.4])
    variant.epoch = 0
    with pytest.raises(ValueError, match="top-k counts epochs"):
        variant.loss("G", _batch(SHAPES[1]))


def test_topk_is_the_mean_loss_of_the_best():
    variant, batch = _make("stylegan2_topk", topk_decay=0.5), _batch(SHAPES[1])
    variant.seen.fill_(variant.epoch)
    logits = []
    variant.discriminator.register_forward_hook(lambda *call: logits.append(call[-1]))
    loss, _ = variant.loss("G", batch)
    best = logits[0].flatten().sort(descending=True).values[:2]
    torch.testing.assert_close(loss, torch.nn.functional.softplus(-best).mean())


def test_lecam_compares_with_moving_averages_without_bias():
    variant, batch = _make("stylegan2_topk", lecam_decay=0.9), _batch(SHAPES[1])
    logits = []
    variant.discriminator.register_forward_hook(lambda *call: logits.append(call[-1].detach()))
    for _ in range(3):
        loss, logs = variant.loss("D", batch)
    fakes, reals = logits[::2], logits[1::2]
    weights = [0.81, 0.9, 1.0]
    anchors = [sum(w * x.mean() for w, x in zip(weights, side, strict=True)) / sum(weights) for side in (reals, fakes)]
    expected = (reals[2] - anchors[1]).square().mean() + (fakes[2] - anchors[0]).square().mean()
    torch.testing.assert_close(logs["loss/lecam"], expected)
    torch.testing.assert_close(loss.detach(), logs["loss/D"] + 0.1 * expected)


def test_learning_rate_rises_and_falls_in_phases():
    """Lazy regularisation scales every rate: 4 / 5 for the generator, 16 / 17 for the discriminator."""
    options = {"lr": 0.1, "lr_phases": [[0.04, 0.01], [0.08, 0.002]]}
    variant = _make("stylegan2", **options)
    rates = [variant.learning_rates(seen)["G"] / 0.8 for seen in (0, 39, 40, 79, 80, 10**6)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.002, 0.002])
    variant = _make("stylegan2", lr_warmup_kimg=0.016, **options)
    rates = [variant.learning_rates(seen)["D"] * 17 / 16 for seen in (0, 4, 12, 16, 40)]
    assert rates == pytest.approx([0.025, 0.05, 0.1, 0.1, 0.01])
    assert _make("stylegan2").learning_rates(0) == {}


def test_codes_are_learned_in_the_discriminators_phase_alone():
    """From real and generated features at 16 x 16 and 8 x 8; the commitment is summed over both resolutions."""
    variant, batch = _make("stylegan2_fq", quantize_commitment=0.5), _batch(SHAPES[1])
    assert sorted(variant.discriminator.quantizers) == ["1", "2"]
    codes = {key: module.codes for key, module in variant.discriminator.quantizers.items()}
    before = {key: value.clone() for key, value in codes.items()}
    for phase in ("G", "Gpl", "Dr1"):
        variant.loss(phase, batch)
    assert all(torch.equal(before[key], codes[key]) for key in codes)
    loss, logs = variant.loss("D", batch)
    assert all(not torch.equal(before[key], codes[key]) for key in codes)
    torch.testing.assert_close(loss.detach(), logs["loss/D"] + 0.5 * logs["loss/fq"])
    assert 0 < logs["fq/usage"] <= 1 <= logs["fq/perplexity"] <= 8


def test_w_avg_and_path_length_mean_follow_their_own_phases():
    variant, batch = _make("stylegan2"), _batch(SHAPES[1])
    variant.loss("D", batch)
    assert not variant.generator.mapping.w_avg.any() and not variant.path_length_mean
    variant.loss("G", batch)
    assert variant.generator.mapping.w_avg.any()
    _, scalars = variant.loss("Gpl", batch)
    assert 0 < variant.path_length_mean < 1
    assert scalars["loss/pl"] > 0


@pytest.mark.parametrize(("logit", "direction"), [(5.0, 1), (-5.0, -1)])
def test_augmentation_follows_the_sign_of_the_real_logits(logit, direction):
    variant, batch = _make("stylegan2_ada", ada_p=None, ada_kimg=1.0, augment="mri"), _batch(SHAPES[1])
    variant.controller.p.fill_(0.5)
    with torch.no_grad():
        for parameter in variant.discriminator.logits.parameters():
            parameter.zero_()
        variant.discriminator.logits.bias.fill_(logit)
    logs = []
    for step in range(4):
        variant.loss("D", batch)
        logs.append(variant.end_step(step))
    assert logs[:3] == [{}, {}, {}]
    assert logs[3]["ada/rt"] == math.copysign(1, logit)
    assert logs[3]["ada/p"].item() == pytest.approx(0.5 + direction * 4 * BATCH / 1000)


@pytest.mark.parametrize(("options", "p"), [({"ada_p": 0.3, "augment": "bgc"}, 0.3), ({"augment": "none"}, 0.0)])
def test_p_stays_where_it_is_not_adaptive(options, p):
    variant, batch = _make("stylegan2", **options), _batch(SHAPES[1])
    for step in range(8):
        variant.loss("D", batch)
        log = variant.end_step(step)
    assert log["ada/p"].item() == pytest.approx(p)
    assert abs(log["ada/rt"]) <= 1


def test_dcgan_starts_as_published():
    weights = torch.cat([p.flatten() for p in _make("dcgan", channels=16).parameters() if p.ndim == 4])
    assert weights.std().item() == pytest.approx(0.02, rel=0.05)
    optimizer = _make("dcgan").optimizers()["G"].param_groups[0]
    assert (optimizer["lr"], optimizer["betas"]) == (2e-4, (0.5, 0.999))


def test_dcgan_samples_one_image_as_it_does_in_a_batch():
    """Running statistics in eval mode: an image does not depend on those sampled beside it."""
    variant = _make("dcgan").eval()
    z, none = torch.randn(4, 8), torch.zeros(4, 0)
    together = variant.sample(variant.generator, z, none)
    torch.testing.assert_close(variant.sample(variant.generator, z[:1], none[:1]), together[:1])
    assert together.abs().max() <= 1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_page_on_variants_lists_every_option_with_its_default(family):
    section = DOCS.read_text(encoding="utf-8").split(f"\n## {family}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \|.*\| (.+) \|$", section, re.MULTILINE)
    expected = [
        (item.name, re.sub('[" ]', "", json.dumps(item.default)), item.metadata["doc"])
        for item in dataclasses.fields(FAMILIES[family])
    ]
    assert rows == expected


def test_the_example_of_a_new_family_works(monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    options, family = (textwrap.dedent(block) for block in blocks)
    monkeypatch.setattr(options_module, "HingeOptions", None, raising=False)  # so that it goes afterwards
    exec(options, vars(options_module))
    monkeypatch.setitem(FAMILIES, "hinge", options_module.HingeOptions)  # pyright: ignore[reportAttributeAccessIssue]
    module = types.ModuleType("gan.variants.hinge")
    exec(family, vars(module))
    monkeypatch.setitem(sys.modules, "gan.variants.hinge", module)
    torch.manual_seed(0)
    variant = build("hinge", {"z_dim": 8}, SHAPES[0], BATCH)
    optimizers = variant.optimizers()
    for phase in variant.phases():
        loss, _ = _step(variant, optimizers, phase, _batch(SHAPES[0]))
        assert torch.isfinite(loss)


GOLDEN = {  # losses of the fourth step, of REVISION 1
    "stylegan2": {"G": 0.945445, "Gpl": 0.855886, "D": 1.35739, "Dr1": 0.00275051},
    "stylegan2_ada": {"G": 2.08783, "Gpl": 4.72852, "D": 1.18542, "Dr1": 0.00640847},
    "stylegan2_plain": {"G": 0.770293, "D": 1.36868},
    "stylegan2_labels": {"G": 0.658091, "Gpl": 4.98521, "D": 1.37581, "Dr1": 0.000187514},
    "stylegan2_wgan": {"G": 1.07641, "Gpl": 2.34298, "D": 8.75182},
    "stylegan2_hinge": {"G": 0.402821, "Gpl": 0.819818, "D": 1.95632, "Dr1": 0.00442617},
    "stylegan2_r3gan": {"G": 0.896058, "D": 0.744683, "Dr1": 0.000545864},
    "stylegan2_topk": {"G": 0.842292, "Gpl": 0.81039, "D": 1.38232, "Dr1": 0.00407566},
    "stylegan2_attention": {"G": 0.649114, "Gpl": 9.60666, "D": 1.37141, "Dr1": 0.00047932},
    "stylegan2_sagan": {"G": 1.16463, "Gpl": 1.96443, "D": 1.42565, "Dr1": 0.00255783},
    "stylegan2_fq": {"G": 0.704324, "Gpl": 4.83503, "D": 1.51424, "Dr1": 0.00276895},
    "stylegan2_fq_loss": {"G": 0.695833, "Gpl": 5.67365, "D": 1.33712, "Dr1": 0.00246096},
    "stylegan2_adain": {"G": 0.864001, "Gpl": 103.546, "D": 1.35922, "Dr1": 5.99655e-05},
    "stylegan2_diffaugment": {"G": 0.660368, "Gpl": 4.3313, "D": 1.23334, "Dr1": 0.00336807},
    "stylegan2_adaptive": {"G": 0.798983, "Gpl": 1.7582, "D": 1.23657, "Dr1": 0.000121669},
    "stylegan2_penalties": {"G": 0.679462, "Gpl": 3.701, "D": 5.25911, "Dr1": 0.0159773},
    "stylegan2_frozen": {"G": 0.955921, "Gpl": 0.852965, "D": 1.36646, "Dr1": 0.00316619},
    "dcgan": {"G": 0.669143, "D": 1.282},
    "dcgan_labels": {"G": 0.900375, "D": 1.21599},
    "dcgan_layers": {"G": 0.587885, "D": 1.36994},
    "progan": {"G": 0.453269, "D": 2.7428},
    "progan_labels": {"G": 0.32482, "D": 0.777642},
}


@pytest.mark.parametrize("case", CASES)
def test_results_belong_to_their_revision(case):
    """If it fails on purpose: raise REVISION of the family, so that its cells are trained again; renew GOLDEN."""
    variant = _make(case)
    optimizers, batch = variant.optimizers(), _batch(SHAPES[1])
    for step in range(4):
        variant.begin_step(step * BATCH, optimizers)
        losses = {phase.name: _step(variant, optimizers, phase, batch)[0].item() for phase in variant.phases()}
        variant.end_step(step)
    assert FAMILIES[CASES[case][0]].REVISION == 1
    assert losses == pytest.approx(GOLDEN[case], rel=2e-3)


@pytest.mark.parametrize("options", [{"augment": "bgc", "ada_p": 1.0}, {"augment": "diffaugment"}])
def test_no_augmentation_brightens_a_mask(options):
    shape = ImageShape(3, (16, 16), masks=1)
    variant, seen = _make("stylegan2", shape, **options, diffaugment=["colour"]), []
    variant.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    real = torch.full((BATCH, 3, 16, 16), -1 / 3)  # of a constant image, geometry changes nothing
    variant._judge(real, real.new_zeros(BATCH, 0))
    torch.testing.assert_close(seen[0][:, 2], real[:, 2])
    assert (seen[0][:, :2] - real[:, :2]).abs().flatten(1).amax(1).gt(0.001).all()
