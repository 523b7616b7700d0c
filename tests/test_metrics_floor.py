"""The floor of unseen patients, the difference to it and intervals, on simulated patients whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from test_metrics_distances import patients

from gan.metrics import scores
from gan.metrics.distances import frechet_distance, kernel_distance
from gan.metrics.intervals import Estimate, difference, subject_weights, wilson
from gan.metrics.scores import BY_CLASS, METRICS, Sets, score, score_classes, score_curve


def study(subjects: int, seed: int, fake: np.ndarray, slices: int = 8, unseen: int | None = None) -> Sets:
    """``subjects`` for the test and as many unseen ones, unless told otherwise."""
    (real, of), (train, _) = patients(subjects, slices, seed), patients(10, slices, seed + 30_000)
    others, of_others = patients(unseen or subjects, slices, seed + 20_000)
    return Sets({"t1": real}, {"t1": fake}, of, {"t1": train}, {"t1": others}, of_others)


def new_patients(number: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed + 10_000).normal(shift, 1, (number, 16))


def only(rows, metric: str, contrast: str = "t1"):
    (row,) = [row for row in rows if (row["metric"], row["contrast"]) == (metric, contrast)]
    return row


@pytest.fixture
def kernel_alone(monkeypatch):
    monkeypatch.setattr(scores, "METRICS", {"kd": METRICS["kd"]})


@pytest.mark.parametrize("subjects", [6, 11, 30])
def test_a_perfect_generator_is_at_the_floor(kernel_alone, subjects):
    rows = []
    for seed in range(60):
        sets = study(subjects, seed, new_patients(50, seed))
        rows.append(only(score(sets, bootstrap=100, seed=seed), "kd"))
    for name in ("value", "floor", "above_floor"):
        found = np.array([row[name] for row in rows])
        assert abs(found.mean()) < 3 * found.std(ddof=1) / np.sqrt(len(found)), name
    held = [row["above_floor_low"] <= 0 <= row["above_floor_high"] for row in rows]
    assert np.mean(held) > 0.88, "of 60 intervals at 95 %"


def test_a_flawed_generator_lies_above_the_floor(kernel_alone):
    row = only(score(study(11, 0, new_patients(200, 0, shift=0.6)), bootstrap=100, seed=0), "kd")
    assert 0 < row["above_floor_low"] < row["above_floor"] == pytest.approx(row["value"] - row["floor"])
    assert row["floor_low"] < 0 < row["floor_high"]


def test_difference_of_a_frechet_distance_is_between_equal_numbers():
    fake = new_patients(300, 1)
    sets = study(11, 0, fake, unseen=5)
    row = only(score(sets, bootstrap=50, seed=0), "fd")
    real, unseen = sets.real["t1"], sets.unseen["t1"]
    assert row["value"] == pytest.approx(frechet_distance(real, fake))
    assert row["floor"] == pytest.approx(frechet_distance(real, unseen)) and row["n_floor"] == 40
    assert row["above_floor"] == pytest.approx(frechet_distance(real, fake[:40]) - frechet_distance(real, unseen))
    few = score(study(11, 0, fake[:30]), bootstrap=0, seed=0)
    assert {row["n_floor"] for row in few} == {30}, "no more unseen images than generated ones"
    assert only(few, "fd")["above_floor"] == pytest.approx(only(few, "fd")["value"] - only(few, "fd")["floor"])


@pytest.mark.parametrize("metric", ["kd", "precision"])
def test_other_differences_need_no_equal_numbers(metric):
    found = {number: [] for number in (60, 400)}
    for seed in range(20):
        for number, values in found.items():
            sets = study(11, seed, new_patients(number, seed, shift=0.4))
            values.append(only(score(sets, bootstrap=0, seed=0), metric)["above_floor"])
    few, many = (np.array(values) for values in found.values())
    error = np.hypot(few.std(), many.std()) / np.sqrt(20)
    assert abs(few.mean() - many.mean()) < 3 * error


def test_published_scores_are_of_all_pairs_and_have_no_floor():
    sets = study(6, 0, new_patients(40, 0, shift=0.3))
    rows = score(sets, bootstrap=20, seed=0, published=True)
    assert [row["metric"] for row in rows if row["contrast"] == "t1"] == [
        *("kd", "precision", "recall", "density", "coverage", "vendi", "kid", "fid")
    ]
    real, fake = sets.real["t1"], sets.fake["t1"]
    assert only(rows, "kid")["value"] == pytest.approx(kernel_distance(real, fake))
    assert only(rows, "kd")["value"] == pytest.approx(kernel_distance(real, fake, sets.subjects))
    assert only(rows, "fid")["value"] == pytest.approx(frechet_distance(real, fake))
    for name in ("kid", "fid"):
        row = only(rows, name)
        assert row["low"] < row["value"] < row["high"]
        assert {row[key] for key in ("floor", "floor_low", "above_floor", "above_floor_high")} == {None}
    bare = [row["metric"] for row in score_curve(sets, published=True) if row["floor"] is None]
    assert sorted(set(bare)) == ["fid", "kid"]


# classes


def of_classes(number: int, asked: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of new patients of the classes ``asked``, two of them, 1.5 apart."""
    return new_patients(number, seed) + 1.5 * asked[:, None], asked


def test_permuted_labels_are_found():
    """A generator that ignores the class that is asked of it: perfect when classes are pooled, and in no class."""
    found = {"right": [], "permuted": []}
    for seed in range(6):
        sets = study(24, seed, np.empty((200, 16)))
        real, unseen = sets.subjects % 2, sets.unseen_subjects % 2
        asked = np.arange(200) % 2
        images, _ = of_classes(200, asked, seed)
        moved = {"t1": sets.real["t1"] + 1.5 * real[:, None]}, {"t1": sets.unseen["t1"] + 1.5 * unseen[:, None]}
        for name, labels in (("right", asked), ("permuted", np.random.default_rng(seed).permutation(asked))):
            part = Sets(moved[0], {"t1": images}, sets.subjects, sets.train, moved[1], sets.unseen_subjects)
            rows = score_classes(part, real, labels, unseen, ["a", "b"], bootstrap=50, seed=seed)
            pooled = only(score_curve(part), "kd")["value"]
            assert [row["metric"] for row in rows] == ["kd", "vendi"] * 2
            rows = [row for row in rows if row["metric"] == "kd"]
            found[name].append([pooled, *(row["value"] for row in rows)])
            assert [row["contrast"] for row in rows] == ["class a", "class b"]
            assert [row["n_subjects"] for row in rows] == [12, 12] and [row["n_fake"] for row in rows] == [100, 100]
            if name == "permuted":
                assert all(row["above_floor_low"] > 0 for row in rows)
    right, permuted = (np.mean(values, 0) for values in found.values())
    assert right[0] == permuted[0]
    assert (permuted[1:] > 10 * np.abs(right[1:])).all() and (permuted[1:] > 5 * abs(right[0])).all()


def test_a_class_of_few_patients_has_no_interval_and_of_one_no_score():
    sets = study(12, 0, new_patients(90, 0))
    real, unseen = ((codes > 8) + 1 * (codes > 10) for codes in (sets.subjects, sets.unseen_subjects))
    rows = score_classes(sets, real, np.arange(90) % 3, unseen, ["many", "few", "one"], bootstrap=20, seed=0)
    found = [(row["contrast"], row["metric"], row["n_subjects"], row["low"]) for row in rows]
    assert found == [(f"class {name}", metric, n, None) for name, n in (("many", 9), ("few", 2)) for metric in BY_CLASS]


def test_a_class_of_one_image_is_found_and_the_other_is_not_blamed():
    sets = study(24, 0, np.empty((0, 16)))
    real, unseen, asked = sets.subjects % 2, sets.unseen_subjects % 2, np.arange(200) % 2
    images = new_patients(200, 0)
    images[asked == 1] = images[1] + 0.001 * images[asked == 1]
    part = replace(sets, fake={"t1": images})
    rows = score_classes(part, real, asked, unseen, ["many", "one"], bootstrap=250, seed=0)
    many, one = (row for row in rows if row["metric"] == "vendi")
    assert one["value"] == pytest.approx(1, abs=0.01) and one["above_floor_high"] < -1
    assert many["value"] > 5 and abs(many["above_floor"]) < 0.5 * abs(one["above_floor"])
    assert len(one["replicates"]) == BY_CLASS["vendi"] and many["low"] < many["value"] < many["high"]


# shares that are 0 or 1


@pytest.mark.parametrize("units", [10, 50, 1000])
def test_nothing_of_n_is_at_most_about_three_of_n(units):
    low, high = Estimate(0.0, np.zeros(100), units).interval(0, 1)
    assert low == 0 and high is not None and 2.5 / (units + 4) < high < 4 / units
    assert Estimate(1.0, np.ones(100), units).interval(0, 1) == pytest.approx((1 - high, 1))
    assert wilson(0.0, units) == pytest.approx((0, high))


def test_shares_with_enough_on_both_sides_keep_the_bootstrap():
    replicates = np.random.default_rng(0).normal(0.3, 0.02, 1000)
    assert Estimate(0.3, replicates, 5).interval(0, 1) == Estimate(0.3, replicates).interval(0, 1)
    low, high = Estimate(0.1, replicates, 5).interval(0, 1)
    assert low is not None and high is not None and high - low > 0.3, "less than one of five"


def test_a_generator_far_away_has_shares_of_none_with_an_upper_bound():
    rows = score(study(11, 0, new_patients(300, 0, shift=50)), bootstrap=50, seed=0)
    precision, recall = only(rows, "precision"), only(rows, "recall")
    assert precision["value"] == recall["value"] == 0
    assert 2.5 / 300 < precision["high"] < 4 / 300, "of 300 generated images"
    assert 2.5 / 15 < recall["high"] < 4 / 11, "of 11 patients"
    for row in (precision, recall):
        assert row["above_floor_low"] < row["above_floor"] < row["above_floor_high"] < 0


def test_the_difference_of_two_shares_of_none_is_no_point():
    zeros = np.zeros(100)
    value, low, high = difference(Estimate(0.0, zeros, 100), Estimate(0.0, zeros, 20))
    assert value == 0 and low is not None and high is not None
    assert -high > -0.05 and low < -0.1, "the smaller set knows less"
    known = difference(Estimate(0.4, np.array([0.3, 0.5])), Estimate(0.05, known=True))
    assert known[0] == pytest.approx(0.35) and known[1] is not None and known[1] > 0.2
    assert difference(Estimate(0.4), Estimate(0.1))[1:] == (None, None)
    assert difference(Estimate(0.4, zeros), Estimate(0.1))[1:] == (None, None)


def test_two_patients_give_no_interval():
    """Every resample of two that has a pair is both of them: its spread would be 0, and the certainty false."""
    rows = score(study(2, 0, new_patients(40, 0), unseen=5), bootstrap=20, seed=0)
    assert {row["low"] for row in rows} == {None} and not any(row["replicates"] for row in rows)
    rows = score(study(5, 0, new_patients(40, 0), unseen=2), bootstrap=20, seed=0)
    row = only(rows, "kd")
    assert row["low"] < row["value"] < row["high"]
    assert [row[name] for name in ("floor_low", "floor_high", "above_floor_low", "above_floor_high")] == [None] * 4


def test_a_resample_has_two_subjects_at_least():
    drawn = subject_weights(np.array([0, 0, 1]), 300, seed=0)
    assert (drawn == 1).all()
    assert (subject_weights(np.arange(3), 500, seed=0) > 0).sum(1).min() == 2
