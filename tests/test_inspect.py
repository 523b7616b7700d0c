"""`gan inspect`: what it says of a folder and of a data set, and that the row it proposes works as pasted."""

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import yaml
from conftest import REPOSITORY, SCHEMA
from nibabel.freesurfer.mghformat import MGHImage
from PIL import Image
from test_dicom import write_slice

from gan.data.slices import build_store
from gan.data.sources import fetch
from gan.data.store import Store
from gan.data.volumes import convert
from gan.inspect import folder as folders
from gan.inspect import row, width
from gan.inspect.command import main
from gan.study import load

SHAPE, AFFINE = (24, 28, 20), np.diag([4.0, 4.0, 4.0, 1.0])


def egg(seed: int, shape=SHAPE) -> np.ndarray:
    """An egg with structure on a background of 0, int16."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    inside = (x / 0.8) ** 2 + (y / 0.85) ** 2 + (z / 0.9) ** 2 < 1
    noise = np.random.default_rng(seed).normal(size=shape)
    return (
        inside * np.clip(0.6 + 0.3 * np.sin(9 * x + seed) * np.cos(7 * y) + 0.05 * noise, 0.01, None) * 1000
    ).astype(np.int16)


def write(path: Path, data: np.ndarray, affine=AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = MGHImage if path.suffix in (".mgz", ".mgh") else nib.Nifti1Image
    kind(data, affine).to_filename(path)
    return path


def picture(path: Path, data: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(data).save(path)


def plain(root: Path, count=8) -> None:
    for n in range(1, count + 1):
        write(root / f"s{n}_t1.nii.gz", egg(n))


def masked(root: Path) -> None:
    for n in range(1, 9):
        case = root / ("AD" if n % 2 else "CN") / f"s{n}"
        for place, name in enumerate(("T1", "FLAIR")):
            write(case / f"{name}.nii.gz", egg(n + 20 * place))
        write(case / "lesion.nii.gz", (egg(n) > 700).astype(np.uint8))


def next_to_each_other(root: Path) -> None:
    for n in range(1, 7):
        write(root / f"case{n}.nii.gz", egg(n))
        write(root / f"case{n}_seg.nii.gz", (egg(n) > 700).astype(np.uint8))


def bids(root: Path) -> None:
    for n in range(1, 7):
        for session in (1, 2):
            name = f"sub-{n:02d}/ses-{session}/anat/sub-{n:02d}_ses-{session}"
            write(root / f"{name}_T1w.nii.gz", egg(10 * n + session))
            write(root / f"{name}_acq-x_FLAIR.nii.gz", egg(10 * n + session + 5))
            write(root / f"{name}_acq-y_FLAIR.nii.gz", egg(10 * n + session + 7))
    write(root / "sub-01/func/sub-01_bold.nii.gz", np.zeros((4, 4, 4, 3), np.int16))
    (root / "participants.tsv").write_text("participant_id\tage\tgroup\nsub-01\t30\tx\n")


def freesurfer(root: Path) -> None:
    for n in range(1, 7):
        write(root / f"s{n}/mri/T1.mgz", egg(n).astype(np.float32))


def other_grids(root: Path) -> None:
    for n in range(1, 7):
        write(root / f"s{n}_t1.nii.gz", egg(n))
        write(root / f"s{n}_t2.nii.gz", egg(n, (24, 28, 10)), np.diag([4.0, 4.0, 8.0, 1.0]))


def large_field(root: Path) -> None:
    for n in range(1, 7):
        margin = 12 * (n % 2)
        write(root / f"s{n}_t1.nii.gz", np.pad(egg(n), ((margin, margin), (margin, margin), (0, 0))))


def dicom(root: Path) -> None:
    for n in range(1, 7):
        for place, contrast in enumerate(("t1", "flair")):
            folder = root / f"p{n}/{contrast}"
            folder.mkdir(parents=True)
            for z in range(4, 14):
                write_slice(folder / f"i{z}.dcm", egg(n + 20 * place)[:, :, z], 4.0 * z, series=f"1.2.{n}.{place + 1}")


def export(root: Path) -> None:
    """Two patients with two series each, all in one folder."""
    root.mkdir()
    for n in (1, 2):
        for place, description in enumerate(("Doe Jane T1 mprage", "Doe Jane tse FLAIR")):
            for z in range(4, 14):
                tags = {"PatientID": f"4711-{n}", "StudyInstanceUID": f"1.5.{n}", "SeriesDescription": description}
                pixels = egg(n + 20 * place)[:, :, z]
                write_slice(root / f"{n}{place}{z:02d}", pixels, 4.0 * z, series=f"1.2.{n}.{place + 1}", **tags)


def pictures(root: Path, dtype=np.uint8) -> None:
    for n in range(1, 7):
        for z in range(6, 14):
            pixels = (egg(n)[:, :, z] / 1000 * 0.8 * np.iinfo(dtype).max).astype(dtype)
            picture(root / f"{'AD' if n % 2 else 'CN'}/{100 + n}_{z}.png", pixels)


def pictures_16bit(root: Path) -> None:
    pictures(root, np.uint16)


def inspected(root: Path, out: Path, capsys, *words: str) -> SimpleNamespace:
    """What the command prints, and the row that it writes."""
    assert main([str(root), "--out", str(out), "--threads", "1", *words]) == 0
    text = capsys.readouterr().out
    pasted = yaml.safe_load((out / "row.yaml").read_text())
    name, proposed = next(iter(pasted["datasets"].items()))
    shown = text.partition("datasets:\n")[2].partition("\n\nwritten: ")[0]
    assert yaml.safe_load("datasets:\n" + shown) == pasted
    return SimpleNamespace(text=text, name=name, row=proposed, pasted=pasted)


def stored(found: SimpleNamespace, config: dict, folder: Path) -> Store:
    """Paste the row into config.yaml, and run the data steps."""
    config["datasets"] |= found.pasted["datasets"]
    config["study"]["datasets"] = [found.name]
    study = load(config, SCHEMA)
    raw = fetch(study.dataset(found.name)["source"], folder / "raw")
    convert(study.volumes_spec(found.name), raw, folder / "volumes")
    build_store(study.store_spec(found.name), folder / "volumes", folder / "store", name=found.name)
    return Store.open(folder / "store")


ROWS = {
    "plain": (plain, 8, {"pattern": "{subject}_{contrast}.nii.gz", "contrasts": ["t1"]}),
    "masked": (
        masked,
        8,
        {
            "pattern": "{label}/{subject}/{contrast}.nii.gz",
            "contrasts": ["T1", "FLAIR"],
            "mask": "lesion",
            "labels": "folder",
        },
    ),
    "next_to_each_other": (next_to_each_other, 6, {"contrasts": ["image"], "mask": "seg"}),
    "bids": (
        bids,
        6,
        {
            "layout": "bids",
            "contrasts": ["T1w", "x_FLAIR", "y_FLAIR"],
            "pattern": {"x_FLAIR": "acq-x_FLAIR", "y_FLAIR": "acq-y_FLAIR"},
        },
    ),
    "freesurfer": (freesurfer, 6, {"pattern": "{subject}/mri/{contrast}.mgz"}),
    "other_grids": (other_grids, 6, {"align": True, "contrasts": ["t1", "t2"]}),
    "large_field": (large_field, 6, {"slices": {"axis": "axial", "size": 64, "fraction": 0.1}}),
    "dicom": (dicom, 6, {"layout": "dicom", "pattern": "{subject}/{contrast}", "contrasts": ["t1", "flair"]}),
    "export": (export, 2, {"pattern": {"t1": "series: *t1*", "flair": "series: *flair*"}}),
    "pictures": (
        pictures,
        6,
        {"layout": "images", "pattern": "{subject}_{slice}", "intensity": {"map": "window", "low": 0, "high": 255}},
    ),
    "pictures_16bit": (pictures_16bit, 6, {"intensity": {"map": "window", "low": 0, "high": 65535}}),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_row_works_as_pasted(name, tmp_path, config, capsys):
    make, subjects, expected = ROWS[name]
    make(tmp_path / "raw")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "raw").rglob("*")}
    found = inspected(tmp_path / "raw", tmp_path / "out", capsys)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "raw").rglob("*")} == before
    assert {key: found.row[key] for key in expected} == expected
    assert f"\nsubjects: {subjects}" in found.text and "refused" not in found.text
    sheet = tmp_path / "out/contact_sheet.png"
    assert found.text.endswith(f"written: {sheet}, {tmp_path / 'out/row.yaml'}\n") and sheet.stat().st_size > 500
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"contact_sheet.png", "row.yaml"}
    store = stored(found, config, tmp_path / "study")
    assert store.index[store.index.kept].subject.nunique() == subjects
    if subjects >= row.LEAST:
        store.check_scores()


def test_identifiers_are_not_shown(tmp_path, capsys):
    export(tmp_path / "raw")
    assert main([str(tmp_path / "raw"), "--out", str(tmp_path / "out")]) == 0
    shown = "".join(capsys.readouterr()) + (tmp_path / "out/row.yaml").read_text()
    assert not re.search(r"doe|jane|4711|1970|mprage|1\.5\.", shown, re.IGNORECASE) and "subjects: 2" in shown


def test_what_is_odd_in_a_folder_is_said(tmp_path, capsys):
    raw = tmp_path / "raw"
    plain(raw, 5)
    scored = (egg(6).astype(np.float32) - 500) / 100
    write(raw / "s6_t1.nii.gz", scored)
    (raw / "s7_t1.nii.gz").write_bytes(gzip.compress(gzip.decompress((raw / "s2_t1.nii.gz").read_bytes()), 1))
    write(raw / "s1_t2.nii.gz", egg(9))
    (raw / "notes.txt").write_text("x")
    (raw / "s1_t1.mnc").write_bytes(b"x")
    picture(raw / "view.png", egg(1)[:, :, 9].astype(np.uint8))
    found = inspected(raw, tmp_path / "out", capsys)
    assert found.row["intensity"] == {"map": "minmax"} and found.row["contrasts"] == ["t1"]
    for part in (
        ": 8 volumes, 1 picture, 2 other files\n",
        "t1        7         7      24 x 28 x 20  4 x 4 x 4  RAS   int16 and float32\n",
        "t1        -5 to 0       ",
        "  s2_t1.nii.gz = s7_t1.nii.gz\n",
        "  1 contrast not in the row: t2\n",
        "  1 picture: view.png\n",
        "s1_t1.mnc: .mnc is not read, convert it to NIfTI, e.g. with mnc2nii\n",
        "  1 file of other kinds: notes.txt\n",
        "of the voxels are below 0 (z-scores, phase?)",
        "contrasts: [t1]  # not all of the 7 subjects have t2 (1)\n",
    ):
        assert part in found.text, part


def test_equal_voxels_are_found_and_empty_masks_are_not_reported(tmp_path, capsys):
    for n in range(1, 6):
        write(tmp_path / f"raw/s{n}_t1.nii.gz", egg(n))
        write(tmp_path / f"raw/s{n}_lesion.nii.gz", np.zeros(SHAPE, np.uint8))
    shifted = AFFINE + np.array([[0, 0, 0, 1.0]] * 3 + [[0] * 4])
    write(tmp_path / "raw/s5_t1.nii.gz", egg(4), shifted)
    write(tmp_path / "raw/s5_lesion.nii.gz", np.zeros(SHAPE, np.uint8), shifted)
    found = inspected(tmp_path / "raw", tmp_path / "out", capsys)
    assert found.row["mask"] == "lesion"
    assert "equal images\n  s4 t1 = s5 t1 (the same voxels)\n\n" in found.text


def test_a_pipe_and_a_link_to_nowhere_do_not_stop_it(tmp_path, capsys):
    plain(tmp_path / "raw")
    os.mkfifo(tmp_path / "raw/s9_t1.nii.gz")
    (tmp_path / "raw/s0_t1.nii.gz").symlink_to("/nowhere/s0.nii.gz")
    found = inspected(tmp_path / "raw", tmp_path / "out", capsys)
    assert "s9_t1.nii.gz: a pipe, socket or device" in found.text and "refused: " in found.text


def test_8_bits_and_masks_are_noticed(tmp_path, capsys):
    for n in range(1, 6):
        write(tmp_path / f"raw/images/s{n}.nii.gz", (egg(n) // 5).astype(np.uint8))
        write(tmp_path / f"raw/truth/s{n}.nii.gz", (egg(n) > 700).astype(np.uint8) * 2)
    found = inspected(tmp_path / "raw", tmp_path / "out", capsys)
    assert found.row["mask"] == "truth" and "images: 8 bits, at most 256 values" in found.text


def test_a_file_that_cannot_be_read_is_named_and_the_row_refused(tmp_path, capsys):
    plain(tmp_path / "raw")
    path = tmp_path / "raw/s3_t1.nii.gz"
    path.write_bytes(path.read_bytes()[:200])
    found = inspected(tmp_path / "raw", tmp_path / "out", capsys)
    assert f"refused: {path}: damaged" in found.text and "which is refused as it is" in found.text
    assert (tmp_path / "out/row.yaml").read_text().startswith("# refused as it is: ")


def test_equal_pictures_in_train_and_test_are_listed(tmp_path, capsys):
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for n in range(6):
            picture(tmp_path / f"raw/{split}/A/{n}.png", random.integers(0, 256, (20, 20), np.uint8))
    (tmp_path / "raw/test/A/9.png").write_bytes((tmp_path / "raw/train/A/2.png").read_bytes())
    found = inspected(tmp_path / "raw", tmp_path / "out", capsys)
    assert "  test/A/9.png = train/A/2.png\n" in found.text and "refused: " in found.text


def test_some_subjects_are_read_unless_all_are_asked_for(tmp_path, monkeypatch, capsys):
    plain(tmp_path / "raw")
    monkeypatch.setattr(folders, "SUBJECTS", 3)
    assert "intensities (3 of 8 subjects were read)" in inspected(tmp_path / "raw", tmp_path / "a", capsys).text
    found = inspected(tmp_path / "raw", tmp_path / "a", capsys, "--all")
    assert "intensities (all subjects were read)" in found.text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "no such folder"),
        (lambda root: root.write_bytes(b"x"), "a file, not a folder; unpack it"),
        (lambda root: root.mkdir(), "the folder is empty"),
        (lambda root: (root.mkdir(), (root / "a.mnc").write_bytes(b"x")),
         "no images among its 1 files (.mnc is not read, convert it to NIfTI, e.g. with mnc2nii)"),
        (lambda root: picture(root / "a.png", egg(0)[:, :, 9].astype(np.uint8)), "not in class folders"),
        (lambda root: write(root / "s1.nii", np.zeros((3, 3, 3, 2), np.int16)), "4-D (3 x 3 x 3 x 2)"),
    ],
)  # fmt: skip
def test_a_folder_without_images_is_one_line(make, message, tmp_path, capsys):
    make(tmp_path / "raw")
    assert main([str(tmp_path / "raw"), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [["x", "--subjects", "3"], ["x", "--configfile", "y"], ["--dataset", "x", "--all"]])
def test_options_without_effect_are_refused(words, capsys):
    assert main(words) == 1
    assert re.search(r"^error: --\w+ has no effect on a (folder|data set); leave it out\n$", capsys.readouterr().err)


def test_nothing_is_written_into_the_folder(tmp_path, monkeypatch, capsys):
    plain(tmp_path / "raw", 1)
    monkeypatch.chdir(tmp_path / "raw")
    for words in ([str(tmp_path / "raw")], [str(tmp_path / "raw"), "--out", str(tmp_path / "raw/x")]):
        assert main(words) == 1
        assert "lies in the folder to inspect, where nothing is written" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["s1_t1.nii.gz"]


def test_the_defaults_of_a_row_are_those_of_the_schema(config):
    config["datasets"]["x"] = {"source": {"path": "x"}, "layout": "ixi", "contrasts": ["t1"]}
    given = load(config, SCHEMA).dataset("x")
    assert row.complete({"source": {"path": "x"}, "layout": "ixi", "contrasts": ["t1"]}) == given


def test_a_wide_interval_is_said_to_be_wide():
    assert width.wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert width.wilson(0.9, 20) == pytest.approx((0.6990, 0.9721), abs=1e-4)
    assert width.wilson(0.5, 0) == (0, 1) and width.relative(1) == float("inf")
    assert width.relative(12) == pytest.approx(0.6354, abs=1e-4)
    assert "of the order of +-64% of its value" in width.sentences(12)[1] and "wider than it" in width.sentences(3)[1]
    assert width.sentences(1) == ["no interval: an interval over patients needs 2 of them"]


# A configured data set.


def overlay(folder: Path, **changes) -> list[str]:
    """Words of the command for the data set d in ``folder``/raw."""
    spec = {
        "source": {"path": str(folder / "raw")},
        "layout": "nifti",
        "pattern": "{subject}_{contrast}.nii.gz",
        "contrasts": ["t1"],
        "slices": {"size": 32},
        "split": {"train": 0.4, "val": 0.3, "test": 0.3},
    }
    content = {"study": {"name": "s", "datasets": ["d"]}, "datasets": {"d": spec | changes}}
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    words = ["--dataset", "d", "--configfile", str(folder / "study.yaml"), "--results", str(folder / "results")]
    return [*words, "--out", str(folder / "out"), "--threads", "1"]


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(REPOSITORY)
    plain(tmp_path / "raw")
    margin = np.pad(egg(9), ((20, 20), (20, 20), (0, 0)))
    write(tmp_path / "raw/s9_t1.nii.gz", margin)
    return tmp_path


def test_a_data_set_is_reported_as_its_store_will_be(home, config, capsys):
    words = overlay(home)
    assert main(words) == 0
    text = capsys.readouterr().out
    config["datasets"]["d"] = yaml.safe_load((home / "study.yaml").read_text())["datasets"]["d"]
    found = SimpleNamespace(name="d", pasted={"datasets": {"d": config["datasets"]["d"]}})
    store = stored(found, config, home / "results/s/data/d")
    for subject, of in store.index.groupby("subject"):
        line = rf"\n  {subject} +{of.split.iloc[0]} +{of.kept.sum()} +20 +{(~of.kept).sum()} fraction <= 0.25\n"
        assert re.search(line, text), subject
    for split in ("train", "val", "test"):
        mine = store.index[store.index.split == split]
        kept = mine[mine.kept]
        counts = f"{mine.subject.nunique()} +{kept.subject.nunique()} +{len(kept)}"
        assert re.search(rf"\n  {split} +{counts}\n", text), split
    assert "1 subject keeps no slice (s9)" in text
    assert "subjects in the test split:" in text and "a share such as recall: at most" in text
    # The same from the store, and from the volumes.
    tables = []
    for _ in range(2):
        assert main(words) == 0
        again = capsys.readouterr().out
        tables.append(text.partition("slices of each subject")[2].partition("look at")[0])
        assert tables[-1] == again.partition("slices of each subject")[2].partition("look at")[0]
        (home / "results/s/data/d/store").rename(home / "gone") if not (home / "gone").exists() else None
    assert f"from the volumes {home / 'results/s/data/d/volumes'}\n" in again


def test_some_subjects_of_a_data_set(home, capsys):
    assert main([*overlay(home), "--subjects", "3"]) == 0
    text = capsys.readouterr().out
    assert ", 3 of the subjects were read\n" in text and "d: 9 subjects" in text
    assert sum(map(int, re.findall(r"\n  (?:train|val|test) +(\d+) ", text.partition("splits")[2]))) == 9
    assert main([*overlay(home), "--subjects", "0"]) == 1


def test_subjects_may_lack_a_contrast_where_the_row_says_so(home, capsys):
    for n in (1, 2, 3):
        write(home / f"raw/s{n}_t2.nii.gz", egg(n + 50))
    words = overlay(home, contrasts=["t1", "t2"], missing="leave", translate={"source": ["t2"], "target": ["t1"]})
    content = yaml.safe_load((home / "study.yaml").read_text())
    (home / "study.yaml").write_text(yaml.safe_dump(content | {"study": content["study"] | {"variants": ["pix2pix"]}}))
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "d: 9 subjects, contrasts t1, t2\n" in text and re.search(r"\n  t2 +24 x 28 x 20 ", text)


def test_too_few_subjects_for_scores_are_said_with_the_number_that_works(home, capsys):
    assert main(overlay(home, split={"train": 0.8, "val": 0.1, "test": 0.1})) == 0
    text = capsys.readouterr().out
    assert "no scores: split val: 1 of 8 subjects with images, scores need 2; have " in text
    assert main(overlay(home, split={"train": 1, "val": 0, "test": 0})) == 0
    assert "no scores: split.val or split.test is 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"source": {"url": "http://localhost/x.zip"}},
            "its source is an address and is not here yet; fetch it first: ",
        ),
        ({"pattern": "{subject}_{contrast}.mgz"}, "nothing matches layout nifti"),
        ({"source": {"path": "/nowhere/x"}}, "/nowhere/x: no such file or folder"),
        ({"contrasts": ["t1", "t2"]}, "no contrast t2"),
    ],
)
def test_what_a_data_set_lacks_is_one_line(changes, message, home, capsys):
    assert main(overlay(home, **changes)) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and message in error


def test_an_unknown_data_set_and_no_folder(home, capsys):
    assert main([*overlay(home), "--dataset", "nothing"]) == 1
    assert "'nothing' is not in the config; it has phantom, " in capsys.readouterr().err
    assert main([]) == 1
    assert "give a folder, or --dataset" in capsys.readouterr().err


def test_a_subject_that_fails_is_named_and_the_others_are_reported(home, capsys):
    (home / "raw/s4_t1.nii.gz").write_bytes(b"x")
    assert main(overlay(home)) == 0
    text = capsys.readouterr().out
    assert f"refused: {home / 'raw/s4_t1.nii.gz'}: damaged" in text and "8 of the subjects were read" in text


def test_torch_is_not_needed(home):
    calls = [overlay(home), [str(home / "raw"), "--out", str(home / "out")]]
    code = f"import sys; from gan.inspect.command import main; done = [main(words) for words in {calls}]\n"
    code += "print(done, [name for name in ('torch', 'mlflow') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[0, 0] []\n")


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["open_ms_mni", "msd_hippocampus", "ixi_t1_2mm", "dicom_studyforrest_t1_slab"])
def test_rows_of_real_folders_work_as_pasted(name, real_data, tmp_path, config, capsys):
    found = inspected(real_data / name, tmp_path / "out", capsys)
    store = stored(found, config, tmp_path / "study")
    assert store.index[store.index.kept].subject.nunique() == len(set(store.index.subject))
