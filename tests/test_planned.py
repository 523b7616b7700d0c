"""Inputs that cannot work are told when the workflow is planned, in one line."""

from pathlib import Path

import pytest
from conftest import SCHEMA

from gan.data.planned import check_inputs
from gan.errors import GanError
from gan.study import load

FILES = [
    "scans/s1/s1_t1.nii.gz",
    "scans/s2/s2_t1.NII",
    "inner/only/one/s1_t1.nii.gz",
    "bids/sub-01/anat/sub-01_T1w.nii",
]


def nifti(path: str, **more) -> dict:
    row = {"layout": "nifti", "pattern": "{subject}/{subject}_{contrast}.nii.gz", "contrasts": ["t1"]}
    return row | {"source": {"path": path}} | more


def bids(suffix: str) -> dict:
    return nifti("bids", layout="bids", pattern=None, contrasts=[suffix])


def table(path: str) -> dict:
    return nifti("scans", labels={"table": path, "subject": "id", "label": "group"})


# row of the data set -> what is said; None: nothing
CASES = {
    "as named": (nifti("scans", pattern="{subject}/*_{contrast}.nii"), None),
    "one folder inside": (nifti("inner", pattern="{subject}_{contrast}.nii.gz"), None),
    "bids": (bids("T1w"), None),
    "an archive": (nifti("scans.zip"), None),
    "an address": (nifti("") | {"source": {"url": "https://example.org/x.zip"}}, None),
    "series by their headers": (nifti("scans", layout="dicom", pattern="series: *mprage*"), None),
    "a table in the data": (table("groups.csv"), None),
    "no folder": (nifti("nowhere"), "data set d: nowhere: no such file or folder; correct the data set's source.path"),
    "a variable": (nifti("$GAN_UNSET/x"), "the environment variable GAN_UNSET is not set"),
    "empty": (nifti("void"), "void: the folder is empty"),
    "no match": (
        nifti("scans", pattern="{subject}-{contrast}.nii.gz"),
        "scans: nothing matches layout nifti (pattern '{subject}-{contrast}.nii.gz'); a file found there: s",
    ),
    "one contrast": (
        nifti("scans", contrasts=["t1", "t2"]),
        "scans: nothing matches contrast t2 of layout nifti (patt",
    ),
    "mask": (nifti("scans", mask="seg"), "scans: nothing matches contrast seg of layout nifti"),
    "other suffix": (bids("T2w"), "bids: nothing matches layout bids (sub-<label>"),
    "no entity": (bids("acq"), "nothing matches layout bids"),
    "a table": (table("absent.csv"), "labels: table absent.csv is not here nor below scans; check the path"),
    "one pattern": (nifti("scans", pattern="{subject}.nii", contrasts=["t1", "t2"]), "cannot tell t1, t2 apart"),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working folder, with `FILES`."""
    for name in [*FILES, "scans.zip", "scans/groups.csv"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "void").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(config: dict, row: dict, **variant) -> None:
    config["datasets"]["d"] = row
    config["study"] |= {"datasets": ["d"], "variants": ["dcgan"]}
    config["variants"]["dcgan"] |= variant
    check_inputs(load(config, SCHEMA), Path("results"))


@pytest.mark.parametrize("name", CASES)
def test_inputs_that_are_not_there_are_told_in_one_line(name, here, config):
    row, said = CASES[name]
    if said is None:
        check(config, row)
        return
    with pytest.raises(GanError) as error:
        check(config, row)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_source_is_no_longer_needed_once_it_was_fetched(here, config):
    raw = here / f"results/{config['study']['name']}/data/d/raw"
    raw.parent.mkdir(parents=True)
    raw.symlink_to(here / "gone")
    check(config, nifti("gone"))
    raw.unlink()
    raw.mkdir()
    (raw / "s1_t1.nii").touch()
    with pytest.raises(GanError, match="raw: nothing matches layout nifti"):
        check(config, nifti("scans.zip"))


def test_a_file_that_networks_start_from_is_told(here, config):
    start = {"path": "gone/weights.pt", "sha256": "0" * 64}
    with pytest.raises(
        GanError, match=r"^variants\.dcgan\.init_from\.path: gone/weights\.pt: no such file; correct it$"
    ):
        check(config, nifti("scans"), init_from=start)
