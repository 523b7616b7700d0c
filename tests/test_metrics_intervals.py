"""Bootstrap over subjects: what is drawn, and where the interval lies."""

import numpy as np
import pytest

from gan.metrics.distances import frechet_distance, frechet_distances
from gan.metrics.intervals import centred_interval, image_weights, subject_weights


def test_images_of_a_subject_are_drawn_together():
    subjects = np.array([4, 4, 9, 9, 9, 7])
    weights = subject_weights(subjects, 50, seed=0)
    assert weights.shape == (50, 6)
    for code in np.unique(subjects):
        assert (np.ptp(weights[:, subjects == code], axis=1) == 0).all()
    firsts = [np.flatnonzero(subjects == code)[0] for code in np.unique(subjects)]
    assert (weights[:, firsts].sum(1) == 3).all()


def test_the_seed_decides_the_resamples():
    same, again, other = (image_weights(20, 5, seed) for seed in (1, 1, 2))
    assert (same == again).all()
    assert (same != other).any()
    assert (same.sum(1) == 20).all()


def test_one_subject_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        subject_weights(np.zeros(10, int), 10, 0)


def test_the_interval_holds_the_value_although_every_replicate_is_biased():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 30)), rng.normal(size=(60, 30))
    value = frechet_distance(x, y)
    replicates = frechet_distances(x, y, image_weights(60, 100, 0), image_weights(60, 100, 1))
    assert np.quantile(replicates, 0.025) > value  # plain percentiles miss it
    low, high = centred_interval(value, replicates, 0)
    assert low < value < high


def test_the_interval_keeps_to_the_range_of_the_metric():
    replicates = np.random.default_rng(0).normal(0.5, 0.2, 1000)
    assert centred_interval(0.98, replicates, 0, 1)[1] == 1
    assert centred_interval(0.02, replicates, 0, 1)[0] == 0


def test_subjects_make_a_wider_interval_than_images():
    rng = np.random.default_rng(0)
    subjects = np.arange(12).repeat(20)
    real = rng.normal(size=(12, 4))[subjects] + 0.2 * rng.normal(size=(240, 4))
    fake = rng.normal(size=(240, 4))
    drawn = image_weights(240, 100, 1)
    by_subject = np.std(frechet_distances(real, fake, subject_weights(subjects, 100, 0), drawn))
    by_image = np.std(frechet_distances(real, fake, image_weights(240, 100, 0), drawn))
    assert by_subject > 1.5 * by_image


def test_few_images_are_drawn_so_that_there_is_a_pair():
    """A resample of one image alone has no kernel distance."""
    drawn = image_weights(2, 200, 0)
    assert (drawn == 1).all()
    assert ((image_weights(4, 500, 0) > 0).sum(1) >= 2).all()
    assert (image_weights(1, 3, 0) == 1).all()
