"""Rigid registration: scans moved by known transforms come back, and what is no movement is refused."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation
from test_slices import row
from test_volumes import ROW

from gan.data.nifti import Volume, read_nifti
from gan.data.phantom import write_subject
from gan.data.register import Movement, check_movement, register
from gan.data.slices import build_store
from gan.data.volumes import DOUBT, MOVED, _doubt, convert
from gan.errors import GanError

MATRIX, SPACING = 48, 4.0
RIGID = {**ROW, "contrasts": ["t1n", "t2w"], "align": "rigid"}
MOVES = {"small": ((1.5, -2.0, 2.5), (2.0, -3.0, 1.5)), "large": ((-8.0, 5.0, 9.0), (9.0, -14.0, 8.0))}


def head(folder: Path, number: int = 1) -> dict[str, Volume]:
    """The t1n, t2w and seg of a phantom."""
    write_subject(folder, number, matrix=MATRIX, spacing=SPACING, tumours=1, seed=3)
    case = next(folder.glob(f"*/PHANTOM-{number:05d}-000"))
    return {name: read_nifti(case / f"{case.name}-{name}.nii.gz") for name in ("t1n", "t2w", "seg")}


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> dict[str, Volume]:
    return head(tmp_path_factory.mktemp("phantom"))


def centre(volume: Volume) -> np.ndarray:
    return (volume.affine @ [*((np.array(volume.data.shape) - 1) / 2), 1])[:3]


def rigid(volume: Volume, degrees, mm) -> np.ndarray:
    """A movement in space [4, 4] about the middle of ``volume``."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = centre(volume) - matrix[:3, :3] @ centre(volume) + mm
    return matrix


def moved(volume: Volume, movement: np.ndarray, order: int = 3) -> Volume:
    """What the scanner sees when the patient has moved: the header stays."""
    to_voxels = np.linalg.inv(volume.affine) @ np.linalg.inv(movement) @ volume.affine
    data = ndimage.affine_transform(volume.values(), to_voxels[:3, :3], to_voxels[:3, 3], order=order)
    return Volume(data, volume.affine)


def as_matrix(transform: sitk.Transform) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    for axis, unit in enumerate(np.eye(3)):
        matrix[:3, axis] = np.array(transform.TransformPoint(unit.tolist())) - matrix[:3, 3]
    return matrix


def errors(found: np.ndarray, expected: np.ndarray, volume: Volume) -> tuple[float, float]:
    """mm at the middle of ``volume``, and degrees."""
    point = np.append(centre(volume), 1)
    mm = np.linalg.norm((found @ point - expected @ point)[:3])
    return float(mm), np.rad2deg(Rotation.from_matrix(found[:3, :3] @ expected[:3, :3].T).magnitude())


def test_a_known_movement_is_found(scans):
    movement = rigid(scans["t2w"], *MOVES["large"])
    found = register(moved(scans["t2w"], movement), scans["t1n"])
    mm, degrees = errors(as_matrix(found.transform), movement, scans["t1n"])
    assert mm < 0.5 and degrees < 0.5
    expected = np.rad2deg(Rotation.from_euler("xyz", MOVES["large"][0], degrees=True).magnitude())
    assert found.degrees == pytest.approx(expected, abs=0.5)


def test_a_movement_in_the_header_is_found_and_repeats_to_the_bit(scans):
    movement = rigid(scans["t2w"], (4, -3, 6), (5, 8, -6))
    elsewhere = Volume(scans["t2w"].values(), movement @ scans["t2w"].affine)
    first, second = (register(elsewhere, scans["t1n"]) for _ in range(2))
    assert max(errors(as_matrix(first.transform), movement, scans["t1n"])) < 0.5
    assert first.columns() == second.columns()
    assert first.transform.GetParameters() == second.transform.GetParameters()


@pytest.fixture
def raw(scans, tmp_path) -> Path:
    """Two subjects: t2w and the mask drawn on it moved, both with their own grid."""
    (tmp_path / "raw").mkdir()
    for subject, name in zip("ab", MOVES, strict=True):
        movement = rigid(scans["t1n"], *MOVES[name])
        for contrast, volume in scans.items():
            affine = volume.affine if contrast == "t1n" else movement @ volume.affine
            data = volume.data if contrast == "t1n" else volume.data[:, :, 1:]
            if contrast != "t1n":
                affine = affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1.0]])
            nib.Nifti1Image(data, affine).to_filename(tmp_path / f"raw/{subject}_{contrast}.nii.gz")
    return tmp_path / "raw"


def test_conversion_registers_images_and_masks(scans, raw, tmp_path):
    spec = RIGID | {"mask": "seg"}
    convert(spec, raw, tmp_path / "volumes", workers=2)
    reference = nib.load(tmp_path / "volumes/a_t1n.nii")
    assert np.array_equal(np.asarray(reference.dataobj), scans["t1n"].data)  # never interpolated
    for subject in "ab":
        image, mask = (nib.load(tmp_path / f"volumes/{subject}_{name}.nii") for name in ("t2w", "seg"))
        np.testing.assert_allclose(image.affine, reference.affine, atol=1e-5)
        inside = (slice(8, -8), slice(8, -8), slice(4, -4))
        found, expected = image.get_fdata()[inside], scans["t2w"].values()[inside]
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.97
        labels, drawn = np.asarray(mask.dataobj)[inside], scans["seg"].data[inside]
        assert mask.get_data_dtype() == np.uint8 and set(np.unique(labels)) <= set(np.unique(scans["seg"].data))
        both = (labels > 0) & (drawn > 0)
        assert 2 * both.sum() / ((labels > 0).sum() + (drawn > 0).sum()) > 0.85
    table = pd.read_csv(tmp_path / "volumes/volumes.csv", keep_default_na=False)
    assert list(table)[-5:] == ["degrees", "mm", "transform", "information", "correlation"]
    assert [len(text.split()) for text in table["transform"]] == [0, 12, 0, 0, 12, 0]
    assert float(table["degrees"][1]) == pytest.approx(3.5, abs=0.6) and float(table["mm"][4]) > 10
    kept = row(contrasts=["t1n", "t2w"], mask="seg", slices={"size": 48, "fraction": 0.05},
               intensity={"map": "percentile", "low": None, "high": None})  # fmt: skip
    build_store(kept, tmp_path / "volumes", tmp_path / "store")
    subjects = pd.read_csv(tmp_path / "store/subjects.csv")
    assert subjects["degrees_t2w"].tolist() == table["degrees"][[1, 4]].astype(float).tolist()
    assert {"mm_t2w", "correlation_t2w"} < set(subjects)


def test_what_is_no_movement_is_refused_and_nothing_is_written(scans, tmp_path):
    (tmp_path / "raw").mkdir()
    movement = rigid(scans["t2w"], (0, 0, 0), (0, 0, 45))
    nib.Nifti1Image(scans["t1n"].data, scans["t1n"].affine).to_filename(tmp_path / "raw/a_t1n.nii.gz")
    nib.Nifti1Image(scans["t2w"].data, movement @ scans["t2w"].affine).to_filename(tmp_path / "raw/a_t2w.nii.gz")
    message = r"a_t2w.nii.gz: t2w to t1n: the registration .* moves it by 4\d mm, .*remove the scan"
    with pytest.raises(GanError, match=message) as caught:
        convert(RIGID, tmp_path / "raw", tmp_path / "volumes")
    assert "\n" not in str(caught.value) and not (tmp_path / "volumes").exists()


def test_a_mask_of_its_own_grid_and_too_few_slices_are_refused(scans, tmp_path):
    (tmp_path / "raw").mkdir()
    for name, data in (("t1n", scans["t1n"].data), ("t2w", scans["t2w"].data), ("seg", scans["seg"].data[:, :, 2:])):
        nib.Nifti1Image(data, scans[name].affine).to_filename(tmp_path / f"raw/a_{name}.nii.gz")
    with pytest.raises(GanError, match="the mask is on the grid of none of the contrasts"):
        convert(RIGID | {"mask": "seg"}, tmp_path / "raw", tmp_path / "volumes")
    thin = Volume(scans["t2w"].data[:, :, :4], scans["t2w"].affine)
    with pytest.raises(GanError, match="4 voxels along an axis are too few for a registration, 5 are needed"):
        register(thin, scans["t1n"])


def test_a_wrong_partner_is_doubted(scans, tmp_path):
    """It shares less information with the reference, and its edges agree less."""
    other = head(tmp_path, 2)["t2w"]
    right, wrong = register(scans["t2w"], scans["t1n"]), register(other, scans["t1n"])
    assert wrong.information < DOUBT * right.information
    right, wrong = right.compared(scans["t2w"], scans["t1n"]), wrong.compared(other, scans["t1n"])
    assert wrong.correlation < 0.67 * right.correlation
    records = [
        {"subject": name, "contrast": "t2w", "notes": "", **dict(zip(MOVED, movement.columns(), strict=True))}
        for name, movement in (("a", right), ("b", right), ("c", wrong))
    ]
    _doubt([*records, {"subject": "a", "contrast": "t1n", "notes": ""}])
    notes = [record["notes"] for record in records]
    assert notes[:2] == ["", ""] and notes[2].startswith("looks misregistered (mutual information 0.")
    assert f"correlation of edges {wrong.correlation:.4g})" in notes[2]


def test_limits():
    movement = Movement(sitk.Euler3DTransform(), 14.9, 29.9, 1.0)
    check_movement(movement)
    for changes in ({"degrees": 15.1}, {"mm": 30.1}):
        with pytest.raises(GanError, match="more than 15 degrees or 30 mm"):
            check_movement(movement._replace(**changes))
