"""Conversion: what a volume looks like afterwards, what is refused, and that a failure leaves nothing behind."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform
from PIL import Image

from gan.data import volumes
from gan.data.align import resample, same_grid
from gan.data.nifti import Volume, read_nifti
from gan.data.volumes import convert
from gan.errors import GanError

ROW = {
    "layout": "nifti",
    "pattern": "{subject}_{contrast}.nii.gz",
    "contrasts": ["t1", "t2"],
    "reference": None,
    "align": False,
    "mask": None,
    "labels": None,
}
SHAPE = (7, 6, 5)
AFFINE = np.array([[1.0, 0, 0, -30], [0, 1.5, 0, -40], [0, 0, 2.0, -10], [0, 0, 0, 1]])


def brain(seed=0, shape=SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 4000, shape).astype(np.int16)


def save(path: Path, data: np.ndarray, affine=AFFINE, slope=None, **header) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data, affine)
    for key, value in header.items():
        image.header[key] = value
    if slope:
        image.header.set_slope_inter(slope, 0)
    image.to_filename(path)
    return path


@pytest.fixture
def raw(tmp_path) -> Path:
    """Three subjects with two contrasts each."""
    for place, subject in enumerate("abc"):
        for contrast in ("t1", "t2"):
            save(tmp_path / f"raw/{subject}_{contrast}.nii.gz", brain(place + 10 * (contrast == "t2")))
    return tmp_path / "raw"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def reorient(data: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
    """RAS ``data`` on AFFINE, stored in another orientation."""
    transform = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    return nib.apply_orientation(data, transform), AFFINE @ inv_ornt_aff(transform, data.shape)


@pytest.mark.parametrize("codes", ["RAS", "LAS", "PSR", "ILA"])
def test_any_orientation_becomes_ras(tmp_path, codes):
    data, affine = reorient(brain(), codes)
    save(tmp_path / "raw/a_t1.nii.gz", data, affine)
    convert({**ROW, "contrasts": ["t1"]}, tmp_path / "raw", tmp_path / "volumes")
    image = nib.load(tmp_path / "volumes/a_t1.nii")
    np.testing.assert_array_equal(np.asarray(image.dataobj), brain())
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "slope", "stored"),
    [("uint8", 13.9, "uint8"), ("int16", None, "int16"), (">i2", None, "int16"), ("int32", 0.5, "int32"),
     ("float64", None, "float32"), (">f4", None, "float32")],
)  # fmt: skip
def test_integers_keep_their_type_and_floats_are_single(tmp_path, dtype, slope, stored):
    data = (brain() % 250).astype(dtype)
    source = save(tmp_path / "raw/a_t1.nii.gz", data, slope=slope)
    convert({**ROW, "contrasts": ["t1"]}, tmp_path / "raw", tmp_path / "volumes")
    image = nib.load(tmp_path / "volumes/a_t1.nii")
    assert image.get_data_dtype() == np.dtype(stored)
    np.testing.assert_allclose(image.get_fdata(), nib.load(source).get_fdata(), rtol=1e-6)


def test_nothing_of_the_old_header_is_left(tmp_path):
    image = nib.Nifti1Image(brain(), AFFINE)
    for field in ("descrip", "db_name", "aux_file", "intent_name"):
        image.header[field] = b"Doe^Jane"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Doe^Jane 1970-01-01"))
    (tmp_path / "raw").mkdir()
    image.to_filename(tmp_path / "raw/a_t1.nii.gz")
    convert({**ROW, "contrasts": ["t1"]}, tmp_path / "raw", tmp_path / "volumes")
    written = contents(tmp_path / "volumes")
    assert sorted(written) == ["a_t1.nii", "volumes.csv"]
    assert not any(word in content for content in written.values() for word in (b"Doe", b"1970"))
    assert len(written["a_t1.nii"]) == 352 + brain().nbytes


def test_identifying_dicom_tags_stay_behind(tmp_path):
    from test_dicom import write_stack

    (tmp_path / "raw").mkdir()
    write_stack(tmp_path / "raw/a")
    write_stack(tmp_path / "raw/b")
    convert({**ROW, "layout": "dicom", "pattern": "{subject}", "contrasts": ["t1"]}, tmp_path / "raw", tmp_path / "out")
    for content in contents(tmp_path / "out").values():
        assert not any(word in content for word in (b"Doe", b"Jane", b"4711", b"1970"))


def test_what_is_left_out_of_a_series_is_in_the_table_and_in_the_log(tmp_path, capsys):
    from test_dicom import report, write_stack

    spec = {**ROW, "layout": "dicom", "pattern": "{subject}", "contrasts": ["t1"]}
    (tmp_path / "raw").mkdir()
    for name in "abc":
        write_stack(tmp_path / f"raw/{name}")
    convert(spec, tmp_path / "raw", tmp_path / "plain")
    assert "notes" not in pd.read_csv(tmp_path / "plain/volumes.csv") and "warning" not in capsys.readouterr().err
    report(tmp_path / "raw/b/r.dcm")
    convert(spec, tmp_path / "raw", tmp_path / "noted", workers=2)
    notes = pd.read_csv(tmp_path / "noted/volumes.csv", keep_default_na=False)["notes"].tolist()
    assert notes == ["", "left out objects without an image, such as reports: 1", ""]
    assert "warning: 1 of 3 volumes: left out objects" in capsys.readouterr().err


def test_the_table_and_the_bytes_do_not_depend_on_workers(raw, tmp_path):
    convert(ROW, raw, tmp_path / "one")
    convert(ROW, raw, tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    table = pd.read_csv(tmp_path / "one/volumes.csv")
    assert table["file"].tolist() == [f"{s}_{c}.nii" for s in "abc" for c in ("t1", "t2")]
    assert table["shape"].unique().tolist() == ["7x6x5"] and table["spacing"].unique().tolist() == ["1x1.5x2"]


def with_nan(path: Path) -> None:
    data = brain().astype(np.float32)
    data[1, 2, 3], data[0, 0, 0] = np.nan, np.inf
    save(path, data)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1  # in the checksum
    path.write_bytes(content)


def short(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-40]))


BAD = {
    "truncated": (truncated, "b_t2.nii.gz: damaged or not NIfTI .* restore it"),
    "checksum": (flipped, "b_t2.nii.gz: damaged or not NIfTI"),
    "empty": (lambda path: path.write_bytes(b""), "b_t2.nii.gz: damaged or not NIfTI"),
    "short": (short, "b_t2.nii.gz: damaged or not NIfTI"),
    "text": (lambda path: path.write_text("no scan"), "b_t2.nii.gz: damaged or not NIfTI"),
    "NaN": (with_nan, "b_t2.nii.gz: 2 voxels are NaN or infinite"),
    "4-D": (lambda path: save(path, np.stack([brain()] * 2, -1)), r"b_t2.nii.gz: 4-D \(7 x 6 x 5 x 2\).*fslsplit"),
    "all-zero": (lambda path: save(path, np.zeros(SHAPE, np.int16)), "b_t2.nii.gz: all-zero"),
    "constant": (lambda path: save(path, np.full(SHAPE, 7, np.int16)), "b_t2.nii.gz: constant"),
    "complex": (lambda path: save(path, brain().astype(np.complex64)), "b_t2.nii.gz: voxels of type complex64"),
    "no orientation": (lambda path: save(path, brain(), affine=None), "b_t2.nii.gz: no orientation"),
    "other grid": (
        lambda path: save(path, brain(shape=(7, 6, 4))),
        "b_t2.nii.gz: t2 is on another grid.*align: true",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_volume_is_named_and_nothing_is_written(raw, tmp_path, case):
    damage, message = BAD[case]
    (tmp_path / "volumes").mkdir()
    (tmp_path / "volumes/earlier").write_text("result")
    damage(raw / "b_t2.nii.gz")
    with pytest.raises(GanError, match=message) as caught:
        convert(ROW, raw, tmp_path / "volumes")
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "volumes"]
    assert contents(tmp_path / "volumes") == {"earlier": b"result"}


@pytest.mark.parametrize("workers", [1, 2])
def test_all_errors_come_together(tmp_path, workers):
    for subject in "abcdef":
        path = save(tmp_path / f"raw/{subject}_t1.nii.gz", brain())
        if subject != "c":
            truncated(path)
    with pytest.raises(GanError, match=r"5 of 6 subjects fail: .*a_t1.*b_t1.*d_t1.*; and 2 more$") as caught:
        convert({**ROW, "contrasts": ["t1"]}, tmp_path / "raw", tmp_path / "volumes", workers=workers)
    assert "\n" not in str(caught.value) and not (tmp_path / "volumes").exists()


def test_two_volumes_with_one_name(tmp_path):
    for name in ("a/b_c.nii.gz", "a_b/c.nii.gz", "a/c.nii.gz", "a_b/b_c.nii.gz"):
        save(tmp_path / "raw" / name, brain())
    with pytest.raises(GanError, match=r"a_b_c.nii: 2 volumes would get this name"):
        convert(
            {**ROW, "pattern": "{subject}/{contrast}.nii.gz", "contrasts": ["c", "b_c"]},
            tmp_path / "raw",
            tmp_path / "v",
        )


def test_a_full_disk_is_one_line_and_leaves_nothing(raw, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(volumes, "write_nifti", full)
    with pytest.raises(GanError, match="no space left"):
        convert(ROW, raw, tmp_path / "volumes")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


def test_contrasts_on_other_grids_are_resampled_when_asked(tmp_path):
    """A ramp in world coordinates is the same ramp on any grid; the mask keeps its labels."""
    fine = np.diag([0.5, 0.5, 0.5, 1.0])
    fine[:3, 3] = AFFINE[:3, 3]
    points = np.stack(np.meshgrid(*map(np.arange, (14, 18, 20)), indexing="ij"), -1) @ fine[:3, :3].T + fine[:3, 3]
    save(tmp_path / "raw/a_t1.nii.gz", brain())
    save(tmp_path / "raw/a_t2.nii.gz", (100 + points @ (1, 2, 3)).astype(np.float32), fine)
    save(tmp_path / "raw/a_seg.nii.gz", np.where(points[..., 0] > -27.25, 4, 0).astype(np.int16), fine)
    convert({**ROW, "align": True, "mask": "seg"}, tmp_path / "raw", tmp_path / "volumes")
    t1, t2, seg = (nib.load(tmp_path / f"volumes/a_{name}.nii") for name in ("t1", "t2", "seg"))
    np.testing.assert_array_equal(t2.affine, t1.affine)
    world = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    np.testing.assert_allclose(t2.get_fdata()[:-1], (100 + world @ (1, 2, 3))[:-1], rtol=1e-4)
    np.testing.assert_array_equal(np.asarray(seg.dataobj), np.where(world[..., 0] > -27.25, 4, 0))
    assert seg.get_data_dtype() == np.uint8


def test_alignment_without_overlap_is_refused(tmp_path):
    far = AFFINE.copy()
    far[0, 3] = 5000
    save(tmp_path / "raw/a_t1.nii.gz", brain())
    save(tmp_path / "raw/a_t2.nii.gz", brain(1), far)
    with pytest.raises(GanError, match=r"a_t2.nii.gz: does not overlap t1"):
        convert({**ROW, "align": True}, tmp_path / "raw", tmp_path / "volumes")


@pytest.mark.parametrize(("shift", "same"), [(0.0, True), (0.01, True), (0.2, False)])
def test_grids_are_compared_with_a_tolerance(shift, same):
    moved = AFFINE.copy()
    moved[2, 3] += shift
    assert same_grid(Volume(brain(), AFFINE), Volume(brain(), moved)) is same
    assert np.array_equal(resample(Volume(brain(), AFFINE), Volume(brain(), AFFINE)).data, brain())


@pytest.mark.parametrize(
    "bad", [np.full(SHAPE, 0.5), np.full(SHAPE, -1.0), np.full(SHAPE, 70000.0), np.full(SHAPE, np.nan)]
)
def test_a_mask_holds_label_numbers(tmp_path, bad):
    save(tmp_path / "raw/a_t1.nii.gz", brain())
    save(tmp_path / "raw/a_seg.nii.gz", bad.astype(np.float32))
    with pytest.raises(GanError, match=r"a_seg.nii.gz: a mask holds whole label numbers"):
        convert({**ROW, "contrasts": ["t1"], "mask": "seg"}, tmp_path / "raw", tmp_path / "volumes")


def test_an_empty_mask_is_sound(tmp_path):
    save(tmp_path / "raw/a_t1.nii.gz", brain())
    save(tmp_path / "raw/a_seg.nii.gz", np.zeros(SHAPE, np.float32))
    convert({**ROW, "contrasts": ["t1"], "mask": "seg"}, tmp_path / "raw", tmp_path / "volumes")
    assert nib.load(tmp_path / "volumes/a_seg.nii").get_data_dtype() == np.uint8


def test_nifti_2_and_a_trailing_axis_of_one(tmp_path):
    nib.Nifti2Image(brain()[..., None], AFFINE).to_filename(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_nifti(tmp_path / "a.nii.gz").data, brain())


IMAGES = {**ROW, "layout": "images", "pattern": None, "contrasts": ["t1"]}


def test_pictures_are_checked_and_listed_where_they_are(tmp_path):
    for name, mode in (("train/x/p.png", "L"), ("train/y/q.jpg", "RGB"), ("test/x/r.png", "RGBA")):
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(brain(len(mode), (6, 7, 4)).astype(np.uint8), "RGBA").convert(mode).save(path)
    convert({**IMAGES, "labels": "folder"}, tmp_path / "raw", tmp_path / "volumes", workers=2)
    assert [path.name for path in (tmp_path / "volumes").iterdir()] == ["volumes.csv"]
    table = pd.read_csv(tmp_path / "volumes/volumes.csv")
    assert sorted(zip(table["label"], table["split"], table["shape"], strict=True)) == [
        ("x", "test", "6x7"), ("x", "train", "6x7"), ("y", "train", "6x7"),
    ]  # fmt: skip
    assert all((tmp_path / "volumes" / file).is_file() for file in table["file"])


def test_an_image_file_that_is_cut_is_named(tmp_path):
    path = tmp_path / "raw/x/cut.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(brain(0, (60, 70)).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(GanError, match=r"cut.png: not an image, or a damaged one"):
        convert(IMAGES, tmp_path / "raw", tmp_path / "volumes")


def test_gzip_in_several_members(tmp_path):
    nib.Nifti1Image(brain(), AFFINE).to_filename(tmp_path / "one.nii.gz")
    content = gzip.decompress((tmp_path / "one.nii.gz").read_bytes())
    (tmp_path / "two.nii.gz").write_bytes(gzip.compress(content[:400]) + gzip.compress(content[400:]) + bytes(8))
    np.testing.assert_array_equal(read_nifti(tmp_path / "two.nii.gz").data, brain())


@pytest.fixture
def header(tmp_path):
    """Write a volume with fields of its header changed in the file, as no library would."""

    def write(name="a.nii.gz", affine=AFFINE, kind=nib.Nifti1Image, **fields) -> Path:
        image = kind(brain(), affine)
        image.set_qform(affine, 1)
        content = image.to_bytes()
        length = 540 if kind is nib.Nifti2Image else 348
        raw = kind.header_class(content[:length], check=False)
        for key, value in fields.items():
            raw[key] = value
        content = raw.binaryblock + content[length:]
        (tmp_path / name).write_bytes(gzip.compress(content) if name.lower().endswith("gz") else content)
        return tmp_path / name

    return write


QFORM = {"sform_code": 0, "qform_code": 1}
HALF_TURN = {"quatern_b": np.sqrt(0.5), "quatern_c": np.sqrt(0.5), "quatern_d": 0}


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("excess", [0, 1e-6, 2e-5])
def test_a_quaternion_that_rounding_made_longer_than_1_is_read(header, kind, excess):
    turned = HALF_TURN | {"quatern_b": np.sqrt(0.5 + excess)}
    volume = read_nifti(header(kind=kind, **QFORM, **turned))
    np.testing.assert_allclose(volume.affine[:3, :3], [[0, 1.5, 0], [1, 0, 0], [0, 0, -2]], atol=2e-2)


def test_a_quaternion_that_is_none_is_refused(header):
    with pytest.raises(GanError, match="damaged or not NIfTI"):
        read_nifti(header(**QFORM, **HALF_TURN | {"quatern_b": 1.0}))


@pytest.mark.parametrize("size", [0, np.nan])
def test_a_voxel_size_of_0_is_refused_where_it_decides(header, size):
    sizes = [1, 1, 1.5, size, 0, 0, 0, 0]
    with pytest.raises(GanError, match=rf"a.nii.gz: voxels of 1 x 1.5 x {size:g} mm in its header"):
        read_nifti(header(**QFORM, pixdim=sizes))
    volume = read_nifti(header(sform_code=1, qform_code=1, pixdim=sizes))
    np.testing.assert_array_equal(volume.affine, AFFINE)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.NII.GZ"])
def test_an_offset_of_0_is_not_the_header(header, kind, name):
    np.testing.assert_array_equal(read_nifti(header(name, kind=kind, vox_offset=0)).data, brain())


def test_an_offset_of_0_before_extensions_is_refused(tmp_path):
    image = nib.Nifti1Image(brain(), AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"words"))
    content = bytearray(image.to_bytes())
    content[108:112] = bytes(4)
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(GanError, match="vox_offset is 0 although extensions"):
        read_nifti(tmp_path / "a.nii")


@pytest.mark.parametrize(
    ("unit", "scale", "in_mm", "note"),
    [
        (2, 1.0, 1.0, ""),
        (1, 1e-3, 1.0, ""),  # metres, and said so
        (3, 1e3, 1.0, ""),
        (1, 1.0, 1.0, ""),  # said to be metres: no voxel is that large
        (0, 1e-3, 1e-3, "voxels of 0.001 x 0.0015 x 0.002 mm are not those of a scan"),
    ],
)
def test_units_of_the_header(header, unit, scale, in_mm, note):
    volume = read_nifti(header(affine=np.diag([scale] * 3 + [1]) @ AFFINE, xyzt_units=unit, sform_code=1))
    np.testing.assert_allclose(volume.affine, np.diag([in_mm] * 3 + [1]) @ AFFINE, rtol=1e-6)
    assert volume.notes.startswith(note) and bool(volume.notes) == bool(note)


def test_an_affine_without_volume_is_refused_whatever_its_size(header):
    flat = AFFINE.copy()
    flat[:, 2] = flat[:, 1]
    with pytest.raises(GanError, match="the affine is singular"):
        read_nifti(header(srow_x=flat[0], srow_y=flat[1], srow_z=flat[2], sform_code=1))
