"""Data as users have it, through the whole data stage: an input more is a row of `CASES`, with what is said of it."""

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import SCHEMA
from PIL import Image

from gan.data.slices import build_store
from gan.data.sources import fetch
from gan.data.volumes import convert
from gan.errors import GanError
from gan.study import load

PICTURES = {
    "layout": "images",
    "pattern": None,
    "labels": "folder",
    "intensity": {"map": "window", "low": 0, "high": 255},
}
PICTURES |= {"slices": {"size": 16, "fraction": 0.0}}


def head(seed: int) -> np.ndarray:
    """Structure on a background of 0: float32 [16, 18, 14]."""
    inside = np.hypot(*np.mgrid[-1:1:16j, -1:1:18j])[..., None] < 0.9
    return (inside * np.random.default_rng(seed).uniform(300, 1000, (16, 18, 14))).astype(np.float32)


def scans(folder: Path, change: Callable = lambda values: values, name: str = "s{}_t1.nii.gz") -> None:
    """Six subjects."""
    for number in range(6):
        nib.Nifti1Image(change(head(number)), np.diag([4, 4, 4, 1])).to_filename(folder / name.format(number))


def then(change: Callable[[Path], object]) -> Callable[[Path], None]:
    """`scans`, and a change of the folder."""
    return lambda folder: (scans(folder), change(folder))[0]


def patched(values: np.ndarray, value: float) -> np.ndarray:
    values[3, 3, 3] = value
    return values


def not_utf8(folder: Path) -> None:
    os.rename(folder / "s1_t1.nii.gz", os.fsencode(folder) + b"/M\xfcller_t1.nii.gz")  # noqa: PTH104, bytes


def in_archive(folder: Path) -> None:
    """The scans in an archive that ends too early."""
    scans(folder)
    with tarfile.open(folder / "all.tar.gz", "w:gz") as archive:
        for path in sorted(folder.glob("s*")):
            archive.add(path, path.name)
    content = (folder / "all.tar.gz").read_bytes()
    shutil.rmtree(folder)
    folder.write_bytes(content[: len(content) // 2])


def pictures(folder: Path, modes: str = "LL") -> None:
    for name, mode in zip("ab", modes, strict=True):
        (folder / name).mkdir()
        for number in range(8):
            values = np.random.default_rng([number, ord(name)]).integers(0, 255, (20, 20))
            picture = Image.fromarray(values.astype(np.uint8) if mode == "L" else (values * 200).astype(np.uint16))
            picture.save(folder / name / f"{number}.png")


# what makes the folder, the keys of its row, and what is said: None for a store, an error, or a warning next to a store
CASES: dict[str, tuple[Callable[[Path], None], dict, str | None]] = {
    "as it should be": (scans, {}, None),
    "upper case": (lambda folder: scans(folder, name="s{}_t1.nii.gz".upper().replace("S{}_T1", "s{}_t1")), {}, None),
    "a name like a formula": (lambda folder: scans(folder, name="=1+{}_t1.nii.gz"), {}, None),
    "a subject without slices": (
        lambda folder: scans(folder, lambda values: values * (values[8, 9, 7] < 950) + (values > 0)),
        {},
        None,
    ),
    "values below 0": (lambda folder: scans(folder, lambda v: v - 400), {}, "warning: set intensity.map to minmax"),
    "another file": (then(lambda folder: scans(folder, name="x{}.nii")), {}, "warning: 6 of 12 files that look"),
    "NaN": (lambda folder: scans(folder, lambda v: patched(v, np.nan)), {}, "6 of 6 subjects fail: "),
    "infinite": (lambda folder: scans(folder, lambda v: patched(v, np.inf)), {}, "6 of 6 subjects fail: "),
    "without contrast": (lambda folder: scans(folder, np.zeros_like), {}, "6 of 6 subjects fail: "),
    "4-D": (lambda folder: scans(folder, lambda v: np.stack([v, v], -1)), {}, "6 of 6 subjects fail: "),
    "cut": (then(lambda folder: os.truncate(folder / "s2_t1.nii.gz", 900)), {}, "s2_t1.nii.gz: damaged or not NIfTI"),
    "empty file": (then(lambda folder: os.truncate(folder / "s2_t1.nii.gz", 0)), {}, "s2_t1.nii.gz"),
    "text": (then(lambda folder: (folder / "s2_t1.nii.gz").write_text("x")), {}, "s2_t1.nii.gz: damaged or not NIfTI"),
    "a pipe": (then(lambda folder: os.mkfifo(folder / "s9_t1.nii.gz")), {}, "s9_t1.nii.gz: a pipe, socket or device"),
    "a link to nothing": (
        then(lambda folder: (folder / "s9_t1.nii.gz").symlink_to("gone")),
        {},
        "s9_t1.nii.gz: ",
    ),
    "not UTF-8": (then(not_utf8), {}, "its name is not UTF-8"),
    "no match": (scans, {"pattern": "{subject}-{contrast}.nii.gz"}, "nothing matches layout nifti"),
    "no subject": (scans, {"pattern": "{contrast}.nii.gz"}, "{subject} is missing"),
    "a contrast less": (scans, {"contrasts": ["t1", "t2"]}, "no contrast t2; it has t1"),
    "dark": (scans, {"slices": {"size": 16, "fraction": 0.999}}, "no slice passes the filter"),
    "half an archive": (in_archive, {}, "data: "),
    "pictures": (pictures, PICTURES, None),
    "pictures of 16 bit": (lambda folder: pictures(folder, "HH"), PICTURES, "16"),
    "a picture twice": (
        lambda folder: (pictures(folder), shutil.copy(folder / "a/1.png", folder / "b/9.png"))[0],
        PICTURES,
        "b/9.png",
    ),
    "a class": (lambda folder: (pictures(folder), shutil.rmtree(folder / "b"))[0], PICTURES, "of one class (a)"),
}


def store_of(config: dict, row: dict, source: Path, folder: Path) -> Path:
    """The steps of the workflow for one data set."""
    base = {"layout": "nifti", "pattern": "{subject}_{contrast}.nii.gz", "contrasts": ["t1"]}
    base |= {"slices": {"size": 16, "fraction": 0.05}, "split": {"train": 0.5, "val": 0.25, "test": 0.25}}
    config["datasets"]["d"] = base | {"source": {"path": str(source)}} | row
    config["study"] |= {"datasets": ["d"], "variants": ["dcgan"]}
    study = load(config, SCHEMA)
    fetch(study.dataset("d")["source"], folder / "raw")
    convert(study.volumes_spec("d"), folder / "raw", folder / "volumes")
    build_store(study.store_spec("d"), folder / "volumes", folder / "store", name="d")
    return folder / "store"


@pytest.mark.parametrize("name", CASES)
def test_an_input_gives_a_store_or_one_line(name, config, tmp_path, capsys):
    make, row, said = CASES[name]
    (tmp_path / "data").mkdir()
    make(tmp_path / "data")
    if said is None or said.startswith("warning: "):
        assert (store_of(config, row, tmp_path / "data", tmp_path / "study") / "store.json").exists()
        warned = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
        assert said is None or any(said.removeprefix("warning: ") in line for line in warned)
        return
    with pytest.raises(GanError) as error:
        store_of(config, row, tmp_path / "data", tmp_path / "study")
    assert said in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "study/store").exists()
