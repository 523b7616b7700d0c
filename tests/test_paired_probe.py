"""The probe of paired translation: rows by direction, batches that change nothing, slices that do not count."""

import numpy as np
import pytest
from test_metrics_paired import SIZE, fg, head

from gan.cells import WHOLE
from gan.metrics import facts
from gan.metrics.paired import FLICKER, Compared, by_subject, score, terms
from gan.scoring.paired import PairedProbe, Pairs, direction
from gan.scoring.probes import Samples

SUBJECTS = np.repeat([0, 1, 2, 3], 3)
SLICES = np.tile([4, 5, 6], 4)


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """Four subjects of three slices, two targets, a mask on half of the slices."""
    target = np.stack([head(12), head(12, seed=1)], 1)
    noise = np.random.default_rng(2).normal(0, 6, target.shape)
    translated = (target + noise * (target > 0) * (1 + SUBJECTS[:, None, None, None])).astype(np.float32)
    masks = np.zeros((12, *SIZE), np.uint8)
    masks[::2, 15:25, 15:23], masks[::2, 15:25, 23:25] = 1, 2
    return Pairs(translated, target, target[:, ::-1], masks, SUBJECTS, SLICES)


def rows(pairs: Pairs, sizes=(12,), **more) -> list[dict]:
    """Rows after batches of ``sizes``."""
    given = {"directions": ["t1>t2", "t1>flair"], "split": "test", "bootstrap": 20, "seed": 3, "labels": 2} | more
    probe, start = PairedProbe(**given), 0
    for size in sizes:
        block = slice(start, start + size)
        probe.add(Samples({}, None, Pairs(*(None if field is None else field[block] for field in pairs))))
        start += size
    return probe.rows()


def by_name(found: list[dict], contrast="t1>t2") -> dict[str, dict]:
    return {row["metric"]: row for row in found if row["contrast"] == contrast}


def test_a_row_says_what_it_depends_on(pairs):
    found = rows(pairs)
    assert {row["contrast"] for row in found} == {"t1>t2", "t1>flair", WHOLE}
    row = by_name(found)["mae_fg"]
    assert list(row) == [
        "metric", "contrast", "value", "low", "high", "floor", "replicates", "split", "n_real", "n_fake",
        "n_subjects", "left_out", "extractor", "seed",
    ]  # fmt: skip
    region = fg(np.concatenate([pairs.target, pairs.sources], 1).max(1))
    assert row["value"] == pytest.approx(score("mae", pairs.translated[:, 0], pairs.target[:, 0], region, SUBJECTS))
    assert row["low"] < row["value"] < row["high"] and len(row["replicates"]) == 20
    assert (row["n_real"], row["n_fake"], row["n_subjects"], row["left_out"]) == (12, 12, 4, 0)
    assert row["extractor"] == "pixels" and row["floor"] is None
    both = [by_name(found, name)["mae_fg"]["value"] for name in ("t1>t2", "t1>flair")]
    assert by_name(found, WHOLE)["mae_fg"]["value"] == pytest.approx(np.mean(both))
    assert all(facts.fact(row["metric"]) and np.isfinite(row["value"]) for row in found)
    assert by_name(found)["sharpness"]["floor"] == by_name(found)["flicker"]["floor"] == 1


def test_batches_do_not_matter(pairs):
    whole, pieces = rows(pairs), rows(pairs, (4, 1, 7))
    for one, other in zip(whole, pieces, strict=True):
        for key, value in one.items():
            assert other[key] == pytest.approx(value, rel=1e-9) if key == "value" else True, (one["metric"], key)
        assert {key: one[key] for key in ("metric", "n_real", "left_out")} == {
            key: other[key] for key in ("metric", "n_real", "left_out")
        }


def test_flicker_compares_neighbours_of_a_subject(pairs):
    row = by_name(rows(pairs, (5, 7)))["flicker"]
    first = np.flatnonzero(SLICES != 6)
    region = fg(np.concatenate([pairs.target, pairs.sources], 1).max(1))
    steps = [images[first + 1] - images[first] for images in (pairs.translated[:, 0].clip(0, 255), pairs.target[:, 0])]
    found = terms(FLICKER, Compared(*steps), region[first] | region[first + 1])
    assert row["value"] == pytest.approx(by_subject(FLICKER, found, SUBJECTS[first]).mean())
    assert row["n_real"] == 8 and row["value"] > 1
    assert "flicker" not in by_name(rows(pairs, every=2))
    apart = pairs._replace(volumes=np.arange(12))
    assert "flicker" not in by_name(rows(apart))


def test_slices_without_a_tumour_are_counted(pairs):
    found = by_name(rows(pairs))
    assert (found["mae_tumour"]["n_real"], found["mae_tumour"]["left_out"]) == (6, 6)
    assert found["mae_tumour_1"]["n_real"] == 6 and "mae_tumour_2" not in found  # label 2 has 20 voxels a slice
    assert facts.title("mae_tumour_1") == "MAE-tumour-1"
    assert "mae_tumour" not in by_name(rows(pairs._replace(masks=None)))
    assert "mae_tumour" not in by_name(rows(pairs._replace(masks=pairs.masks * 0)))  # type: ignore[operator]


def test_what_has_no_real_target_is_not_scored(pairs):
    has = np.ones((12, 2), bool)
    has[:3, 0] = False
    broken = pairs.target.copy()
    broken[:3, 0] = 0
    found = by_name(rows(pairs._replace(has=has, target=broken), (2, 10)))
    kept = Pairs(*(None if field is None else field[3:] for field in pairs))
    alone = by_name(rows(kept))
    assert found["mae_fg"]["n_subjects"] == 3
    for name in ("mae_fg", "flicker", "psnr_whole"):
        assert found[name]["value"] == pytest.approx(alone[name]["value"])


def test_a_single_subject_has_no_interval(pairs):
    one = Pairs(*(None if field is None else field[:3] for field in pairs))
    row = by_name(rows(one))["mae_fg"]
    assert row["low"] is row["high"] is None and row["replicates"] == []
    assert by_name(rows(pairs, bootstrap=0))["mae_fg"]["low"] is None


def test_the_same_subjects_are_drawn_for_every_model(pairs):
    worse = pairs._replace(translated=(pairs.translated + 3).astype(np.float32))
    first, second = (np.array(by_name(rows(of))["mae_whole"]["replicates"]) for of in (pairs, worse))
    assert np.corrcoef(first, second)[0, 1] > 0.99


def test_only_what_is_asked_for(pairs):
    found = rows(pairs, names=("mae_fg", "ssim_fg"), bootstrap=0)
    assert {row["metric"] for row in found} == {"mae_fg", "ssim_fg"}


def test_images_too_small_for_ssim_have_the_other_scores(pairs):
    fields = [pairs.translated, pairs.target, pairs.sources]
    small = pairs._replace(**dict(zip(("translated", "target", "sources"), (of[..., 15:25, 15:25] for of in fields),
                                      strict=True)), masks=None)  # fmt: skip
    found = by_name(rows(small))
    assert "mae_fg" in found and not any(name.startswith("ssim") for name in found)


def test_a_direction_has_a_name():
    assert direction(["t1n"], "t2w") == "t1n>t2w" and direction(["t1n", "t1c"], "t2w") == "t1n+t1c>t2w"
