"""DiffAugment: each policy against what its paper says, image by image."""

import pytest
import torch

from gan.diffaugment import POLICIES, colour, cutout, diffaugment, translation

SIZES = [(16, 24), (8, 16, 8)]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def _images(*size, count=40, channels=2):
    return torch.rand(count, channels, *size, dtype=torch.float64) + 1  # nowhere 0


def _moved(image, shifts):
    """``image`` [C, *size] shifted by whole pixels, zeros outside."""
    result = torch.zeros_like(image)
    to = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(shifts, image.shape[1:], strict=True))
    of = tuple(slice(max(0, s), n + min(0, s)) for s, n in zip(shifts, image.shape[1:], strict=True))
    result[(slice(None), *to)] = image[(slice(None), *of)]
    return result


@pytest.mark.parametrize("size", SIZES)
def test_translation_shifts_by_whole_pixels_and_fills_with_zeros(size):
    images = _images(*size)
    allowed = [range(-(side // 8), side // 8 + 1) for side in size]
    found = set()
    for image, moved in zip(images, translation(images), strict=True):
        shifts = [
            shifts
            for shifts in torch.cartesian_prod(*(torch.tensor(list(steps)) for steps in allowed)).tolist()
            if torch.equal(_moved(image, shifts), moved)
        ]
        assert len(shifts) == 1
        found.add(tuple(shifts[0]))
    for axis, steps in enumerate(allowed):
        assert {shifts[axis] for shifts in found} == set(steps)


@pytest.mark.parametrize("size", SIZES)
def test_cutout_zeroes_a_box_of_half_the_sides(size):
    images = _images(*size)
    cut = cutout(images)
    starts = set()
    for image, left in zip(images, cut, strict=True):
        gone = left == 0
        assert torch.equal(left[~gone], image[~gone])
        assert (gone == gone[:1]).all(), "the same for each channel"
        places = gone[0].nonzero()
        low, high = places.min(0).values, places.max(0).values
        assert len(places) == (high - low + 1).prod(), "a whole box"
        for axis, side in enumerate(size):
            length = int(high[axis] - low[axis]) + 1
            at_border = low[axis] == 0 or high[axis] == side - 1
            assert length == side // 2 or (at_border and side // 4 <= length < side // 2)
        starts.add(tuple(low.tolist()))
    assert len(starts) > 20


@pytest.mark.parametrize("size", SIZES)
def test_colour_is_an_affine_map_of_bounded_slopes(size):
    """Luma: a l + b with a in 0.5..1.5 but for brightness, -0.5..0.5; differences of channels: times a * 0..2."""
    images = _images(*size, count=200)
    changed = colour(images)
    luma, chroma = (lambda x: x.mean(1).flatten(1)), (lambda x: (x[:, 0] - x[:, 1]).flatten(1))
    mean = luma(images).mean(1, keepdim=True)
    contrast = (luma(changed) - luma(changed).mean(1, keepdim=True)) / (luma(images) - mean)
    torch.testing.assert_close(contrast, contrast[:, :1].expand_as(contrast), rtol=1e-6, atol=1e-6)
    saturation = chroma(changed) / chroma(images)
    torch.testing.assert_close(saturation, saturation[:, :1].expand_as(saturation), rtol=1e-6, atol=1e-6)
    contrast, saturation = contrast[:, 0], saturation[:, 0] / contrast[:, 0]
    brightness = luma(changed).mean(1) - mean[:, 0]
    for amount, low, high in ((contrast, 0.5, 1.5), (saturation, 0, 2), (brightness, -0.5, 0.5)):
        assert low <= amount.min() < low + 0.1 * (high - low) and high - 0.1 * (high - low) < amount.max() <= high
        assert amount.mean().item() == pytest.approx((low + high) / 2, abs=0.1 * (high - low))


def test_one_channel_keeps_its_order_of_intensities():
    """No luma inversion: brighter stays brighter."""
    images = _images(16, 16, channels=1)
    order = images.flatten(1).argsort(1)
    assert (colour(images).flatten(1).gather(1, order).diff(dim=1) > 0).all()


@pytest.mark.parametrize("policy", POLICIES)
def test_the_gradient_is_that_of_a_linear_map(policy):
    images = _images(8, 8, count=2).requires_grad_()

    def fixed(x):
        torch.manual_seed(3)
        return diffaugment(x, [policy])

    assert torch.autograd.gradcheck(fixed, images) and torch.autograd.gradgradcheck(fixed, images)


def test_policies_are_applied_in_turn():
    images = _images(16, 16)
    torch.manual_seed(1)
    found = diffaugment(images, ("cutout", "colour"))
    torch.manual_seed(1)
    assert torch.equal(found, colour(cutout(images)))
    assert diffaugment(images, ()) is images


def test_colour_leaves_a_mask_alone_that_moves_with_its_contrasts():
    images = _images(16, 16, channels=3)
    torch.manual_seed(1)
    found = diffaugment(images, ("colour",), masks=1)
    torch.manual_seed(1)
    assert torch.equal(found[:, :2], colour(images[:, :2]))
    assert torch.equal(found[:, 2], images[:, 2])
    twice = diffaugment(images[:, [0, 0]], ("translation", "cutout"), masks=1)
    assert torch.equal(twice[:, 0], twice[:, 1])
    assert not torch.equal(twice[:, 1], images[:, 0])
