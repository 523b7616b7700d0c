"""Fréchet and kernel distance against closed forms and against clean-fid on the same features."""

import numpy as np
import pytest
from cleanfid import fid as cleanfid
from scipy import linalg

from gan.metrics.distances import frechet_distance, frechet_distances, kernel_distance, kernel_distances


def features(n: int, d: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(1000).normal(size=(d, d)) / np.sqrt(d)
    return (rng.normal(size=(n, d)) * scale + shift) @ mixing


def square_root_distance(x: np.ndarray, y: np.ndarray) -> float:
    """By symmetric square roots: slow, and stable for singular covariances."""
    s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    values, vectors = linalg.eigh(s1)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    cross = np.sqrt(linalg.eigvalsh(root @ s2 @ root).clip(0)).sum()
    return np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s1) + np.trace(s2) - 2 * cross


@pytest.mark.parametrize(("n", "m", "d"), [(300, 200, 16), (200, 300, 64), (65, 400, 64)])
def test_frechet_agrees_with_clean_fid(n, m, d):
    x, y = features(n, d, 0), features(m, d, 1, shift=0.3, scale=1.2)
    statistics = (x.mean(0), np.cov(x, rowvar=False), y.mean(0), np.cov(y, rowvar=False))
    assert frechet_distance(x, y) == pytest.approx(cleanfid.frechet_distance(*statistics), rel=1e-6)


@pytest.mark.parametrize(("n", "m", "d"), [(20, 30, 64), (20, 300, 64), (300, 20, 64), (64, 64, 64)])
def test_frechet_with_fewer_images_than_features(n, m, d):
    x, y = features(n, d, 0), features(m, d, 1, shift=0.3)
    assert frechet_distance(x, y) == pytest.approx(square_root_distance(x, y), rel=1e-6)


def test_frechet_of_one_feature_is_the_closed_form():
    x, y = features(50, 1, 0), features(70, 1, 1, shift=2, scale=3)
    expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet_distance(x, y) == pytest.approx(expected)


@pytest.mark.parametrize("n", [20, 400])
def test_frechet_of_a_set_with_itself_is_zero(n):
    x = features(n, 64, 0)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6 * np.sum(x.var(0)))


def test_frechet_with_constant_and_dependent_features():
    x, y = features(300, 16, 0), features(300, 16, 1, shift=0.3)
    expected = frechet_distance(x, y)
    for set_ in (x, y):
        assert set_.shape == (300, 16)
    widened = [np.hstack([set_, np.full((300, 3), 7.0)]) for set_ in (x, y)]
    assert frechet_distance(*widened) == pytest.approx(expected, rel=1e-5)


def test_kernel_agrees_with_clean_fid_on_a_full_subset():
    x, y = features(150, 32, 0), features(150, 32, 1, shift=0.2)
    assert kernel_distance(x, y) == pytest.approx(cleanfid.kernel_distance(x, y, num_subsets=1), rel=1e-9)


def test_kernel_is_unbiased():
    values = [kernel_distance(features(20, 8, seed), features(30, 8, 10_000 + seed)) for seed in range(400)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0


@pytest.mark.parametrize("d", [8, 80])
def test_weights_are_repeated_images(d):
    x, y = features(40, d, 0), features(50, d, 1, shift=0.2)
    rng = np.random.default_rng(2)
    wx, wy = rng.multinomial(40, np.full(40, 1 / 40), size=3), rng.multinomial(50, np.full(50, 1 / 50), size=3)
    expected = [frechet_distance(x.repeat(a, 0), y.repeat(b, 0)) for a, b in zip(wx, wy, strict=True)]
    np.testing.assert_allclose(frechet_distances(x, y, wx, wy), expected, rtol=1e-5)


def patients(subjects: int, slices: int, seed: int, icc: float = 0.5, d: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Features of ``slices`` of each subject with a mean of its own, of total variance 1, and the subjects' codes."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(subjects, d)) * icc**0.5
    rest = rng.normal(size=(subjects * slices, d)) * (1 - icc) ** 0.5
    return means.repeat(slices, 0) + rest, np.arange(subjects).repeat(slices)


def test_kernel_of_patients_is_the_mean_over_pairs_of_different_ones():
    x, of_x = patients(4, 3, 0, d=4)
    y, of_y = patients(3, 2, 1, d=4)
    order = np.random.default_rng(0).permutation(12)  # images of a patient need not be neighbours
    x, of_x = x[order], of_x[order]
    wx, wy = np.array([2, 0, 1, 1])[of_x], np.array([2, 0, 1])[of_y]
    k = lambda a, b: (a @ b / 4 + 1) ** 3  # noqa: E731
    within = []
    for set_, w, of in ((x, wx, of_x), (y, wy, of_y)):
        pairs = [(w[i] * w[j], k(set_[i], set_[j])) for i in range(len(w)) for j in range(len(w)) if of[i] != of[j]]
        within.append(sum(weight * value for weight, value in pairs) / sum(weight for weight, _ in pairs))
    cross = sum(wx[i] * wy[j] * k(x[i], y[j]) for i in range(12) for j in range(6)) / (wx.sum() * wy.sum())
    found = kernel_distances(x, y, wx[None], wy[None], of_x + 10, of_y)[0]
    assert found == pytest.approx(sum(within) - 2 * cross)


@pytest.mark.parametrize("subjects", [6, 11, 30])
def test_kernel_of_a_perfect_generator_is_zero_for_any_number_of_patients(subjects):
    """New patients, a slice of each, against slices of few patients; pairs within these would raise the value."""
    values, all_pairs = [], []
    for seed in range(200):
        real, of = patients(subjects, 10, seed)
        new = np.random.default_rng(10_000 + seed).normal(size=(60, 16))
        values.append(kernel_distance(real, new, of))
        all_pairs.append(kernel_distance(real, new))
    error = np.std(values, ddof=1) / np.sqrt(200)
    assert abs(np.mean(values)) < 3 * error
    assert np.mean(all_pairs) > 3 * error + abs(np.mean(values)), "what the subjects are for"


def test_kernel_of_one_flawed_generator_is_alike_for_any_number_of_patients():
    found = []
    for subjects in (6, 30):
        values = []
        for seed in range(150):
            real, of = patients(subjects, 10, seed)
            values.append(kernel_distance(real, np.random.default_rng(seed + 10_000).normal(0.3, 0.9, (60, 16)), of))
        found.append((np.mean(values), np.std(values) / np.sqrt(150)))
    (few, few_error), (many, many_error) = found
    assert abs(few - many) < 3 * np.hypot(few_error, many_error) and many > 10 * many_error


def test_duplicated_slices_change_no_kernel_distance():
    real, of = patients(5, 4, 0)
    fake = np.random.default_rng(1).normal(size=(20, 16))
    once = kernel_distance(real, fake, of)
    assert kernel_distance(real.repeat(2, 0), fake, of.repeat(2)) == pytest.approx(once, rel=1e-9)
    assert kernel_distance(real.repeat(2, 0), fake) > once + 0.1, "what the subjects are for"


def test_kernel_of_one_subject_is_refused():
    with pytest.raises(ValueError, match="at least 2 subjects"):
        kernel_distance(features(4, 4, 0), features(9, 4, 1), np.zeros(4))


def test_kernel_weights_leave_out_copies_of_an_image():
    x, y = features(12, 4, 0), features(9, 4, 1)
    wx, wy = np.arange(12) % 4, np.arange(9) % 3
    k = lambda a, b: (a @ b / 4 + 1) ** 3  # noqa: E731
    within = []
    for set_, w in ((x, wx), (y, wy)):
        pairs = [(w[i] * w[j], k(set_[i], set_[j])) for i in range(len(w)) for j in range(len(w)) if i != j]
        within.append(sum(weight * value for weight, value in pairs) / sum(weight for weight, _ in pairs))
    cross = sum(wx[i] * wy[j] * k(x[i], y[j]) for i in range(12) for j in range(9)) / (wx.sum() * wy.sum())
    expected = within[0] + within[1] - 2 * cross
    assert kernel_distances(x, y, wx[None], wy[None])[0] == pytest.approx(expected)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_one_image_is_refused(distance):
    with pytest.raises(ValueError, match="at least 2 images"):
        distance(features(1, 4, 0), features(9, 4, 1))


def test_translations_are_of_the_patients_that_they_are_compared_with():
    """Those that equal the real slices differ by nothing, and so do other slices of the same patients on average."""
    rng, subjects = np.random.default_rng(0), np.arange(12).repeat(8)
    weights = np.ones((1, 96))

    def slices(means):
        return means.repeat(8, 0) + 0.5 * rng.normal(size=(96, 6))

    found = []
    for _ in range(60):
        means = rng.normal(size=(12, 6))
        real, other = slices(means), slices(means)
        same = kernel_distances(real, real, weights, weights, subjects, subjects, shared=True)
        assert abs(float(same[0])) < 1e-9
        of_own = [kernel_distances(real, other, weights, weights, subjects, subjects, shared=s) for s in (True, False)]
        found.append(np.concatenate(of_own))
    right, wrong = np.mean(found, 0)
    error = np.std(found, 0) / np.sqrt(60)
    assert abs(right) < 3 * error[0]
    assert wrong < -3 * error[1], "pairs of one patient would make the distance too small"
