"""Compare the grids of two volumes, and resample one onto the other's."""

import numpy as np
import SimpleITK as sitk

from gan.data.nifti import Volume

TOLERANCE = 0.05  # of a voxel, at the corners: rounding in headers is below 0.001


def same_grid(a: Volume, b: Volume) -> bool:
    """Whether both have the same shape, and all corners agree to 5 % of a voxel."""
    if a.data.shape != b.data.shape:
        return False
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in a.data.shape], [1])).reshape(4, -1)
    shift = ((a.affine - b.affine) @ corners)[:3]
    return float(np.linalg.norm(shift, axis=0).max()) <= TOLERANCE * min(a.spacing)


def resample(
    moving: Volume, reference: Volume, *, labels: bool = False, transform: sitk.Transform | None = None
) -> Volume:
    """``moving`` on the grid of ``reference``: linear, or nearest for ``labels``; 0 where it has no voxels.

    transform: of points of the reference to points of ``moving``, in RAS and mm. Without one the scanner's coordinates
    are trusted: movement between two scans stays.
    """
    itk = to_itk(moving if labels else Volume(moving.values(), moving.affine))
    interpolator = sitk.sitkNearestNeighbor if labels else sitk.sitkLinear
    moved = sitk.Resample(itk, to_itk(reference), transform or sitk.Transform(), interpolator, 0.0)
    return Volume(np.asfortranarray(sitk.GetArrayFromImage(moved).T), reference.affine)


def to_itk(volume: Volume) -> sitk.Image:
    """``volume`` as an image of SimpleITK, whose physical space is RAS."""
    image = sitk.GetImageFromArray(volume.data.T)
    spacing = np.array(volume.spacing)
    image.SetSpacing(volume.spacing)
    image.SetDirection((volume.affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(volume.affine[:3, 3].tolist())  # RAS for both images: their common frame is all that matters
    return image
