"""Sizes and brightness of what volumes show, as distributions: closed forms, and what each metric has to see."""

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import wasserstein_distance

from gan.metrics.histogram import histograms
from gan.metrics.pixels import PixelSums, score_pixels
from gan.metrics.sizes import BACKGROUND, score_label_sizes, score_sizes, sizes, tissue_limits, transport

SIDE = 16


def heads(count: int, seed: int) -> np.ndarray:
    """Balls of different size with a dark core off the middle, a bright rim, and noise, uint8 [n, 16, 16, 16]."""
    random, found = np.random.default_rng(seed), []
    axes = np.indices((SIDE,) * 3) - SIDE / 2 + 0.5
    for _ in range(count):
        outside = np.linalg.norm(axes, axis=0) / random.uniform(4, 7)
        core = np.linalg.norm([axes[0], axes[1], axes[2] + 2], axis=0) < 2
        grey = np.select([outside > 1, core, outside > 0.8], [0, 60, 200], 120) * random.uniform(0.9, 1.1)
        found.append(np.abs(grey + random.normal(0, 4, grey.shape)))
    return np.stack(found).clip(0, 255).astype(np.uint8)


def test_transport_is_the_wasserstein_distance_under_any_weights():
    random = np.random.default_rng(0)
    x, y = random.normal(size=9), random.normal(1, 2, 14)
    x[3], y[5] = x[1], x[1]  # ties
    weights = random.integers(0, 4, (5, 9)).astype(float), random.integers(0, 4, (5, 14)).astype(float)
    expected = [wasserstein_distance(x, y, u, v) for u, v in zip(*weights, strict=True)]
    assert transport(x, y, *weights) == pytest.approx(expected)
    assert transport(x, x + 3, np.ones((1, 9)), np.ones((1, 9))) == pytest.approx(3)


def test_limits_of_tissues_lie_between_their_grey_values():
    random = np.random.default_rng(0)
    grey = np.concatenate([np.zeros(5000), *(random.normal(mean, 5, 300) for mean in (60, 120, 200))])
    low, high = tissue_limits(histograms(grey.clip(0, 255).astype(np.uint8)[None])[0])
    assert 70 < low < 105 and 120 < high < 185
    flat = tissue_limits(np.zeros(256))
    assert BACKGROUND < flat[0] < flat[1] < 255


def test_sizes_in_ml_and_grey_values():
    volume = np.zeros((1, 10, 10, 10), np.uint8)
    volume[0, :2], volume[0, 2:3], volume[0, 3:7] = 60, 120, 200
    found = sizes(PixelSums.of(volume), (100, 150), 0.5)
    expected = {"volume_body": 350, "volume_dark": 100, "volume_middle": 50, "volume_bright": 200}
    grey = volume[volume > 0].astype(float)
    expected |= {"brightness": grey.mean(), "grey_width": grey.std()}
    assert {name: of.item() for name, of in found.items()} == pytest.approx(expected)
    assert np.isfinite(list(sizes(PixelSums.of(0 * volume), (100, 150), 0.5).values())).all()


@pytest.fixture(scope="module")
def real() -> dict[str, dict[str, PixelSums]]:
    return {name: {"t1": PixelSums.of(heads(30, seed))} for name, seed in (("train", 1), ("held_out", 2))}


def rows_of(volumes: np.ndarray, real: dict, bootstrap: int = 0) -> dict[str, dict]:
    fake: dict[str, PixelSums] = {"t1": PixelSums.of(volumes)}
    drawn: dict[str, Any] = {"bootstrap": bootstrap, "seed": 0}
    rows = score_pixels(fake, **real, **drawn) + score_sizes(fake, **real, voxel=0.2, **drawn)
    return {row["metric"]: row for row in rows if row["contrast"] == "all"}


def _symmetric(volumes: np.ndarray) -> np.ndarray:
    return np.concatenate([volumes[..., : SIDE // 2], volumes[..., : SIDE // 2][..., ::-1]], -1)


CONTROLS = {
    "spectrum": lambda x: gaussian_filter(x, (0, 1, 1, 1)),
    "histogram": lambda x: x * 0.8,
    "noise": lambda x: np.abs(x + np.random.default_rng(0).normal(0, 20, x.shape)),
    "asymmetry": _symmetric,
    "volume_body": lambda x: x * (np.arange(SIDE) < SIDE / 2)[:, None, None],
    "volume_dark": lambda x: np.where((x > 40) & (x < 90), 120, x),
    "volume_middle": lambda x: np.where((x > 90) & (x < 150), 200, x),
    "volume_bright": lambda x: np.where(x > 160, 120, x),
    "brightness": lambda x: x * 0.8,
    "grey_width": lambda x: np.where(x > BACKGROUND, 120 + (x - 120) * 0.5, x),
}


@pytest.mark.parametrize("metric", CONTROLS)
def test_each_metric_sees_its_fault(metric, real):
    good = heads(30, 3)
    fair, spoiled = (rows_of(of, real)[metric] for of in (good, CONTROLS[metric](good * 1.0).clip(0, 255).astype("u1")))
    apart = abs(spoiled["above_floor"])
    assert apart > 3 * abs(fair["above_floor"]), (fair["value"], spoiled["value"], fair["floor"])


def test_one_head_again_and_again_has_the_wrong_distribution(real):
    """Its size is that of the mean head, so that a difference of means would see nothing."""
    sums = sizes(real["train"]["t1"], (90, 160), 0.2)["volume_body"]
    middle = np.abs(sums - sums.mean()).argmin()
    repeated = rows_of(heads(30, 1)[[middle] * 30], real, bootstrap=50)["volume_body"]
    assert repeated["above_floor_low"] > 0
    assert repeated["value"] == pytest.approx(np.abs(sums - sums[middle]).mean())


def test_labels_in_ml_have_a_floor_and_intervals():
    random = np.random.default_rng(0)
    train, held_out = random.gamma(3, 2, (40, 2)), random.gamma(3, 2, (15, 2))
    given = {"subjects": np.arange(40) // 2, "others": np.arange(15), "mask": "seg", "bootstrap": 100, "seed": 0}
    rows = score_label_sizes(train[:20] * [1, 3], train, held_out, **given)
    assert [(row["metric"], row["contrast"]) for row in rows] == [(f"volume_label_{k}", "seg") for k in (1, 2)]
    assert rows[0]["floor"] == pytest.approx(wasserstein_distance(held_out[:, 0], train[:, 0]))
    assert rows[1]["above_floor_low"] > 0 and rows[0]["low"] < rows[0]["value"] < rows[0]["high"]
