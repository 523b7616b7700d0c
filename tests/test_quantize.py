"""Feature quantization against the formulas of its paper, code by code."""

import math

import pytest
import torch

from gan.nn.quantize import Quantizer, learn


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def _quantizer(channels=3, codes=5, *, started=True, **options):
    module = Quantizer(channels, codes, **options).double()
    if started:
        module.counts.fill_(1.0)
        module.sums.copy_(module.codes)
    return module


def _features(*size, channels=3, count=2):
    return torch.randn(count, channels, *size, dtype=torch.float64)


def _nearest(module, x):
    """The code of each position by trying them all, [N, positions]."""
    return [
        [min(range(len(module.codes)), key=lambda k: float((vector - module.codes[k]).norm())) for vector in image.t()]
        for image in x.flatten(2)
    ]


@pytest.mark.parametrize("size", [(4, 3), (2, 3, 2)])
def test_every_position_becomes_its_nearest_code(size):
    module, x = _quantizer(), _features(*size)
    found = module(x).flatten(2)
    for n, places in enumerate(_nearest(module, x)):
        torch.testing.assert_close(found[n].t(), module.codes[places])


def test_the_gradient_goes_straight_through():
    module, x = _quantizer(), _features(4, 3).requires_grad_()
    weights = torch.randn_like(x)
    (slope,) = torch.autograd.grad((module(x) * weights).sum(), x)
    assert torch.equal(slope, weights)


def test_loss_only_passes_features_on_and_still_commits():
    module, x = _quantizer(replace=False), _features(4, 3).requires_grad_()
    notes = []
    assert module(x, notes) is x
    assert torch.autograd.grad(notes[0].commitment, x)[0].any()


def test_commitment_draws_features_to_their_codes():
    """d/dx mean (x - e)^2 = 2 (x - e) / count; the codes take no gradient."""
    module, x, notes = _quantizer(), _features(4, 3).requires_grad_(), []
    nearest = module(x, notes).detach()
    (slope,) = torch.autograd.grad(notes[0].commitment, x)
    torch.testing.assert_close(slope, 2 * (x.detach() - nearest) / x.numel())
    assert not list(module.parameters())


def test_codes_are_moving_averages_of_their_features():
    module, steps = _quantizer(decay=0.8), [_features(4, 3), _features(4, 3)]
    counts, sums = torch.ones(5, dtype=torch.float64), module.codes.clone()
    for x in steps:
        index = torch.tensor(_nearest(module, x)).flatten()
        vectors = x.flatten(2).mT.flatten(0, 1)
        for k in range(5):
            own = vectors[index == k]
            counts[k] = 0.8 * counts[k] + 0.2 * len(own)
            sums[k] = 0.8 * sums[k] + 0.2 * own.sum(0)
        notes = []
        module(x, notes)
        logs = learn(notes)
        torch.testing.assert_close(module.codes, sums / counts[:, None])
        shares = [(index == k).double().mean().item() for k in range(5)]
        assert logs["fq/usage"].item() == pytest.approx(sum(share > 0 for share in shares) / 5)
        entropy = -sum(share * math.log(share) for share in shares if share)
        assert logs["fq/perplexity"].item() == pytest.approx(math.exp(entropy))
        assert logs["fq/evenness"].item() == pytest.approx(math.exp(entropy) / 5)


def test_a_quantizer_that_collapses_shows_beside_a_good_one():
    good, bad, notes = _quantizer(codes=2), _quantizer(codes=2), []
    x = torch.tensor([[[-1.0, 1.0]] * 3], dtype=torch.float64)
    good.codes.copy_(torch.tensor([[-1.0], [1.0]]).expand(2, 3))
    bad.codes.copy_(torch.tensor([[0.0], [9.0]]).expand(2, 3))
    good(x, notes), bad(x, notes)
    logs = learn(notes)
    assert logs["fq/perplexity"].item() == pytest.approx(1.5) and logs["fq/evenness"].item() == pytest.approx(0.5)


def test_two_calls_of_a_step_are_learned_from_as_one():
    one, other = _quantizer(), _quantizer()
    other.load_state_dict(one.state_dict())
    x, together, apart = _features(4, 3, count=4), [], []
    one(x, together)
    for half in x.split(2):
        other(half, apart)
    learn(together), learn(apart)
    torch.testing.assert_close(one.codes, other.codes)


def test_the_first_step_sets_codes_on_features_and_uses_them_all():
    module, x = _quantizer(channels=8, codes=16, started=False), _features(8, 8, channels=8, count=4) * 0.1 + 3
    usage = []
    for _ in range(2):
        notes = []
        module(x, notes)
        usage.append(learn(notes)["fq/usage"].item())
    assert usage[0] < 0.25 and usage[1] == 1


def test_a_code_without_use_stays_where_it_is():
    module = _quantizer(codes=2)
    module.codes.copy_(torch.tensor([[0.0] * 3, [100.0] * 3]))
    module.sums.copy_(module.codes)
    for _ in range(400):  # 0.8^400 is nothing in any format
        notes = []
        module(_features(2, 2, count=1), notes)
        learn(notes)
    torch.testing.assert_close(module.codes[1], torch.full([3], 100.0, dtype=torch.float64))


def test_the_codebook_is_part_of_the_state():
    assert set(_quantizer().state_dict()) == {"codes", "counts", "sums"}
