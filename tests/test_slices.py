"""From volumes to the store: orientation on screen, intensity maps, the filter, the frame, splits and leaks."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gan.cells import SPLITS
from gan.data import intensity, splits
from gan.data.cut import frames
from gan.data.nifti import Volume, write_nifti
from gan.data.pictures import read_picture
from gan.data.slices import build_store
from gan.data.store import Store
from gan.errors import GanError

ROW = {
    "layout": "nifti",
    "contrasts": ["t1"],
    "reference": None,
    "mask": None,
    "labels": None,
    "slices": {"axis": "axial", "every": 1, "size": 16, "fit": "pad", "threshold": 50, "fraction": 0.25},
    "intensity": {"map": "window", "low": 0, "high": 255},
    "split": {"train": 1, "val": 0, "test": 0, "seed": 0},
}
THIRDS = {"train": 1, "val": 1, "test": 1, "seed": 0}


def row(**changes) -> dict:
    """ROW with changes; a dictionary among them changes single keys."""
    return ROW | {key: ROW[key] | new if isinstance(ROW[key], dict) else new for key, new in changes.items()}


def volumes(folder: Path, subjects: dict[str, dict[str, np.ndarray]], labels=None, spacing=(1.0, 1.0, 1.0)) -> Path:
    """A folder as `convert` leaves it: subject -> contrast -> RAS array."""
    folder.mkdir()
    table = []
    for subject, contrasts in subjects.items():
        for contrast, data in contrasts.items():
            name = f"{subject}_{contrast}.nii"
            write_nifti(Volume(data, np.diag([*spacing, 1.0])), folder / name)
            table.append((subject, contrast, name, (labels or {}).get(subject, ""), ""))
    pd.DataFrame(table, columns=["subject", "contrast", "file", "label", "split"]).to_csv(
        folder / "volumes.csv", index=False
    )
    return folder


def head(seed=0, shape=(12, 14, 9)) -> np.ndarray:
    """Bright below, dark above: the filter keeps the lower slices."""
    data = np.random.default_rng(seed).integers(100, 255, shape).astype(np.uint8)
    data[..., 6:] = seed % 40
    return data


def built(tmp_path: Path, subjects: dict, changes: dict | None = None, **more) -> Store:
    build_store(row(**(changes or {})), volumes(tmp_path / "volumes", subjects, **more), tmp_path / "store")
    return Store.open(tmp_path / "store")


# Which end of the RAS axes lies at the top left and bottom right of the image.
@pytest.mark.parametrize(
    ("axis", "corner", "position"),
    [
        ("axial", (-1, -1, 2), (0, 0)),  # right and anterior: top left
        ("axial", (0, 0, 2), (-1, -1)),  # left and posterior: bottom right
        ("coronal", (-1, 2, -1), (0, 0)),  # right and superior: top left
        ("coronal", (0, 2, -1), (0, -1)),  # left and superior: top right
        ("sagittal", (2, -1, -1), (0, 0)),  # anterior and superior: top left
        ("sagittal", (2, 0, 0), (-1, -1)),  # posterior and inferior: bottom right
    ],
)
def test_slices_are_turned_as_radiologists_look_at_them(tmp_path, axis, corner, position):
    data = np.full((6, 7, 8), 60, np.uint8)
    data[corner] = 255
    shape = {"axial": [7, 6], "coronal": [8, 6], "sagittal": [8, 7]}[axis]
    store = built(tmp_path, {"a": {"t1": data}}, {"slices": {"axis": axis, "size": shape}})
    image = store.images[2, 0]
    assert image[position] == 65535 and (image == 65535).sum() == 1


@pytest.mark.parametrize(
    ("spec", "low", "high"),
    [
        ({"map": "percentile", "low": 10, "high": 90}, *np.percentile(np.arange(1, 101), (10, 90))),
        ({"map": "percentile", "low": None, "high": None}, *np.percentile(np.arange(1, 101), (0.5, 99.5))),
        ({"map": "minmax"}, -100, 100),
        ({"map": "window", "low": -5, "high": 40}, -5, 40),
    ],
)
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.int32])
def test_the_limits_of_each_map(spec, low, high, dtype):
    values = np.arange(-100, 101).astype(dtype)
    found = intensity.limits(values, values.reshape(3, 1, 67), spec)
    np.testing.assert_allclose(found, np.repeat([[low], [high]], 3, axis=1))
    # Stored integers that stand for 2 v - 6 have the same limits in stored units.
    shifted = intensity.limits((values + 6) / 2, ((values + 6) / 2).reshape(3, 1, 67), spec, slope=2.0, inter=-6.0)
    np.testing.assert_allclose(np.array(shifted) * 2 - 6, found)


def test_the_limits_by_slice_and_a_slice_without_range():
    stack = np.stack([np.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3) * 10, np.full((2, 3), 7)])
    low, high = intensity.limits(stack, stack, {"map": "slice_minmax"})
    np.testing.assert_allclose(intensity.to_scale(stack, low, high)[0], intensity.to_scale(stack, low, high)[1])
    assert intensity.to_scale(stack, low, high)[:2].max() == 255 and not intensity.to_scale(stack, low, high)[2].any()


@given(st.lists(st.integers(-3000, 3000), min_size=2, max_size=60), st.floats(0, 100), st.floats(-50, 50))
def test_the_histogram_gives_numpys_percentiles(values, percent, floor):
    array = np.array(values, dtype=np.int16)
    above = array[array > floor]
    if not above.size:
        with pytest.raises(GanError, match="no voxel is above 0"):
            intensity.percentiles_above(array, [percent], floor)
        return
    found = intensity.percentiles_above(array, [percent], floor)
    np.testing.assert_allclose(found, [np.percentile(above.astype(float), percent)], atol=1e-6)


@given(st.lists(st.integers(0, 255), min_size=8, max_size=8), st.integers(0, 254), st.sampled_from(["u1", "i2", "f4"]))
def test_the_fraction_counts_pixels_above_the_threshold(values, threshold, dtype):
    stack = np.array(values, dtype=dtype).reshape(2, 2, 2)
    low, high = np.zeros(2), np.full(2, 255.0)
    expected = (stack > threshold).mean((1, 2))
    np.testing.assert_array_equal(intensity.fraction_above(stack, threshold, low, high), expected)


def test_the_index_has_every_candidate_with_its_fate(tmp_path):
    store = built(tmp_path, {"a": {"t1": head()}, "b": {"t1": head(1)}}, {"slices": {"every": 2}})
    index = store.index
    assert list(index) == ["subject", "slice", "position", "fraction", "kept", "reason", "label", "split", "row"]
    assert index["slice"].tolist() == [0, 2, 4, 6, 8] * 2
    assert index["position"].tolist() == [0, 0.25, 0.5, 0.75, 1] * 2
    assert index["kept"].tolist() == [True, True, True, False, False] * 2
    assert index["row"].tolist() == [0, 1, 2, -1, -1, 3, 4, 5, -1, -1]
    assert index["reason"].tolist() == ["", "", "", "fraction <= 0.25", "fraction <= 0.25"] * 2
    assert index["fraction"].tolist() == [1, 1, 1, 0, 0] * 2
    subjects = pd.read_csv(tmp_path / "store/subjects.csv")
    assert subjects["kept"].tolist() == [3, 3] and subjects["mean_fraction"].tolist() == [0.6, 0.6]


def test_slices_are_labelled_by_their_place_among_the_kept_ones(tmp_path):
    tall = head(shape=(12, 14, 12))
    tall[..., 5:] = 0
    low = np.roll(head(2, shape=(12, 14, 12)), 2, axis=2)
    changes = {"labels": {"slice": 3}, "split": THIRDS}
    store = built(tmp_path, {"a": {"t1": tall}, "b": {"t1": low}, "c": {"t1": head(4)}}, changes)
    assert store.meta["labels"] == ["part1of3", "part2of3", "part3of3"] and store.meta["label_of"] == "slice"
    of = {name: rows["label"].tolist() for name, rows in store.index.groupby("subject")}
    names = ["", *store.meta["labels"]]
    assert of["a"] == [names[part] for part in (1, 1, 2, 2, 3, *[0] * 7)]  # 5 slices: 5/3 each
    assert of["b"] == [names[part] for part in (0, 0, 1, 1, 2, 2, 3, 3, *[0] * 4)]
    assert set(store.labels(np.arange(len(store.images)))) == {0, 1, 2}


def test_splits_do_not_depend_on_labels_of_slices(tmp_path):
    subjects = {name: {"t1": head(seed)} for seed, name in enumerate("abcdef")}
    source, found = volumes(tmp_path / "volumes", subjects), []
    for labels in (None, {"slice": 2}, {"slice": 4}):
        build_store(row(labels=labels, split=THIRDS), source, tmp_path / "store")
        found.append(pd.read_csv(tmp_path / "store/subjects.csv")[["subject", "split"]].to_numpy().tolist())
    assert found[0] == found[1] == found[2]


def test_each_contrast_can_be_an_image_of_its_own(tmp_path):
    subjects = {name: {"t1": head(seed), "t2": head(seed + 10)} for seed, name in enumerate("abc")}
    changes = {"contrasts": ["t1", "t2"], "split": THIRDS}
    source = volumes(tmp_path / "volumes", subjects)
    for kind, labels in (("together", None), ("apart", "contrast")):
        build_store(row(**changes, labels=labels), source, tmp_path / kind / "store")
    together, apart = (Store.open(tmp_path / kind / "store") for kind in ("together", "apart"))
    assert apart.meta["channels"] == ["image"] and apart.meta["labels"] == ["t1", "t2"]
    assert apart.images.shape == (2 * len(together.images), 1, 16, 16)
    rows = apart.index[apart.index["kept"]]
    for place, name in enumerate(("t1", "t2")):
        mine = rows[rows["label"] == name]
        assert np.array_equal(apart.images[mine["row"].to_numpy(), 0], together.images[:, place])
        assert mine["slice"].tolist() == together.index[together.index["kept"]]["slice"].tolist()
        assert (apart.labels(mine["row"].to_numpy()) == place).all()
    assert (tmp_path / "apart/store/previews/a_000_t2.png").exists()
    sheets = [(tmp_path / kind / "store/contact_sheet.png").read_bytes() for kind in ("apart", "together")]
    assert sheets[0] == sheets[1]


def test_the_filter_is_strict_and_looks_at_the_reference_before_padding(tmp_path):
    data = np.zeros((8, 8, 2), np.uint8)
    data[:4, :4, 0] = 51  # a quarter exactly: not more than 0.25
    data[:4, :4, 1], data[5, 5, 1] = 51, 51
    dark = np.full_like(data, 1)
    store = built(tmp_path, {"a": {"t1": dark, "t2": data}}, {"contrasts": ["t1", "t2"], "reference": "t2"})
    assert store.index["kept"].tolist() == [False, True]
    assert store.index["fraction"].tolist() == [0.25, 17 / 64]
    assert store.meta["reference"] == "t2" and store.meta["channels"] == ["t1", "t2"]


def test_padding_240_to_256_adds_8_on_each_side():
    stack = np.ones((1, 240, 240), np.float32)
    out = frames.place(stack, frames.frame((240, 240), (1, 1), (256, 256), "pad"))
    assert out.shape == (1, 256, 256) and out[0, 8:248, 8:248].all() and out.sum() == 240 * 240


def test_pad_crops_what_is_larger():
    stack = np.arange(100.0, dtype=np.float32).reshape(1, 10, 10)
    out = frames.place(stack, frames.frame((10, 10), (1, 1), (4, 12), "pad"))
    np.testing.assert_array_equal(out[0, :, 1:11], stack[0, 3:7])


@pytest.mark.parametrize(("source", "size"), [((40, 40), (16, 16)), ((37, 37), (64, 64)), ((20, 40), (8, 16))])
def test_resampling_is_pillows_antialiased_bilinear(source, size):
    image = np.random.default_rng(0).random(source, dtype=np.float32)
    expected = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
    out = frames.place(image[None], frames.frame(source, (1, 1), size, "resize"))
    np.testing.assert_allclose(out[0], expected, atol=1e-5)


def test_stored_pixels_are_square_in_mm():
    to = frames.frame((20, 60), (3.0, 1.0), (64, 64), "resize")
    np.testing.assert_allclose(to.spacing, (60 / 64, 60 / 64))
    to = frames.frame((30, 20), (1.0, 1.0), (64, 64), "resize")
    assert to.canvas == (30, 30)
    out = frames.place(np.ones((1, 30, 20), np.float32), to)
    assert not out[0, :, :9].any() and not out[0, :, -9:].any() and np.allclose(out[0, :, 14:50], 1)


@pytest.mark.parametrize("fit", ["resize", "pad"])
def test_a_mask_keeps_its_labels(tmp_path, fit):
    seg = np.zeros((12, 14, 9), np.uint8)
    seg[2:9, 3:11] = np.array([0, 1, 4, 4, 1, 0, 4])[:, None, None]
    changes = {"mask": "seg", "slices": {"fit": fit, "size": 24}}
    store = built(tmp_path, {"a": {"t1": head(), "seg": seg}}, changes)
    assert store.meta["mask"] == "seg" and store.meta["channels"] == ["t1", "seg"]
    assert set(np.unique(store.images[:, 1])) == {0, 1, 4}
    # Anterior is up: the rows of the image run against y.
    assert np.flatnonzero(store.images[0, 1].any(1)).tolist()[0] >= {"resize": 5, "pad": 8}[fit]


def test_the_same_bytes_with_one_worker_and_with_two(tmp_path):
    folder = volumes(tmp_path / "volumes", {name: {"t1": head(place)} for place, name in enumerate("dbca")})
    build_store(row(split=THIRDS), folder, tmp_path / "one")
    build_store(row(split=THIRDS), folder, tmp_path / "two", workers=2)
    names = sorted(str(path.relative_to(tmp_path / "one")) for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert {"contact_sheet.png", "images.npy", "index.parquet", "store.json", "subjects.csv"} < set(names)
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    assert Store.open(tmp_path / "one").index["subject"].unique().tolist() == list("abcd")


def test_previews_are_lossless_and_limited(tmp_path):
    folder = volumes(tmp_path / "volumes", {"a": {"t1": head()}, "b": {"t1": head(1)}})
    build_store(row(), folder, tmp_path / "store", previews=3)
    store = Store.open(tmp_path / "store")
    names = sorted(path.name for path in (tmp_path / "store/previews").iterdir())
    assert len(names) == 3 and names[0] == "a_000_t1.png" and names[-1] == "b_005_t1.png"
    with Image.open(tmp_path / "store/previews/a_000_t1.png") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image) * np.uint16(257), store.images[0, 0])


def test_subjects_without_a_slice_are_named(tmp_path, capsys):
    subjects = {name: {"t1": head(place)} for place, name in enumerate("abcd")}
    store = built(tmp_path, subjects)
    assert "largest_fraction" not in pd.read_csv(store.folder / "subjects.csv")
    assert "warning" not in capsys.readouterr().err
    for name in "bd":
        small = np.zeros((12, 14, 9), np.uint8)
        small[:6, :3, 4] = 200
        write_nifti(Volume(small, np.eye(4)), tmp_path / f"volumes/{name}_t1.nii")
    build_store(row(), tmp_path / "volumes", tmp_path / "store")
    told = capsys.readouterr().err
    assert "warning: 2 of 4 subjects keep no slice, none has a fraction above 0.25" in told
    assert "b (0.107), d (0.107)" in told
    table = pd.read_csv(tmp_path / "store/subjects.csv", index_col="subject")
    assert table["kept"].tolist() == [6, 0, 6, 0] and table.loc["b", "largest_fraction"] == pytest.approx(
        18 / 168, 1e-5
    )


def test_notes_of_volumes_are_in_the_summary(tmp_path):
    folder = volumes(tmp_path / "volumes", {name: {"t1": head(place)} for place, name in enumerate("ab")})
    table = pd.read_csv(folder / "volumes.csv")
    table.assign(notes=["", "left out empty files: 1"]).to_csv(folder / "volumes.csv", index=False)
    build_store(row(), folder, tmp_path / "store")
    summary = pd.read_csv(tmp_path / "store/subjects.csv", keep_default_na=False)
    assert summary["notes"].tolist() == ["", "t1 left out empty files: 1"]


@pytest.mark.parametrize(
    ("make", "spec", "share"),
    [
        (lambda data: (data - 150.0) / 40, {"map": "percentile"}, "53%"),
        (lambda data: (data - 150.0) / 40, {"map": "minmax"}, ""),
        (lambda data: (data - 150.0) / 40, {"map": "window", "low": -4, "high": 4}, ""),
        (lambda data: data.astype(np.int16) - 150, {"map": "percentile"}, "53%"),
        (lambda data: data - np.float32(1.0), {"map": "percentile"}, ""),  # as ringing about 0 does
        (lambda data: data, {"map": "percentile"}, ""),
    ],
)
def test_values_below_0_that_become_black_are_told(tmp_path, capsys, make, spec, share):
    subjects = {"a": {"t1": make(head()).astype(np.float32 if make(head()).dtype.kind == "f" else make(head()).dtype)}}
    store = built(tmp_path, subjects, {"intensity": {"low": None, "high": None} | spec, "slices": {"fraction": 0.01}})
    told = capsys.readouterr().err
    assert ("warning: 1 of 1 subjects have values below 0" in told) == bool(share)
    assert ("notes" in pd.read_csv(store.folder / "subjects.csv")) == bool(share)
    if share:
        assert f"a: {share} of the voxels of t1 are below 0" in told and "set intensity.map to minmax, or to" in told


def test_no_slice_passes(tmp_path):
    with pytest.raises(GanError, match=r"no slice passes .*largest fraction is 0.0000: lower slices.fraction"):
        built(tmp_path, {"a": {"t1": np.full((8, 8, 4), 3, np.uint8)}})
    assert not (tmp_path / "store").exists()


def test_a_volume_without_range_is_named(tmp_path):
    data = np.where(np.arange(64).reshape(4, 4, 4) % 2, 7, 0).astype(np.uint8)
    with pytest.raises(GanError, match=r"a_t1.nii: intensity.map percentile finds no range \(low = high = 7\)"):
        built(tmp_path, {"a": {"t1": data}}, {"intensity": {"map": "percentile", "low": None, "high": None}})


def test_one_scan_under_two_names_is_a_leak(tmp_path):
    subjects = {name: {"t1": head(7)} for name in "ab"} | {"c": {"t1": head(1)}}
    with pytest.raises(GanError, match=r"the same image in two splits: a slice 0 .*, b slice 0"):
        built(tmp_path, subjects, {"split": THIRDS})


def test_a_split_whose_subjects_have_no_slice(tmp_path):
    subjects = {name: {"t1": head(place)} for place, name in enumerate("abc")}
    subjects["b"]["t1"][:] = 1
    with pytest.raises(GanError, match="no slice of its subjects passes the filter"):
        built(tmp_path, subjects, {"split": THIRDS})


@given(st.integers(3, 60), st.integers(0, 5), st.sampled_from([(0.7, 0.15, 0.15), (1, 1, 1), (0.8, 0.2, 0)]))
def test_splits_are_complete_repeatable_and_stratified(count, seed, parts):
    labels = {f"s{place:02d}": "ab"[place % 3 == 0] for place in range(count)}
    parts = dict(zip(SPLITS, parts, strict=True)) | {"seed": seed}
    found = splits.assign(labels, parts)
    assert set(found) == set(labels)
    assert found == splits.assign(dict(reversed(labels.items())), parts)
    shares = {name: parts[name] / sum(parts[n] for n in SPLITS) for name in SPLITS}
    for name in SPLITS:
        assert (sum(split == name for split in found.values()) > 0) == (parts[name] > 0)
        for label in "ab":
            of_label = [subject for subject in labels if labels[subject] == label]
            got = sum(found[subject] == name for subject in of_label)
            assert abs(got - shares[name] * len(of_label)) < 3


def test_another_seed_gives_other_splits():
    labels = dict.fromkeys((f"s{place}" for place in range(20)), "")
    assert splits.assign(labels, THIRDS) != splits.assign(labels, THIRDS | {"seed": 1})


def test_too_few_subjects_say_how_many_are_needed():
    with pytest.raises(GanError, match="2 subjects cannot fill train, val, test; at least 3 are needed"):
        splits.assign({"a": "", "b": ""}, THIRDS)


PARTS = {"train": 0.7, "val": 0.15, "test": 0.15, "seed": 0}


def test_too_few_subjects_for_scores_are_refused_with_the_number_that_works(tmp_path):
    subjects = {name: {"t1": head(place)} for place, name in enumerate("abcdef")}
    folder = volumes(tmp_path / "volumes", subjects)
    build_store(row(split=PARTS), folder, tmp_path / "store")
    with pytest.raises(GanError, match=r"data set dataset: split val: 1 of 6 subjects .* need 2; have 12 subjects"):
        Store.open(tmp_path / "store").check_scores()
    for parts in ({"train": 0.5, "val": 0.5, "test": 0}, {"train": 0.5, "val": 0, "test": 0.5}, THIRDS):
        build_store(row(split=THIRDS | parts), folder, tmp_path / "store")
        Store.open(tmp_path / "store").check_scores()


@pytest.mark.parametrize("parts", [PARTS, THIRDS, PARTS | {"train": 0.8, "val": 0.15, "test": 0.05}])
@pytest.mark.parametrize("least", [2, 3])
def test_the_number_that_is_named_works_and_one_less_does_not(parts, least):
    def index(count: int) -> pd.DataFrame:
        split = splits.assign({f"s{place}": "" for place in range(count)}, parts)
        return pd.DataFrame({"subject": list(split), "split": list(split.values()), "kept": True})

    with pytest.raises(GanError) as caught:
        splits.check_scores(index(3), parts, least)
    named = int(re.search(r"have (\d+) subjects", str(caught.value))[1])
    splits.check_scores(index(named), parts, least)
    with pytest.raises(GanError):
        splits.check_scores(index(named - 1), parts, least)


def test_a_subject_in_two_splits_fails_the_check():
    index = pd.DataFrame({"subject": ["a", "a"], "split": ["train", "test"], "kept": [True, True]})
    with pytest.raises(GanError, match="subject a: in train and test"):
        splits.check(index)


def pictures(folder: Path, files: dict[str, np.ndarray], subjects=None) -> Path:
    """A folder as `convert` leaves it for layout images: split/label/name -> pixels."""
    table = []
    for name, pixels in files.items():
        path = folder / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        split, label, stem = name.rsplit(".", 1)[0].split("/")
        table.append(((subjects or {}).get(stem, stem), "t1", f"../raw/{name}", label, split))
    (folder / "volumes").mkdir()
    pd.DataFrame(table, columns=["subject", "contrast", "file", "label", "split"]).to_csv(
        folder / "volumes/volumes.csv", index=False
    )
    return folder / "volumes"


def noise(seed: int, shape=(20, 24)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


IMAGES = row(layout="images", slices={"fraction": 0}, split={"train": 2, "val": 1, "test": 1, "seed": 0})


def test_pictures_take_val_from_train_and_keep_test(tmp_path):
    files = {f"train/{'xy'[k % 2]}/p{k}.png": noise(k, (20 + k, 24)) for k in range(8)}
    files |= {f"test/x/t{k}.png": noise(50 + k, (20, 24, 3)) for k in range(2)}
    build_store(IMAGES, pictures(tmp_path, files), tmp_path / "store")
    store = Store.open(tmp_path / "store")
    split = store.index.groupby("split")["subject"].agg(set)
    assert split["test"] == {"t0", "t1"} and len(split["train"]) == 5 and len(split["val"]) == 3
    assert store.meta["labels"] == ["x", "y"] and store.meta["spacing"] is None
    assert set(store.labels(store.rows("test"))) == {0} and set(store.labels(store.rows("train"))) == {0, 1}


def test_pictures_of_one_subject_stay_together_and_copies_are_left_out(tmp_path):
    files = {f"train/x/p{k}.png": noise(k) for k in range(8)} | {"train/x/copy.png": noise(3)}
    subjects = {f"p{k}": f"s{k // 2}" for k in range(8)} | {"copy": "s3"}
    build_store(IMAGES | {"split": {"train": 1, "val": 1, "test": 0, "seed": 0}}, pictures(tmp_path, files, subjects),
                tmp_path / "store")  # fmt: skip
    index = Store.open(tmp_path / "store").index
    assert index.groupby("subject")["split"].nunique().max() == 1
    assert index.loc[~index["kept"], "reason"].tolist() == ["copy of s1 slice 1"]


@pytest.mark.parametrize(
    ("files", "subjects", "message"),
    [
        ({"train/x/p.png": 1, "train/x/q.png": 2, "test/x/r.png": 1}, {}, "same image as .*p.png, in another split"),
        ({"train/x/p.png": 1, "train/y/q.png": 1, "test/x/r.png": 2}, {}, "p.png, in another split or class"),
        ({"train/x/p.png": 1, "train/x/q.png": 2, "test/x/r.png": 3}, {"r": "p"}, "subject p: in test and train"),
    ],
)  # fmt: skip
def test_pictures_that_leak_are_refused(tmp_path, files, subjects, message):
    folder = pictures(tmp_path, {name: noise(seed) for name, seed in files.items()}, subjects)
    with pytest.raises(GanError, match=message):
        build_store(IMAGES, folder, tmp_path / "store")


def test_all_pairs_of_pictures_that_leak_are_told_at_once(tmp_path, capsys):
    files = {f"{split}/x/{split}{k}.png": noise(k) for split in ("train", "test") for k in range(5)}
    with pytest.raises(GanError, match=r"5 times \(the log lists all\): .*another split or class; .*remove one of"):
        build_store(IMAGES, pictures(tmp_path, files), tmp_path / "store")
    told = capsys.readouterr().err
    assert all(f"train{k}.png" in told and f"test{k}.png" in told for k in range(5))


def test_a_pair_of_subjects_with_one_scan_is_told_once(tmp_path):
    subjects = {name: {"t1": head(seed)} for name, seed in zip("abcdef", (1, 1, 2, 2, 3, 4), strict=True)}
    with pytest.raises(GanError) as caught:
        built(tmp_path, subjects, {"split": THIRDS})
    assert str(caught.value).count("the same image in two splits") in (1, 2)


def test_a_window_for_8_bits_is_refused_for_16(tmp_path):
    files = {f"train/x/{k}.png": noise(k).astype(np.uint16) * 16 for k in range(4)}
    folder = pictures(tmp_path, files)
    with pytest.raises(GanError, match=r"x/0.png: values up to 4080, but intensity.high is 255; .* to 4095"):
        build_store(IMAGES, folder, tmp_path / "store")
    build_store(IMAGES | {"intensity": {"map": "window", "low": 0, "high": 4095}}, folder, tmp_path / "store")
    assert np.unique(Store.open(tmp_path / "store").images).size > 50


def test_a_picture_that_has_gone_is_told_as_gone(tmp_path):
    folder = pictures(tmp_path, {f"train/x/{k}.png": noise(k) for k in range(4)})
    (tmp_path / "raw/train/x/2.png").unlink()
    with pytest.raises(GanError, match=r"x/2.png: the file has gone; if that is right, run again with --forcerun"):
        build_store(IMAGES, folder, tmp_path / "store")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_float_picture_of_no_numbers_is_refused(tmp_path, value):
    pixels = noise(0).astype(np.float32)
    pixels[2, 3:5] = value
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    with pytest.raises(GanError, match=r"a.tif: 2 pixels are NaN or infinite"):
        read_picture(tmp_path / "a.tif")


def test_colour_becomes_luma(tmp_path):
    Image.new("RGB", (3, 2), (200, 100, 50)).save(tmp_path / "c.png")
    assert np.unique(read_picture(tmp_path / "c.png")).tolist() == [round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)]
    Image.fromarray(np.full((2, 3), 40000, np.uint16)).save(tmp_path / "d.png")
    assert read_picture(tmp_path / "d.png").max() == 40000
