"""Subjects that lack a contrast: refused as usual, or kept with zeros and columns that say so."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_slices import ROW as SLICES
from test_slices import THIRDS, head
from test_volumes import ROW, brain, save

from gan.data.slices import build_store
from gan.data.store import Store
from gan.data.volumes import convert
from gan.errors import GanError

OPEN = {**SLICES, "missing": "leave", "align": False, "pattern": ROW["pattern"], "contrasts": ["t1", "t2"]}
LEAVE = {**ROW, "contrasts": ["t1", "t2"], "mask": "seg", "missing": "leave"}
SUBJECTS = {"a": "t1 t2 seg", "b": "t1 t2", "c": "t1 seg", "d": "t2", "e": "t1 t2 seg", "f": "t1 t2 seg"}


@pytest.fixture
def raw(tmp_path) -> Path:
    """Six subjects: three whole ones, one without a mask, one without t2, one with t2 alone."""
    for seed, (subject, names) in enumerate(SUBJECTS.items()):
        for name in names.split():
            data = np.asfortranarray(head(seed + 10 * (name == "t2")))
            save(tmp_path / f"raw/{subject}_{name}.nii.gz", (data > 200).astype(np.uint8) if name == "seg" else data)
    return tmp_path / "raw"


def built(raw: Path, workers: int = 1) -> Store:
    spec = OPEN | {"mask": "seg"}
    convert(spec, raw, raw.parent / "volumes", workers=workers)
    build_store(spec, raw.parent / "volumes", raw.parent / "store", workers=workers)
    return Store.open(raw.parent / "store")


def test_the_store_says_what_each_slice_has(raw):
    store = built(raw)
    index = store.index[store.index["kept"]]
    assert store.meta["missing"] == "leave" and store.meta["channels"] == ["t1", "t2", "seg"]
    for place, name in enumerate(store.meta["channels"]):
        there = index.groupby("subject")[f"has_{name}"].agg(set)
        assert there.to_dict() == {subject: {name in names.split()} for subject, names in SUBJECTS.items()}
        filled = store.images[:, place].any((1, 2))
        assert (filled == index[f"has_{name}"].to_numpy()).all()
    subjects = pd.read_csv(store.folder / "subjects.csv").set_index("subject")
    assert subjects["has_t2"].tolist() == [6, 6, 0, 6, 6, 6] and subjects["has_seg"].tolist() == [6, 0, 6, 0, 6, 6]
    assert subjects["low_t2"].isna().tolist() == [False, False, True, False, False, False]
    previews = [path.name for path in (store.folder / "previews").iterdir()]
    assert "c_000_t1.png" in previews and "c_000_t2.png" not in previews


def test_a_scan_without_the_reference_is_filtered_by_what_it_has(raw):
    index = built(raw).index
    of_d = index[index["subject"] == "d"]
    assert of_d["kept"].sum() == 6 and of_d["fraction"].tolist() == [1] * 6 + [0] * 3


def test_the_bytes_do_not_depend_on_workers_and_whole_subjects_on_the_others(raw, tmp_path):
    first = built(raw)
    images, index = np.array(first.images), first.index
    second = built(raw, workers=2)
    assert np.array_equal(images, second.images) and index.equals(second.index)
    whole = OPEN | {"contrasts": ["t1"], "missing": "refuse"}
    (raw / "d_t2.nii.gz").unlink()
    convert(whole, raw, tmp_path / "one")
    build_store(whole, tmp_path / "one", tmp_path / "plain")
    plain = Store.open(tmp_path / "plain")
    assert np.array_equal(plain.images[:, 0], images[index[index["kept"] & index["has_t1"]]["row"].to_numpy(), 0])
    assert not [name for name in plain.index if name.startswith("has_")] and "missing" not in plain.meta


def test_each_split_gets_its_share_of_whole_subjects(tmp_path):
    for number in range(12):
        for name in ("t1", "t2")[: 1 + (number % 2)]:
            save(tmp_path / f"raw/s{number:02d}_{name}.nii.gz", head(number + 20 * (name == "t2")))
    spec = OPEN | {"split": THIRDS}
    convert(spec, tmp_path / "raw", tmp_path / "volumes")
    build_store(spec, tmp_path / "volumes", tmp_path / "store")
    subjects = pd.read_csv(tmp_path / "store/subjects.csv")
    assert (subjects["has_t2"] > 0).groupby(subjects["split"]).sum().tolist() == [2, 2, 2]


def test_one_scan_under_two_names_is_a_leak_though_one_lacks_a_contrast(tmp_path):
    for name, seed in (("a_t1", 1), ("a_t2", 2), ("b_t2", 2), ("c_t1", 3), ("c_t2", 4)):
        save(tmp_path / f"raw/{name}.nii.gz", head(seed))
    spec = OPEN | {"split": THIRDS}
    convert(spec, tmp_path / "raw", tmp_path / "volumes")
    with pytest.raises(GanError, match=r"the same image in two splits: a slice 0 .*, b slice 0"):
        build_store(spec, tmp_path / "volumes", tmp_path / "store")


def test_what_lacks_is_counted_in_the_log(raw, capsys):
    built(raw)
    said = capsys.readouterr().err
    assert "missing: leave: 1 of 6 scans lack t1 (d); 1 of 6 scans lack t2 (c); 2 of 6 scans lack seg (b, d)" in said
    save(raw / "g_seg.nii.gz", np.ones((7, 6, 5), np.uint8))
    convert(LEAVE, raw, raw.parent / "again")
    assert "1 with none of the contrasts are left out (g)" in capsys.readouterr().err
    assert "g" not in set(pd.read_csv(raw.parent / "again/volumes.csv")["subject"])


def test_without_leave_it_is_refused_as_ever(raw):
    with pytest.raises(GanError, match="subject b: no mask seg"):
        convert(LEAVE | {"missing": "refuse"}, raw, raw.parent / "volumes")


def test_a_contrast_that_nobody_has_is_a_mistake(raw):
    with pytest.raises(GanError, match="missing: leave: no subject has flair; check its name"):
        convert(LEAVE | {"contrasts": ["t1", "flair"]}, raw, raw.parent / "volumes")


def test_a_grid_is_compared_with_what_is_there(tmp_path):
    save(tmp_path / "raw/a_t1.nii.gz", brain())
    save(tmp_path / "raw/a_t2.nii.gz", brain(1))
    save(tmp_path / "raw/b_t2.nii.gz", brain(2, (9, 9, 9)))
    convert({**ROW, "missing": "leave"}, tmp_path / "raw", tmp_path / "volumes")
    table = pd.read_csv(tmp_path / "volumes/volumes.csv")
    assert table["file"].tolist() == ["a_t1.nii", "a_t2.nii", "b_t2.nii"] and table["shape"].iloc[-1] == "9x9x9"
