"""MS-SSIM against its formula written out with scipy, and what it says of sets of images."""

import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage

from gan.errors import GanError
from gan.metrics.ssim import ms_ssim, pairs_of_subjects, similarity_of_pairs, similarity_of_set

PUBLISHED = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]


def images(count: int, *size: int, seed: int = 0) -> np.ndarray:
    """Smooth random images, as anatomy is, with some noise, 0..255."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal((count, *size)), (*[0] * (len(size) - 1), 3, 3))
    noisy = 128 + 60 * smooth / smooth.std() + 10 * rng.standard_normal((count, *size))
    return noisy.clip(0, 255).round().astype(np.uint8)


def by_hand(x: np.ndarray, y: np.ndarray, scales: int) -> float:
    """Wang et al. 2003, equation 7, window by window: every moment from its definition, centred."""
    window = min(11, *x.shape)
    across = np.exp(-0.5 * ((np.arange(window) - (window - 1) / 2) / (1.5 * window / 11)) ** 2)
    kernel = np.outer(across, across) / np.outer(across, across).sum()
    weights = np.array(PUBLISHED[:scales]) / sum(PUBLISHED[:scales])
    value = 1.0
    x, y = x.astype(float), y.astype(float)
    for scale in range(scales):
        found = []
        for top, left in itertools.product(*(range(side - window + 1) for side in x.shape)):
            a, b = (image[top : top + window, left : left + window] for image in (x, y))
            mean_a, mean_b = (kernel * a).sum(), (kernel * b).sum()
            both = (kernel * (a - mean_a) * (b - mean_b)).sum()
            spread = (kernel * (a - mean_a) ** 2).sum() + (kernel * (b - mean_b) ** 2).sum()
            term = (2 * both + 7.65**2) / (spread + 7.65**2)
            if scale == scales - 1:
                term *= (2 * mean_a * mean_b + 2.55**2) / (mean_a**2 + mean_b**2 + 2.55**2)
            found.append(term)
        value *= max(0.0, np.mean(found)) ** weights[scale]
        even = [side // 2 * 2 for side in x.shape]
        x, y = (i[: even[0], : even[1]] for i in (x, y))
        x, y = (0.25 * (i[::2, ::2] + i[1::2, ::2] + i[::2, 1::2] + i[1::2, 1::2]) for i in (x, y))
    return value


@pytest.mark.parametrize(
    ("size", "scales"), [((16, 16), 1), ((22, 30), 2), ((64, 44), 3), ((88, 88), 4), ((176, 176), 5), ((4, 4), 1)]
)
def test_against_the_formula(size, scales):
    x, y = images(2, *size), images(2, *size, seed=1)
    y = np.rint(0.4 * x + 0.6 * y).astype(np.uint8)
    found = ms_ssim(x, y)
    for n in range(1 if scales > 3 else 2):
        assert found[n].item() == pytest.approx(by_hand(x[n], y[n], scales), rel=1e-9)
    assert 0.05 < found[0] < 0.95  # neither end, where the pieces would not show


def test_equal_images_have_one_and_the_order_does_not_matter():
    x, y = images(3, 32, 32), images(3, 32, 32, seed=1)
    torch.testing.assert_close(ms_ssim(x, x), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(ms_ssim(x, y), ms_ssim(y, x))


def test_flat_images_differ_in_luminance_alone():
    """cs is 1, and the luminance of the coarsest of two scales has the power 0.2856 / (0.0448 + 0.2856)."""
    x, y = np.full((1, 32, 32), 100.0), np.full((1, 32, 32), 200.0)
    luminance = (2 * 100 * 200 + 2.55**2) / (100**2 + 200**2 + 2.55**2)
    assert ms_ssim(x, y).item() == pytest.approx(luminance ** (0.2856 / (0.0448 + 0.2856)), rel=1e-9)


def test_inverted_structure_counts_as_none():
    x = images(1, 32, 32)
    assert ms_ssim(x, 255 - x).item() == 0


def test_what_is_alike_has_a_higher_mean():
    """Of four images in equal parts, a quarter of all pairs are (nearly) a pair of equal ones."""
    drawn = images(40, 1, 32, 32)
    repeated = np.tile(drawn[:4], (10, 1, 1, 1))
    whole, few = similarity_of_set(drawn, 10_000), similarity_of_set(repeated, 10_000)
    four = similarity_of_set(drawn[:4], 10_000)
    same = 4 * 45 / 780  # pairs of an image with itself
    assert few == pytest.approx(same + (1 - same) * four, rel=1e-9)
    assert few > whole + 0.1


def test_mean_over_some_pairs_is_near_that_over_all():
    drawn = images(40, 2, 16, 16)
    every = [ms_ssim(drawn[i], drawn[j]).mean().item() for i, j in itertools.combinations(range(40), 2)]
    assert similarity_of_set(drawn, 780) == pytest.approx(np.mean(every), rel=1e-9)
    assert similarity_of_set(drawn, 200) == pytest.approx(np.mean(every), abs=4 * np.std(every) / 200**0.5)


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_a_volume_that_is_the_same_along_an_axis_is_like_its_slices(axis):
    x, y = images(2, 32, 32), images(2, 32, 32, seed=1)
    extruded = [np.stack([of] * 32, axis) for of in (x, y)]
    torch.testing.assert_close(ms_ssim(*extruded), ms_ssim(x, y))


def test_pairs_of_volumes_in_succession():
    drawn = images(5 * 12, 12, 12).reshape(5, 12, 12, 12)
    expected = [ms_ssim(drawn[[place]], drawn[[place + 1]]).item() for place in (0, 2)]
    np.testing.assert_allclose(similarity_of_pairs(drawn), expected, rtol=1e-12)
    assert similarity_of_set(drawn[:2, None], 100) == pytest.approx(expected[0], rel=1e-12)


def test_a_single_image_has_no_pair():
    assert np.isnan(similarity_of_set(images(1, 1, 16, 16), 10))


@pytest.mark.parametrize("count", [0, 1, 2, 41])
def test_pairs_in_succession(count):
    drawn = images(count, 16, 16) if count else np.empty((0, 16, 16), np.uint8)
    expected = [ms_ssim(drawn[[i]], drawn[[i + 1]]).item() for i in range(0, count - 1, 2)]
    np.testing.assert_allclose(similarity_of_pairs(drawn), expected, rtol=1e-12)


def test_pairs_are_of_different_subjects_and_of_all_images():
    subjects = np.repeat([4, 7, 9], [2, 30, 8])
    pairs = pairs_of_subjects(subjects, 400)
    assert (subjects[pairs[:, 0]] != subjects[pairs[:, 1]]).all()
    assert set(pairs.ravel()) == set(range(40))
    assert np.array_equal(pairs, pairs_of_subjects(subjects, 400))


def test_a_single_subject_is_refused():
    with pytest.raises(GanError, match="one subject, two are needed"):
        pairs_of_subjects(np.zeros(10, int))
