"""BIDS and sessions: which file is which scan of which subject, and that a subject stays in one split."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from test_layouts import row, touch

from gan.data.bids import parse
from gan.data.layouts import find
from gan.data.slices import build_store
from gan.data.store import Store
from gan.data.volumes import convert
from gan.errors import GanError


def bids(*contrasts: str, **more) -> dict:
    return row("bids", list(contrasts), **more)


def brief(spec: dict, root: Path) -> list[tuple[str, str, str, str]]:
    found = find(spec, root)
    return [(item.subject, item.scan, item.contrast, item.path.relative_to(root).as_posix()) for item in found]


CASES = {
    "a subject, other files": (
        bids("T1w"),
        ["participants.tsv", "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T1w.json", "sub-01/sub-01_scans.tsv",
         "sub-01/func/sub-01_task-rest_bold.nii.gz", "derivatives/x/sub-01/anat/sub-01_desc-preproc_T1w.nii.gz"],
        [("sub-01", "", "T1w", "sub-01/anat/sub-01_T1w.nii.gz")],
    ),
    "sessions": (
        bids("T1w", "FLAIR"),
        [f"sub-a/ses-{s}/anat/sub-a_ses-{s}_{c}.nii" for s in (1, 2) for c in ("T1w", "FLAIR")],
        [("sub-a", f"ses-{s}", c, f"sub-a/ses-{s}/anat/sub-a_ses-{s}_{c}.nii")
         for s in (1, 2) for c in ("T1w", "FLAIR")],
    ),
    "a run alone is no scan of its own": (
        bids("T1w"),
        ["sub-1/anat/sub-1_run-01_T1w.nii.gz"],
        [("sub-1", "", "T1w", "sub-1/anat/sub-1_run-01_T1w.nii.gz")],
    ),
    "runs of one contrast share the other": (
        bids("T1w", "T2w"),
        ["sub-1/anat/sub-1_run-1_T1w.nii.gz", "sub-1/anat/sub-1_run-2_T1w.nii.gz", "sub-1/anat/sub-1_T2w.nii.gz"],
        [("sub-1", f"run-{run}", c, f"sub-1/anat/sub-1_{f'run-{run}_' * (c == 'T1w')}{c}.nii.gz")
         for run in (1, 2) for c in ("T1w", "T2w")],
    ),
    "entities choose": (
        bids("t1", "FLAIR", pattern={"t1": "acq-mprage_T1w"}),
        [f"sub-1/anat/sub-1_{name}.nii.gz" for name in ("acq-mprage_T1w", "acq-se_T1w", "FLAIR")],
        [("sub-1", "", "t1", "sub-1/anat/sub-1_acq-mprage_T1w.nii.gz"),
         ("sub-1", "", "FLAIR", "sub-1/anat/sub-1_FLAIR.nii.gz")],
    ),
    "one pattern for all": (
        bids("T1w", pattern="space-MNI_{contrast}"),
        ["sub-1/anat/sub-1_space-MNI_desc-x_T1w.nii.gz", "sub-1/anat/sub-1_T1w.nii.gz"],
        [("sub-1", "", "T1w", "sub-1/anat/sub-1_space-MNI_desc-x_T1w.nii.gz")],
    ),
    "a mask of derivatives": (
        bids("T1w", mask="lesion", pattern={"lesion": "derivatives/manual/label-lesion_mask"}),
        ["sub-1/anat/sub-1_T1w.nii.gz", "derivatives/manual/sub-1/anat/sub-1_label-lesion_mask.nii.gz"],
        [("sub-1", "", "T1w", "sub-1/anat/sub-1_T1w.nii.gz"),
         ("sub-1", "", "lesion", "derivatives/manual/sub-1/anat/sub-1_label-lesion_mask.nii.gz")],
    ),
    "nested, in capitals": (
        bids("T1w"),
        ["ds1/sub-1/anat/sub-1_T1w.NII.GZ"],
        [("sub-1", "", "T1w", "ds1/sub-1/anat/sub-1_T1w.NII.GZ")],
    ),
    "sessions by a pattern": (
        row("nifti", ["t1"], pattern="{subject}_{session}_{contrast}.nii.gz"),
        ["fam1_a_t1.nii.gz", "fam1_b_t1.nii.gz"],
        [("fam1", s, "t1", f"fam1_{s}_t1.nii.gz") for s in "ab"],
    ),
    "sessions of DICOM": (
        row("dicom", ["t1"], pattern="{subject}/{session}/{contrast}"),
        ["p/1/t1/1.dcm", "p/2/t1/1.dcm"],
        [("p", s, "t1", f"p/{s}/t1") for s in "12"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_found(name, tmp_path, capsys):
    spec, files, expected = CASES[name]
    assert brief(spec, touch(tmp_path, *files)) == expected
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spec", "files", "message"),
    [
        (
            bids("T1w"),
            ["sub-1/anat/sub-1_acq-a_T1w.nii", "sub-1/anat/sub-1_acq-b_T1w.nii"],
            "subject sub-1: two volumes for contrast T1w: .*make the pattern narrower",
        ),
        (bids("T1w"), ["sub-1/anat/sub-1_T2w.nii"], "nothing matches layout bids .*sub-<label>"),
        (
            bids("T1w", "T2w"),
            ["sub-1/ses-1/anat/sub-1_ses-1_T1w.nii"],
            "subject sub-1_ses-1: no contrast T2w; it has T1w",
        ),
        (
            bids("t1", pattern="sub-1/acq_T1w"),
            ["sub-1/anat/sub-1_T1w.nii"],
            "needs entities and a suffix, such as acq-",
        ),
        (
            row("nifti", ["t1"], pattern="{subject}/*_{contrast}.nii"),
            ["a/1_t1.nii", "a/2_t1.nii"],
            r"put \{session\} into it if they are scans of one subject",
        ),
    ],
)
def test_bad_folders_are_named(spec, files, message, tmp_path):
    with pytest.raises(GanError, match=message):
        find(spec, touch(tmp_path, *files))


def test_what_is_not_used_is_told(tmp_path, capsys):
    files = [f"sub-1/ses-{s}/anat/sub-1_ses-{s}_T1w.nii" for s in (1, 2)]
    files += ["sub-1/ses-1/anat/sub-1_ses-1_T2w.nii", "sub-2/anat/sub-2_PDw.nii", "sub-1/ses-1/anat/brain.nii"]
    found = find(bids("T1w", "T2w"), touch(tmp_path, *files))
    assert {item.scan for item in found} == {"ses-1"}
    told = capsys.readouterr().err
    assert "1 of 2 subjects have none of T1w, T2w: sub-2" in told
    assert "scans that are not whole are left out: subject sub-1_ses-2: no contrast T2w" in told
    assert "1 of 5 files that look like volumes match nothing and are not used: sub-1/ses-1/anat/brain.nii" in told


def test_subjects_that_look_like_sessions_of_one_are_told(tmp_path, capsys):
    root = touch(tmp_path, "sub-1_ses-1_T1w.nii", "sub-1_ses-2_T1w.nii", "sub-2_ses-1_T1w.nii")
    find(row("nifti", ["T1w"], pattern="{subject}_{contrast}.nii"), root)
    assert "subjects sub-1_ses-1 and sub-1_ses-2 look like sessions of one" in capsys.readouterr().err


def test_names_of_the_standard():
    assert parse("sub-1_T1w.nii.gz") == ("sub-1_T1w.nii.gz", {"sub": "1"}, "T1w")
    assert parse("a/sub-1_ses-x_run-2_T1w.nii").run == "2"  # type: ignore[union-attr]
    assert parse("ses-1_T1w.nii") is parse("sub-1.nii") is parse("sub-1_T1w.json") is None


SLICES = {"axis": "axial", "every": 1, "size": 16, "fit": "pad", "threshold": 50, "fraction": 0.25}
REST = {"reference": None, "align": False, "slices": SLICES, "intensity": {"map": "window", "low": 0, "high": 255},
        "split": {"train": 0.5, "val": 0.25, "test": 0.25, "seed": 0}}  # fmt: skip


def test_sessions_of_a_subject_share_its_split_and_are_told_apart(tmp_path):
    random = np.random.default_rng(0)
    for subject in range(8):
        for session in (1, 2):
            path = tmp_path / f"raw/sub-{subject}/ses-{session}/anat/sub-{subject}_ses-{session}_T1w.nii"
            path.parent.mkdir(parents=True)
            nib.Nifti1Image(random.integers(60, 250, (12, 14, 5 + session)).astype(np.uint8), np.eye(4)).to_filename(
                path
            )
    lines = [f"sub-{subject}\t{'patient' if subject % 2 else 'control'}\tn/a" for subject in range(8)]
    (tmp_path / "raw/participants.tsv").write_text("\n".join(["participant_id\tgroup\tage", *lines]))
    labels = {"table": "participants.tsv", "subject": "participant_id", "label": "group"}
    spec = bids("T1w", labels=labels) | REST
    convert(spec, tmp_path / "raw", tmp_path / "volumes")
    assert (tmp_path / "volumes/sub-0_ses-2_T1w.nii").exists()
    build_store(spec, tmp_path / "volumes", tmp_path / "store")
    index = Store.open(tmp_path / "store").index
    assert index.groupby("subject")["split"].nunique().max() == 1
    assert index.groupby("subject")["label"].nunique().max() == 1 and set(index["label"]) == {"control", "patient"}
    assert index.groupby(["subject", "scan"]).size().tolist() == [6, 7] * 8
    assert not index.duplicated(["subject", "scan", "slice"]).any()
    summary = pd.read_csv(tmp_path / "store/subjects.csv")
    assert (
        summary["subject"].is_unique and summary["scans"].tolist() == [2] * 8 and summary["kept"].tolist() == [13] * 8
    )
    assert (tmp_path / "store/previews/sub-0_ses-1_000_T1w.png").exists()
    age = spec | {"labels": labels | {"label": "age"}}
    with pytest.raises(GanError, match="no label in column 'age' for subject sub-0, sub-1"):
        convert(age, tmp_path / "raw", tmp_path / "volumes")
