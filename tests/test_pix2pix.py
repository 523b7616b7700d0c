"""Pix2Pix: losses by hand, who is trained, what the generator cannot see, pairs that move together, its schedule."""

import math

import pytest
import torch
from golden import BATCH, SMALL
from test_variants import _batch, _make
from torch.nn import functional

from gan import parallel
from gan.errors import GanError
from gan.families.contract import Batch, ImageShape, Source
from gan.families.pix2pix.model import BACKGROUND, dropped
from gan.families.registry import build, make_options
from gan.jitter import jittered

SHAPE = ImageShape(1, (16, 16), sources=2)
PLAIN = SMALL["pix2pix"]


def _pix2pix(shape=SHAPE, **options):
    torch.manual_seed(0)
    return build("pix2pix", PLAIN | options, shape, BATCH)


@pytest.mark.parametrize(("objective", "logit", "loss"), [("bce", 0.0, math.log(2)), ("lsgan", 0.5, 0.25)])
def test_losses_of_an_undecided_discriminator(objective, logit, loss):
    """Of real and of generated images each; the generator's the same, and 100 times the mean difference."""
    variant, batch = _pix2pix(objective=objective), _batch(SHAPE)
    last = list(variant.discriminator.parameters())[-2:]
    last[0].data.zero_()
    last[1].data.fill_(logit)
    total, logs = variant.loss("D", batch)
    assert (total.item(), logs["loss/D"].item()) == pytest.approx((loss, 2 * loss))
    total, logs = variant.loss("G", batch)
    assert logs["loss/G"].item() == pytest.approx(loss)
    assert total.item() == pytest.approx(loss + 100 * logs["loss/l1"].item(), rel=1e-5)


def test_the_losses_by_hand():
    """The discriminator sees the source next to the target or the translation; both terms are halved."""
    variant, batch = _pix2pix(dropout_layers=()), _batch(SHAPE)
    fake = variant.generator(batch.source, batch.labels)
    fakes, reals = (variant.discriminator(torch.cat([batch.source, each], 1)) for each in (fake, batch.real))
    cross = functional.binary_cross_entropy_with_logits
    expected = (cross(reals, torch.ones_like(reals)) + cross(fakes, torch.zeros_like(fakes))) / 2
    torch.testing.assert_close(variant.loss("D", batch)[0], expected)
    expected = cross(fakes, torch.ones_like(fakes)) + 100 * functional.l1_loss(fake, batch.real)
    torch.testing.assert_close(variant.loss("G", batch)[0], expected)


def test_equal_images_have_no_difference():
    variant, batch = _pix2pix(dropout_layers=()), _batch(SHAPE)
    images = variant.generator(batch.source, batch.labels).detach()
    assert variant.loss("G", batch._replace(real=images))[1]["loss/l1"] == 0


@pytest.mark.parametrize(("phase", "other"), [("D", "G"), ("G", "D")])
def test_a_phase_leaves_no_gradient_in_the_other_network(phase, other):
    variant = _pix2pix()
    networks = variant.networks()
    networks[other].requires_grad_(False)
    variant.loss(phase, _batch(SHAPE))[0].backward()
    assert all(parameter.grad is not None for parameter in networks[phase].parameters())
    assert all(parameter.grad is None for parameter in networks[other].parameters())


def test_the_discriminator_gives_the_generator_no_gradient_in_its_own_phase():
    """Not even where the loop would let it."""
    variant = _pix2pix()
    variant.loss("D", _batch(SHAPE))[0].backward()
    assert all(parameter.grad is None for parameter in variant.generator.parameters())


@pytest.mark.parametrize("options", [{}, {"jitter": True, "xflip": True, "drop_inputs": 0.5}])
def test_the_generator_never_sees_the_target(options):
    variant, batch, seen = _pix2pix(**options), _batch(SHAPE), []
    variant.generator.network.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    for real in (batch.real, torch.full_like(batch.real, torch.nan)):
        for phase in ("D", "G"):
            torch.manual_seed(1)
            variant.loss(phase, batch._replace(real=real))
    assert all(torch.equal(one, seen[0]) for one in seen[1:]) and seen[0].isfinite().all()


def test_four_pairs_are_learned_by_heart():
    """A target that no voxel of its source alone decides: the source, shifted and inverted."""
    variant = _pix2pix(ImageShape(1, (16, 16), sources=1), channels=16, lr=2e-3, dropout_layers=(), lr_decay=0.5)
    torch.manual_seed(0)
    source = functional.interpolate(torch.rand(4, 1, 4, 4) * 2 - 1, size=(16, 16), mode="bilinear")
    batch = Batch(-source.roll(3, -1), torch.zeros(4, 0), source)
    variant.budget = 4 * 100
    optimizers = variant.optimizers()
    for step in range(100):
        variant.begin_step(4 * step, optimizers)
        for phase in variant.phases():
            variant.zero_grad()
            loss, logs = variant.loss(phase.name, batch)
            loss.backward()
            optimizers[phase.trains].step()
    assert logs["loss/l1"] < 0.02


def test_the_learning_rates_fall_in_the_second_half():
    variant = _pix2pix(lr=0.01, lr_d=0.004)
    variant.budget, optimizers = 1000.0, variant.optimizers()
    for seen, share in [(0, 1.0), (500, 1.0), (750, 0.5), (996, 0.008)]:
        variant.begin_step(seen, optimizers)
        rates = [optimizers[name].param_groups[0]["lr"] for name in ("G", "D")]
        assert rates == pytest.approx([0.01 * share, 0.004 * share])


def test_a_constant_learning_rate():
    variant = _pix2pix(lr_decay=0.0)
    variant.budget, optimizers = 1000.0, variant.optimizers()
    variant.begin_step(996, optimizers)
    assert optimizers["G"].param_groups[0]["lr"] == 2e-4


def test_dropout_at_test_is_a_choice():
    source = torch.rand(2, 2, 16, 16)
    for always in (False, True):
        variant = _pix2pix(dropout_at_test=always).eval()
        one, other = (variant.draw(variant.kept(), Source(source, torch.zeros(2, 0))) for _ in range(2))
        assert torch.equal(one, other) is not always


def test_one_direction_alone():
    variant = _pix2pix().eval()
    with pytest.raises(GanError, match="pix2pix translates in one direction"):
        variant.draw(variant.kept(), Source(torch.rand(2, 2, 16, 16), torch.zeros(2, 0), backward=True))


# ---------------------------------------------------------------- pairs move together


@pytest.mark.parametrize("options", [{"xflip": True}, {"jitter": True}])
def test_source_and_target_move_together(options):
    images = torch.rand(16, 1, 16, 16)
    variant = _pix2pix(ImageShape(1, (16, 16), sources=1), **options)
    source, target = variant._augment(Batch(images, torch.zeros(16, 0), images))
    assert torch.equal(source, target)
    moved = [not torch.equal(one, other) for one, other in zip(source, images, strict=True)]
    assert any(moved) and (all(moved) or "xflip" in options)


@pytest.mark.parametrize("size", [(16, 24), (9, 16, 12)])
def test_a_crop_of_the_enlarged_image(size, monkeypatch):
    first = [1, 2, 0][: len(size)]
    places = iter(first)
    monkeypatch.setattr(parallel, "randint", lambda low, high, count, **like: torch.full([count], next(places)))
    images = torch.rand(3, 2, *size)
    large = [round(side * 286 / 256) for side in size]
    mode = {2: "bilinear", 3: "trilinear"}[len(size)]
    expected = functional.interpolate(images, size=large, mode=mode)
    for axis, (place, side) in enumerate(zip(first, size, strict=True), start=2):
        expected = expected.narrow(axis, place, side)
    torch.testing.assert_close(jittered(images), expected)


def test_crops_reach_both_ends(monkeypatch):
    bounds = []
    monkeypatch.setattr(
        parallel, "randint", lambda low, high, count, **like: (bounds.append((low, high)), torch.zeros(count).long())[1]
    )
    jittered(torch.rand(1, 1, 256, 128))
    assert bounds == [(0, 31), (0, 16)]


# ---------------------------------------------------------------- missing inputs


def test_dropped_contrasts_are_background_and_one_always_remains():
    torch.manual_seed(0)
    source = torch.rand(2000, 6, 2, 2)
    kept = (dropped(source, 3, 0.5) == source).flatten(2).all(2).unflatten(1, (3, 2))
    assert torch.equal(kept[..., 0], kept[..., 1]), "neighbouring slices of a contrast are one input"
    assert kept.any(2).any(1).all()
    assert kept.float().mean() == pytest.approx(0.5 + 0.125 / 3, abs=0.02)
    assert dropped(source, 3, 1.0).eq(BACKGROUND).flatten(1).float().mean(1).tolist() == pytest.approx([2 / 3] * 2000)


def test_a_plane_says_which_contrast_is_there():
    shape = ImageShape(1, (16, 16), sources=6, neighbours=1)
    generator = _pix2pix(shape, drop_inputs=0.5).generator
    source = torch.rand(2, 6, 16, 16)
    source[1, 3:] = BACKGROUND
    given = generator.given(source, torch.zeros(2, 0))
    assert given.shape == (2, 8, 16, 16) and torch.equal(given[:, :6], source)
    assert given[:, 6:].flatten(2).unique(dim=2).tolist() == [[[1.0], [1.0]], [[1.0], [0.0]]]


def test_one_contrast_cannot_be_left_out():
    with pytest.raises(GanError, match=r"option drop_inputs is .*, but the data set has 1 source contrast; name"):
        _pix2pix(ImageShape(1, (16, 16), sources=3, neighbours=1), drop_inputs=0.5)


def test_a_label_is_a_plane_for_both_networks():
    variant = _make("pix2pix_gates")
    assert variant.generator.inputs == 4
    assert variant.discriminator.layers[0].in_channels == 4 + variant.shape.channels


# ---------------------------------------------------------------- what does not fit


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 5}, r"option depth is 5; images of size \[16, 16\] can be halved 4 times"),
        ({"patch_layers": 3}, r"option patch_layers is 3; images of size \[16, 16\] are too small for it"),
        ({"norm": "layer"}, "option norm is 'layer'; allowed: instance, batch"),
        ({"dropout_layers": [0]}, "option dropout_layers is .0.; it must be at least 1"),
        ({"lr_decay": 2.0}, "option lr_decay is 2.0; it must be at most 1"),
    ],
)
def test_what_does_not_fit_is_named(options, message):
    with pytest.raises(GanError, match=message):
        _pix2pix(**options)


def test_layers_that_no_size_has_are_refused_with_the_config():
    size = (96, 96)
    make_options("pix2pix", {"depth": 6, "patch_layers": 5}).check_fit(size, 1, 1)
    with pytest.raises(GanError, match=r"option depth is 7; images of size \[96, 96\] can be halved 6 times"):
        make_options("pix2pix", {"depth": 7}).check_fit(size, 1, 1)
    with pytest.raises(GanError, match=r"option patch_layers is 6; images of size \[96, 96\] are too small for it"):
        make_options("pix2pix", {"patch_layers": 6}).check_fit(size, 1, 1)
    with pytest.raises(GanError, match=r"images of size \[304, 250\] cannot be halved twice without a rest; set"):
        make_options("pix2pix", {}).check_fit((304, 250), 1, 1)
