"""What StyleGAN2 and its options promise beyond the contract."""

import math

import pytest
import torch
from test_variants import BATCH, SHAPES, _batch, _make

from gan.families.contract import ImageShape


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
    of_volumes = _make("stylegan2", ImageShape(1, (16, 16, 16))).r1_gamma
    assert of_volumes == pytest.approx(_make("stylegan2", ImageShape(1, (16, 16))).r1_gamma)


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


@pytest.mark.parametrize("options", [{"augment": "bgc", "ada_p": 1.0}, {"augment": "diffaugment"}])
def test_no_augmentation_brightens_a_mask(options):
    shape = ImageShape(3, (16, 16), masks=1)
    variant, seen = _make("stylegan2", shape, **options, diffaugment=["colour"]), []
    variant.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    real = torch.full((BATCH, 3, 16, 16), -1 / 3)  # of a constant image, geometry changes nothing
    variant._judge(real, real.new_zeros(BATCH, 0))
    torch.testing.assert_close(seen[0][:, 2], real[:, 2])
    assert (seen[0][:, :2] - real[:, :2]).abs().flatten(1).amax(1).gt(0.001).all()
