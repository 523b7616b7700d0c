"""Progressive growing: the schedule, the blends of a fade, the networks, and that it goes on exactly in a fade."""

import itertools
import math

import pytest
import torch
from conftest import SCHEMA
from golden import SMALL
from test_variants import BATCH, SHAPES, _batch, _make
from tiny import TinyData, assert_equal, recipe

from gan.errors import GanError
from gan.families.contract import Batch, ImageShape, Latents
from gan.families.progan.model import Stage, at_stage, level_after
from gan.families.progan.options import ProGANOptions
from gan.families.registry import build
from gan.study import load
from gan.train.trainer import Trainer

CPU = torch.device("cpu")
FADE = 0.25


def _trainer(**options):
    """Images of 16 x 16, 8 a step, 320 in all: five phases of 64 images, which are 8 steps."""
    given = recipe()
    given["variant"] = {"name": "progan", "family": "progan", "options": SMALL["progan"] | options}
    return Trainer(given, TinyData(size=16, channels=2), CPU)


def _repeated(x):
    """Each value four times, by indices."""
    rows, columns = (torch.arange(2 * side) // 2 for side in x.shape[2:])
    return x[:, :, rows][:, :, :, columns]


def _averaged(x):
    return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4


# ---------------------------------------------------------------- schedule


@pytest.mark.parametrize(
    ("kimg", "level"),
    [
        (0, 0),
        (599, 0),
        (600, 0),
        (750, 0.25),
        (900, 0.5),
        (1199.4, 0.999),
        (1200, 1),
        (1799, 1),
        (2100, 1.5),
        (2400, 2),
        (6900, 5.5),
        (7200, 6),
        (10**5, 6),
    ],
)
def test_the_published_schedule_to_256(kimg, level):
    """600 kimg at 4 x 4, then 600 of fading and 600 of standing at each size."""
    assert level_after(kimg * 1000, 600_000, 6) == pytest.approx(level)


@pytest.mark.parametrize(
    ("phase_kimg", "images", "phase"),
    [(None, 130_000, 10_000), (None, 7_800_000, 600_000), (None, 12_000_000, 600_000), (40.0, 10**6, 40_000)],
)
def test_length_of_a_phase(phase_kimg, images, phase):
    """Six doublings are 13 phases; beyond 600 kimg each, the last one gets the rest."""
    assert ProGANOptions(phase_kimg=phase_kimg).phase_images(6, images) == pytest.approx(phase)


def test_a_training_goes_through_every_phase():
    trainer, levels = _trainer(), []
    for _ in range(40):
        trainer.advance(measure=False)
        levels.append(trainer.variant.generator.level.item())
        assert trainer.ema.level == levels[-1]
    fade = [eighth / 8 for eighth in range(8)]
    assert levels == [0.0] * 8 + fade + [1.0] * 8 + [1 + alpha for alpha in fade] + [2.0] * 8
    assert trainer.meter.read()["grow/level"] == pytest.approx(sum(levels) / 40)


@pytest.mark.parametrize(
    ("options", "kimg", "batch", "message"),
    [
        ({"phase_kimg": 0.08}, 0.32, 8, "option phase_kimg is 0.08: 4 phases come before the full size, too many for"),
        ({}, 0.039, 8, "training.kimg is 0.039, but growing takes 5 phases of at least a batch of 8; train for 0.04"),
    ],
)
def test_a_budget_too_small_to_grow_up_is_refused(options, kimg, batch, message):
    with pytest.raises(GanError, match=message):
        ProGANOptions(**options).check_fit((16, 16), kimg, batch)
    variant = build("progan", SMALL["progan"] | options, ImageShape(1, (16, 16)), batch)
    variant.budget = kimg * 1000
    with pytest.raises(GanError, match=message):
        variant.begin_step(0, variant.optimizers())


def test_the_last_step_finds_the_full_size():
    """The smallest budgets that are not refused."""
    for options, kimg in (({"phase_kimg": 0.02}, 0.088), ({}, 0.04)):
        trainer = _trainer(**options)
        trainer.variant.budget = kimg * 1000
        trainer.variant.begin_step(round(kimg * 1000) - 8, trainer.optimizers)
        assert trainer.variant.stage == Stage(2, 2, 0.0)


def test_a_config_that_does_not_grow_up_is_refused(config):
    config["variants"] |= {"grown": {"family": "progan", "options": {"phase_kimg": 100.0}}}
    config["study"]["variants"] = ["grown"]
    config["training"] = {"kimg": 400}
    with pytest.raises(GanError, match=r"config: variants\.grown on datasets\.\w+: option phase_kimg is 100: "):
        load(config, SCHEMA)
    config["variants"]["grown"]["options"] = {}
    assert load(config, SCHEMA).variants == ["grown"]


# ---------------------------------------------------------------- blends


def _ends(generator, z, level):
    """The images of levels ``level`` - 1, enlarged, and ``level``, by hand."""

    def normal(x):
        return x / ((x**2).sum(dim=1, keepdim=True) / x.shape[1] + 1e-8).sqrt()

    x = normal(generator.conv(generator.start(normal(z))))
    for block in generator.blocks[:level]:
        old, x = x, normal(block.second(normal(block.first(_repeated(x)))))
    return _repeated(generator.to_image[level - 1](old)), generator.to_image[level](x)


@pytest.mark.parametrize("alpha", [0.0, FADE, 0.5, 1.0])
@pytest.mark.parametrize("level", [1, 3])
def test_a_fade_blends_the_images_of_two_levels(alpha, level):
    variant = _make("progan").double()  # features of two channels may be near 0, where normalising enlarges rounding
    z, none = torch.randn(3, 8).double(), torch.zeros(3, 0)
    old, new = _ends(variant.generator, z, level)
    found = variant.generator.images(z, none, Stage(level - 1, level, alpha))
    torch.testing.assert_close(found, (1 - alpha) * old + alpha * new)
    stable = variant.generator.images(z, none, Stage.of(level))
    torch.testing.assert_close(stable, new)


@pytest.mark.parametrize("alpha", [0.0, FADE, 0.5, 1.0])
def test_a_fade_blends_what_the_discriminator_sees(alpha):
    """Features of the new level, halved, and of the averaged image one level below."""
    network = _make("progan").discriminator
    images, none = torch.randn(4, 3, 16, 16), torch.zeros(4, 0)
    block, seen = network.blocks[1], []
    new = _averaged(block.second(block.first(network.from_image[2](images))))
    old = network.from_image[1](_averaged(images))
    network.blocks[0].register_forward_hook(lambda module, given, result: seen.append(given[0]))
    network(images, none, Stage(1, 2, alpha))
    torch.testing.assert_close(seen[0], (1 - alpha) * old + alpha * new, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_a_fade_begins_and_ends_without_a_step(network):
    """Alpha 0 shows what the level below showed, and alpha 1 what the new one will."""
    variant = _make("progan")
    none = torch.zeros(4, 0)
    if network == "generator":
        z = torch.randn(4, 8)
        call = lambda stage: variant.generator.images(z, none, stage)  # noqa: E731
        before = _repeated(call(Stage.of(1)))
    else:
        images = torch.randn(4, 3, 16, 16)
        call = lambda stage: variant.discriminator(images, none, stage)  # noqa: E731
        before = variant.discriminator(_averaged(images), none, Stage.of(1))
    torch.testing.assert_close(call(Stage(1, 2, 0.0)), before)
    torch.testing.assert_close(call(Stage(1, 2, 1.0)), call(Stage.of(2)))


@pytest.mark.parametrize("alpha", [0.0, FADE, 1.0])
def test_real_images_are_blended_likewise(alpha):
    images = torch.randn(2, 3, 32, 32)
    fine = _averaged(images)
    expected = (1 - alpha) * _repeated(_averaged(fine)) + alpha * fine
    torch.testing.assert_close(at_stage(images, Stage(1, 2, alpha), 3), expected)
    torch.testing.assert_close(at_stage(images, Stage.of(2), 3), fine)
    assert at_stage(images, Stage.of(3), 3) is images


def test_samples_have_the_full_size_at_every_level():
    variant = _make("progan").eval()
    z, none = torch.randn(2, 8), torch.zeros(2, 0)
    for level in (0.0, 0.5, 2.0):
        variant.generator.level.fill_(level)
        images = variant.draw(variant.kept(), Latents(z, none))
        expected = variant.generator.images(z, none, Stage.of(level))
        for _ in range(3 - math.ceil(level)):
            expected = _repeated(expected)
        assert torch.equal(images, expected) and images.shape[2:] == (32, 32)


def test_truncation_draws_the_latent_to_the_centre_of_the_sphere():
    generator = _make("progan_labels").generator
    z, labels, seen = torch.randn(2, 8) * 5, torch.eye(2), []
    generator.start.register_forward_hook(lambda module, given, result: seen.append(given[0]))
    generator(z, labels)
    generator(z, labels, 0.5)
    torch.testing.assert_close(seen[0].square().sum(dim=1), torch.tensor([10.0, 10.0]))
    torch.testing.assert_close(seen[1][:, :8], seen[0][:, :8] * 0.5)
    torch.testing.assert_close(seen[1][:, 8:], seen[0][:, 8:])


# ---------------------------------------------------------------- networks and losses


def test_networks_have_the_published_size():
    """1024 x 1024 and 3 channels: 23.1 million weights in each (Karras et al. 2018, table 2), counted by hand here."""
    with torch.device("meta"):
        variant = build("progan", {}, ImageShape(3, (1024, 1024)), BATCH)
    widths = [512, 512, 512, 512, 256, 128, 64, 32, 16]
    pairs = list(itertools.pairwise(widths))
    images = sum(3 * width + 3 for width in widths)
    made = 512 * 8192 + 512 + (9 * 512 + 1) * 512 + sum((9 * a + 1) * b + (9 * b + 1) * b for a, b in pairs)
    inputs = sum(3 * width + width for width in widths)
    halved = sum((9 * b + 1) * b + (9 * b + 1) * a for a, b in pairs)
    end = (9 * 513 + 1) * 512 + (8192 + 1) * 512 + 513
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in variant.networks().items()}
    assert counts == {"G": made + images, "D": inputs + halved + end}
    assert [round(count / 1e6, 1) for count in counts.values()] == [23.1, 23.1]


def test_weights_start_as_published():
    """The latent's layer: gain sqrt(2) / 4 over sqrt(fan_in); biases at 0; Adam without the first moment's memory."""
    variant = _make("progan", z_dim=400)
    start = variant.generator.start
    assert (start.weight * start.weight_gain).std().item() == pytest.approx(math.sqrt(2) / 4 / 20, rel=0.05)
    assert all(not p.any() for name, p in variant.named_parameters() if name.endswith("bias"))
    groups = {name: optimizer.param_groups[0] for name, optimizer in variant.optimizers().items()}
    assert (groups["G"]["lr"], groups["D"]["lr"], groups["G"]["betas"]) == (0.001, 0.002, (0.0, 0.99))
    assert _make("progan_labels").optimizers()["D"].param_groups[0]["lr"] == 0.002, "that of the generator"


@pytest.mark.parametrize(
    ("options", "seen", "half_life"),
    [({}, 10**9, 11_100), ({}, 1000, 50), ({"ema_rampup": None}, 0, 11_100), ({"ema_kimg": 2.0}, 10**9, 2000)],
)
def test_moving_average(options, seen, half_life):
    """The published 0.999 a step of 16 images has a half-life of 16 log 0.5 / log 0.999 images: 11.1 kimg."""
    assert ProGANOptions().ema_kimg == round(16 * math.log(0.5) / math.log(0.999) / 1000, 1)
    assert _make("progan", **options).ema_beta(seen) == pytest.approx(0.5 ** (BATCH / half_life))


@pytest.mark.parametrize("seen", [0, 12, 48])
def test_terms_of_the_critic(seen):
    """Mean logits of the three forward passes, the norm of the gradient at mixed images: stable, fading, full size."""
    variant, batch = _make("progan", gp_weight=3.0, drift=0.5, xflip=False), _batch(SHAPES[1])
    variant.begin_step(seen, variant.optimizers())
    calls = []
    variant.discriminator.register_forward_hook(lambda module, given, result: calls.append((given[0], result)))
    loss, logs = variant.loss("D", batch)
    (images, fake), (originals, real), (between, _) = calls
    assert torch.equal(originals, at_stage(batch.real, variant.stage, 3))
    share = ((between - images) / (originals - images)).flatten(1).median(dim=1).values
    torch.testing.assert_close(
        between, torch.stack([i + s * (o - i) for i, o, s in zip(images, originals, share, strict=True)])
    )
    point = between.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(variant.discriminator(point, batch.labels, variant.stage).sum(), point)
    penalty = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
    expected = fake.mean() - real.mean() + 3 * penalty + 0.5 * real.square().mean()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(logs["loss/D"], (fake.mean() - real.mean()).detach())
    loss, _ = variant.loss("G", batch)
    torch.testing.assert_close(loss, -calls[-1][1].mean())


def test_the_label_is_projected_on_the_features():
    network = _make("progan_labels").discriminator
    images, kept = torch.randn(2, 3, 4, 4), []
    network.hidden.register_forward_hook(lambda module, given, result: kept.append(result))
    first, second = (network(images, torch.eye(2)[[k, k]], Stage.of(0)) for k in (0, 1))
    columns = network.embedding.weight.T / math.sqrt(2)
    torch.testing.assert_close(first - second, (kept[0] @ (columns[0] - columns[1]))[:, None] / math.sqrt(8))


@pytest.mark.parametrize("size", [(24, 32), (16, 16, 16)])
def test_volumes_and_sizes_of_other_grids_grow_too(size):
    variant = build("progan", SMALL["progan"] | {"phase_kimg": 0.008}, ImageShape(2, size), BATCH)
    variant.budget = 80
    batch, seen = Batch(torch.rand(BATCH, 2, *size), torch.zeros(BATCH, 0)), []
    variant.discriminator.register_forward_hook(lambda module, given, result: seen.append(given[0].shape[2:]))
    for images, level in ((0, 0), (12, 1), (76, variant.pyramid.doublings)):
        variant.begin_step(images, variant.optimizers())
        for phase in variant.phases():
            loss, _ = variant.loss(phase.name, batch)
            loss.backward()
            assert torch.isfinite(loss)
        assert {*seen} == {variant.pyramid.size(level)}
        seen.clear()
        assert variant.draw(variant.kept(), Latents(torch.randn(3, 8), batch.labels[:3])).shape == (3, 2, *size)


# ---------------------------------------------------------------- training


def test_levels_that_are_not_grown_do_not_move():
    trainer = _trainer()
    before = {name: value.clone() for name, value in trainer.variant.named_parameters()}
    moved = []
    for _ in range(40):
        trainer.advance(measure=False)
        moved.append({n for n, value in trainer.variant.named_parameters() if not torch.equal(value, before[n])})
    assert not any(".blocks." in name for name in moved[8])
    assert moved[9] - moved[8] >= {"generator.blocks.0.first.weight", "generator.to_image.1.weight"}
    assert not any(".blocks.1." in name for name in moved[24])
    assert moved[39] == set(before)


def test_adam_starts_anew_with_each_change_of_the_networks():
    """Steps 9 and 25 are the first with a share of the new level, 16 and 32 the first without one of the old."""
    trainer, counts = _trainer(), []
    for _ in range(40):
        trainer.advance(measure=False)
        weight = trainer.variant.discriminator.logits.weight
        counts.append(int(trainer.optimizers["D"].state[weight]["step"]))
    assert [step for step, count in enumerate(counts) if count == 1] == [0, 9, 16, 25, 32]
    assert counts[:9] == list(range(1, 10))


@pytest.mark.parametrize("saved", [11, 15, 16, 24])
def test_a_run_goes_on_exactly(saved, tmp_path):
    """In a fade, at its end, before the first step of the new networks, before the next fade."""
    whole, resumed = _trainer(), _trainer()
    for step in range(saved + 4):
        if step == saved:
            torch.save(whole.state_dict(), tmp_path / "state.pt")
        whole.advance(measure=True)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(4):
        resumed.advance(measure=True)
    assert_equal(resumed.state_dict(), whole.state_dict())
