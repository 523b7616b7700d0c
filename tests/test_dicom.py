"""DICOM series: order, geometry, choice of the series, and what is refused."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from gan.data.dicom import read_series
from gan.data.layouts import find
from gan.data.volumes import convert
from gan.errors import GanError

AXIAL = (1, 0, 0, 0, 1, 0)
SAGITTAL = (0, 1, 0, 0, 0, -1)
OBLIQUE = (1, 0, 0, 0, np.cos(0.3), np.sin(0.3))
SPACING = (0.8, 0.6)  # between rows, between columns
SHAPE = (6, 5)  # rows, columns


def write_slice(path: Path, pixels: np.ndarray, place: float, orientation=AXIAL, series="1.2.3", **tags) -> None:
    """One MR slice at ``place`` mm along the normal of its plane, with a name and a birth date in its header."""
    file = FileDataset(str(path), {}, file_meta=FileMetaDataset(), preamble=bytes(128))
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = MRImageStorage
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = generate_uid()
    file.PatientName, file.PatientID, file.PatientBirthDate = "Doe^Jane", "4711", "19700101"
    file.SeriesDescription = "Jane Doe T1"
    file.Modality, file.SeriesInstanceUID, file.SeriesNumber = "MR", series, int(series[-1])
    normal = np.cross(orientation[:3], orientation[3:])
    file.ImagePositionPatient = [f"{x:.6f}" for x in np.array([10.0, -20.0, 30.0]) + normal * place]
    file.ImageOrientationPatient = [f"{x:.9f}" for x in orientation]
    file.PixelSpacing, file.SliceThickness = list(SPACING), 1.0
    file.Rows, file.Columns = pixels.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 16
    file.HighBit, file.PixelRepresentation = 15, 0
    file.PixelData = pixels.astype(np.uint16).tobytes()
    for name, value in tags.items():
        setattr(file, name, value)
    file.save_as(path)


def write_stack(folder: Path, count=4, step=2.0, name="a", skip=(), **tags) -> np.ndarray:
    """``count`` slices with random pixels; their file names run against their order. Pixels [slices, rows, columns]."""
    folder.mkdir(exist_ok=True)
    pixels = np.random.default_rng(len(name)).integers(1, 900, (count, *SHAPE))
    for place in set(range(count)) - set(skip):
        write_slice(folder / f"{name}{count - place:02d}.dcm", pixels[place], place * step, **tags)
    return pixels


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, OBLIQUE])
def test_each_voxel_lies_where_its_header_says(tmp_path, orientation):
    pixels = write_stack(tmp_path / "s", orientation=orientation)
    array, affine, _ = read_series(tmp_path / "s")
    assert array.shape == (SHAPE[1], SHAPE[0], 4)
    for column, row, number in [(0, 0, 0), (4, 1, 2), (2, 5, 3)]:
        assert array[column, row, number] == pixels[number, row, column]
        normal = np.cross(orientation[:3], orientation[3:])
        lps = np.array([10, -20, 30]) + np.array(orientation[:3]) * column * SPACING[1]
        lps += np.array(orientation[3:]) * row * SPACING[0] + normal * number * 2.0
        ras = affine @ (column, row, number, 1)
        np.testing.assert_allclose(ras[:3], lps * (-1, -1, 1), atol=1e-4)


def test_rescale_is_applied_slice_by_slice(tmp_path):
    pixels = write_stack(tmp_path / "s", RescaleSlope="1", RescaleIntercept="-100")
    array, _, _ = read_series(tmp_path / "s")
    np.testing.assert_array_equal(array, pixels.T - 100)
    write_slice(tmp_path / "s/a04.dcm", pixels[0], 0.0, RescaleSlope="0.5", RescaleIntercept="3")
    array, _, _ = read_series(tmp_path / "s")
    np.testing.assert_allclose(array[..., 0], pixels[0].T * 0.5 + 3)
    np.testing.assert_allclose(array[..., 1:], pixels[1:].T - 100)


def test_whole_numbers_below_the_range_of_the_first_slice_are_kept(tmp_path):
    """The first slice alone would ask for unsigned integers, and the others' negative values would wrap around."""
    pixels = write_stack(tmp_path / "s")
    write_slice(tmp_path / "s/a02.dcm", pixels[2], 4.0, RescaleSlope="1", RescaleIntercept="-1000")
    array, _, _ = read_series(tmp_path / "s")
    np.testing.assert_array_equal(array[..., 2], pixels[2].T - 1000.0)


def test_localisers_copies_and_other_files_are_left_out(tmp_path):
    pixels = write_stack(tmp_path / "s")
    write_slice(tmp_path / "s/localiser.dcm", pixels[0], 0.0, orientation=SAGITTAL, series="1.2.4")
    write_slice(tmp_path / "s/copy.dcm", pixels[2], 4.0)
    (tmp_path / "s/notes.txt").write_text("no image")
    array, _, left_out = read_series(tmp_path / "s")
    np.testing.assert_array_equal(array, pixels.T)
    assert left_out == {"slices of another series": 1, "copies of a slice": 1, "files that are not DICOM": 1}


def tilted(angle: float) -> tuple[float, ...]:
    return (np.cos(angle), np.sin(angle), 0, -np.sin(angle), np.cos(angle), 0)


@pytest.mark.parametrize("place", [0, 2, 3])
@pytest.mark.parametrize(
    "change", [{"orientation": tilted(5e-4)}, {"orientation": tilted(-6e-4)}, {"PixelSpacing": [0.80005, 0.60003]}]
)
def test_slices_that_differ_by_rounding_belong_together(tmp_path, place, change):
    pixels = write_stack(tmp_path / "s")
    write_slice(tmp_path / f"s/a{4 - place:02d}.dcm", pixels[place], place * 2.0, **change)
    array, affine, left_out = read_series(tmp_path / "s")
    np.testing.assert_array_equal(array, pixels.T)
    assert not left_out and abs(affine[2, 2] - 2.0) < 1e-3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"orientation": tilted(0.01)}, "slices of another plane"),
        ({"PixelSpacing": [0.81, 0.6]}, "slices of another matrix or pixel spacing"),
    ],
)
def test_slices_that_differ_by_more_are_left_out_and_counted(tmp_path, change, reason):
    pixels = write_stack(tmp_path / "s")
    write_slice(tmp_path / "s/z.dcm", pixels[0], 8.0, **change)
    array, _, left_out = read_series(tmp_path / "s")
    np.testing.assert_array_equal(array, pixels.T)
    assert left_out == {reason: 1}


def report(path: Path) -> None:
    """A structured report: no pixels, and a name in it."""
    file = FileDataset(str(path), {}, file_meta=FileMetaDataset(), preamble=bytes(128))
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.33"
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = generate_uid()
    file.PatientName, file.Modality = "Doe^Jane", "SR"
    file.save_as(path)


def capture(path: Path) -> None:
    write_slice(path, np.full((9, 9), 3), 0.0, series="1.2.9", SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    file = pydicom.dcmread(path)
    del file.ImagePositionPatient, file.ImageOrientationPatient
    file.save_as(path)


def colour(path: Path) -> None:
    pixels = np.zeros((*SHAPE, 3))
    more = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    write_slice(path, pixels[..., 0], 0.0, **more, BitsAllocated=8, BitsStored=8, HighBit=7)
    file = pydicom.dcmread(path)
    file.PixelData = pixels.astype(np.uint8).tobytes()
    file.save_as(path)


STRAY = {
    "objects without an image, such as reports": report,
    "images without a place, such as screen captures": capture,
    "colour images": colour,
    "empty files": lambda path: path.write_bytes(b""),
    "DICOM directories": lambda path: path.with_name("DICOMDIR").write_bytes(b"index"),
}


@pytest.mark.parametrize("kind", STRAY)
def test_objects_that_are_no_slice_are_left_out_and_counted(tmp_path, kind):
    pixels = write_stack(tmp_path / "s")
    STRAY[kind](tmp_path / "s/a00.dcm")
    array, _, left_out = read_series(tmp_path / "s")
    np.testing.assert_array_equal(array, pixels.T)
    assert left_out == {kind: 1}


def test_a_folder_of_other_objects_says_what_they_are(tmp_path):
    (tmp_path / "s").mkdir()
    report(tmp_path / "s/a.dcm")
    with pytest.raises(GanError, match=r"no DICOM images in it \(objects without an image, such as reports: 1\)"):
        read_series(tmp_path / "s")


def export(folder: Path) -> None:
    """Two patients in one folder, one with two studies, by names without meaning."""
    folder.mkdir()
    scans = [
        ("p9", "1.7.1", "20200101", "1.3.1"),
        ("p9", "1.7.2", "20190101", "1.3.2"),
        ("p1", "1.7.3", "20210101", "1.3.3"),
    ]
    for number, (patient, study, date, series) in enumerate(scans):
        tags = {"PatientID": patient, "StudyInstanceUID": study, "StudyDate": date}
        shared = {"name": f"n{number}", "count": 3 + number}
        write_stack(folder, **shared, series=series, SeriesDescription="Jane Doe T1 MPRAGE", **tags)
        write_stack(folder, **shared | {"name": f"mm{number}"}, series=f"{series}1", SeriesDescription="T2 TSE", **tags)
    report(folder / "r.dcm")
    (folder / "viewer.exe").write_bytes(b"program")


EXPORT = {"layout": "dicom", "contrasts": ["t1"], "mask": None, "labels": None, "pattern": "series: *mprage*"}


def test_an_export_is_grouped_by_patient_study_and_series(tmp_path, capsys):
    export(tmp_path / "raw")
    found = find(EXPORT, tmp_path / "raw")
    assert [(item.subject, item.scan, len(item.files)) for item in found] == [
        ("patient1", "", 5), ("patient2", "ses-1", 4), ("patient2", "ses-2", 3),
    ]  # fmt: skip
    told = capsys.readouterr().err
    assert "3 of 6 DICOM series match no contrast" in told
    assert "2 of 26 files are no DICOM images and are not used (files that are not DICOM: 1, objects without an" in told
    both = EXPORT | {"contrasts": ["t1", "t2"], "pattern": {"t1": "series:*MPRAGE", "t2": "series: t2*"}}
    assert [item.contrast for item in find(both, tmp_path / "raw")] == ["t1", "t2"] * 3


def test_nothing_of_a_patient_leaves_an_export(tmp_path, capsys):
    export(tmp_path / "raw")
    spec = EXPORT | {"reference": None, "align": False}
    convert(spec, tmp_path / "raw", tmp_path / "volumes")
    assert sorted(path.name for path in (tmp_path / "volumes").glob("*.nii"))[0] == "patient1_t1.nii"
    (tmp_path / "raw/n103.dcm").unlink()
    with pytest.raises(GanError, match=r"raw: series 2 of patient2_ses-1: a slice is missing") as caught:
        convert(spec, tmp_path / "raw", tmp_path / "volumes")
    words = [path.read_bytes() for path in (tmp_path / "volumes").iterdir()]
    words += [str(caught.value).encode(), capsys.readouterr().err.encode()]
    assert not any(name in text for text in words for name in (b"Jane", b"4711", b"p9", b"1970", b"2019", b"MPRAGE"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pattern": "series: *"}, "subject patient1: two volumes for contrast t1: .*series 3. and .*series 1"),
        ({"pattern": {"t1": "series: t1", "t2": "{subject}"}, "contrasts": ["t1", "t2"]}, "give 'series: <description"),
        ({"pattern": "series: flair"}, "nothing matches layout dicom"),
    ],
)
def test_exports_that_leave_a_choice_are_refused(tmp_path, change, message):
    export(tmp_path / "raw")
    with pytest.raises(GanError, match=message) as caught:
        find(EXPORT | change, tmp_path / "raw")
    assert "Jane" not in str(caught.value)


def two_series(folder: Path) -> None:
    write_stack(folder)
    write_stack(folder, name="bb", count=3, series="1.2.4")


def two_orientations(folder: Path) -> None:
    write_stack(folder)
    write_stack(folder, name="bb", orientation=SAGITTAL)


def two_echoes(folder: Path) -> None:
    pixels = write_stack(folder)
    write_slice(folder / "echo.dcm", pixels[1] + 1, 2.0)


def crooked(folder: Path) -> None:
    pixels = write_stack(folder)
    write_slice(folder / "a03.dcm", pixels[1], 2.3)


def sideways(folder: Path) -> None:
    pixels = write_stack(folder)
    write_slice(folder / "a03.dcm", pixels[1], 2.0, ImagePositionPatient=[10.5, -20, 32])


def truncated(folder: Path) -> None:
    write_stack(folder)
    (folder / "a02.dcm").write_bytes((folder / "a02.dcm").read_bytes()[:200])


def cut_image(folder: Path) -> None:
    write_stack(folder)
    (folder / "a02.dcm").write_bytes((folder / "a02.dcm").read_bytes()[:-30])


def without_position(folder: Path) -> None:
    write_stack(folder)
    file = pydicom.dcmread(folder / "a02.dcm")
    del file.ImagePositionPatient
    file.save_as(folder / "a02.dcm")


def one_number_for_two(folder: Path) -> None:
    write_stack(folder)
    file = pydicom.dcmread(folder / "a02.dcm")
    file.PixelSpacing = 0.8
    file.save_as(folder / "a02.dcm")


REFUSED = {
    "two series": (two_series, r"series 3: 4 slices of 5 x 6, series 4: 3 slices of 5 x 6"),
    "two orientations": (two_orientations, "2 stacks of slices"),
    "two echoes": (two_echoes, r"a03.dcm and echo.dcm are different images at one position"),
    "missing slice": (lambda folder: write_stack(folder, skip=[2]), r"missing between 32.0 and 36.0 mm"),
    "uneven": (crooked, "uneven distances"),
    "sideways": (sideways, "shifted sideways"),
    "truncated": (truncated, "a02.dcm: damaged DICOM"),
    "cut image": (cut_image, "damaged"),
    "no position": (without_position, "a02.dcm: no DICOM tag .0020,0032."),
    "half a spacing": (one_number_for_two, "a02.dcm: a number in its DICOM header is damaged"),
    "one slice": (lambda folder: write_stack(folder, count=1), "single slices only"),
    "no DICOM": (lambda folder: folder.mkdir(), "no DICOM images"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line_without_a_name(tmp_path, case):
    make, message = REFUSED[case]
    make(tmp_path / "s")
    with pytest.raises(GanError, match=message) as caught:
        read_series(tmp_path / "s")
    assert str(tmp_path / "s") in str(caught.value)
    assert "\n" not in str(caught.value) and "Jane" not in str(caught.value)


@pytest.mark.realdata
def test_a_real_slab(real_data):
    folder = real_data / "dicom_studyforrest_t1_slab"
    array, affine, _ = read_series(folder)
    assert array.shape == (274, 384, 96) and array.dtype == np.int16
    np.testing.assert_allclose(np.linalg.norm(affine[:3, :3], axis=0), (0.69999, 0.66667, 0.66667), atol=1e-3)
    assert affine[0, 0] < 0 < affine[2, 2]  # columns run to the left, slices upwards
