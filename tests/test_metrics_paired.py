"""Measures of translated slices: closed forms, a reference implementation of SSIM, regions, and who counts."""

import math

import numpy as np
import pytest
from scipy import ndimage

from gan.metrics import paired, regions
from gan.metrics.facts import FACTS
from gan.metrics.paired import FLICKER, MEASURES, OUTSIDE, SHARPNESS, Compared, by_subject, neighbours, score, terms
from gan.metrics.ssim import ssim_map

SIZE = (40, 48)
WHOLE = np.ones((3, *SIZE), bool)


def head(count=3, seed=0) -> np.ndarray:
    """Smooth texture in an ellipse, 0 around it: float32 [n, H, W], 60 to 200."""
    rng = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(rng.standard_normal((count, *SIZE)), (0, 1.5, 1.5))
    rows, columns = np.ogrid[-1 : 1 : SIZE[0] * 1j, -1 : 1 : SIZE[1] * 1j]
    inside = rows**2 + columns**2 < 0.6
    return np.where(inside, (130 + 40 * texture / texture.std()).clip(60, 200), 0).astype(np.float32)


def fg(images: np.ndarray) -> np.ndarray:
    return regions.foreground(images[:, None], images[:, None])


def pooled(measure, prediction, reference, region) -> float:
    """The value of slices of one subject."""
    found = terms(measure, Compared.of(prediction, reference), region)
    return float(by_subject(measure, found, np.zeros(len(found)))[0])


def test_a_perfect_translation():
    y = head()
    perfect = {"mae": 0, "ssim": 1, "psnr": 100, "nmse": 0, "pcc": 1}
    assert {name: pytest.approx(score(name, y, y, fg(y)), abs=1e-9) for name in MEASURES} == perfect
    assert pooled(SHARPNESS, y, y, fg(y)) == 1 and pooled(OUTSIDE, y, y, ~fg(y)) == 0
    assert pooled(FLICKER, np.diff(y, axis=0), np.diff(y, axis=0), fg(y)[1:]) == 1


@pytest.mark.parametrize("offset", [-20.0, 7.5])
def test_a_constant_offset(offset):
    y = np.full((2, *SIZE), 100.0, np.float32)
    x, region = y + np.float32(offset), WHOLE[:2]
    assert score("mae", x, y, region) == pytest.approx(abs(offset))
    assert score("psnr", x, y, region) == pytest.approx(20 * math.log10(255 / abs(offset)))
    assert score("nmse", x, y, region) == pytest.approx((offset / 100) ** 2)
    a, b, c1 = 100.0, 100.0 + offset, 2.55**2
    assert score("ssim", x, y, region) == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1), rel=1e-9)
    assert score("pcc", x, y, region) == 0  # of a constant nothing can be said


def test_ssim_is_that_of_the_published_programs():
    """The map of scikit-image with gaussian_weights, sigma 1.5, no sample covariance, data_range 255, written out."""
    x, y = head(2), head(2, seed=1)

    def blur(images):
        return ndimage.gaussian_filter(images.astype(float), (0, 1.5, 1.5), truncate=3.5, mode="reflect")

    mean_x, mean_y = blur(x), blur(y)
    xx, yy, xy = blur(x.astype(float) ** 2), blur(y.astype(float) ** 2), blur(x.astype(float) * y)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = (2 * mean_x * mean_y + c1) * (2 * (xy - mean_x * mean_y) + c2)
    expected /= (mean_x**2 + mean_y**2 + c1) * (xx - mean_x**2 + yy - mean_y**2 + c2)
    inner = expected[:, 5:-5, 5:-5]
    np.testing.assert_allclose(ssim_map(x, y).numpy(), inner, atol=1e-9)
    region = fg(y)
    inside = region[:, 5:-5, 5:-5]
    means = [plane[where].mean() for plane, where in zip(inner, inside, strict=True)]
    assert 0.1 < np.mean(means) < 0.9
    assert score("ssim", x, y, region) == pytest.approx(np.mean(means), rel=1e-9)
    assert score("ssim", x, y, WHOLE[:2]) == pytest.approx(inner.mean(), rel=1e-9)


def test_numbers_are_those_of_the_definitions():
    x, y = (head() + np.float32(9)).clip(0, 255), head(seed=4)
    region, subjects = fg(y), np.array([0, 0, 7])
    each = [(a[where].astype(float), b[where].astype(float)) for a, b, where in zip(x, y, region, strict=True)]
    pair = [tuple(np.concatenate(both) for both in zip(*each[:2], strict=True)), each[2]]

    def by_slice(value):
        return np.mean([np.mean([value(*each[0]), value(*each[1])]), value(*each[2])])

    def by_voxels(value):
        return np.mean([value(*both) for both in pair])

    expected = {
        "mae": by_slice(lambda a, b: np.abs(a - b).mean()),
        "pcc": by_slice(lambda a, b: np.corrcoef(a, b)[0, 1]),
        "psnr": by_voxels(lambda a, b: 10 * np.log10(255**2 / np.mean((a - b) ** 2))),
        "nmse": by_voxels(lambda a, b: np.sum((a - b) ** 2) / np.sum(b**2)),
    }
    for name, value in expected.items():
        assert score(name, x, y, region, subjects) == pytest.approx(value, rel=1e-9), name


def test_a_gain_error_counts_except_for_the_correlation():
    """Programs that divide each image by its own maximum do not see it."""
    y = head()
    x, region = y * np.float32(1.05), fg(y)
    assert score("mae", x, y, region) == pytest.approx(0.05 * y[region].mean(), rel=0.02)
    assert score("psnr", x, y, region) < 40 and score("nmse", x, y, region) == pytest.approx(0.0025, rel=1e-4)
    assert score("pcc", x, y, region) == pytest.approx(1, abs=1e-9)


def test_padding_changes_nothing_in_the_head_and_dilutes_the_whole():
    x, y = head() * np.float32(0.9), head()
    wide = [np.pad(images, ((0, 0), (30, 30), (26, 26))) for images in (x, y)]
    for name in ("mae", "psnr", "nmse", "pcc", "ssim"):  # of SSIM all windows of this head lie within the frame
        assert score(name, *wide, fg(wide[1])) == pytest.approx(score(name, x, y, fg(y)), rel=1e-9), name
    share = WHOLE[0].size / (100 * 100)
    whole = np.ones((3, 100, 100), bool)
    assert score("mae", *wide, whole) == pytest.approx(share * score("mae", x, y, WHOLE))
    gain = score("psnr", *wide, whole) - score("psnr", x, y, WHOLE)
    assert gain == pytest.approx(-10 * math.log10(share)) and gain > 5


def test_what_lies_outside_of_the_scale_is_clipped_and_nothing_is_rounded():
    y = head()
    outside = (y * 1.5 - 40).astype(np.float32)
    assert outside.min() < 0 and outside.max() > 255
    for name in MEASURES:
        assert score(name, outside, y, WHOLE) == score(name, outside.clip(0, 255), y, WHOLE)
    assert score("mae", y + np.float32(0.25), y, fg(y)) == pytest.approx(0.25, rel=1e-4)
    with pytest.raises(TypeError, match="prediction is of uint8; images are scored as floats"):
        score("mae", y.astype(np.uint8), y, WHOLE)
    with pytest.raises(TypeError, match="reference is of uint16"):
        score("mae", y, y.astype(np.uint16), WHOLE)
    y[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="prediction has values that are not finite"):
        score("mae", y, head(), WHOLE)


def test_blur_and_noise_move_sharpness_in_opposite_directions():
    y, rng = head(), np.random.default_rng(0)
    blurred = ndimage.gaussian_filter(y, (0, 1, 1))
    noisy = y + rng.normal(0, 10, y.shape).astype(np.float32)
    inner = regions.inner(fg(y))
    assert 0 < inner.sum() < fg(y).sum()
    assert pooled(SHARPNESS, blurred, y, inner) < 0.7 < 1.5 < pooled(SHARPNESS, noisy, y, inner)


def test_the_foreground_is_one_filled_piece_of_the_real_images():
    source, target = np.zeros((2, 1, 2, 20, 20), np.float32)
    source[0, 0, 3:12, 3:12], source[0, 0, 5:8, 5:8] = 120, 0  # a hole
    target[0, 1, 10:16, 10:16] = 26  # of another channel, joined to it
    source[0, 1, 17:19, 1:3] = 200  # a piece apart
    source[0, 0, 0, 0] = 25  # below 10 % of the scale
    expected = np.zeros((20, 20), bool)
    expected[3:12, 3:12] = expected[10:16, 10:16] = True
    np.testing.assert_array_equal(regions.foreground(source[:1], target[:1])[0], expected)
    assert not regions.foreground(source[1:], target[1:]).any()
    assert regions.foreground(source[:1], target[:1], level=0)[0].sum() == expected.sum()


def test_regions_are_boolean_and_of_the_slices():
    y, mask = head(), np.zeros((3, *SIZE), np.uint8)
    with pytest.raises(TypeError, match="a region is boolean, not of uint8"):
        score("mae", y, y, mask)
    with pytest.raises(ValueError, match=r"a region of shape \(3, 40\)"):
        score("mae", y, y, WHOLE[..., 0])
    with pytest.raises(TypeError, match="label images are of integers"):
        regions.of_mask(mask.astype(float), 1)


def test_labels_of_the_mask_are_regions():
    mask = np.zeros((1, 4, 4), np.uint8)
    mask[0, 0], mask[0, 1] = 1, 3
    found = regions.of_mask(mask, 3)
    assert {name: int(region.sum()) for name, region in found.items()} == {
        "tumour": 8, "tumour_1": 4, "tumour_2": 0, "tumour_3": 4,
    }  # fmt: skip
    assert list(regions.of_mask(mask, 1)) == ["tumour"]  # one label is all labels


def test_small_regions_are_left_out_and_an_empty_one_is_no_number():
    x, y = head() + np.float32(5), head()
    region = np.zeros_like(WHOLE)
    region[0, 10:15, 10:19] = True  # 45 voxels
    region[1, 10:15, 10:20] = True  # 50
    found = terms(MEASURES["mae"], Compared.of(x, y), region)
    assert np.isnan(found).any(1).tolist() == [True, False, True]
    assert score("mae", x, y, region) == pytest.approx(5, rel=1e-4)
    assert math.isnan(score("mae", x, y, WHOLE & False))
    values = by_subject(MEASURES["mae"], found, np.array([4, 4, 2]))
    assert math.isnan(values[0]) and values[1] == pytest.approx(5, rel=1e-4)
    region[1], region[1, :5, :20] = False, True  # in the border, where no window of SSIM is whole
    assert math.isnan(score("ssim", x, y, region)) and score("mae", x, y, region) > 0


def test_neighbours_are_of_one_volume_and_one_step_apart():
    volumes, slices = np.array([0, 0, 0, 1, 1, 1]), np.array([2, 4, 8, 10, 12, 14])
    assert neighbours(volumes, slices, 2).tolist() == [0, 3, 4] and not len(neighbours(volumes, slices, 1))


def test_every_measure_has_facts_for_every_region():
    names = {f"{name}_{region}" for name in MEASURES for region in (regions.WHOLE, regions.HEAD, regions.TUMOUR)}
    assert names < set(FACTS) and {"sharpness", "flicker", "outside"} < set(FACTS)
    assert [name for name, fact in FACTS.items() if fact.curve and name in names] == ["mae_fg", "ssim_fg"]
    assert FACTS["psnr_fg"].high == paired.CAP
