"""One volume in memory and on disk: read any NIfTI, check it, turn it to RAS, write it without its old header."""

import math
import mmap
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from nibabel.spatialimages import HeaderDataError, SpatialImage
from nibabel.wrapstruct import WrapStructError
from zlib_ng import zlib_ng

from gan.errors import GanError

UNREADABLE: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, OverflowError, ImageFileError, HeaderDataError, WrapStructError),
    zlib_ng.error,  # type: ignore[assignment]  # an exception class, whatever its stub says
)
UNITS = {1: 1e3, 2: 1.0, 3: 1e-3}  # mm in a metre, millimetre, micrometre: the lower 3 bits of xyzt_units
USUAL_MM = (0.01, 100.0)  # usual range of a voxel's edges
SINGULAR = 1e-6  # volume that the axes of a voxel span, as unit vectors


class _Header1(nib.Nifti1Header):
    # Rounding may make a quaternion longer than 1; NIfTI's own code takes any length.
    quaternion_threshold = np.float32(-1e-4)


class _Image1(nib.Nifti1Image):
    header_class = _Header1


class _Header2(nib.Nifti2Header):
    quaternion_threshold = np.float64(-1e-4)


class _Image2(nib.Nifti2Image):
    header_class = _Header2


class Volume(NamedTuple):
    """data: [X, Y, Z] as stored, integers of at most 32 bits or float32; affine: [4, 4], voxel to RAS in mm;
    the values are ``slope * data + inter`` with slope > 0; notes: remarks on its file for the user, or empty."""

    data: np.ndarray
    affine: np.ndarray
    slope: float = 1.0
    inter: float = 0.0
    notes: str = ""

    @property
    def spacing(self) -> tuple[float, ...]:
        """mm along X, Y, Z."""
        return tuple(map(float, voxel_sizes(self.affine)))

    def values(self) -> np.ndarray:
        """The values as float32 [X, Y, Z]."""
        return self.data.astype(np.float32) * np.float32(self.slope) + np.float32(self.inter)


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI file, .nii or .nii.gz, in its own orientation.

    Raises `GanError` when it is damaged or truncated, is not one 3-D scalar volume, or does not say its orientation.
    """
    try:
        image, data = _open(path)
    except UNREADABLE as error:
        raise unreadable(path, error, "NIfTI") from error
    return plain(path, data, np.asarray(image.affine), *_scaling(image), unit=_unit(path, image.header))


def _unit(path: Path, header: Any) -> float:
    """mm in the unit of the header's affine; `GanError` for a header without orientation."""
    if not header["sform_code"] and not header["qform_code"]:
        remedy = "state one if you are sure of it, e.g. with fslorient -setsformcode 1"
        raise GanError(f"{path}: no orientation (sform_code and qform_code are 0); {remedy}")
    return UNITS.get(int(header["xyzt_units"]) & 7, 1.0)


def unreadable(path: Path, error: Exception, kind: str) -> GanError:
    """The error for a file that a reader of ``kind`` refuses."""
    if isinstance(error, FileNotFoundError):
        return GanError(f"{path}: the file has gone; if that is right, run again with --forcerun fetch")
    if isinstance(error, PermissionError):
        return GanError(f"{path}: {error.strerror}; change its permissions")
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return GanError(f"{path}: damaged or not {kind} ({reason}); restore it from its source or remove it")


def plain(
    path: Path, data: np.ndarray, affine: np.ndarray, slope: float = 1.0, inter: float = 0.0, unit: float = 1.0
) -> Volume:
    """A `Volume` of the voxels of any reader, checked: native byte order, at most 32 bits, floats with slope 1.

    unit: mm in a unit of ``affine``, as the file has it; it counts where it leads to voxels of a usual size.
    """
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if not data.size:
        raise GanError(
            f"{path}: no voxels ({' x '.join(map(str, data.shape))}); restore it from its source or remove it"
        )
    if data.ndim != 3:
        shape = " x ".join(map(str, data.shape))
        raise GanError(f"{path}: {data.ndim}-D ({shape}), a 3-D volume is needed; split it, e.g. with fslsplit")
    if data.dtype.kind not in "biuf":
        raise GanError(f"{path}: voxels of type {data.dtype}, one real number a voxel is needed; convert it")
    affine, notes = in_mm(path, affine.astype(np.float64), unit)
    if data.dtype.kind in "iub" and data.dtype.itemsize <= 4 and data.dtype != np.uint32 and slope > 0:
        return Volume(data.astype(data.dtype.newbyteorder("="), copy=False), affine, slope, inter, notes)
    with np.errstate(over="ignore"):
        if slope == 1.0 and inter == 0.0:
            return Volume(data.astype(np.float32, copy=False), affine, notes=notes)
        return Volume((data * slope + inter).astype(np.float32), affine, notes=notes)


def in_mm(path: Path, affine: np.ndarray, unit: float) -> tuple[np.ndarray, str]:
    """The affine in mm, and a note on unusual voxel sizes."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not sizes.all() or abs(np.linalg.det(affine[:3, :3] / sizes)) < SINGULAR:
        raise GanError(f"{path}: the affine is singular or not finite; repair the header or remove the file")
    if _usual(sizes):
        return affine, ""
    if _usual(sizes * unit):
        return np.diag([unit, unit, unit, 1.0]) @ affine, ""
    found = " x ".join(f"{mm:.3g}" for mm in sizes)
    return affine, f"voxels of {found} mm are not those of a scan, is its header in other units?"


def _usual(sizes: np.ndarray) -> bool:
    return bool((sizes >= USUAL_MM[0]).all() and (sizes <= USUAL_MM[1]).all())


def _open(path: Path) -> tuple[SpatialImage, np.ndarray]:
    """The image and its voxels as stored."""
    content = gunzip(path.read_bytes()) if path.name.lower().endswith(".gz") else _mapped(path)
    kind, header = _kind(content)
    _check_size(path, header)
    if header["vox_offset"] == 0:
        content = _with_offset(path, content, header)
    image = kind.from_bytes(content[: max(0, int(header["vox_offset"]))])  # the voxels need no copy
    proxy: Any = image.dataobj
    if len(content) < proxy.offset + proxy.dtype.itemsize * math.prod(proxy.shape):
        raise EOFError(f"{len(content)} bytes, too few for its {' x '.join(map(str, proxy.shape))} voxels")
    return image, np.ndarray(proxy.shape, proxy.dtype, content, proxy.offset, order="F")


def _kind(content: bytes | mmap.mmap) -> tuple[Any, Any]:
    """The class of an image and its header, from the first bytes of a file."""
    version2 = 540 in (int.from_bytes(content[:4], order) for order in ("little", "big"))
    kind = _Image2 if version2 else _Image1
    return kind, kind.header_class(content[: 540 if version2 else 348], check=False)


def header_of(path: Path, content: bytes) -> tuple[Any, float]:
    """The header in the first bytes of a file, and mm in its unit; errors as of `read_nifti`."""
    _, header = _kind(content)
    if int(header["sizeof_hdr"]) not in (348, 540):
        raise ValueError(f"sizeof_hdr is {int(header['sizeof_hdr'])}")
    _check_size(path, header)
    return header, _unit(path, header)


def _mapped(path: Path) -> mmap.mmap:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _check_size(path: Path, header: Any) -> None:
    """Refuse a voxel size of 0 without an sform, where it decides the affine: nibabel would use 1 mm."""
    sizes = header["pixdim"][1:4]
    if header["qform_code"] and not header["sform_code"] and not (np.isfinite(sizes).all() and sizes.all()):
        found = " x ".join(f"{mm:g}" for mm in sizes)
        raise GanError(f"{path}: voxels of {found} mm in its header; state their size, e.g. with fslchpixdim")


def _with_offset(path: Path, content: bytes | mmap.mmap, header: Any) -> bytes:
    """In a single file the offset 0 means that the voxels begin after the header and 4 bytes."""
    length = len(header.binaryblock)
    if any(content[length : length + 1]):
        raise GanError(f"{path}: vox_offset is 0 although extensions follow the header; save it again as NIfTI")
    header["vox_offset"] = length + 4
    return header.binaryblock + content[length:]


def gunzip(content: bytes) -> bytes:
    """All members of a gzip file, checksums verified; `EOFError` when it is cut. Three times as fast as module gzip."""
    members = []
    while content:
        member = zlib_ng.decompressobj(wbits=31)
        size = int.from_bytes(content[-4:], "little")  # of the last member, usually the only one: one allocation
        members.append(member.decompress(content, max(1, size)) + member.flush())
        if not member.eof:
            raise EOFError("the file ends too early")
        content = member.unused_data.lstrip(b"\0")
    return members[0] if len(members) == 1 else b"".join(members)


def _raw(image: SpatialImage) -> np.ndarray:
    proxy = image.dataobj
    return np.asarray(proxy.get_unscaled() if hasattr(proxy, "get_unscaled") else proxy)  # type: ignore[attr-defined]


def _scaling(image: SpatialImage) -> tuple[float, float]:
    return float(getattr(image.dataobj, "slope", 1.0)), float(getattr(image.dataobj, "inter", 0.0))


def canonical(volume: Volume) -> Volume:
    """The same volume with its axes permuted and flipped to be closest to Right, Anterior, Superior."""
    orientation = io_orientation(volume.affine)
    data = np.asfortranarray(apply_orientation(volume.data, orientation))
    return volume._replace(data=data, affine=volume.affine @ inv_ornt_aff(orientation, volume.data.shape))


def as_read(data: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Voxels of `canonical` in the axis order of the volume with ``affine`` that it was given: the inverse, a view."""
    back = np.empty((3, 2))
    for axis, (to, flip) in enumerate(io_orientation(affine)):
        back[int(to)] = axis, flip
    return apply_orientation(data, back)


def check_image(volume: Volume, source: Path) -> Volume:
    """Return ``volume``; `GanError` if it has NaN or infinite voxels or is constant."""
    low, high = volume.data.min(), volume.data.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        count = int((~np.isfinite(volume.data)).sum())
        raise GanError(f"{source}: {count} voxels are NaN or infinite; repair them (e.g. fslmaths -nan) or remove it")
    if low == high:
        what = "all-zero" if low * volume.slope + volume.inter == 0 else "constant"
        raise GanError(f"{source}: {what}, there is no image in it; restore it from its source or remove the subject")
    return volume


def check_mask(volume: Volume, source: Path) -> Volume:
    """``volume`` as label numbers in uint8 or uint16; `GanError` unless all are whole and in 0..65535.

    An empty mask is sound: not every subject has a lesion.
    """
    values = volume.data if (volume.slope, volume.inter) == (1.0, 0.0) else volume.values()
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 65535) or (values.dtype.kind == "f" and not np.array_equal(values, np.rint(values))):
        raise GanError(f"{source}: a mask holds whole label numbers from 0 to 65535, this one is {low:g} to {high:g}")
    return Volume(values.astype(np.uint8 if high < 256 else np.uint16), volume.affine, notes=volume.notes)


def write_nifti(volume: Volume, path: Path) -> None:
    """Write ``volume`` as .nii with a new header: shape, type, slope, affine; the source's header is dropped."""
    data = np.asfortranarray(volume.data)
    header = nib.Nifti1Header()
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape)
    header.set_zooms(volume.spacing)
    header.set_xyzt_units("mm")
    header.set_sform(volume.affine, code="scanner")
    header.set_slope_inter(volume.slope, volume.inter)
    header["vox_offset"] = 352  # header of 348 bytes, 4 zero bytes: no extensions
    with open(path, "wb") as file:
        file.write(header.binaryblock + bytes(4))
        file.write(data.T.data)


def open_volume(path: Path) -> Volume:
    """Memory-map a volume that `write_nifti` wrote."""
    try:
        image = nib.load(path)
        return Volume(_raw(image), image.affine, *_scaling(image))  # type: ignore[attr-defined]
    except UNREADABLE as error:
        raise GanError(f"{path}: unreadable ({error}); convert the data set again") from error
