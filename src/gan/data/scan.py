"""One scan of a patient by itself: read and checked as in conversion, and volumes written in its geometry.

Of a header only the geometry goes further: numbers alone, no text.
"""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np

from gan.data.align import resample, same_grid
from gan.data.dicom import read_series
from gan.data.dicom_headers import listed
from gan.data.endings import NIFTI, PARTED, is_volume, unread
from gan.data.formats import read_volume
from gan.data.heads import start_of
from gan.data.nifti import Volume, as_read, canonical, check_image, check_mask, header_of
from gan.errors import GanError
from gan.files import checksum

GEOMETRY = (
    *("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("sform_code", "srow_x", "srow_y", "srow_z"),
)


class Scan(NamedTuple):
    """volume: RAS, checked; affine: that of the file, in its own axis order; geometry: a header of shape, zooms, sform
    and qform of the file; sha256: of the file, or of all files of a folder."""

    volume: Volume
    affine: np.ndarray
    geometry: nib.Nifti1Header
    sha256: str


def read_scan(path: Path, *, mask: bool = False) -> Scan:
    """The volume in the file ``path``, of any format that is read, or in the folder ``path`` of one DICOM series.

    `GanError` as of `gan.data.volumes.convert`: damaged, not 3-D, without orientation, constant, not finite; for a
    ``mask``, values that are no label numbers.
    """
    if not path.exists():
        raise GanError(f"{path}: no such file or folder; name a volume, or a folder of one DICOM series")
    if path.is_dir():
        series = read_series(path)
        left_out = f"left out {listed(series.left_out)}" if series.left_out else ""
        read = Volume(series.data, series.affine, notes=left_out)
    elif is_volume(path.name):
        read = read_volume(path)
    else:
        remedy = unread([path.name]) or f"volumes end in {', '.join(NIFTI)} and others of docs/data.md"
        raise GanError(f"{path}: its ending is of no format that is read; {remedy}")
    checked = (check_mask if mask else check_image)(canonical(read), path)
    # As in a file of `write_nifti`, which training data were read from.
    stored = checked._replace(slope=float(np.float32(checked.slope)), inter=float(np.float32(checked.inter)))
    return Scan(stored, read.affine, _geometry(path, read), _sum(path))


def on_grid_of(reference: Scan, scan: Scan, path: Path, *, mask: bool = False) -> tuple[Volume, bool]:
    """The volume of ``scan`` on the grid of ``reference``, and whether it had to be resampled.

    The scanner's coordinates are trusted. `GanError` that names ``path`` if the two do not overlap.
    """
    if same_grid(scan.volume, reference.volume):
        return scan.volume, False
    moved = resample(scan.volume, reference.volume, labels=mask)
    if not mask and moved.data.min() == moved.data.max():
        raise GanError(f"{path}: does not overlap the first input in space; check the headers of both")
    return moved, True


def as_nifti(data: np.ndarray, scan: Scan) -> "nib.Nifti1Image":
    """RAS voxels [X, Y, Z] as float32 image in the axis order and the geometry of the file of ``scan``."""
    voxels = np.asfortranarray(as_read(data, scan.affine), dtype=np.float32)
    return nib.Nifti1Image(voxels, None, scan.geometry)  # type: ignore[attr-defined]  # the header has the affine


def _geometry(path: Path, read: Volume) -> nib.Nifti1Header:
    header: Any = nib.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape(read.data.shape)
    if path.is_file() and path.name.lower().endswith(NIFTI):
        source, _ = header_of(path, start_of(path))
        for name in GEOMETRY:
            header[name] = source[name]
        header["pixdim"][:4] = source["pixdim"][:4]
        header["xyzt_units"] = int(source["xyzt_units"]) & 7  # of space
    else:
        header.set_zooms(read.spacing)
        header.set_xyzt_units("mm")
        header.set_sform(read.affine, code="scanner")
    return header


def _sum(path: Path) -> str:
    """The checksum of a file; of a folder, or a volume in several files, that of the sorted checksums."""
    if path.is_file() and not path.name.lower().endswith(PARTED):
        return checksum(path)
    folder = path if path.is_dir() else path.parent
    files = [file for file in folder.iterdir() if file.is_file() and (path.is_dir() or file.stem == path.stem)]
    return hashlib.sha256("".join(sorted(map(checksum, files))).encode()).hexdigest()
