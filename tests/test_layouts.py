"""Layouts: which files of a folder are found, and what is said when something is wrong with it."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gan.data.layouts import Found, find
from gan.data.patterns import compile_pattern
from gan.errors import GanError


def row(layout: str, contrasts: list[str], **other: Any) -> dict[str, Any]:
    return {"layout": layout, "pattern": None, "contrasts": contrasts, "mask": None, "labels": None, **other}


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def image(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(path)


def brief(found: list[Found], root: Path) -> list[tuple[str, str, str, str, str]]:
    return [(f.subject, f.contrast, f.path.relative_to(root).as_posix(), f.label, f.split) for f in found]


BRATS = ("95_Glioma/A-1/A-1-t1n", "95_Glioma/A-1/A-1-seg", "51_Other/B-2/B-2-t1n", "51_Other/B-2/B-2-seg")
CASES = {
    "brats, class folders": (
        row("brats", ["t1n"], mask="seg", labels="folder"),
        [f"{name}.nii.gz" for name in BRATS],
        [
            ("A-1", "t1n", "95_Glioma/A-1/A-1-t1n.nii.gz", "95_Glioma", ""),
            ("A-1", "seg", "95_Glioma/A-1/A-1-seg.nii.gz", "95_Glioma", ""),
            ("B-2", "t1n", "51_Other/B-2/B-2-t1n.nii.gz", "51_Other", ""),
            ("B-2", "seg", "51_Other/B-2/B-2-seg.nii.gz", "51_Other", ""),
        ],
    ),
    "brats, nested beside a spreadsheet": (
        row("brats", ["t1n"], labels="folder"),
        ["info.xlsx", *(f"BraTS-Africa/{name}.nii.gz" for name in BRATS)],
        [
            ("A-1", "t1n", "BraTS-Africa/95_Glioma/A-1/A-1-t1n.nii.gz", "95_Glioma", ""),
            ("B-2", "t1n", "BraTS-Africa/51_Other/B-2/B-2-t1n.nii.gz", "51_Other", ""),
        ],
    ),
    "brats, flat": (
        row("brats", ["t1c", "t1n"]),
        ["A-1/A-1-t1n.nii.gz", "A-1/A-1-t1c.nii", "A-1/A-1-t2w.nii.gz", ".DS_Store", "__MACOSX/A-1/A-1-t1n.nii.gz"],
        [("A-1", "t1c", "A-1/A-1-t1c.nii", "", ""), ("A-1", "t1n", "A-1/A-1-t1n.nii.gz", "", "")],
    ),
    "chaos": (
        row("chaos", ["t1_in", "t1_out", "t2_spir"]),
        [
            "Train_Sets/MR/1/T1DUAL/DICOM_anon/InPhase/IMG-2.dcm",
            "Train_Sets/MR/1/T1DUAL/DICOM_anon/OutPhase/IMG-1.dcm",
            "Train_Sets/MR/1/T1DUAL/Ground/IMG-2.png",
            "Train_Sets/MR/1/T2SPIR/DICOM_anon/IMG-3.dcm",
            "Train_Sets/CT/1/DICOM_anon/i1.dcm",
        ],
        [
            ("1", "t1_in", "Train_Sets/MR/1/T1DUAL/DICOM_anon/InPhase", "", ""),
            ("1", "t1_out", "Train_Sets/MR/1/T1DUAL/DICOM_anon/OutPhase", "", ""),
            ("1", "t2_spir", "Train_Sets/MR/1/T2SPIR/DICOM_anon", "", ""),
        ],
    ),
    "ixi": (
        row("ixi", ["t1"]),
        ["IXI012-HH-1211-T1.nii.gz", "IXI002-Guys-0828-T1.nii.gz", "IXI002-Guys-0828-T2.nii.gz", "IXI.xls"],
        [("IXI002", "t1", "IXI002-Guys-0828-T1.nii.gz", "", ""), ("IXI012", "t1", "IXI012-HH-1211-T1.nii.gz", "", "")],
    ),
    "ixi, underscore, in the row's spelling": (
        row("ixi", ["T1", "T2"]),
        ["a/IXI012-HH-1211_T1.nii.gz", "b/IXI012-HH-1211_T2.nii.gz"],
        [
            ("IXI012", "T1", "a/IXI012-HH-1211_T1.nii.gz", "", ""),
            ("IXI012", "T2", "b/IXI012-HH-1211_T2.nii.gz", "", ""),
        ],
    ),
    "nifti, one contrast": (
        row("nifti", ["t1"], pattern="sub-{subject}_*.nii.gz"),
        ["sub-7_ses-1.nii.gz", "sub-7_ses-1.json"],
        [("7", "t1", "sub-7_ses-1.nii.gz", "", "")],
    ),
    "nifti, subjects with underscores, case-sensitive": (
        row("nifti", ["T1", "FLAIR"], pattern="{subject}/{subject}_{contrast}.nii.gz"),
        ["a_b/a_b_T1.nii.gz", "a_b/a_b_FLAIR.nii.gz", "a_b/a_b_t1.nii.gz", "a_b/c_T1.nii.gz"],
        [("a_b", "T1", "a_b/a_b_T1.nii.gz", "", ""), ("a_b", "FLAIR", "a_b/a_b_FLAIR.nii.gz", "", "")],
    ),
    "nifti, a pattern for each contrast": (
        row(
            "nifti", ["t1"], mask="label", pattern={"t1": "images/{subject}.nii.gz", "label": "labels/{subject}.nii.gz"}
        ),
        ["images/h1.nii.gz", "labels/h1.nii.gz"],
        [("h1", "t1", "images/h1.nii.gz", "", ""), ("h1", "label", "labels/h1.nii.gz", "", "")],
    ),
    "nifti, class in the pattern, archive's own folder": (
        row("nifti", ["t1"], pattern="{label}/{subject}.nii", labels="folder"),
        ["data/AD/x.nii", "data/NC/y.nii"],
        [("x", "t1", "data/AD/x.nii", "AD", ""), ("y", "t1", "data/NC/y.nii", "NC", "")],
    ),
    "dicom": (
        row("dicom", ["t1", "t2"], pattern="{subject}/{contrast}"),
        ["p1/t1/1", "p1/t1/2", "p1/t2/1", "p1/scout/1"],
        [("p1", "t1", "p1/t1", "", ""), ("p1", "t2", "p1/t2", "", "")],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_found(name, tmp_path):
    spec, files, expected = CASES[name]
    assert brief(find(spec, touch(tmp_path, *files)), tmp_path) == sorted(
        expected, key=lambda item: item[0]
    )  # subjects in order, contrasts in the row's


def test_dicom_root_is_a_subject(tmp_path):
    root = touch(tmp_path / "scan", "1.dcm", "2.dcm")
    (tmp_path / "raw").symlink_to(root)
    assert find(row("dicom", ["t1"]), tmp_path / "raw") == [Found("scan", "t1", tmp_path / "raw")]


def test_linked_subject_folders_are_followed_and_loops_end(tmp_path):
    store = touch(tmp_path / "store", "t1.nii.gz")
    root = tmp_path / "root"
    root.mkdir()
    (root / "s1").symlink_to(store)
    (store / "loop").symlink_to(root)
    found = find(row("nifti", ["t1"], pattern="{subject}/{contrast}.nii.gz"), root)
    assert brief(found, root) == [("s1", "t1", "s1/t1.nii.gz", "", "")]


@pytest.mark.parametrize(
    ("spec", "files", "message"),
    [
        (row("brats", ["t1n"]), [], "the folder is empty"),
        (row("brats", ["t1n"]), ["scan.mha"], r"nothing matches layout brats .*found there: scan\.mha"),
        (row("nifti", ["t1"], pattern="{subject}_t1.nii.gz"), ["a_T1.nii.gz"], r"'\{subject\}_t1.nii.gz'.*a_T1\.nii"),
        (
            row("brats", ["t1n", "t1c"]),
            ["A/A-t1n.nii.gz", "A/A-t2w.nii.gz"],
            "subject A: no contrast t1c; it has t1n, t2w",
        ),
        (row("brats", ["t1n"], mask="seg"), ["A/A-t1n.nii.gz"], "subject A: no mask seg"),
        (row("brats", ["t1n"]), ["A/A-t2w.nii.gz", "B/B-t2w.nii.gz"], "2 of 2 volumes fail: subject A.*subject B"),
        (row("brats", ["t1n"]), ["x/A/A-t1n.nii.gz", "y/A/A-t1n.nii.gz"], r"subject A: two volumes .*x/A.* and .*y/A"),
        (row("ixi", ["t1"]), ["IXI001-HH-1_T1.nii.gz", "IXI001-HH-2_T1.nii.gz"], "subject IXI001: two volumes"),
        (row("nifti", ["t1"]), ["a.nii"], "needs a pattern"),
        (row("nifti", ["t1"], pattern="{contrast}.nii"), ["t1.nii"], r"\{subject\} is missing"),
        (row("nifti", ["t1"], pattern="{subject}_{visit}.nii"), ["a_1.nii"], r"unknown field \{visit\}"),
        (row("nifti", ["t1", "t2"], pattern="{subject}.nii"), ["a.nii"], "cannot tell t1, t2 apart"),
        (row("nifti", ["t1"], mask="m", pattern={"t1": "{subject}.nii"}), ["a.nii"], "no entry for m"),
        (row("dicom", ["t1", "t2"]), ["1.dcm"], "several contrasts need a pattern"),
        (row("brats", ["t1n"], labels="folder"), ["A/A-t1n.nii.gz", "B/B-t1n.nii.gz"], "in no class folder"),
        (row("brats", ["t1n"], labels="folder"), ["x/A/A-t1n.nii.gz", "x/B/B-t1n.nii.gz"], r"one class \(x\)"),
        (row("chaos", ["t1_in"], mask="liver"), ["MR/1/T1DUAL/DICOM_anon/InPhase/1.dcm"], "no mask liver"),
        (row("bidz", ["t1"]), ["a.nii"], "layout 'bidz': unknown; it is one of bids, brats, chaos"),
    ],
)
def test_bad_folders_are_named(spec, files, message, tmp_path):
    with pytest.raises(GanError, match=message):
        find(spec, touch(tmp_path, *files))


@pytest.mark.parametrize(
    ("spec", "files", "message"),
    [
        (
            row("nifti", ["t1"], pattern="{subject}_t1.nii.gz"),
            ["a_t1.nii.gz", "b-t1.nii.gz"],
            "1 of 2 .*: b-t1.nii",
        ),
        (row("nifti", ["t1"], pattern="{subject}_t1.nii.gz"), ["a_t1.nii.gz", "b_t1.mgz"], "1 of 2 files .*: b_t1.mgz"),
        (row("brats", ["t1n"]), ["A/A-t1n.nii.gz", "B/b-t1n.nii.gz"], "1 of 2 files .*: B/b-t1n.nii.gz"),
        (row("ixi", ["t1"]), ["IXI001-HH-1_T1.nii.gz", "x.NII"], "1 of 2 files .*: x.NII"),
        (row("dicom", ["t1"], pattern="{subject}/t1"), ["a/t1/1.dcm", "b/T1/1.dcm"], "1 of 2 folders .*: b/T1"),
        (row("dicom", ["t1"]), ["1.dcm", "b/1.dcm"], "1 of 2 folders .*: b"),
    ],
)
def test_what_looks_like_data_and_matches_nothing_is_counted(spec, files, message, tmp_path, capsys):
    assert len(find(spec, touch(tmp_path, *files))) == 1
    assert re.search(f"warning: .*{message}", capsys.readouterr().err)


@pytest.mark.parametrize("order", [("t1", "seg"), ("seg", "t1")])
def test_a_file_belongs_to_the_pattern_with_the_most_text(order, tmp_path):
    touch(tmp_path, *(f"s{n}{end}.nii.gz" for n in (1, 2) for end in ("", "_seg")))
    patterns = {"t1": "{subject}.nii.gz", "seg": "{subject}_seg.nii.gz"}
    found = find(row("nifti", ["t1"], mask="seg", pattern={name: patterns[name] for name in order}), tmp_path)
    assert [(item.subject, item.contrast) for item in found] == [
        *(("s1", "t1"), ("s1", "seg")),
        *(("s2", "t1"), ("s2", "seg")),
    ]


def test_contrasts_that_the_row_does_not_ask_for_are_no_loss(tmp_path, capsys):
    root = touch(tmp_path, "a_t1.nii.gz", "a_t2.nii.gz", "a_t1.json", "readme.txt")
    find(row("nifti", ["t1"], pattern="{subject}_{contrast}.nii.gz"), root)
    find(row("dicom", ["t1"], pattern="{subject}/{contrast}"), touch(tmp_path / "d", "a/t1/1.dcm", "a/t2/1.dcm"))
    assert "warning" not in capsys.readouterr().err


def test_endings_compare_without_case_and_names_with(tmp_path):
    root = touch(tmp_path, "a_t1.NII.GZ", "b_t1.Nii.gz", "c_T1.nii.gz")
    found = find(row("nifti", ["t1"], pattern="{subject}_{contrast}.nii.gz"), root)
    assert [item.subject for item in found] == ["a", "b"]
    assert brief(find(row("brats", ["t1n"]), touch(tmp_path / "b", "A/A-t1n.NII")), tmp_path / "b")[0][0] == "A"
    assert find(row("ixi", ["t1"]), touch(tmp_path / "i", "IXI002-Guys-0828-T1.NII.GZ"))[0].subject == "IXI002"


def test_a_format_that_is_not_read_is_named_with_a_remedy(tmp_path):
    with pytest.raises(GanError, match=r"found there: a_t1\.mnc; \.mnc is not read, convert it .* with mnc2nii"):
        find(row("nifti", ["t1"], pattern="{subject}_{contrast}.mnc"), touch(tmp_path, "a_t1.mnc"))


NIFTI = row("nifti", ["t1"], pattern="{subject}_{contrast}.nii.gz")


def test_a_name_that_is_not_utf8_is_told(tmp_path):
    touch(tmp_path, "a_t1.nii.gz").joinpath("a_t1.nii.gz").rename(tmp_path / os.fsdecode(b"M\xfcller_t1.nii.gz"))
    with pytest.raises(GanError, match=r"M.udcfcller_t1.nii.gz: its name is not UTF-8") as caught:
        find(NIFTI, tmp_path)
    assert str(caught.value).encode()


def test_a_name_that_is_not_utf8_and_not_wanted_is_counted(tmp_path, capsys):
    touch(tmp_path, "a_t1.nii.gz", os.fsdecode(b"M\xfcller.nii.gz"))
    assert len(find(NIFTI, tmp_path)) == 1
    assert r"M\udcfcller.nii.gz" in capsys.readouterr().err


def test_a_pipe_and_a_link_to_nowhere_are_told(tmp_path):
    os.mkfifo(tmp_path / "a_t1.nii.gz")
    with pytest.raises(GanError, match=r"a_t1.nii.gz: a pipe, socket or device, not a file"):
        find(NIFTI, tmp_path)
    (tmp_path / "a_t1.nii.gz").unlink()
    (tmp_path / "a_t1.nii.gz").symlink_to(tmp_path / "nowhere")
    with pytest.raises(GanError, match=r"a_t1.nii.gz: cannot be read \(No such file or directory\)"):
        find(NIFTI, tmp_path)


def test_a_pipe_among_pictures_is_told(tmp_path):
    image(tmp_path / "x/1.png", 1)
    os.mkfifo(tmp_path / "x/2.png")
    with pytest.raises(GanError, match=r"x/2.png: a pipe"):
        find(row("images", ["t1"]), tmp_path)


def test_a_folder_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    root, scandir = touch(tmp_path, "a_t1.nii.gz", "closed/b_t1.nii.gz"), os.scandir

    def refuse(path):  # root may read everything, so permissions alone would not do
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(GanError, match=r"closed: cannot be read \(Permission denied\); change its permissions"):
        find(NIFTI, root)


def test_missing_folder(tmp_path):
    with pytest.raises(GanError, match="nowhere: no such folder"):
        find(row("brats", ["t1n"]), tmp_path / "nowhere")


def test_images_by_class_and_split(tmp_path, capsys):
    for number, path in enumerate(("train/AD/7_1.png", "train/AD/7_2.jpg", "train/NC/8_1.png", "test/NC/9_1.png")):
        image(tmp_path / path, 40 * number)
    (tmp_path / "train/AD/notes.txt").write_text("no image")
    image(tmp_path / "train/NC/8_3.png", 80)  # the bytes of 8_1.png
    found = find(row("images", ["t1"], pattern="{subject}_{slice}", labels="folder"), tmp_path)
    assert brief(found, tmp_path) == [
        ("7", "t1", "train/AD/7_1.png", "AD", "train"),
        ("7", "t1", "train/AD/7_2.jpg", "AD", "train"),
        ("8", "t1", "train/NC/8_1.png", "NC", "train"),
        ("9", "t1", "test/NC/9_1.png", "NC", "test"),
    ]
    told = capsys.readouterr().err
    assert "1 files are not images" in told and "notes.txt" in told
    assert "1 images repeat another one and are left out" in told and "8_3.png" in told


def test_splits_may_be_called_training_and_testing(tmp_path):
    image(tmp_path / "Training/a/1.png", 0)
    image(tmp_path / "Testing/b/2.png", 9)
    found = find(row("images", ["t1"], labels="folder"), tmp_path)
    assert [(item.label, item.split) for item in found] == [("b", "test"), ("a", "train")]


def test_all_pairs_of_equal_pictures_are_told_at_once(tmp_path, capsys):
    for number in range(5):
        image(tmp_path / f"train/a/{number}.png", number)
        image(tmp_path / f"test/a/x{number}.png", number)
    with pytest.raises(GanError, match=r"5 times \(the log lists all\): same image in test and train: test/a/x0"):
        find(row("images", ["t1"]), tmp_path)
    told = capsys.readouterr().err
    assert all(f"test/a/x{number}.png and train/a/{number}.png" in told for number in range(5))


def test_images_without_splits_and_pattern_are_subjects_of_their_own(tmp_path):
    image(tmp_path / "set/no/1.png", 0)
    image(tmp_path / "set/yes/1.png", 9)
    found = find(row("images", ["t1"], labels="folder"), tmp_path)
    assert [(item.subject, item.label, item.split) for item in found] == [("no-1", "no", ""), ("yes-1", "yes", "")]


@pytest.mark.parametrize(
    ("files", "change", "message"),
    [
        ({"train/a/1.png": 1, "test/a/2.png": 1}, {}, r"same image in te?.*2\.png and .*1\.png"),
        ({"train/a/1.png": 1, "train/b/2.png": 1}, {"labels": "folder"}, r"two classes: .*a/1\.png and .*b/2\.png"),
        (
            {"train/a/7_1.png": 1, "test/a/7_2.png": 2},
            {"pattern": "{subject}_{slice}"},
            "subject 7 is in train and test",
        ),
        ({"train/a/x.png": 1}, {"pattern": "{subject}_{slice}"}, r"train/a/x\.png: its name 'x' does not match"),
        ({"test/a/1.png": 1, "b/2.png": 2}, {}, "test without train"),
        ({"train/a/1.png": 1}, {"contrasts": ["t1", "t2"]}, "one contrast and no mask"),
        ({"train/a/1.png": 1}, {"mask": "seg"}, "one contrast and no mask"),
    ],
)
def test_bad_image_folders_are_named(files, change, message, tmp_path):
    for name, value in files.items():
        image(tmp_path / name, value)
    with pytest.raises(GanError, match=message):
        find({**row("images", ["t1"]), **change}, tmp_path)


def test_file_that_is_no_image(tmp_path):
    image(tmp_path / "train/a/1.png", 1)
    (tmp_path / "train/a/2.png").write_text("<html>")
    with pytest.raises(GanError, match=r"train/a/2\.png: not an image"):
        find(row("images", ["t1"]), tmp_path)


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
def test_labels_from_a_table(suffix, tmp_path):
    root = touch(tmp_path / "root", "01.nii", "02.nii")
    table = pd.DataFrame({"ID": ["01", "02", "03"], "grade": ["HGG", "LGG", "HGG"]})
    path = root / f"info.{suffix}"
    table.to_csv(path, index=False) if suffix == "csv" else table.to_excel(path, index=False)
    spec = row("nifti", ["t1"], pattern="{subject}.nii")
    for name in (str(path), path.name):  # absolute, and below the root
        found = find({**spec, "labels": {"table": name, "subject": "ID", "label": "grade"}}, root)
        assert [(item.subject, item.label) for item in found] == [("01", "HGG"), ("02", "LGG")]


@pytest.mark.parametrize("keep", [0, 30, 900, 3000])
def test_a_damaged_spreadsheet_is_told_in_one_line(keep, tmp_path):
    root, path = touch(tmp_path / "root", "1.nii"), tmp_path / "table.xlsx"
    pd.DataFrame({"ID": ["1"], "group": ["AD"]}).to_excel(path, index=False)
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content[:keep] if keep < 3000 else content)
    labels = {"table": str(path), "subject": "ID", "label": "group"}
    with pytest.raises(GanError, match=r"table.xlsx: cannot be read as a csv or xlsx table .*save it again") as caught:
        find(row("nifti", ["t1"], pattern="{subject}.nii", labels=labels), root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", ", "])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_separator_of_a_table_is_found(separator, mark, tmp_path):
    root = touch(tmp_path / "root", "1.nii", "2.nii")
    lines = (("ID", "age", "group, by 2024"), ("1", "1;5", "AD"), ("2", "70", "NC"))
    quoted = [separator.join(f'"{cell}"' for cell in line) for line in lines]
    (tmp_path / "table.csv").write_text(mark + "\n".join(quoted))
    labels = {"table": str(tmp_path / "table.csv"), "subject": "ID", "label": "group, by 2024"}
    found = find(row("nifti", ["t1"], pattern="{subject}.nii", labels=labels), root)
    assert [item.label for item in found] == ["AD", "NC"]


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
@pytest.mark.parametrize("name", ["None", "NA", "null", "nan", "N/A", "n/a"])
def test_a_class_may_be_called_like_nothing(name, suffix, tmp_path):
    root, path = touch(tmp_path / "root", "1.nii", "NA.nii"), tmp_path / f"table.{suffix}"
    table = pd.DataFrame({"ID": ["1", "NA"], "group": [name, "AD"]})
    table.to_csv(path, index=False) if suffix == "csv" else table.to_excel(path, index=False)
    labels = {"table": str(path), "subject": "ID", "label": "group"}
    found = find(row("nifti", ["t1"], pattern="{subject}.nii", labels=labels), root)
    assert [(item.subject, item.label) for item in found] == [("1", name), ("NA", "AD")]


@pytest.mark.parametrize(
    ("lines", "label", "message"),
    [
        ("ID,grade\nsub-1,HGG\nsub-2,LGG\n", "grade", "for subject 1, 2, 3 .rows .* without a subject: sub-1, sub-2.;"),
        ("ID,grade\n1,HGG\n", "grade", "no label in column 'grade' for subject 2, 3"),
        ("ID,grade\n1,HGG\n2,\n3,LGG\n", "grade", "for subject 2;"),
        ("ID,grade\n1,HGG\n1,LGG\n2,LGG\n3,LGG\n", "grade", "two labels for subject 1, HGG and LGG"),
        ("ID,grade\n1,HGG\n", "type", "no column 'type'; it has ID, grade"),
        ("", "grade", "cannot be read as a csv or xlsx table"),
        (None, "grade", "neither here nor below"),
    ],
)
def test_bad_tables_are_named(lines, label, message, tmp_path):
    root = touch(tmp_path / "root", "1.nii", "2.nii", "3.nii")
    path = tmp_path / "table.csv"
    if lines is not None:
        path.write_text(lines)
    labels = {"table": str(path), "subject": "ID", "label": label}
    with pytest.raises(GanError, match=message):
        find(row("nifti", ["t1"], pattern="{subject}.nii", labels=labels), root)


names = st.text("abcXYZ019_-.+", min_size=1, max_size=8)


@given(subject=names, contrast=names)
def test_a_pattern_finds_back_what_it_was_filled_with(subject, contrast):
    rule = compile_pattern("{subject}/x_{contrast}(1).nii", [contrast])
    match = rule.fullmatch(f"{subject}/x_{contrast}(1).nii")
    assert match and match.groupdict() == {"subject": subject, "contrast": contrast}
    assert not rule.fullmatch(f"a/{subject}/x_{contrast}(1).nii")


REAL = {
    "ixi_t1_2mm": (row("ixi", ["t1"]), 75, "IXI012"),
    "msd_hippocampus": (
        row(
            "nifti", ["t1"], mask="label", pattern={"t1": "images/{subject}.nii.gz", "label": "labels/{subject}.nii.gz"}
        ),
        160,
        "hippocampus_001",
    ),
    "open_ms_mni": (
        row("nifti", ["T1", "FLAIR"], mask="GOLD_STANDARD", pattern="{subject}/{contrast}_N4_*.nii.gz"),
        2,
        "patient07",
    ),
    "dicom_studyforrest_t1_slab": (row("dicom", ["t1"]), 1, "dicom_studyforrest_t1_slab"),
}


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL)
def test_real_folders(name, real_data):
    spec, subjects, first = REAL[name]
    found = find(spec, real_data / name)
    wanted = [*spec["contrasts"], *([spec["mask"]] if spec["mask"] else [])]
    assert len({item.subject for item in found}) == subjects
    assert len(found) == subjects * len(wanted)
    assert [(item.subject, item.contrast) for item in found[: len(wanted)]] == [(first, c) for c in wanted]
