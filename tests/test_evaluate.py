"""Scoring a cell, from a store and snapshots on disk to curve.json and scores.json."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from gan.cells import count_looks
from gan.data.store import Store, writing
from gan.errors import GanError
from gan.evaluate import main
from gan.families.contract import ImageShape
from gan.families.registry import build, defaults
from gan.files import read_json
from gan.metrics.frames import background_noise
from gan.metrics.scores import score_curve
from gan.metrics.spectrum import log_ratios, power_spectra
from gan.metrics.ssim import ms_ssim
from gan.run import live_scores
from gan.sampling.snapshot import Snapshot, load_generator, save_generator
from gan.sampling.tasks import sample
from gan.scales import generated_to_uint8, stored_to_uint8
from gan.scoring.cell import score_cell, score_snapshots
from gan.scoring.copies import CopyProbe
from gan.scoring.extractors import files as extractor_files
from gan.scoring.judge import Judge, Protocol
from gan.scoring.probes import FeatureProbe, LikenessProbe
from gan.scoring.reference import ImageFacts, RealFeatures, image_facts, prepare_extractor, real_features

SIDE = 16
CONTRASTS = ("t1c", "t2w")
SPLITS = {"train": range(0, 8), "val": range(8, 11), "test": range(11, 15)}
PROTOCOL = Protocol(n_fake=60, n_fake_curve=40, bootstrap=20)


def make_store(folder: Path, splits=SPLITS, slices: int = 10) -> Path:
    """Two contrasts of smooth noise and a mask; `slices` images of each subject."""
    rng = np.random.default_rng(0)
    rows, images = [], []
    for split, subjects in splits.items():
        for subject in subjects:
            for number in range(slices):
                coarse = rng.uniform(5_000, 60_000, (2, 4, 4)).repeat(4, 1).repeat(4, 2)
                images.append(np.concatenate([coarse, np.full((1, SIDE, SIDE), 3.0)]).astype(np.uint16))
                rows.append({"subject": f"s{subject:02}", "slice": number, "split": split, "label": ""})
    index = pd.DataFrame(rows).assign(position=0.5, fraction=0.5, kept=True, reason="", row=range(len(rows)))
    with writing(folder, (3, SIDE, SIDE)) as writer:
        writer.append(np.stack(images))
        meta = {"channels": [*CONTRASTS, "seg"], "mask": "seg", "labels": [], "dataset": "noise"}
        writer.finish(index, index[["subject", "split"]].drop_duplicates(), meta)
    return folder


def make_generator(
    path: Path, kimg: float, seed: int, channels=(*CONTRASTS, "seg"), bad: bool = False, run_key: str = "abc123"
) -> None:
    torch.manual_seed(seed)
    options = defaults("dcgan") | {"z_dim": 8, "channels": 4}
    shape = ImageShape(len(channels), (SIDE, SIDE), 0)
    network = build("dcgan", options, shape, 8).generator
    if bad:
        next(network.parameters()).data.fill_(float("nan"))
    data = {"channels": list(channels), "mask": "seg", "labels": [], "full_scale": [65535, 65535, 3]}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_generator(path, Snapshot(network, "dcgan", options, shape, 8, kimg, run_key, data))


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """A store, an in-domain extractor and the features of the real images."""
    folder = tmp_path_factory.mktemp("judge")
    store = make_store(folder / "store")
    prepare_extractor("indomain", {"steps": 4, "dim": 16, "seed": 0}, store, folder / "extractor.pt", "cpu")
    real_features(folder / "extractor.pt", store, folder / "real.npz", "cpu")
    image_facts(store, folder / "images.npz")
    return folder


@pytest.fixture
def cell(tmp_path):
    for kimg in (0, 1, 2):
        make_generator(tmp_path / f"snapshots/kimg{kimg:05}.pt", kimg, seed=kimg)
    make_generator(tmp_path / "generator.pt", 2, seed=2)
    recipe = {"data": {"dataset": "noise"}, "variant": {"name": "dcgan"}, "seed": 5}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    return tmp_path


def test_classes_that_are_contrasts_are_scored_each_by_itself(judge, tmp_path):
    together = Store.open(judge / "store")
    images = together.images[:, :2].reshape(-1, 1, SIDE, SIDE)
    index = together.index.loc[together.index.index.repeat(2)].reset_index(drop=True)
    index = index.assign(label=np.tile(CONTRASTS, len(together.images)), row=range(len(images)))
    meta = {"channels": ["image"], "mask": None, "labels": list(CONTRASTS), "label_of": "contrast"}
    with writing(tmp_path / "store", (1, SIDE, SIDE)) as writer:
        writer.append(images)
        writer.finish(index, index[["subject", "split"]].drop_duplicates(), meta)
    real_features(judge / "extractor.pt", tmp_path / "store", tmp_path / "real.npz", "cpu")
    image_facts(tmp_path / "store", tmp_path / "images.npz")
    for name in ("real.npz", "images.npz"):
        with np.load(tmp_path / name) as apart, np.load(judge / name) as as_channels:
            assert set(apart) == set(as_channels)
            own = {key for key in apart if key.startswith(("areas", "subjects")) and name == "images.npz"}
            assert all(np.array_equal(apart[key], as_channels[key]) for key in set(apart) - own)
    facts = ImageFacts.load(tmp_path / "images.npz")
    assert facts.areas["train"].shape == (160, 0)
    assert np.array_equal(facts.subjects["train"], np.arange(8).repeat(20))
    assert ImageFacts.load(judge / "images.npz").areas["train"].shape == (80, 3)

    options = defaults("dcgan") | {"z_dim": 8, "channels": 4, "conditional": True}
    shape = ImageShape(1, (SIDE, SIDE), 2)
    torch.manual_seed(0)
    snapshot = Snapshot(build("dcgan", options, shape, 8).generator.eval(), "dcgan", options, shape, 8, 1, "abc", meta)
    own = Judge([judge / "extractor.pt"], [tmp_path / "real.npz"], tmp_path / "images.npz", "cpu")
    probe = FeatureProbe(own.panel[0], score_curve, "val", seed=0, joint=False)
    rows = own.look(tmp_path, snapshot, 20, 0, 1.0, [probe, LikenessProbe(bootstrap=0, seed=0)])
    assert {row["contrast"] for row in rows} == {*CONTRASTS, "all"}
    fake = probe.features()
    assert list(fake) == list(CONTRASTS)
    for label, contrast in enumerate(CONTRASTS):
        grey = generated_to_uint8(sample(snapshot, 20, 0, label).numpy()[:, 0])
        assert np.array_equal(fake[contrast], own.panel[0](grey))
    assert not np.array_equal(*fake.values())


def test_classes_of_a_conditional_generator_are_scored_too(judge, tmp_path):
    together = Store.open(judge / "store")
    index = together.index.assign(label=np.where(together.index["slice"] % 2, "odd", "even"))
    meta = together.meta | {"labels": ["even", "odd"], "label_of": "slice"}
    with writing(tmp_path / "store", (3, SIDE, SIDE)) as writer:
        writer.append(together.images[:])
        writer.finish(index, index[["subject", "split"]].drop_duplicates(), meta)
    real_features(judge / "extractor.pt", tmp_path / "store", tmp_path / "real.npz", "cpu")
    options = defaults("dcgan") | {"z_dim": 8, "channels": 4, "conditional": True}
    shape = ImageShape(3, (SIDE, SIDE), 2)
    data = meta | {"full_scale": [65535, 65535, 3], "label_counts": [3, 1]}
    snapshot = Snapshot(build("dcgan", options, shape, 8).generator.eval(), "dcgan", options, shape, 8, 1, "abc", data)
    known = [judge / "extractor.pt"], [tmp_path / "real.npz"], judge / "images.npz", "cpu"
    probes = Judge(*known).probes(PROTOCOL, data, 0)
    assert not [probe for probe in probes if isinstance(probe, CopyProbe)], "without the store there is no search"
    rows, _ = Judge(*known, tmp_path / "store").scores(tmp_path, snapshot, Protocol(n_fake=40, bootstrap=5))
    classes = {(row["contrast"], row["metric"]): row for row in rows if row["contrast"].startswith("class ")}
    names = ("kd_indomain", "vendi_indomain")
    copies = {name: classes.pop((f"class {name}", "copies_indomain")) for name in ("even", "odd")}
    assert list(classes) == [(f"class {name}", metric) for name in ("even", "odd") for metric in names]
    assert [(row["n_real"], row["n_subjects"], row["low"]) for row in copies.values()] == [(40, 8, None)] * 2
    assert [row["n_fake"] for row in copies.values()] == [classes[f"class {of}", names[0]]["n_fake"] for of in copies]
    even, odd = (classes[f"class {name}", "kd_indomain"] for name in ("even", "odd"))
    assert even["n_fake"] + odd["n_fake"] == 40 and even["n_fake"] > odd["n_fake"]
    assert (even["n_real"], even["n_subjects"], even["low"]) == (20, 4, None)
    assert even["split"] == "test" and even["truncation"] == 1


def files(judge: Path) -> tuple[list[Path], list[Path], Path]:
    return [judge / "extractor.pt"], [judge / "real.npz"], judge / "images.npz"


def test_features_of_real_images_name_no_subject(judge):
    known = RealFeatures.load(judge / "real.npz", RealFeatures.load(judge / "real.npz", _id(judge)).extractor)
    assert known.contrasts == list(CONTRASTS)
    for split, subjects in SPLITS.items():
        assert known.features[split]["t1c"].shape == (10 * len(subjects), 16)
        assert np.array_equal(known.subjects[split], np.repeat(range(len(subjects)), 10))
    assert b"s00" not in (judge / "real.npz").read_bytes()


def test_every_snapshot_gets_a_row_of_the_curve(judge, cell):
    score_snapshots(cell, Judge(*files(judge), "cpu"), PROTOCOL)
    curve = read_json(cell / "curve.json")
    assert curve["run_key"] == "abc123"
    keys = {(row["kimg"], row["metric"], row["contrast"]) for row in curve["rows"]}
    names = ("kd_indomain", "fd_indomain", "precision_indomain", "recall_indomain")
    assert keys == {(kimg, name, c) for kimg in (0, 1, 2) for name in names for c in (*CONTRASTS, "joint", "all")}
    row = curve["rows"][0]
    numbers = {"n_real", "n_subjects", "n_fake", "truncation"}
    assert set(row) == {"kimg", "metric", "contrast", "value", "floor", "extractor", "seed", "split", *numbers}
    assert {row["metric"] for row in curve["rows"] if row["floor"] is None} == {"fd_indomain"}
    assert (row["split"], row["n_real"], row["n_subjects"], row["n_fake"]) == ("val", 30, 3, 40)


def test_what_was_scored_in_training_is_not_scored_again(judge, cell, monkeypatch):
    first = Judge(*files(judge), "cpu")
    snapshot = cell / "snapshots/kimg00001.pt"
    rows = first.curve(snapshot, PROTOCOL)
    monkeypatch.setattr(Judge, "look", lambda *_, **__: pytest.fail("scored again"))
    assert Judge(*files(judge), "cpu").curve(snapshot, PROTOCOL) == rows
    with pytest.raises(BaseException, match="scored again"):
        first.curve(snapshot, Protocol(n_fake=60, n_fake_curve=30))


def test_a_score_on_the_way_tells_the_training_its_recall(judge, cell):
    (extractor,), (real,), images = files(judge)
    asked = {"extractors": [str(extractor)], "real": [str(real)], "images": str(images), "store": str(judge / "store")}
    asked["protocol"] = {"n_fake_curve": 40}
    (cell / "judge.json").write_text(json.dumps(asked))
    said = live_scores(cell / "judge.json", "cpu")(1.0, cell / "snapshots/kimg00001.pt")
    rows = read_json(cell / "snapshots/kimg00001.json")["rows"]
    recall = next(row for row in rows if (row["metric"], row["contrast"]) == ("recall_indomain", "all"))
    assert said == {"scores/recall": recall["value"]}


def test_scores_of_the_best_snapshot(judge, cell):
    score_snapshots(cell, Judge(*files(judge), "cpu"), PROTOCOL)
    score_cell(cell, Judge(*files(judge), "cpu", judge / "store"), PROTOCOL)
    result = read_json(cell / "scores.json")
    curve = read_json(cell / "curve.json")["rows"]
    values = {row["kimg"]: row["value"] for row in curve if (row["metric"], row["contrast"]) == ("kd_indomain", "all")}
    best = min((1, 2), key=values.__getitem__)
    assert result["snapshot"] == {"kimg": best, "chosen": "best", "metric": "kd_indomain"}
    assert (result["dataset"], result["variant"], result["seed"], result["run_key"]) == ("noise", "dcgan", 5, "abc123")
    rows = {(row["metric"], row["contrast"]): row for row in result["scores"]}
    assert {name for name, _ in rows} == {
        *("ms_ssim", "labelled", "area_1", "area_2", "area_3", "spectrum", "histogram", "noise", "asymmetry"),
        *(f"{name}_indomain" for name in ("kd", "fd", "precision", "recall", "density", "coverage", "vendi", "copies")),
    }
    fd = rows["fd_indomain", "t1c"]
    assert fd["low"] < fd["value"] < fd["high"]
    assert fd["floor_low"] < fd["floor"] < fd["floor_high"]
    assert 0 < fd["above_floor_low"] < fd["above_floor"] < fd["above_floor_high"]
    kd = rows["kd_indomain", "t1c"]
    assert kd["above_floor"] == pytest.approx(kd["value"] - kd["floor"])
    assert (fd["split"], fd["n_real"], fd["n_fake"], fd["seed"]) == ("test", 40, 60, 0)
    mean = np.mean([rows["fd_indomain", contrast]["value"] for contrast in CONTRASTS])
    assert rows["fd_indomain", "all"]["value"] == pytest.approx(mean)
    assert rows["area_3", "seg"]["floor"] == 100 and rows["labelled", "seg"]["floor"] == 1
    assert 0 < rows["area_3", "seg"]["value"] + rows["area_1", "seg"]["value"] < 100
    assert rows["fd_indomain", "joint"]["value"] > max(rows["fd_indomain", contrast]["value"] for contrast in CONTRASTS)
    with Image.open(cell / "fake.png") as image:
        assert (image.info["Synthetic"], image.info["Run key"], image.info["Seed"]) == ("yes", "abc123", "0")
    points = read_json(cell / "shown/plots.json")
    assert (
        points["run_key"] == "abc123" and len(points["map"]["fake"]) == 60 and list(points["pixels"]) == list(CONTRASTS)
    )
    with Image.open(cell / "shown/interpolation.png") as image:
        assert image.info["Synthetic"] == "yes" and json.loads(image.info["Grid"])["columns"] == 8


def test_replicates_give_the_interval_and_are_shared_by_generators(judge, cell):
    score_cell(cell, Judge(*files(judge), "cpu"), Protocol(n_fake=60, bootstrap=20, choose="final"))
    scores, drawn = read_json(cell / "scores.json"), read_json(cell / "replicates.json")
    assert drawn["run_key"] == "abc123" and len(drawn["rows"]) == len(scores["scores"])
    of_fd = [row for row in drawn["rows"] if row["metric"] == "fd_indomain"]
    parts = {row["contrast"]: np.array(row["values"]) for row in of_fd}
    row = next(row for row in scores["scores"] if (row["metric"], row["contrast"]) == ("fd_indomain", "t1c"))
    ends = np.quantile(parts["t1c"], [0.025, 0.975]) - parts["t1c"].mean() + row["value"]
    assert [row["low"], row["high"]] == pytest.approx(
        [min(ends[0], row["value"]), max(ends[1], row["value"])], rel=1e-4
    )
    assert parts["all"] == pytest.approx((parts["t1c"] + parts["t2w"]) / 2, rel=1e-4), "one draw for all contrasts"
    make_generator(cell / "generator.pt", 2, seed=9)
    score_cell(cell, Judge(*files(judge), "cpu"), Protocol(n_fake=60, bootstrap=20, choose="final"))
    other = next(row for row in read_json(cell / "replicates.json")["rows"] if row["metric"] == "fd_indomain")
    assert np.corrcoef(other["values"], parts["t1c"])[0, 1] > 0.5, "the same patients are drawn for every generator"


def test_how_alike_generated_images_are_stands_beside_real_ones(judge, cell):
    """The value and the floor from the pictures themselves, pair by pair."""
    score_cell(cell, Judge(*files(judge), "cpu"), Protocol(n_fake=60, bootstrap=200, choose="final"))
    row = next(
        row
        for row in read_json(cell / "scores.json")["scores"]
        if (row["metric"], row["contrast"]) == ("ms_ssim", "t2w")
    )
    drawn = generated_to_uint8(sample(load_generator(cell / "generator.pt"), 60, 0)[:, 1].numpy())
    values = np.array([ms_ssim(drawn[[i]], drawn[[i + 1]]).item() for i in range(0, 60, 2)])
    assert row["value"] == pytest.approx(values.mean(), rel=1e-6)
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * values.std() / 30**0.5, rel=0.3)
    store = Store.open(judge / "store")
    real = stored_to_uint8(store.images[store.rows("train"), 1])
    apart = [ms_ssim(real[[i]], real[[j]]).item() for i in range(80) for j in range(i) if i // 10 != j // 10]
    assert row["floor"] == pytest.approx(np.mean(apart), abs=4 * np.std(apart) / 500**0.5)
    assert (row["split"], row["n_real"], row["n_fake"], row["extractor"]) == ("train", 1000, 60, "pixels")


def test_statistics_of_pixels_stand_next_to_those_of_validation_subjects(judge, cell):
    """Values and floors from the pictures themselves; the facts of real images are sums by subject, without names."""
    score_cell(cell, Judge(*files(judge), "cpu"), Protocol(n_fake=60, bootstrap=20, choose="final"))
    scores = read_json(cell / "scores.json")["scores"]
    rows = {row["metric"]: row for row in scores if row["contrast"] == "t2w"}
    drawn = generated_to_uint8(sample(load_generator(cell / "generator.pt"), 60, 0)[:, 1].numpy())
    store = Store.open(judge / "store")
    train, val = (stored_to_uint8(store.images[store.rows(split), 1]) for split in ("train", "val"))
    counts = [np.bincount(of.ravel(), minlength=256).cumsum() / of.size for of in (drawn, train, val)]
    for key, ours in (("value", counts[0]), ("floor", counts[2])):
        assert rows["histogram"][key] == pytest.approx(np.abs(ours - counts[1]).sum() / 255)
    assert rows["noise"]["value"] == pytest.approx(background_noise(drawn).mean())
    assert rows["noise"]["floor"] == pytest.approx(background_noise(val).mean())
    spectra = [power_spectra(of).mean(0) for of in (drawn, train, val)]
    ratios = [log_ratios(of, spectra[1]) for of in spectra]
    assert rows["spectrum"]["floor"] == pytest.approx(np.abs(ratios[2]).mean())
    assert rows["spectrum"]["bands"] == pytest.approx(ratios[0], abs=1e-4)
    seen = {name: (rows[name]["split"], rows[name]["n_real"]) for name in ("spectrum", "histogram", "noise")}
    assert seen == {"spectrum": ("train", 80), "histogram": ("train", 80), "noise": ("val", 30)}
    assert {rows[name]["extractor"] for name in seen} == {"pixels"}
    known = ImageFacts.load(judge / "images.npz").pixels
    assert {split: of["t1c"].images.tolist() for split, of in known.items()} == {"train": [10] * 8, "val": [10] * 3}
    assert b"s00" not in (judge / "images.npz").read_bytes()


def test_sagittal_images_have_no_left_and_right(judge, cell):
    generator = load_generator(cell / "generator.pt")
    generator.data["axis"] = "sagittal"
    save_generator(cell / "generator.pt", generator)
    score_cell(cell, Judge(*files(judge), "cpu"), Protocol(n_fake=20, bootstrap=0, choose="final"))
    names = {row["metric"] for row in read_json(cell / "scores.json")["scores"]}
    assert "asymmetry" not in names and "noise" in names


def test_facts_of_an_older_version_are_refused(judge, tmp_path):
    with np.load(judge / "images.npz") as file:
        arrays = {name: file[name] for name in file.files if not name.startswith("pixels/")}
    np.savez(tmp_path / "images.npz", allow_pickle=False, **arrays)
    with pytest.raises(GanError, match=r"images\.npz: made by another version; delete it"):
        ImageFacts.load(tmp_path / "images.npz")


def test_the_same_seed_gives_the_same_bytes(judge, cell):
    texts = []
    for _ in range(2):
        score_snapshots(cell, Judge(*files(judge), "cpu"), PROTOCOL)
        score_cell(cell, Judge(*files(judge), "cpu"), PROTOCOL)
        texts.append(b"".join((cell / f"{name}.json").read_bytes() for name in ("curve", "scores", "replicates")))
    assert texts[0] == texts[1]


def test_a_rerun_adds_no_look_at_the_test_split_and_a_new_run_one(judge, cell, tmp_path):
    protocol, looks = Protocol(n_fake=20, bootstrap=0, choose="final"), tmp_path / "looks"
    recipe = read_json(cell / "recipe.json")
    counts = [count_looks(looks, recipe)]
    for changed in (protocol, Protocol(n_fake=30, bootstrap=0, choose="final"), protocol):
        score_cell(cell, Judge(*files(judge), "cpu"), changed, looks=looks)
        counts.append(count_looks(looks, recipe))
    make_generator(cell / "generator.pt", 2, seed=3, run_key="def456")
    score_cell(cell, Judge(*files(judge), "cpu"), protocol, looks=looks)
    counts.append(count_looks(looks, recipe))
    assert counts == [0, 1, 1, 1, 2]
    other = recipe | {"data": {"dataset": "noise", "source": {"md5": "1"}, "split": {"seed": 1}}}
    assert count_looks(looks, other) == 0, "other patients"


def test_the_final_snapshot_on_request(judge, cell):
    score_cell(cell, Judge(*files(judge), "cpu"), Protocol(n_fake=60, bootstrap=0, choose="final"))
    result = read_json(cell / "scores.json")
    assert result["snapshot"]["chosen"] == "final"
    assert result["snapshot"]["kimg"] == 2
    assert result["scores"][0]["low"] is None


def test_numbers_of_images_are_those_of_the_protocol_and_of_both_splits(judge, cell):
    """More generated images than real ones of any split: the floor needs no equal number."""
    score_cell(cell, Judge(*files(judge), "cpu"), Protocol(n_fake=100, bootstrap=0, choose="final", truncation=0.9))
    rows = read_json(cell / "scores.json")["scores"]
    assert {(row["n_fake"], row["truncation"]) for row in rows} == {(100, 0.9)}
    features = [row for row in rows if row["split"] == "test"]
    numbers = {(row["n_real"], row["n_subjects"], row["n_floor"], row["n_floor_subjects"]) for row in features}
    assert numbers == {(40, 4, 30, 3)}
    assert {row["n_subjects"] for row in rows if row["split"] == "train"} == {8}
    assert {row["metric"]: row["k"] for row in features if "k" in row} == {
        **dict.fromkeys(("precision_indomain", "recall_indomain"), 2),
        **dict.fromkeys(("density_indomain", "coverage_indomain"), 1),
    }


def test_a_generator_of_nan_is_named(judge, cell):
    make_generator(cell / "snapshots/kimg00002.pt", 2, seed=2, bad=True)
    (cell / "curve.json").write_text("earlier")
    with pytest.raises(GanError, match=r"kimg00002\.pt: generates NaN"):
        score_snapshots(cell, Judge(*files(judge), "cpu"), PROTOCOL)
    assert (cell / "curve.json").read_text() == "earlier"


def test_a_generator_of_other_contrasts_is_refused(judge, cell):
    make_generator(cell / "generator.pt", 2, seed=2, channels=("flair", "t2w", "seg"))
    with pytest.raises(GanError, match="makes the contrasts flair, t2w"):
        score_cell(cell, Judge(*files(judge), "cpu"), Protocol(choose="final"))


def test_facts_of_other_images_are_refused(judge, cell, tmp_path):
    known = ImageFacts.load(judge / "images.npz")
    pixels = {split: {"flair": by_contrast["t1c"]} for split, by_contrast in known.pixels.items()}
    areas, subjects = (dict.fromkeys(pixels, of) for of in (np.empty((3, 0)), np.arange(3)))
    facts = ImageFacts({"flair": np.ones(3)}, areas, np.array([[0, 1]] * 3), subjects, pixels)
    facts.save(tmp_path / "images.npz")
    extractors, real, _ = files(judge)
    with pytest.raises(GanError, match="but the real images are of flair"):
        score_cell(cell, Judge(extractors, real, tmp_path / "images.npz", "cpu"), Protocol(choose="final"))


def test_features_of_another_extractor_are_refused(judge, cell, tmp_path):
    prepare_extractor("indomain", {"steps": 2, "dim": 16, "seed": 1}, judge / "store", tmp_path / "other.pt", "cpu")
    with pytest.raises(GanError, match=r"real\.npz: features of the extractor indomain-"):
        score_cell(cell, Judge([tmp_path / "other.pt"], [judge / "real.npz"], judge / "images.npz", "cpu"), PROTOCOL)


@pytest.mark.parametrize(
    ("splits", "slices", "protocol", "message"),
    [
        (
            SPLITS | {"test": range(11, 12)},
            10,
            PROTOCOL,
            "needs images of 2 subjects, the other held-out split has 1",
        ),
        (SPLITS | {"val": range(8, 9)}, 10, PROTOCOL, "a score needs images of 2 subjects, the split has 1"),
        (SPLITS, 10, Protocol(n_fake=60, n_fake_curve=1), "too few images for a score: 1 generated"),
        (SPLITS | {"val": range(0)}, 10, PROTOCOL, "no images in the split val"),
    ],
)
def test_splits_that_are_too_small(splits, slices, protocol, message, cell, tmp_path):
    store = make_store(tmp_path / "store", splits, slices)
    with pytest.raises(GanError, match=message):
        prepare_extractor("indomain", {"steps": 1, "dim": 16}, store, tmp_path / "extractor.pt", "cpu")
        real_features(tmp_path / "extractor.pt", store, tmp_path / "real.npz", "cpu")
        image_facts(store, tmp_path / "images.npz")
        score_snapshots(cell, Judge(*files(tmp_path), "cpu"), protocol)
        score_cell(cell, Judge(*files(tmp_path), "cpu"), protocol)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off"])
def test_a_broken_file_of_features_is_refused(content, tmp_path):
    (tmp_path / "real.npz").write_bytes(content)
    with pytest.raises(GanError, match=r"real\.npz: not a file of features"):
        RealFeatures.load(tmp_path / "real.npz", "indomain-00000000")
    with pytest.raises(GanError, match=r"real\.npz: not a file of features"):
        ImageFacts.load(tmp_path / "real.npz")


def test_a_cell_without_snapshots(judge, tmp_path):
    with pytest.raises(GanError, match="no snapshots"):
        score_snapshots(tmp_path, Judge(*files(judge), "cpu"), PROTOCOL)


@pytest.mark.parametrize(
    ("metrics", "message"), [({"n_fakes": 3}, "unknown key 'n_fakes'"), ({"choose": "last"}, "allowed: best, final")]
)
def test_bad_settings(metrics, message):
    with pytest.raises(GanError, match=message):
        Protocol.of(metrics)


def test_the_command_line_shows_one_line(judge, tmp_path, capsys):
    arguments = ["curve", str(tmp_path), "--extractor", str(judge / "extractor.pt"), "--real", str(judge / "real.npz")]
    arguments += ["--images", str(judge / "images.npz")]
    assert main(["--device", "cpu", *arguments]) == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("error: ") and "train the cell first" in message


def _id(judge: Path) -> str:
    return extractor_files.load(judge / "extractor.pt").id
