"""Scores of several channels: whether contrasts belong together, which no contrast alone can tell, and of masks."""

import numpy as np
import pytest
from test_metrics_extractors import heads

from gan.cells import JOINT, WHOLE
from gan.metrics import scores
from gan.metrics.areas import label_areas
from gan.metrics.scores import CURVE, METRICS, Sets, join, score, score_areas, score_curve
from gan.scoring.extractors.indomain.model import IndomainFeatures, train_encoder

CONTRASTS = ("t1", "t2")


def of_heads(extract, n: int, seed: int) -> dict[str, np.ndarray]:
    """Features of n heads in two contrasts; a head is where and as large in the one as in the other."""
    bright = heads(n, seed=seed)
    return {"t1": extract(bright), "t2": extract(255 - bright)}


def sets_of(extract, fake) -> Sets:
    real, train = (of_heads(extract, n, seed) for n, seed in ((60, 1), (90, 2)))
    unseen = of_heads(extract, 60, 4)
    if JOINT in fake:
        real, train, unseen = map(join, (real, train, unseen))
    return Sets(real, fake, np.arange(60) // 10, train, unseen, np.arange(60) // 15)


@pytest.fixture(scope="module")
def extract():
    both = heads(128)
    return IndomainFeatures(train_encoder(np.concatenate([both, 255 - both]), seed=3, steps=60, dim=16))


@pytest.fixture(scope="module")
def fake(extract):
    return of_heads(extract, 80, 3)


def test_contrasts_of_other_heads_worsen_the_joint_score_alone(extract, fake):
    order = np.random.default_rng(0).permutation(80)
    shuffled = fake | {"t2": fake["t2"][order]}
    matched, torn = (
        {
            (row["metric"], row["contrast"]): row["value"]
            for row in score(sets_of(extract, join(f)), bootstrap=0, seed=0)
        }
        for f in (fake, shuffled)
    )
    for metric in METRICS:
        for contrast in (*CONTRASTS, WHOLE):
            assert torn[metric, contrast] == pytest.approx(matched[metric, contrast], rel=1e-6, abs=1e-9)
    for metric in ("kd", "fd"):
        assert torn[metric, JOINT] > 2 * abs(matched[metric, JOINT])
    for metric in ("precision", "density"):
        assert torn[metric, JOINT] < matched[metric, JOINT]


@pytest.mark.parametrize("scoring", [score_curve, lambda sets: score(sets, bootstrap=0, seed=0)])
def test_joint_features_change_no_other_row(extract, fake, scoring):
    with_joint = scoring(sets_of(extract, join(fake)))
    assert {row["metric"] for row in with_joint if row["contrast"] == JOINT} >= set(CURVE)
    assert [row for row in with_joint if row["contrast"] != JOINT] == scoring(sets_of(extract, fake))


def test_frechet_distance_of_torn_pairs_is_the_closed_form():
    """Two features of variance 1 and correlation r against independent ones: 4 - 2 (sqrt(1 + r) + sqrt(1 - r))."""
    rng, n, r = np.random.default_rng(0), 4000, 0.8
    white = [rng.normal(size=(n, 2)) for _ in range(2)]
    white = [x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T for x in white]  # of covariance 1 exactly
    white = [x - x.mean(0) for x in white]
    pairs = white[0] @ np.linalg.cholesky([[1, r], [r, 1]]).T
    real, torn = ({"t1": x[:, :1], "t2": x[:, 1:]} for x in (pairs, white[1]))
    distance, of = scores.METRICS["fd"], np.arange(n)
    both = scores.Comparison(join(real)[JOINT], join(torn)[JOINT], join(real)[JOINT], of)
    expected = 4 - 2 * (np.sqrt(1 + r) + np.sqrt(1 - r))
    assert distance(both, np.ones((1, n)), np.ones((1, n)))[0] == pytest.approx(expected, rel=1e-9)
    alone = scores.Comparison(real["t2"], torn["t2"], real["t2"], of)
    assert distance(alone, np.ones((1, n)), np.ones((1, n)))[0] == pytest.approx(0, abs=1e-9)


def test_wide_joint_features_have_no_frechet_distance(extract, fake, monkeypatch):
    monkeypatch.setattr(scores, "JOINT_FRECHET", 31)
    for rows in (score(sets_of(extract, join(fake)), bootstrap=2, seed=0), score_curve(sets_of(extract, join(fake)))):
        found = {(row["metric"], row["contrast"]) for row in rows}
        assert ("fd", JOINT) not in found
        assert {("kd", JOINT), ("precision", JOINT), ("fd", "t1"), ("fd", WHOLE)} <= found


def test_areas_of_labels_beside_those_of_real_masks():
    masks = np.zeros((4, 5, 10), np.uint8)
    masks[0, 0], masks[1, :2], masks[1, 2, :5] = 1, 1, 3
    areas = label_areas(masks, 3)
    assert areas.tolist() == [[20, 0, 0], [40, 0, 10], [0, 0, 0], [0, 0, 0]]
    rows = score_areas(areas, areas[:2], np.arange(2), "seg", bootstrap=50, seed=0)
    found = {row["metric"]: (row["value"], row["floor"]) for row in rows}
    expected = {"labelled": (0.5, 1), "area_1": (15, 30), "area_2": (0, 0), "area_3": (2.5, 5)}
    assert found == expected and {row["contrast"] for row in rows} == {"seg"}
    assert all(0 <= row["low"] <= row["value"] <= row["high"] for row in rows)
    assert label_areas(masks, 0).shape == (4, 0)
