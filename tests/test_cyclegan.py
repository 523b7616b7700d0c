"""CycleGAN: published sizes, losses by hand, its pool of images, and which images a step sees."""

import math

import numpy as np
import pytest
import torch
from golden import BATCH, SMALL
from test_variants import _batch
from tiny import TinyData, recipe
from torch import nn

from gan.errors import GanError
from gan.families.contract import Batch, ImageShape, Source
from gan.families.registry import build, defaults
from gan.nn import ImagePool, PatchGAN, ResNet
from gan.nn.resnet import default_blocks
from gan.train.trainer import Trainer

SHAPE = ImageShape(2, (16, 16), sources=2)
PLAIN = SMALL["cyclegan"]


def _cyclegan(shape=SHAPE, **options):
    torch.manual_seed(0)
    return build("cyclegan", PLAIN | options, shape, BATCH)


# ---------------------------------------------------------------- networks


@pytest.mark.parametrize(("channels", "expected"), [(3, 11_378_179), (1, 11_365_633)])
def test_weights_of_the_published_generator(channels, expected):
    with torch.device("meta"):
        network = ResNet((256, 256), channels, channels)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@pytest.mark.parametrize("size", [(16, 16), (24, 12), (15, 22), (8, 12, 16), (9, 8, 10)])
def test_translations_are_as_large_as_their_source(size):
    with torch.device("meta"):
        assert ResNet(size, 2, 3, width=2, blocks=1)(torch.zeros(1, 2, *size)).shape == (1, 3, *size)


def test_blocks_by_size():
    assert [default_blocks(size) for size in [(256, 256), (192, 256), (128, 128)]] == [9, 6, 6]
    with pytest.raises(GanError, match=r"images of size \[7, 16\] are too small"):
        ResNet((7, 16), 1, 1)


def test_blocks_that_add_nothing_are_left_out():
    """After the sum there is no activation: with weights of 0 a block is the identity."""
    torch.manual_seed(0)
    network, x = ResNet((16, 16), 1, 1, width=4, blocks=2, norm="batch"), torch.rand(2, 1, 16, 16)
    for parameter in network.blocks.parameters():
        parameter.data.zero_()
    expected = network(x)
    network.blocks = nn.Identity()
    torch.testing.assert_close(network(x), expected)


# ---------------------------------------------------------------- losses


class Same(nn.Module):
    """A translation that changes nothing."""

    def forward(self, images, labels, backward=False):
        return images


def test_translations_that_change_nothing_have_no_difference():
    variant, batch = _cyclegan(identity=5.0), _batch(SHAPE)
    variant.generators = Same()
    total, logs = variant.loss("G", batch)
    assert logs["loss/cycle"] == logs["loss/identity"] == 0
    assert total.item() == pytest.approx(2 * logs["loss/G"].item())


@pytest.mark.parametrize(("objective", "logit", "loss"), [("lsgan", 0.5, 0.25), ("bce", 0.0, math.log(2))])
def test_losses_of_undecided_discriminators(objective, logit, loss):
    """Half the sum over real and generated images, of both sides; the generators' summed over both."""
    variant, batch = _cyclegan(objective=objective, cycle=10.0), _batch(SHAPE)
    for network in variant.discriminators.values():
        assert isinstance(network, PatchGAN)
        weight, bias = list(network.parameters())[-2:]
        weight.data.zero_()
        bias.data.fill_(logit)
    total, logs = variant.loss("D", batch)
    assert (total.item(), logs["loss/D"].item()) == pytest.approx((2 * loss, 2 * loss))
    total, logs = variant.loss("G", batch)
    assert logs["loss/G"].item() == pytest.approx(loss)
    assert total.item() == pytest.approx(2 * loss + 20 * logs["loss/cycle"].item(), rel=1e-5)


def test_the_terms_by_hand():
    variant, batch = _cyclegan(identity=2.0, pool=0), _batch(SHAPE)
    x, y, none = batch.source, batch.real, batch.labels
    onward, back = (
        (lambda images: variant.generators(images, none)),
        (lambda images: variant.generators(images, none, True)),
    )
    d_y, d_x = variant.discriminators["targets"], variant.discriminators["sources"]
    made, found = onward(x), back(y)
    cycle = (back(onward(x)) - x).abs().mean() + (onward(back(y)) - y).abs().mean()
    same = (onward(y) - y).abs().mean() + (back(x) - x).abs().mean()
    fooled = (d_y(onward(x)) - 1).square().mean() + (d_x(back(y)) - 1).square().mean()
    torch.testing.assert_close(variant.loss("G", batch)[0], fooled + 10 * cycle + 2 * same)
    for parameter in variant.generators.parameters():
        parameter.data.mul_(1.1)  # what the generators learned meanwhile: the discriminators see what was made before
    apart = [(d_y(y) - 1).square().mean(), d_y(made).square().mean()]
    apart += [(d_x(x) - 1).square().mean(), d_x(found).square().mean()]
    torch.testing.assert_close(variant.loss("D", batch)[0], sum(apart) / 2)


@pytest.mark.parametrize(("phase", "other"), [("D", "G"), ("G", "D")])
def test_a_phase_leaves_no_gradient_in_the_other_networks(phase, other):
    variant = _cyclegan()
    networks = variant.networks()
    networks[other].requires_grad_(False)
    variant.loss(phase, _batch(SHAPE))[0].backward()
    assert all(parameter.grad is not None for parameter in networks[phase].parameters() if parameter.requires_grad)
    assert all(parameter.grad is None for parameter in networks[other].parameters())


def test_identity_needs_as_many_targets_as_sources():
    with pytest.raises(GanError, match="option identity is 5, but sources have 2 channels and targets 1; name as many"):
        _cyclegan(ImageShape(1, (16, 16), sources=2), identity=5.0)


def test_both_directions():
    variant = _cyclegan(ImageShape(3, (16, 16), sources=2)).eval()
    for width, backward, expected in ((2, False, 3), (3, True, 2)):
        asked = Source(torch.rand(4, width, 16, 16), torch.zeros(4, 0), backward)
        assert variant.draw(variant.kept(), asked).shape == (4, expected, 16, 16)


# ---------------------------------------------------------------- the pool


def _images(first, count):
    return torch.arange(first, first + count, dtype=torch.float32).view(-1, 1, 1, 1)


def _pass(pool, images):
    pool.keep(images)
    found = pool.query()
    pool.store()
    return found.flatten().tolist()


def test_a_pool_that_fills_gives_back_what_it_gets():
    pool = ImagePool(50, (1, 1, 1), 5)
    for step in range(10):
        assert _pass(pool, _images(5 * step, 5)) == list(range(5 * step, 5 * step + 5))
    assert pool.images.flatten().tolist() == list(range(50)) and pool.count == 50


def test_a_full_pool_exchanges_half_of_what_it_gets():
    torch.manual_seed(0)
    pool, stored, exchanged = ImagePool(50, (1, 1, 1), 1), set(), 0
    for step in range(1050):
        (found,) = _pass(pool, _images(step, 1))
        if step >= 50:
            assert found == step or found in stored
            exchanged += found != step
            stored.discard(found) if found != step else None
        if step < 50 or found != step:
            stored.add(float(step))
        assert set(pool.images.flatten().tolist()[: min(50, step + 1)]) == stored
    assert abs(exchanged - 500) < 60


def test_a_batch_larger_than_the_pool_and_no_pool():
    torch.manual_seed(0)
    pool = ImagePool(3, (1, 1, 1), 5)
    assert _pass(pool, _images(0, 5)) == [0, 1, 2, 3, 4]
    assert pool.images.flatten().tolist() == [0, 1, 2] and pool.count == 3
    assert all(found < 3 or found >= 5 for found in _pass(pool, _images(5, 5)))
    assert _pass(ImagePool(0, (1, 1, 1), 5), _images(0, 5)) == [0, 1, 2, 3, 4]


def test_the_discriminator_sees_images_of_earlier_steps():
    variant = _cyclegan(pool=BATCH)
    seen, discriminator = [], variant.discriminators["targets"]
    discriminator.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    for step in range(4):
        batch = _batch(SHAPE, seed=step)
        for phase in ("G", "D"):
            variant.loss(phase, batch)
        variant.end_step(step)
    fakes = torch.stack(seen[1::3]).flatten(2)  # first those of G, last the real ones
    earlier = [
        any(torch.equal(image, old) for old in fakes[:step].flatten(0, 1))
        for step in (1, 2, 3)
        for image in fakes[step]
    ]
    assert 2 <= sum(earlier) <= 10
    assert variant.state_dict()["pools.targets.images"].flatten(1).any(1).sum() == BATCH


# ---------------------------------------------------------------- which images


def _trainer(pairing, seed=0):
    given = recipe(batch=4, seed=seed)
    options = defaults("cyclegan") | PLAIN | {"pairing": pairing, "conditional": True}
    given["variant"] = {"family": "cyclegan", "options": options}
    return Trainer(given, TinyData(20, 1, 16, 2, 1), torch.device("cpu"))


def _rows(trainer, images, field):
    """The indices of a batch's ``images`` among those of the data set."""
    known = getattr(trainer.dataset, field)
    return [int((known == image).flatten(1).all(1).nonzero()) for image in images]


@pytest.mark.parametrize("pairing", ["shuffled", "paired"])
def test_the_images_of_an_epoch(pairing):
    """Each once on either side; of one slice, or by chance; labels go with their images."""
    trainer, pairs = _trainer(pairing), []
    for trainer.step in range(5):
        batch = trainer._batch()
        sources, targets = _rows(trainer, batch.source, "source"), _rows(trainer, batch.real, "real")
        assert batch.labels.argmax(1).tolist() == trainer.dataset.classes[sources].tolist()
        if pairing == "shuffled":
            assert batch.apart.argmax(1).tolist() == trainer.dataset.classes[targets].tolist()
        pairs += zip(sources, targets, strict=True)
    for side in zip(*pairs, strict=True):
        assert sorted(side) == list(range(20))
    equal = np.mean([source == target for source, target in pairs])
    assert equal == 1 if pairing == "paired" else equal < 0.3
    again = _trainer(pairing)
    again.step = 4
    assert torch.equal(again._batch().real, batch.real)


def test_sources_and_targets_of_different_subjects():
    """Of 12 and 8 images: each epoch of a half by itself, and a function of the step."""
    trainer, seen = _trainer("disjoint"), ([], [])
    for trainer.step in range(6):
        batch = trainer._batch()
        for images, field, rows in ((batch.source, "source", seen[0]), (batch.real, "real", seen[1])):
            rows += _rows(trainer, images, field)
        assert batch.apart.argmax(1).tolist() == trainer.dataset.classes[seen[1][-4:]].tolist()
    sources, targets = trainer.dataset.halves()
    assert sorted(seen[0]) == sorted([*sources] * 2) and sorted(seen[1]) == sorted([*targets] * 3)
    assert not {*sources} & {*targets} and trainer.variant.epoch == 12
    again = _trainer("disjoint")
    again.step = 5
    assert torch.equal(again._batch().real, batch.real) and torch.equal(again._batch().source, batch.source)


def test_labels_of_both_sides_are_planes():
    variant = _cyclegan(ImageShape(2, (16, 16), 2, sources=2), conditional=True)
    batch = _batch(variant.shape)
    one, other = (variant.loss("D", batch._replace(apart=apart))[0] for apart in (batch.labels, batch.labels.flip(1)))
    variant.loss("G", batch)
    kept = variant.pools["sources"].fresh[:, 2:].flatten(2).unique(dim=2)[..., 0]
    assert torch.equal(kept, batch.labels), "a translation has the label of what it was made of"
    assert not torch.allclose(one, other)
    assert variant.pools["targets"].images.shape[1] == 4


def test_a_batch_of_one_slice_has_its_labels_on_both_sides():
    variant = _cyclegan(ImageShape(2, (16, 16), 2, sources=2), conditional=True, pool=0)
    batch = _batch(variant.shape)
    torch.testing.assert_close(
        variant.loss("D", batch)[0], variant.loss("D", Batch(batch.real, batch.labels, batch.source, batch.labels))[0]
    )
