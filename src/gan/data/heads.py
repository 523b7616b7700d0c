"""What the header of a volume says, without its voxels: as quick for a large file as for a small one."""

from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.freesurfer.mghformat import MGHError, MGHImage
from nibabel.orientations import aff2axcodes
from zlib_ng import zlib_ng

from gan.data.endings import ITK, MGH, NIFTI
from gan.data.formats import LPS_TO_RAS, read_volume
from gan.data.nifti import UNREADABLE, Volume, header_of, in_mm, unreadable
from gan.errors import GanError

START = 1 << 16  # bytes of a file that hold its header, compressed or not


class Head(NamedTuple):
    """shape: voxels; spacing: mm; axes: where each axis of the file leads, such as ``RAS``; dtype: of a voxel on disk.
    All in the orientation of the file."""

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    axes: str
    dtype: np.dtype


def read_head(path: Path) -> Head:
    """The head of the volume in the file ``path``. `GanError` if its header is damaged, has no orientation, or is not
    of one 3-D volume; damaged voxels are not noticed. A pair of Analyze is read whole."""
    name = path.name.lower()
    if name.endswith(NIFTI):
        return _nifti(path)
    if name.endswith(MGH):
        return _mgh(path)
    if name.endswith(ITK):
        return _itk(path)
    return head_of(read_volume(path))


def head_of(volume: Volume) -> Head:
    """The head of a volume that has been read."""
    return _head(volume.data.shape, volume.affine, volume.data.dtype)


def _head(shape: tuple[int, ...], affine: np.ndarray, dtype: Any) -> Head:
    spacing = tuple(float(mm) for mm in np.linalg.norm(affine[:3, :3], axis=0))
    return Head(tuple(map(int, shape)), spacing, "".join(map(str, aff2axcodes(affine))), np.dtype(dtype))


def _of_file(path: Path, shape: tuple[int, ...], affine: np.ndarray, dtype: Any, unit: float = 1.0) -> Head:
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        text = " x ".join(map(str, shape))
        raise GanError(f"{path}: {len(shape)}-D ({text}), a 3-D volume is needed; split it, e.g. with fslsplit")
    return _head(shape, in_mm(path, affine.astype(np.float64), unit)[0], dtype)


def start_of(path: Path) -> bytes:
    """The first bytes of a NIfTI file, which hold its header."""
    with open(path, "rb") as file:
        content = file.read(START)
    return zlib_ng.decompressobj(wbits=31).decompress(content, START) if path.name.lower().endswith(".gz") else content


def _nifti(path: Path) -> Head:
    try:
        header, unit = header_of(path, start_of(path))
        return _of_file(path, header.get_data_shape(), header.get_best_affine(), header.get_data_dtype(), unit)
    except UNREADABLE as error:
        raise unreadable(path, error, "NIfTI") from error


def _mgh(path: Path) -> Head:
    try:
        image: Any = MGHImage.load(path) if path.suffix.islower() else nib.load(path)
        shape, affine, dtype = image.shape, image.affine, image.get_data_dtype()
        oriented = int(image.header["goodRASFlag"])
    except (*UNREADABLE, MGHError, LookupError, TypeError) as error:
        raise unreadable(path, error, "MGH") from error
    if not oriented:
        raise GanError(f"{path}: no orientation (goodRASFlag is 0); convert it with one, e.g. with mri_convert")
    return _of_file(path, shape, affine, dtype)


def _itk(path: Path) -> Head:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("MetaImageIO" if path.suffix.lower() in (".mha", ".mhd") else "NrrdImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise GanError(f"{path}: damaged; restore it from its source") from error
    dimensions, affine = reader.GetDimension(), np.eye(4)
    if dimensions >= 3:
        direction = np.array(reader.GetDirection()).reshape(dimensions, dimensions)[:3, :3]
        affine[:3, :3] = direction * np.array(reader.GetSpacing()[:3])
    dtype = sitk.GetArrayFromImage(sitk.Image([1, 1], reader.GetPixelID())).dtype
    return _of_file(path, tuple(reader.GetSize()), LPS_TO_RAS @ affine, dtype)
