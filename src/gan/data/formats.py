"""Volumes of every supported format: NIfTI, MGH, MetaImage, NRRD, and pairs of Analyze."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.fileholders import FileHolder
from nibabel.freesurfer.mghformat import MGHError, MGHImage

from gan.data.endings import ITK, MGH, PAIR
from gan.data.nifti import UNREADABLE, Volume, gunzip, plain, read_nifti, unreadable
from gan.errors import GanError

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_volume(path: Path) -> Volume:
    """The 3-D volume in the file ``path`` in its own orientation; `GanError` if it is missing or damaged."""
    name = path.name.lower()
    if name.endswith(MGH):
        return _mgh(path)
    if name.endswith(ITK):
        return _itk(path)
    if name.endswith(PAIR):
        return _pair(path)
    return read_nifti(path)


def _mgh(path: Path) -> Volume:
    """FreeSurfer's format, .mgh or compressed .mgz."""
    try:
        content = path.read_bytes()
        image = MGHImage.from_bytes(gunzip(content) if content[:2] == b"\x1f\x8b" else content)
        data = np.asarray(image.dataobj)
    except (*UNREADABLE, MGHError, LookupError, TypeError) as error:
        raise unreadable(path, error, "MGH") from error
    if not int(image.header["goodRASFlag"]):
        raise GanError(f"{path}: no orientation (goodRASFlag is 0); convert it with one, e.g. with mri_convert")
    return plain(path, data, np.asarray(image.affine))


def _itk(path: Path) -> Volume:
    """MetaImage and NRRD, whose axes run to the left, posterior and superior."""
    try:
        # Named, since SimpleITK finds a reader by the lower-case ending.
        kind = "MetaImageIO" if path.suffix.lower() in (".mha", ".mhd") else "NrrdImageIO"
        image = sitk.ReadImage(str(path), imageIO=kind)
    except RuntimeError as error:
        if not path.exists():
            raise unreadable(path, FileNotFoundError(), "an image") from error
        raise GanError(f"{path}: damaged, or its file of voxels is missing; restore it from its source") from error
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise GanError(f"{path}: several numbers a voxel, one real number is needed; convert it")
    data, dimensions = sitk.GetArrayFromImage(image).T, image.GetDimension()
    if dimensions < 3:
        return plain(path, data, np.eye(4))  # reports that it is not a volume
    direction = np.array(image.GetDirection()).reshape(dimensions, dimensions)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = direction * image.GetSpacing()[:3]
    affine[:3, 3] = image.GetOrigin()[:3]
    return plain(path, data, LPS_TO_RAS @ affine)


def _pair(path: Path) -> Volume:
    """A pair .img and .hdr: NIfTI, SPM's Analyze, or Analyze 7.5, which does not record which side is left."""
    header = next((path.with_suffix(end) for end in (".hdr", ".HDR") if path.with_suffix(end).is_file()), None)
    if header is None:
        raise GanError(f"{path}: its header {path.with_suffix('.hdr').name} is missing; put it next to it")
    kind: Any = nib.Nifti1Pair if header.read_bytes()[344:347] == b"ni1" else nib.Spm2AnalyzeImage
    try:
        files = {"image": path, "header": header, "mat": path.with_suffix(".mat")}
        image = kind.from_file_map({key: FileHolder(filename=str(file)) for key, file in files.items()})
        data = np.asarray(image.dataobj.get_unscaled())
    except UNREADABLE as error:
        raise unreadable(path, error, "Analyze") from error
    slope, inter = float(image.dataobj.slope), float(image.dataobj.inter)
    volume = plain(path, data, np.asarray(image.affine), slope, inter)
    if kind is nib.Nifti1Pair:
        if not image.header["sform_code"] and not image.header["qform_code"]:
            raise GanError(f"{path}: no orientation (sform_code and qform_code are 0); convert it to NIfTI with one")
        return volume
    if path.with_suffix(".mat").is_file():
        return volume
    return volume._replace(notes="; ".join(filter(None, (volume.notes, "Analyze does not say where left is"))))
