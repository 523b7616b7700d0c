"""Points of the page's plots: axes, positions, grey values."""

import numpy as np
import pytest

from gan.metrics.pixels import PixelSums
from gan.report.figures import apart
from gan.report.pictures import spread
from gan.scoring.plots import at_positions, by_position, feature_map, nearest, plots

RNG = np.random.default_rng(0)
AT = np.tile(np.linspace(0, 1, 50), 4)  # positions of 4 training patients with 50 slices each
SUBJECTS = np.repeat(np.arange(4), 50)


def features(at, shift=0.0):
    """Features that follow the position, wide along the first axis, with some noise."""
    return np.stack([10 * at + shift, *RNG.normal(0, 0.1, (3, len(at)))], 1).astype(np.float32)


def test_axes_of_the_map_are_those_of_the_training_images():
    train = features(AT)
    found = feature_map(features(AT[:50], shift=5), {"train": train, "test": train[:50]})
    assert found["explained"][0] > 0.99 and sum(found["explained"]) <= 1
    shift = np.mean(found["fake"], 0) - np.mean(found["test"], 0)
    assert shift[0] == pytest.approx(5, abs=0.1) and abs(shift[1]) < 0.1, "the largest component of an axis is positive"
    assert found["train"] == feature_map(train[:9], {"train": train, "test": train[:50]})["train"], "shared by all"


def test_a_map_of_fewer_images_than_features():
    train = np.random.default_rng(1).normal(size=(6, 9)) * [5, 3, *[0.1] * 7]
    found = feature_map(train, {"train": train, "test": train})
    centred = train - train.mean(0)
    values = np.linalg.svd(centred, compute_uv=False)
    assert found["explained"] == pytest.approx(values[:2] ** 2 / np.square(centred).sum(), abs=1e-4)


def test_a_map_of_too_few_images_is_left_out():
    assert feature_map(np.ones((2, 4)), {"train": np.ones((2, 4)), "test": np.ones((2, 4))}) == {}


def test_the_position_of_an_image_is_that_of_its_nearest_training_image():
    at = np.array([0.03, 0.49, 0.91])
    assert AT[nearest(features(at), features(AT))] == pytest.approx(at, abs=0.06)


def test_scores_by_position_tell_where_images_are_worse():
    subjects = {"train": SUBJECTS, "val": SUBJECTS, "test": SUBJECTS}
    real = {split: features(AT) for split in subjects}
    fake = features(np.linspace(0, 0.79, 200))
    fake[120:, 1] += 3  # behind 0.48
    found = by_position(fake, real, subjects, AT, 1)
    assert len(found["value"]) == len(found["floor"]) == len(found["edges"]) - 1 == 5
    assert found["value"][-1] is None and found["fraction"][-1] < 0.04, "no image there"
    assert sum(found["fraction"]) == pytest.approx(1)
    assert found["value"][3] > 10 * abs(found["value"][0]) and found["floor"][3] < found["value"][3] / 10


def test_pictures_by_position_show_the_first_image_of_each_range():
    fake = np.array([0.9, 0.1, 0.12, 0.95])
    edges, real, shown = at_positions(AT, fake, 4, seed=0)
    assert shown.tolist() == [1, -1, -1, 0]
    assert all(low <= AT[index] <= high for low, high, index in zip(edges, edges[1:], real, strict=False))
    assert real.tolist() == at_positions(AT, fake, 4, seed=0)[1].tolist()


def test_grey_values_and_power_are_those_of_the_images():
    images = RNG.integers(0, 256, (6, 16, 16), dtype=np.uint8)
    sums = {"t1": PixelSums.of(images).by(np.zeros(6, np.int64))}
    known = {"train": sums, "val": sums}
    found = plots(features(AT), {"train": features(AT), "test": features(AT)}, {}, None, {"t1": images}, known, 1)
    assert found["positions"] is None
    pixels = found["pixels"]["t1"]
    assert pixels["histogram"]["fake"] == pixels["histogram"]["train"] and sum(
        pixels["histogram"]["fake"]
    ) == pytest.approx(1)
    expected = np.histogram(images, 32, (0, 256))[0] / images.size
    assert pixels["histogram"]["val"] == pytest.approx(expected, abs=1e-6)
    assert (
        pixels["power"]["fake"] == pixels["power"]["val"]
        and len(pixels["frequency"]) == len(pixels["power"]["fake"]) + 1
    )


def test_labels_and_columns_are_spread():
    assert spread(9, 4) == [0, 3, 5, 8] and spread(3, 4) == [0, 1, 2] and spread(9, 1) == [0]
    heights = apart([0.5, 0.5, 0.1], 0.1)
    assert np.diff(sorted(heights)).min() >= 0.1 - 1e-9 and sum(heights) == pytest.approx(1.1)
