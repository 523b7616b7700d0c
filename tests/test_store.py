"""The packed store: what is read back, and that a store is whole or absent."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from gan.data.folders import atomic_folder
from gan.data.store import Store, writing
from gan.errors import GanError
from gan.files import as_named, inert

META = {"channels": ["t1", "t2"], "labels": ["x", "y"]}
INDEX = pd.DataFrame(
    {
        "subject": ["a", "a", "b", "c"],
        "slice": [0, 1, 0, 0],
        "kept": [True, False, True, True],
        "label": ["y", "y", "x", "y"],
        "split": ["train", "train", "test", "train"],
        "row": [0, -1, 1, 2],
    }
)


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, shape).astype(np.uint16)


@pytest.mark.parametrize("size", [(4, 5), (3, 4, 5)])
def test_what_is_written_is_read(tmp_path, size):
    stored = images(3, 2, *size)
    with writing(tmp_path / "store", (2, *size)) as writer:
        writer.append(stored[:1])
        writer.append(stored[1:])
        writer.append(stored[:0])
        writer.finish(INDEX, INDEX[["subject"]], META)
    store = Store.open(tmp_path / "store")
    assert isinstance(store.images, np.memmap) and store.images.dtype == np.uint16
    np.testing.assert_array_equal(store.images, stored)
    np.testing.assert_array_equal(np.load(tmp_path / "store/images.npy"), stored)
    pd.testing.assert_frame_equal(store.index, INDEX, check_dtype=False)
    assert store.rows("train").tolist() == [0, 2] and store.rows("val").tolist() == []
    assert store.labels([2, 1, 0]).tolist() == [1, 0, 1] and store.labels(store.rows("test")).dtype == np.int64


@pytest.mark.parametrize("name", ["images.npy", "index.parquet"])
def test_a_wrong_byte_is_found(name, tmp_path):
    with writing(tmp_path / "store", (2, 4, 4)) as writer:
        writer.append(images(3, 2, 4, 4))
        writer.finish(INDEX, INDEX[["subject"]], META)
    store = Store.open(tmp_path / "store")
    store.check_files()
    content = bytearray((tmp_path / "store" / name).read_bytes())
    content[-9] ^= 1
    (tmp_path / "store" / name).write_bytes(content)
    with pytest.raises(GanError, match=rf"{name}: its content has changed since the store was built .*; delete"):
        store.check_files()


@pytest.mark.parametrize("name", ["=1+1", "+", "-", "-1", "+1.5e3", "@SUM(1)", "'", "'=1", "\tx", "s1", ""])
def test_a_name_in_a_table_is_read_as_it_was(name):
    assert as_named(inert(name)) == name
    assert not inert(name).startswith(("=", "@", "\t"))


def test_names_are_no_formulas_in_the_table_of_subjects(tmp_path):
    subjects = pd.DataFrame({"subject": ["=1+1", "-2", "s3"], "label": ["+", "@x", ""], "mean": [-0.5, 1, 2]})
    with writing(tmp_path / "store", (2, 4, 4)) as writer:
        writer.append(images(3, 2, 4, 4))
        writer.finish(INDEX, subjects, META)
    text = (tmp_path / "store/subjects.csv").read_text()
    assert text == "subject,label,mean\n'=1+1,'+,-0.5\n-2,'@x,1\ns3,,2\n"


def test_without_labels_every_class_is_minus_one(tmp_path):
    with writing(tmp_path / "store", (2, 4, 4)) as writer:
        writer.append(images(3, 2, 4, 4))
        writer.finish(INDEX.assign(label=""), INDEX[["subject"]], META | {"labels": []})
    assert Store.open(tmp_path / "store").labels([0, 1]).tolist() == [-1, -1]


def test_a_failure_keeps_the_earlier_store_and_leaves_nothing(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store/earlier").write_text("result")
    with pytest.raises(RuntimeError), writing(tmp_path / "store", (2, 4, 4)) as writer:
        writer.append(images(3, 2, 4, 4))
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert (tmp_path / "store/earlier").read_text() == "result"


def test_a_new_folder_replaces_the_old_and_what_a_killed_process_left(tmp_path):
    for name in ("store", ".part-store"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").write_text("old")
    with atomic_folder(tmp_path / "store") as part:
        (part / "new").write_text("new")
    assert [path.name for path in tmp_path.rglob("*")] == ["store", "new"]


def test_a_full_disk_is_one_line(tmp_path):
    with pytest.raises(GanError, match="store: not written, no space left"), atomic_folder(tmp_path / "store"):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_other_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected uint16"), writing(tmp_path / "store", (2, 4, 4)) as writer:
        writer.append(images(3, 2, 5, 4))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("store.json", None, "store.json: no such file"),
        ("store.json", b"{", "store.json: not valid JSON"),
        ("store.json", b'{"format": 99}', "store of format 99, 1 is needed; build it again"),
        ("images.npy", b"no array", "damaged store"),
        ("index.parquet", b"no table", "damaged store"),
        ("store.json", b"[]", "store of format None"),
        ("store.json", b'{"format": 1, "labels": []}', "damaged store .'channels'."),
        ("store.json", b'{"format": 1, "channels": 2, "labels": []}', "damaged store"),
        ("store.json", b'{"format": 1, "channels": ["a"], "labels": []}', "do not belong together"),
        ("images.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': '<u2', \n", "damaged store"),
    ],
)
def test_a_damaged_store_is_named(tmp_path, name, content, message):
    with writing(tmp_path / "store", (2, 4, 4)) as writer:
        writer.append(images(3, 2, 4, 4))
        writer.finish(INDEX, INDEX[["subject"]], META)
    path = tmp_path / "store" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(GanError, match=message):
        Store.open(tmp_path / "store")


def test_images_and_index_must_belong_together(tmp_path):
    with writing(tmp_path / "store", (2, 4, 4)) as writer:
        writer.append(images(2, 2, 4, 4))
        writer.finish(INDEX, INDEX[["subject"]], META)
    with pytest.raises(GanError, match="do not belong together"):
        Store.open(tmp_path / "store")


@pytest.mark.parametrize(
    "change",
    [{"row": [0, -1, 2, 1]}, {"row": [0, -1, 1, 9]}, {"kept": [True, True, True, True]}, {"split": [1, 2, 3, 4]}],
)
def test_an_index_that_has_been_changed_is_refused(tmp_path, change):
    with writing(tmp_path / "store", (2, 4, 4)) as writer:
        writer.append(images(3, 2, 4, 4))
        writer.finish(INDEX, INDEX[["subject"]], META)
    INDEX.assign(**change).to_parquet(tmp_path / "store/index.parquet", index=False)
    with pytest.raises(GanError, match=r"do not belong together|damaged store"):
        Store.open(tmp_path / "store")


def test_a_store_without_its_split_cannot_be_scored(tmp_path):
    with writing(tmp_path / "store", (2, 4, 4)) as writer:
        writer.append(images(3, 2, 4, 4))
        writer.finish(INDEX, INDEX[["subject"]], META)
    with pytest.raises(GanError, match=r"store.json: its split is missing; build the store again"):
        Store.open(tmp_path / "store").check_scores()


def test_the_data_stage_does_not_import_torch():
    code = "import sys, gan.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
