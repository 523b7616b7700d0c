"""Attention against sums written out position by position, and where it sits in the networks."""

import math

import pytest
import torch
from torch.nn.functional import leaky_relu

from gan.errors import GanError
from gan.nn import Discriminator, Generator, Pyramid
from gan.nn.attention import LinearAttention, SelfAttention

SMALL = {"channel_base": 64, "channel_max": 8}
SIZES = [(3, 4), (2, 2, 3)]
KINDS = [LinearAttention, SelfAttention]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def _matrix(layer):
    return (layer.weight * layer.weight_gain).flatten(1).detach()


def _softmax(values):
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("size", SIZES)
def test_self_attention_is_the_sum_over_pairs_of_positions(size):
    module = SelfAttention(16, len(size)).double()
    with torch.no_grad():
        module.gamma.fill_(0.7)
    x = torch.randn(2, 16, *size, dtype=torch.float64)
    expected = torch.empty_like(x).flatten(2)
    for n, image in enumerate(x.flatten(2)):
        query, key, value = (_matrix(layer) @ image for layer in (module.query, module.key, module.value))
        assert len(query) == 2
        for place in range(image.shape[1]):
            weights = _softmax([float(query[:, place] @ key[:, other]) for other in range(image.shape[1])])
            seen = sum(weight * value[:, other] for other, weight in enumerate(weights))
            expected[n, :, place] = image[:, place] + 0.7 * (_matrix(module.out) @ seen)
    torch.testing.assert_close(module(x).flatten(2), expected)


@pytest.mark.parametrize("size", SIZES)
def test_linear_attention_is_the_sum_over_heads_and_positions(size):
    module = LinearAttention(6, len(size), heads=3, width=4).double()
    with torch.no_grad():
        module.gamma.copy_(torch.tensor([0.7, -0.4]))
        for layer in (module.out, *module.feed_forward):
            layer.bias.normal_()
    x = torch.randn(2, 6, *size, dtype=torch.float64)
    attended = torch.zeros(2, 12, math.prod(size), dtype=torch.float64)
    for n, image in enumerate(x.flatten(2)):
        query, key, value = (_matrix(layer) @ image for layer in (module.query, module.key, module.value))
        for head in range(3):
            rows = range(4 * head, 4 * head + 4)
            shares = {row: _softmax(key[row].tolist()) for row in rows}
            for place in range(image.shape[1]):
                weights = _softmax(query[rows, place].tolist())
                for weight, row in zip(weights, rows, strict=True):
                    for other, share in enumerate(shares[row]):
                        attended[n, rows, place] += weight * share * value[rows, other]
    y = x.flatten(2) + 0.7 * (_matrix(module.out) @ attended + module.out.bias[:, None])
    first, second = module.feed_forward
    hidden = leaky_relu(_matrix(first) @ y + first.bias[:, None], 0.2) * math.sqrt(2)
    expected = y - 0.4 * (_matrix(second) @ hidden + second.bias[:, None])
    torch.testing.assert_close(module(x).flatten(2), expected)


def test_published_widths():
    assert LinearAttention(32).query.weight.shape[:2] == (8 * 64, 32)
    assert SelfAttention(64).query.weight.shape[:2] == (8, 64)


@pytest.mark.parametrize("kind", KINDS)
def test_attention_starts_as_the_identity_and_learns(kind):
    module, x = kind(8), torch.randn(2, 8, 4, 4)
    assert torch.equal(module(x), x)
    module(x).square().sum().backward()
    assert module.gamma.grad.abs().min() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives(kind):
    module = kind(8).double()
    with torch.no_grad():
        module.gamma.fill_(0.5)
    x = torch.randn(1, 8, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(module, x)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(32, 32), (24, 32), (16, 16, 16)])
def test_each_resolution_has_its_own(kind, size):
    """Only what is fed through the modules changes: with gammas at 0 the networks give what they give without."""
    plain, attentive = (
        (Generator(size, 2, z_dim=8, w_dim=8, **more, **SMALL), Discriminator(size, 2, **more, **SMALL))
        for more in ({}, {"attention": {4: kind, 16: kind}})
    )
    z, none = torch.randn(2, 8), torch.zeros(2, 0)
    seen = []
    for mine, its in zip(attentive, plain, strict=True):
        mine.load_state_dict(its.state_dict(), strict=False)
    for network in (attentive[0].synthesis, attentive[1]):
        for module in network.attention.values():
            module.register_forward_hook(lambda _, given, __: seen.append(tuple(given[0].shape[1:])))
    images = [generator(z, none, noise="constant") for generator, _ in (attentive, plain)]
    logits = [discriminator(images[1], none) for _, discriminator in (attentive, plain)]
    torch.testing.assert_close(*images)
    torch.testing.assert_close(*logits)
    pyramid = Pyramid.of(size)
    low, high = (8, *pyramid.grid), (4, *pyramid.size(2))
    assert seen == [low, high, high, low]


def test_a_resolution_that_is_not_there_is_named():
    with pytest.raises(
        GanError, match=r"attention_at has 64; images of size \[32, 32\] have the resolutions 4, 8, 16, 32"
    ):
        Generator((32, 32), 1, attention={64: LinearAttention}, **SMALL)
    with pytest.raises(GanError, match="attention_at has 5"):
        Discriminator((32, 32), 1, attention={5: SelfAttention}, **SMALL)
