"""Losses and penalties against closed forms."""

import math

import pytest
import torch

from gan import objectives

torch.manual_seed(0)


def nonsaturating(fake):
    return objectives.OBJECTIVES["nonsaturating"].generator(fake, fake).mean()


def test_losses_at_zero_logits_are_log_two():
    zero = torch.zeros(4, 1)
    assert nonsaturating(zero).item() == pytest.approx(math.log(2))
    assert objectives.logistic_discriminator(zero, zero).item() == pytest.approx(2 * math.log(2))


def test_losses_are_the_binary_cross_entropies():
    real, fake = torch.randn(6, 1), torch.randn(6, 1)
    cross = torch.nn.functional.binary_cross_entropy_with_logits
    expected = cross(real, torch.ones(6, 1)) + cross(fake, torch.zeros(6, 1))
    torch.testing.assert_close(objectives.logistic_discriminator(real, fake), expected)
    torch.testing.assert_close(nonsaturating(fake), cross(fake, torch.ones(6, 1)))


def test_the_discriminator_wants_real_high_and_fake_low():
    high, low = torch.full([2, 1], 3.0), torch.full([2, 1], -3.0)
    assert objectives.logistic_discriminator(high, low) < objectives.logistic_discriminator(low, high)
    assert nonsaturating(high) < nonsaturating(low)


@pytest.mark.parametrize("size", [(5, 3), (2, 3, 4)])
def test_r1_of_a_quadratic_form(size):
    """D(x) = a |x|^2 / 2 has |grad D|^2 = a^2 |x|^2, and d/da of its mean is 2 a mean |x|^2."""
    images = torch.randn(3, 2, *size, dtype=torch.float64, requires_grad=True)
    a = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    logits = (a * images.square().flatten(1).sum(1) / 2)[:, None]
    penalty = objectives.r1_penalty(logits, images)
    mean = images.detach().square().flatten(1).sum(1).mean()
    assert penalty.item() == pytest.approx((a.item() ** 2 * mean).item(), rel=1e-6)
    (slope,) = torch.autograd.grad(penalty, a)
    assert slope.item() == pytest.approx((2 * a.item() * mean).item(), rel=1e-6)


def test_path_length_of_a_linear_generator():
    """images = A w: E |A^T y|^2 = |A|_F^2 / pixels, whatever w is."""
    torch.manual_seed(0)
    pixels, dims, count = 16, 6, 20000
    matrix = torch.randn(pixels, dims)
    ws = torch.randn(count, 1, dims, requires_grad=True)
    lengths = objectives.path_lengths((ws @ matrix.t()).reshape(count, 1, 4, 4), ws)
    assert lengths.shape == (count,)
    expected = matrix.square().sum() / pixels
    torch.testing.assert_close(lengths.square().mean(), expected, rtol=0.02, atol=0)


def test_path_length_averages_over_the_layers():
    """A w that enters by one of four layers counts a quarter of one that the image sees alone."""
    torch.manual_seed(0)
    matrix = torch.randn(16, 6)

    def lengths(layers):
        torch.manual_seed(1)
        ws = torch.randn(8, layers, 6).requires_grad_()
        torch.manual_seed(2)
        return objectives.path_lengths((ws[:, 0] @ matrix.t()).reshape(8, 1, 4, 4), ws)

    torch.testing.assert_close(lengths(4), lengths(1) / 2)


def test_path_length_penalty_and_its_running_mean():
    lengths = torch.tensor([1.0, 3.0], requires_grad=True)
    penalty, mean = objectives.path_length_penalty(lengths, torch.tensor(0.0))
    assert mean.item() == pytest.approx(0.02)
    assert penalty.item() == pytest.approx((0.98**2 + 2.98**2) / 2)
    (slope,) = torch.autograd.grad(penalty, lengths)
    torch.testing.assert_close(slope, torch.tensor([0.98, 2.98]), msg="the mean takes no part in the gradient")
    assert not mean.requires_grad


def _softplus(x):
    return math.log1p(math.exp(x))


def _logits(name, real, fake):
    one = objectives.OBJECTIVES[name]
    return one.generator(fake, real).mean().item(), one.discriminator(real, fake).item()


@pytest.mark.parametrize(
    ("name", "generator", "discriminator"),
    [
        ("nonsaturating", lambda r, f: _softplus(-f), lambda r, f: _softplus(-r) + _softplus(f)),
        ("wgan_gp", lambda r, f: -f, lambda r, f: f - r),
        ("lsgan", lambda r, f: (f - 1) ** 2, lambda r, f: (r - 1) ** 2 + f**2),
        ("hinge", lambda r, f: -f, lambda r, f: max(0, 1 - r) + max(0, 1 + f)),
        ("r3gan", lambda r, f: _softplus(r - f), lambda r, f: _softplus(f - r)),
    ],
)
def test_objectives_sample_by_sample(name, generator, discriminator):
    pairs = [(0.3, -2.0), (1.5, 0.7), (-0.4, 2.5)]
    real, fake = (torch.tensor(column, dtype=torch.float64)[:, None] for column in zip(*pairs, strict=True))
    expected = [sum(side(*pair) for pair in pairs) / len(pairs) for side in (generator, discriminator)]
    assert _logits(name, real, fake) == pytest.approx(expected)
    assert objectives.OBJECTIVES[name].generator(fake, real).shape == fake.shape
    assert objectives.OBJECTIVES[name].paired == (name == "r3gan")


def test_relativistic_loss_pairs_samples():
    """softplus of a difference is not that of means: other pairs, another loss; a shift of all logits, the same."""
    real, fake = torch.tensor([[0.0], [4.0]]), torch.tensor([[1.0], [3.0]])
    assert _logits("r3gan", real, fake) != pytest.approx(_logits("r3gan", real.flip(0), fake))
    assert _logits("r3gan", real + 5, fake + 5) == pytest.approx(_logits("r3gan", real, fake))


@pytest.mark.parametrize("target", [0.0, 1.0, 3.0])
def test_gradient_penalty_of_a_quadratic_form(target):
    """D(x) = a |x|^2 / 2 has |grad D| = a |x|; d/da of the mean (a |x| - t)^2 is 2 mean |x| (a |x| - t)."""
    images = torch.randn(3, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    a = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    logits = (a * images.square().flatten(1).sum(1) / 2)[:, None]
    penalty = objectives.gradient_penalty(logits, images, target)
    length = images.detach().flatten(1).norm(dim=1)
    excess = a.detach() * length - target
    assert penalty.item() == pytest.approx(excess.square().mean().item(), rel=1e-6)
    (slope,) = torch.autograd.grad(penalty, a)
    assert slope.item() == pytest.approx((2 * length * excess).mean().item(), rel=1e-6)


def test_gradient_penalty_where_the_gradient_vanishes():
    images = torch.zeros(2, 1, 3, 3, requires_grad=True)
    weight = torch.zeros(9, requires_grad=True)
    penalty = objectives.gradient_penalty(images.flatten(1) @ weight[:, None], images)
    assert penalty.item() == 1
    assert torch.isfinite(torch.autograd.grad(penalty, weight)[0]).all()


def test_interpolates_lie_between_their_pair():
    real, fake = torch.randn(64, 2, 3, 3), torch.randn(64, 2, 3, 3, requires_grad=True)
    between = objectives.interpolate(real, fake)
    assert between.is_leaf and between.requires_grad
    share = ((between - fake) / (real - fake)).detach().flatten(1)
    torch.testing.assert_close(share, share[:, :1].expand_as(share), atol=1e-3, rtol=0)
    assert share.min() >= 0 and share.max() <= 1 and share[:, 0].std() == pytest.approx(12**-0.5, rel=0.3)


def test_drift():
    assert objectives.drift(torch.tensor([[3.0], [-1.0]])).item() == 5


@pytest.mark.parametrize(("share", "kept"), [(1.0, 5), (0.79, 4), (0.5, 3), (0.01, 1)])
def test_topk_leaves_the_gradient_of_the_best_alone(share, kept):
    """k = ceil(5 share): the gradient is that of the mean over the k highest logits, and 0 elsewhere."""
    fake = torch.tensor([[0.3], [-1.0], [2.0], [0.9], [-0.2]], dtype=torch.float64, requires_grad=True)
    losses = objectives.OBJECTIVES["nonsaturating"].generator(fake, fake)
    loss = (losses * objectives.topk_weights(fake, torch.tensor(share, dtype=torch.float64))).mean()
    best = sorted(fake.flatten().tolist(), reverse=True)[:kept]
    assert loss.item() == pytest.approx(sum(_softplus(-logit) for logit in best) / kept)
    (slope,) = torch.autograd.grad(loss, fake)
    expected = [-1 / (1 + math.exp(x)) / kept if x in best else 0 for x in fake.flatten().tolist()]
    assert slope.flatten().tolist() == pytest.approx(expected)


def test_lecam_pulls_each_side_to_the_mean_of_the_other():
    real, fake = torch.tensor([[2.0], [4.0]], requires_grad=True), torch.tensor([[-1.0], [0.0]], requires_grad=True)
    penalty = objectives.lecam(real, fake, torch.tensor([3.0, -2.0]))
    assert penalty.item() == pytest.approx((4**2 + 6**2) / 2 + (4**2 + 3**2) / 2)
    slopes = torch.autograd.grad(penalty, [real, fake])
    assert [slope.flatten().tolist() for slope in slopes] == [[4, 6], [-4, -3]]
