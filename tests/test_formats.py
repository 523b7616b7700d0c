"""Formats: each gives the same volume as NIfTI does, and what is not one volume is named."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel.freesurfer.mghformat import MGHImage
from test_volumes import AFFINE, ROW, SHAPE, brain

from gan.data.endings import cut_ending, unread
from gan.data.formats import read_volume
from gan.data.heads import head_of, read_head
from gan.data.nifti import Volume
from gan.data.volumes import convert
from gan.errors import GanError

TURNED = AFFINE[:, [1, 2, 0, 3]] * (1, -1, 1, 1)


def with_itk(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    image = sitk.GetImageFromArray(data.T)
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path))


def with_mgh(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    MGHImage(data, affine).to_filename(path)


def with_pair(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    nib.Nifti1Pair(data, affine).to_filename(path)


def with_nifti(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    nib.Nifti1Image(data, affine).to_filename(path)


WRITERS = {
    ".nii": with_nifti,
    ".nii.gz": with_nifti,
    ".mgh": with_mgh,
    ".mgz": with_mgh,
    ".mha": with_itk,
    ".mhd": with_itk,
    ".nrrd": with_itk,
    ".nhdr": with_itk,
    ".img": with_pair,
}


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_every_format_gives_the_same_volume(tmp_path, ending, dtype):
    path = tmp_path / f"a{ending}"
    WRITERS[ending](path, brain().astype(dtype), TURNED)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.values(), brain())
    np.testing.assert_allclose(volume.affine, TURNED, atol=1e-5)
    assert volume.data.dtype == dtype and not volume.notes


@pytest.mark.parametrize("ending", WRITERS)
def test_the_head_of_a_file_is_that_of_its_volume(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    WRITERS[ending](path, brain(), TURNED)
    head = read_head(path)
    assert (
        head.shape == SHAPE
        and head.axes == "".join(nib.aff2axcodes(TURNED))
        and head.dtype.newbyteorder("=") == np.int16
    )
    np.testing.assert_allclose(head.spacing, (1.5, 2, 1))
    np.testing.assert_allclose(head_of(read_volume(path)).spacing, head.spacing)


def test_a_head_is_read_without_the_voxels(tmp_path):
    data = np.random.default_rng(0).integers(0, 9999, (64, 64, 64)).astype(np.int16)
    with_nifti(tmp_path / "a.nii.gz", data, AFFINE)
    whole = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(whole[: len(whole) // 2])
    assert read_head(tmp_path / "a.nii.gz").shape == data.shape
    with pytest.raises(GanError, match="damaged or not NIfTI"):
        read_volume(tmp_path / "a.nii.gz")


def test_a_head_is_refused_as_its_volume_is(tmp_path):
    content = bytearray(nib.Nifti1Image(brain(), AFFINE).to_bytes())
    content[252:256] = bytes(4)  # qform_code and sform_code
    (tmp_path / "nowhere.nii").write_bytes(content)
    nib.Nifti1Image(np.zeros((4, 4, 4, 2), np.int16), AFFINE).to_filename(tmp_path / "series.nii")
    (tmp_path / "text.nii").write_text("not an image" * 99)
    for name, message in (("nowhere", "no orientation"), ("series", "4-D .4 x 4 x 4 x 2."), ("text", "not NIfTI")):
        for read in (read_head, read_volume):
            with pytest.raises(GanError, match=message):
                read(tmp_path / f"{name}.nii")


@pytest.mark.parametrize("ending", [end for end in WRITERS if end not in (".mhd", ".nhdr")])
def test_endings_in_capitals_are_found_and_read(tmp_path, ending):
    stored = []
    for name in ("lower", "upper"):
        (tmp_path / name).mkdir()
        for subject in "ab":
            WRITERS[ending](tmp_path / f"{name}/{subject}_t1{ending}", brain(ord(subject)), AFFINE)
        if name == "upper":
            for path in list((tmp_path / name).iterdir()):
                stem, end = path.name.split(".", 1)
                path.rename(path.with_name(f"{stem}.{end.upper()}"))
        spec = {**ROW, "contrasts": ["t1"], "pattern": "{subject}_{contrast}" + ending}
        convert(spec, tmp_path / name, tmp_path / f"{name}_volumes")
        stored.append({path.name: path.read_bytes() for path in (tmp_path / f"{name}_volumes").iterdir()})
    assert len(stored[0]) == 3 and stored[0] == stored[1]


def test_analyze_is_read_with_a_warning_about_left(tmp_path):
    nib.AnalyzeImage(brain(), np.diag([-1, 1.5, 2, 1])).to_filename(tmp_path / "a.img")
    volume = read_volume(tmp_path / "a.img")
    np.testing.assert_array_equal(volume.values(), brain())
    assert volume.spacing == (1, 1.5, 2) and volume.notes == "Analyze does not say where left is"
    nib.Spm99AnalyzeImage(brain(), AFFINE).to_filename(tmp_path / "b.img")
    volume = read_volume(tmp_path / "b.img")
    np.testing.assert_allclose(volume.affine, AFFINE)
    assert not volume.notes


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def four_dimensions(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, *SHAPE), np.uint8), isVector=False), str(path))


def colours(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((*SHAPE, 3), np.uint8), isVector=True), str(path))


REFUSED = {
    "cut mgz": ("a.mgz", with_mgh, cut, "a.mgz: damaged or not MGH"),
    "cut mha": ("a.mha", with_itk, cut, "a.mha: damaged, or its file of voxels is missing"),
    "without voxels": ("a.mhd", with_itk, lambda path: path.with_suffix(".raw").unlink(), "file of voxels is missing"),
    "without header": (
        "a.img",
        with_pair,
        lambda path: path.with_suffix(".hdr").unlink(),
        "its header a.hdr is",
    ),
    "cut pair": ("a.img", with_pair, cut, "a.img: damaged or not Analyze"),
    "4-D": ("a.nrrd", None, four_dimensions, r"a.nrrd: 4-D \(5 x 6 x 7 x 2\)"),
    "colours": ("a.nrrd", None, colours, "a.nrrd: several numbers a voxel"),
    "gone": ("a.mha", with_itk, Path.unlink, "a.mha: the file has gone"),
    "gone nifti": ("a.nii.gz", with_nifti, Path.unlink, "a.nii.gz: the file has gone"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_volume_is_named_in_one_line(tmp_path, case):
    name, write, change, message = REFUSED[case]
    if write:
        write(tmp_path / name, brain(), AFFINE)
    change(tmp_path / name)
    with pytest.raises(GanError, match=message) as caught:
        read_volume(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_pattern_is_cut_before_the_longest_ending():
    assert cut_ending("{subject}_t1.Nii.Gz") == ("{subject}_t1", ".Nii.Gz")
    assert cut_ending("{subject}/{contrast}") == ("{subject}/{contrast}", "")


def test_what_is_not_read_is_named_with_the_way_to_convert_it():
    assert unread(["a.txt", "b/c.MNC"]) == ".mnc is not read, convert it to NIfTI, e.g. with mnc2nii"
    assert unread(["a.txt"]) == ""


def test_a_volume_says_its_spacing():
    assert Volume(brain(), TURNED).spacing == (1.5, 2, 1)


@given(
    ending=st.sampled_from([".nii", ".nii.gz", ".mgz", ".mha", ".nrrd", ".img"]),
    changes=st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), max_size=4),
    keep=st.integers(0, 2000),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_header_is_refused_or_read_and_never_a_traceback(tmp_path, ending, changes, keep):
    path = tmp_path / f"a{ending}"
    WRITERS[ending](path, brain(), TURNED)
    header = path.with_suffix(".hdr") if ending == ".img" else path
    content = header.read_bytes()
    packed = content[:2] == b"\x1f\x8b"
    content = bytearray(gzip.decompress(content) if packed else content)[:keep]
    for place, value in changes:
        if place < len(content):
            content[place] = value
    header.write_bytes(gzip.compress(content) if packed else content)
    try:
        assert read_volume(path).data.ndim == 3
    except GanError as error:
        assert "\n" not in str(error) and f"a{ending}" in str(error)
