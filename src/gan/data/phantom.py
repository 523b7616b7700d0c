"""A data set that needs no download: synthetic heads with tumours, imaged by the MR signal equations.

Written as a BraTS tree, so that it goes the way of real data. No scan of a person went into it.
"""

from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np

from gan.data import phantom_anatomy, phantom_signal
from gan.data.phantom_shapes import Grid, smooth_field
from gan.data.pool import ordered
from gan.errors import GanError

CLASSES = ("95_Glioma", "51_OtherNeoplasms")  # folders of BraTS-Africa; here: high grade, low grade
FIELD_OF_VIEW = 176.0  # mm: the smallest that holds a head


def write_phantom(
    folder: Path, *, subjects: int, matrix: int, spacing: float, tumours: float, seed: int, workers: int = 1
) -> None:
    """Write ``subjects`` heads below ``folder`` as ``<class>/PHANTOM-00001-000/PHANTOM-00001-000-<contrast>.nii.gz``.

    Contrasts are t1n, t1c, t2w and t2f (int16, arbitrary units) and seg (uint8: 1 necrotic or non-enhancing core,
    2 oedema, 3 enhancing). Volumes have ``matrix`` x ``matrix`` x 3/4 ``matrix`` voxels of ``spacing`` mm, axes RAS.
    ``tumours``: share of subjects that have one, 0..1. Odd subjects are the class of high-grade tumours, even ones
    that of low-grade tumours, each with the same share of healthy heads. Subject k depends on ``seed`` and k alone,
    not on ``subjects`` or ``workers``.

    Raises GanError for a count below 1, a share outside 0..1, or a field of view smaller than a head.
    """
    _check(subjects, matrix, spacing, tumours)
    make = partial(write_subject, Path(folder), matrix=matrix, spacing=spacing, tumours=tumours, seed=seed)
    numbers = range(1, subjects + 1)
    for _ in ordered(make, numbers, workers=workers, label="phantom"):
        pass


def _check(subjects: int, matrix: int, spacing: float, tumours: float) -> None:
    if subjects < 1:
        raise GanError(f"phantom: subjects is {subjects}; it must be at least 1")
    if not 0 <= tumours <= 1:
        raise GanError(f"phantom: tumours is {tumours}; it is a share between 0 and 1")
    if not (matrix >= 16 and matrix * spacing >= FIELD_OF_VIEW):
        raise GanError(
            f"phantom: matrix {matrix} x spacing {spacing} mm is a field of view of {matrix * spacing:g} mm; "
            f"a head needs {FIELD_OF_VIEW:g} mm and at least 16 voxels: raise matrix or spacing"
        )


def write_subject(folder: Path, number: int, *, matrix: int, spacing: float, tumours: float, seed: int) -> None:
    """Write the five volumes of subject ``number`` (from 1), as `write_phantom` describes."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    grid = Grid(_axes(matrix, spacing), spacing)
    anatomy = phantom_anatomy.Anatomy.draw(rng)
    high, pair = number % 2 == 1, (number + 1) // 2
    sick = int(pair * tumours + 1e-9) > int((pair - 1) * tumours + 1e-9)
    tumour = phantom_anatomy.Tumour.draw(rng, high) if sick else None
    fractions = phantom_anatomy.tissue_fractions(grid, anatomy, tumour, rng)
    name = f"PHANTOM-{number:05d}-000"
    case = folder / CLASSES[0 if high else 1] / name
    case.mkdir(parents=True, exist_ok=True)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = [axis[0] for axis in grid.axes]
    for contrast, image in images(grid, fractions, rng).items():
        nib.Nifti1Image(image, affine).to_filename(case / f"{name}-{contrast}.nii.gz")
    seg = phantom_anatomy.labels_of(fractions)
    nib.Nifti1Image(seg, affine).to_filename(case / f"{name}-seg.nii.gz")


def _axes(matrix: int, spacing: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voxel centres, mm: the head in the middle of the plane; along z from above the vault to the skull base."""
    plane = (np.arange(matrix) - (matrix - 1) / 2) * spacing
    depth = round(0.75 * matrix)
    top = 0.375 * FIELD_OF_VIEW + 10 + 0.5 * max(0.0, depth * spacing - 0.75 * FIELD_OF_VIEW)
    return plane, plane, top - (np.arange(depth)[::-1]) * spacing


def images(grid: Grid, fractions: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The four contrasts, int16, [X, Y, Z]: mixed signals, the coil's bias field, Rician noise, an arbitrary gain.

    The scanner's noise and this head's relaxation times vary by a few per cent.
    """
    names = list(fractions)
    tissues = {
        name: t._replace(t1=t.t1 * rng.normal(1, 0.03), t2=t.t2 * rng.normal(1, 0.03))
        for name, t in ((name, phantom_signal.TISSUES[name]) for name in names)
    }
    table = phantom_signal.signals(tissues)
    mottle = 1 + np.float32(0.025) * smooth_field(rng, grid.axes, 7)
    result = {}
    for contrast, signal in table.items():
        bias = np.exp(np.float32(0.1) * smooth_field(rng, grid.axes, 70))
        image = sum(np.float32(signal[name]) * fraction for name, fraction in fractions.items()) * bias * mottle
        sigma = np.float32(signal["white"] * rng.uniform(0.02, 0.035))
        noise = rng.standard_normal((2, *image.shape), np.float32) * sigma
        magnitude = np.sqrt((image + noise[0]) ** 2 + noise[1] ** 2)
        gain = rng.uniform(200, 500) / signal["white"]
        result[contrast] = np.clip(np.rint(magnitude * gain), 0, 32767).astype(np.int16)
    return result
