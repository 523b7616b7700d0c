"""The search for copied patients: planted truths in feature space and on images."""

from dataclasses import replace

import numpy as np
import pytest

from gan.metrics.copies import ALPHA, Null, nearest_patients, rate, rates_of_classes
from gan.metrics.thumbnails import correlated, moved, thumbnails

PATIENTS, SLICES, DIM = 53, 20, 16


class Study:
    """Features of training and held-out patients, icc the share of the variance that lies between patients."""

    def __init__(self, seed, icc=0.5, fakes=400):
        self.random, self.icc = np.random.default_rng(seed), icc
        self.train, self.subjects = self.patients(PATIENTS)
        held_out, of = self.patients(11)
        own = nearest_patients(self.train, self.train, self.subjects, own=self.subjects).ratio
        unseen = nearest_patients(held_out, self.train, self.subjects).ratio
        self.null = Null(own, self.subjects, unseen, of, {})
        self.new = self.patients(fakes, 1)[0]

    def patients(self, number, slices=SLICES):
        means = self.random.normal(size=(number, 1, DIM)) * np.sqrt(self.icc)
        images = means + self.random.normal(size=(number, slices, DIM)) * np.sqrt(1 - self.icc)
        return images.reshape(-1, DIM), np.repeat(np.arange(number), slices)

    def planted(self, share):
        fake = self.new.copy()
        number = round(share * len(fake))
        fake[:number] = self.train[self.random.integers(len(self.train), size=number)]
        return fake

    def rate(self, fake, bootstrap=100):
        return rate([nearest_patients(fake, self.train, self.subjects).ratio], [self.null], bootstrap, 0)


def test_ratio_of_a_known_arrangement():
    train, subjects = np.array([[0.0, 0], [1, 0], [4, 0], [4, 1]]), np.array([7, 7, 9, 9])
    found = nearest_patients(np.array([[2.0, 0], [1, 0], [4, 0.5]]), train, subjects)
    assert found.ratio == pytest.approx([1 / 2, 0, 0.5 / np.hypot(3, 0.5)])
    assert found.first[:2].tolist() == [1, 1] and found.second.tolist() == [2, 2, 1]


def test_of_several_versions_the_nearest_counts():
    train, subjects = np.array([[0.0], [10.0]]), np.array([0, 1])
    both = nearest_patients(np.array([[[2.0]], [[9.0]]]), train, subjects)
    assert both.ratio == pytest.approx([1 / 2]), "1 from the second patient and 2 from the first one"
    assert (both.first, both.second) == ([1], [0])


def test_the_own_patient_is_left_out():
    train, subjects = np.array([[0.0], [1.0], [3.0]]), np.array([0, 1, 2])
    found = nearest_patients(train[:1], train, subjects, own=np.array([0]))
    assert found.ratio == pytest.approx([1 / 3]) and found.first == [1]
    with pytest.raises(ValueError, match="two other patients"):
        nearest_patients(train[:2], train[:2], subjects[:2], own=subjects[:2])


@pytest.mark.parametrize("icc", [0.5, 0.8])
def test_new_patients_are_not_accused(icc):
    rates = [Study(seed, icc).rate(Study(seed, icc).new) for seed in range(6)]
    assert np.mean([found.low == 0 for found in rates]) > 0.8
    assert np.mean([found.copies for found in rates]) < 0.01


@pytest.mark.parametrize("share", [0.02, 0.1, 1.0])
def test_planted_copies_are_counted(share):
    found = [(study := Study(seed)).rate(study.planted(share)) for seed in range(6)]
    assert np.mean([one.copies for one in found]) == pytest.approx(share, abs=0.01)
    assert all(one.low <= share <= one.high for one in found)


def test_a_class_whose_images_are_copies_is_found_and_the_other_is_not_accused():
    """Of class 0 every tenth image is a copy; class 2 has two training patients, so it has no rate."""
    study = Study(0)
    known, asked = np.minimum(study.subjects % 2, 1), np.arange(400) % 2
    known[study.subjects > 50] = 2
    ratios = nearest_patients(study.new, study.train, study.subjects).ratio
    copied = np.arange(0, 400, 20)
    ratios[copied] = nearest_patients(study.train[: len(copied)], study.train, study.subjects).ratio
    found = rates_of_classes(ratios, asked, study.null, known, [100, 0, 100], 0)
    assert list(found) == [0, 1] and [len(of.suspicious[0]) for of in found.values()] == [200, 200]
    assert found[0].copies == pytest.approx(0.1, abs=0.02) and found[0].low < 0.1 < found[0].high
    assert found[1].copies < 0.02 and found[1].low is None, "no interval is asked for"


def test_a_blurred_generator_is_no_copier():
    studies = [Study(seed) for seed in range(6)]
    assert np.mean([study.rate(0.8 * study.new).copies for study in studies]) < 0.02


def test_twice_as_many_slices_change_nothing():
    study = Study(0)
    fake = study.planted(0.1)
    once = nearest_patients(fake, study.train, study.subjects)
    twice = nearest_patients(fake, np.repeat(study.train, 2, 0), np.repeat(study.subjects, 2))
    np.testing.assert_array_equal(once.ratio, twice.ratio)


def test_no_copies_among_n_images_leave_room_for_some():
    found = rate([np.ones(300)], [Study(0).null], 50, 0)
    assert (found.copies, found.low) == (0, 0)
    assert 3 / 300 < found.high < 4 / 300


def test_held_out_patients_are_the_control():
    values = [Study(seed).null.control(50, 0) for seed in range(4)]
    assert np.mean([value for value, *_ in values]) == pytest.approx(ALPHA, abs=0.01)
    assert all(low <= value <= high for value, low, high in values)


def test_of_two_eyes_either_may_find_a_copy():
    study, blind = Study(0), np.linspace(0.5, 1, PATIENTS * SLICES)
    other = Null(blind, study.null.subjects, np.ones(11 * SLICES), study.null.held_out_subjects, {"x": np.ones(3)})
    sees = replace(study.null, panel={"x": np.zeros(3)})
    either = Null.of_either([sees, other])
    assert either.power() == {"x": 1}
    assert np.mean(either.ratios < either.limit()[0]) <= ALPHA


def test_thumbnails_see_a_moved_copy_with_another_gain():
    random = np.random.default_rng(0)
    image, other = (random.integers(0, 120, (1, 48, 40), np.uint8).repeat(2, 1).repeat(2, 2) for _ in range(2))
    known = correlated([thumbnails(image)])
    assert known.shape == (1, 32 * round(80 / 3)) and np.linalg.norm(known) == pytest.approx(1)
    copy = np.roll(image, 3, 1) * 2
    near, far = (((moved([thumbnails(x)]) - known) ** 2).sum(-1).min() for x in (copy, other))
    assert near < 0.1 < 1 < far


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_thumbnails_of_volumes_see_a_copy_moved_along_each_axis(axis):
    random = np.random.default_rng(0)
    volume, other = (random.integers(0, 120, (1, 8, 10, 12), np.uint8) for _ in range(2))
    volume, other = (of.repeat(4, 1).repeat(4, 2).repeat(4, 3) for of in (volume, other))
    known = correlated([thumbnails(volume)])
    assert known.shape == (1, round(32 / 3) * round(40 / 3) * 16)
    copy = np.roll(volume, 3, axis) * 2
    near, far = (((moved([thumbnails(x)]) - known) ** 2).sum(-1).min() for x in (copy, other))
    assert near < 0.3 < 1 < far
