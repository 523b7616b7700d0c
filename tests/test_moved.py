"""What moved: planted differences are found, in words; the patient is the unit; cells, study and page show the same."""

import numpy as np
import pandas as pd
import pytest
from fake_study import make_study
from scipy.ndimage import gaussian_filter
from test_evaluate import SIDE, judge  # noqa: F401  a store of two contrasts and a mask

from gan.data.store import Store
from gan.files import read_json, write_json
from gan.metrics.moved import FeatureSums, moved
from gan.metrics.radiomics import of_images
from gan.metrics.radiomics.words import WORDS
from gan.report import moved as shown
from gan.report import write_report
from gan.scales import stored_to_uint8
from gan.scoring.cell import _write_moved
from gan.scoring.judge import Judge, Protocol
from gan.scoring.probes import Samples
from gan.scoring.reference import prepare_extractor, real_features


def test_a_planted_shift_is_found_in_standard_deviations():
    random = np.random.default_rng(0)
    patients = np.repeat(np.arange(40), 10)
    real, unseen = (random.normal(5, 2, (400, 3)) + random.normal(0, 3, (40, 3))[patients] for _ in range(2))
    real[:, 2] = unseen[:, 2] = 7
    fake = real + np.array([1.6, 0, 0])
    sums = FeatureSums.of(fake, np.arange(400)), FeatureSums.of(real, patients), FeatureSums.of(unseen, patients)
    rows = moved(*sums, ("a", "b", "constant"), bootstrap=400, seed=0)
    assert [row["feature"] for row in rows] == ["a", "b"], "what is constant among training images cannot move"
    first, second = rows
    assert first["difference"] == pytest.approx((fake[:, 0].mean() - real[:, 0].mean()) / real[:, 0].std())
    assert first["low"] > 0 and second["difference"] == pytest.approx(0) and second["low"] < 0 < second["high"]
    assert second["floor"] == pytest.approx((unseen[:, 1].mean() - real[:, 1].mean()) / real[:, 1].std())
    alone = FeatureSums.of(real, np.arange(400))
    narrow = moved(sums[0], alone, alone, ("a", "b", "constant"), bootstrap=400, seed=0)[1]
    assert second["high"] - second["low"] > 1.3 * (narrow["high"] - narrow["low"]), "slices of a patient are alike"
    assert moved(*sums, ("a", "b", "constant"), bootstrap=0, seed=0)[0]["low"] is None


def test_every_feature_has_words():
    assert set(of_images(np.zeros((1, 32, 32), np.uint8)).names) == set(WORDS)
    assert shown.said(WORDS["gradient_mean"], -0.82) == "0.8 sd smoother"


@pytest.fixture(scope="module")
def radiomic(judge):  # noqa: F811
    """The judge of the store by radiomic features."""
    prepare_extractor("radiomics", {}, judge / "store", judge / "radiomics.pt", "cpu")
    real_features(judge / "radiomics.pt", judge / "store", judge / "radiomics.npz", "cpu")
    return Judge([judge / "radiomics.pt"], [judge / "radiomics.npz"], judge / "images.npz", "cpu", judge / "store")


def test_blur_and_brighter_tumours_are_seen_where_they_are(radiomic, judge, tmp_path):  # noqa: F811
    store = Store.open(judge / "store")
    block = store.images[store.rows("val")]
    images, masks = stored_to_uint8(block[:, 0]), np.zeros((len(block), SIDE, SIDE), np.uint8)
    masks[:, 4:12, 4:12] = 3
    blurred = gaussian_filter(images.astype(float), (0, 1, 1)).round().astype(np.uint8)
    probes = radiomic.probes(Protocol(bootstrap=50), store.meta, 3)
    batch = Samples({"t1c": blurred, "t2w": stored_to_uint8(block[:, 1])}, masks)
    for probe in probes:
        probe.add(batch)
    _write_moved(tmp_path, "abc", probes, radiomic)
    table = read_json(tmp_path / "moved.json")
    rows = pd.DataFrame(table["rows"]).set_index(["contrast", "region", "feature"])
    assert table["extractor"].startswith("radiomics-") and table["run_key"] == "abc"
    blur, kept = rows.loc["t1c", "image", "spectrum_8"], rows.loc["t2w", "image", "spectrum_8"]
    assert blur.high < blur.floor_low and blur.difference < -2
    assert kept.difference == pytest.approx(kept.floor), "unchanged validation images are the floor"
    assert (blur.n_fake, blur.n_real) == (len(block), len(store.rows("train")))
    assert {region for _, region, _ in rows.index} == {"image", "mask", "mask 3"}


def test_the_page_and_the_tables_say_what_moved(tmp_path):
    cells = make_study(tmp_path, variants={"dcgan": 0.1, "stylegan2": 0.02}, seeds=2)
    counts = {"n_fake": 9, "n_real": 8, "n_subjects": 4, "n_floor": 4, "n_floor_subjects": 2}

    def row(feature: str, value: float, region: str = "image", floor: float = 0.1) -> dict:
        named = {"contrast": "t1", "region": region, "feature": feature, "difference": value}
        ends = {"low": value - 0.2, "high": value + 0.2, "floor_low": floor - 0.1, "floor_high": floor + 0.1}
        return {**named, **ends, "floor": floor, **counts}

    for cell in cells:
        rows = [row("shape_area", 0.25), row("gradient_mean", -0.8 if cell.seed else -0.81), row("runs_long", 2)]
        rows += [row("pairs1_entropy", -0.5, "mask")]
        write_json(cell.folder / "moved.json", {"run_key": "a", "rows": rows if cell.variant == "dcgan" else []})
    write_report("s", cells, tmp_path)
    frame = pd.read_csv(tmp_path / "moved.csv")
    assert list(frame.feature) == ["runs_long", "gradient_mean", "pairs1_entropy", "shape_area"]
    assert frame.clear.tolist() == [True, True, True, False] and frame.difference[1] == pytest.approx(-0.805)
    assert frame.seeds.eq(2).all() and frame.words[1] == "0.8 sd smoother"
    sentence = "Images are 0.8 sd smoother; within the mask they are 0.5 sd more homogeneous. 3 of 4 features moved"
    page, text = (tmp_path / "comparison.html").read_text(), (tmp_path / "comparison.md").read_text()
    assert f"<b>dcgan</b> {sentence}" in page and "−0.805" in page and f"- dcgan: {sentence}" in text
    nothing = shown.of_study(make_study(tmp_path / "other", variants={"dcgan": 0.1}, seeds=1))
    assert nothing.empty and shown.section(nothing, "phantom") == [] and shown.markdown(nothing, "phantom") == ""
