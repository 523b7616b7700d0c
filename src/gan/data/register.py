"""Rigid registration of one contrast of a subject to another: mutual information, three levels, no mask.

Mattes et al. 2003; the same two volumes give the same transform on any number of processes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from gan.data.align import to_itk
from gan.data.nifti import Volume
from gan.errors import GanError

LEVELS = (8.0, 4.0, 2.0)  # mm of a voxel, from coarse to fine; half of it is the sigma of the blur before
SAMPLES = 60_000  # voxels of the reference that a level looks at, at most
BINS = 32
MOST_DEGREES, MOST_MM = 15.0, 30.0  # beyond them it is a wrong pair or a wrong header, not a movement
FEWEST = 5  # voxels along an axis
STEPS, RELAXATION = 300, 0.85  # of gradient descent: with a usual relaxation of 0.5 it stops before the optimum


class Movement(NamedTuple):
    """How a volume has to move to lie on its reference.

    transform: of points of the reference to points of the moving volume, in RAS and mm; degrees: about its axis; mm: of
    the reference's centre of brightness; information: mutual information at the end, in nats; correlation: `edges`.
    """

    transform: sitk.Euler3DTransform
    degrees: float
    mm: float
    information: float
    correlation: float = 1.0

    def columns(self) -> tuple[float, float, str, float, float]:
        """For a table: degrees, mm, transform, information, correlation.

        The transform is its centre (mm), the angles of Rz Rx Ry about x, y, z (degrees), and the shift (mm).
        """
        turned = [np.rad2deg(angle) for angle in self.transform.GetParameters()[:3]]
        parts = {"centre": self.transform.GetCenter(), "turn": turned, "shift": self.transform.GetTranslation()}
        text = " ".join(f"{name} {' '.join(f'{value:.6g}' for value in values)}" for name, values in parts.items())
        values = (self.degrees, self.mm, self.information, self.correlation)
        degrees, mm, information, correlation = (float(f"{value:.4g}") for value in values)
        return degrees, mm, text, information, correlation

    def compared(self, moved: Volume, reference: Volume) -> "Movement":
        """With the correlation of edges of the ``moved`` volume, on the grid of ``reference``."""
        return self._replace(correlation=edges(moved, reference))


def register(moving: Volume, reference: Volume) -> Movement:
    """The rigid movement of ``moving`` onto ``reference``, two scans of one subject.

    Starts from where the headers put them, or from equal centres of brightness if mutual information prefers that.
    Raises `GanError` for volumes of fewer than `FEWEST` voxels along an axis, and where they do not overlap at the end.
    """
    fixed, other = (to_itk(Volume(volume.values(), volume.affine)) for volume in (reference, moving))
    if smallest := [size for size in (*fixed.GetSize(), *other.GetSize()) if size < FEWEST]:
        raise GanError(f"{smallest[0]} voxels along an axis are too few for a registration, {FEWEST} are needed")
    levels = [(_coarse(fixed, mm), _coarse(other, mm)) for mm in LEVELS]
    try:
        with _one_thread():
            transform = _start(*levels[0])
            for mm, pair in zip(LEVELS, levels, strict=True):
                _improve(transform, *pair, mm)
            information = -_method(transform, levels[-1][0]).MetricEvaluate(*levels[-1])
    except RuntimeError as error:
        raise GanError("the registration finds no overlap of the two; check both headers or remove the scan") from error
    turn = (np.trace(np.reshape(transform.GetMatrix(), (3, 3))) - 1) / 2
    degrees = float(np.rad2deg(np.arccos(np.clip(turn, -1, 1))))
    return Movement(transform, degrees, float(np.linalg.norm(transform.GetTranslation())), float(information))


def check_movement(movement: Movement) -> None:
    """`GanError` beyond `MOST_DEGREES` or `MOST_MM`."""
    if movement.degrees > MOST_DEGREES or movement.mm > MOST_MM:
        raise GanError(
            f"the registration turns it by {movement.degrees:.0f} degrees and moves it by {movement.mm:.0f} mm, more "
            f"than {MOST_DEGREES:g} degrees or {MOST_MM:g} mm; check that both are scans of one subject, correct the "
            f"header, or remove the scan"
        )


def edges(moved: Volume, reference: Volume) -> float:
    """Pearson's correlation of the gradients' magnitudes, blurred by 1 mm, where both are above 10 % of their range.

    Edges of one head lie at the same places in every contrast. 0 where it cannot be computed.
    """
    volumes = [volume.values().astype(np.float64) for volume in (moved, reference)]
    inside = np.logical_and(*(volume > 0.1 * np.percentile(volume, 99.5) for volume in volumes))
    sigmas = [1 / spacing for spacing in reference.spacing]
    first, second = (ndimage.gaussian_gradient_magnitude(volume, sigmas)[inside] for volume in volumes)
    if not len(first) or not first.std() or not second.std():
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums of mutual information in one order: threads would change their last digits, and then the optimum's."""
    usual = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(usual)


def _coarse(image: sitk.Image, mm: float) -> sitk.Image:
    """``image`` blurred, with voxels of about ``mm``; axes that are coarser already stay."""
    factors = [
        max(1, min(round(mm / spacing), size // FEWEST))
        for spacing, size in zip(image.GetSpacing(), image.GetSize(), strict=True)
    ]
    sigmas = [mm / 2 if factor > 1 else 0.0 for factor in factors]
    blurred = sitk.DiscreteGaussian(image, [sigma**2 for sigma in sigmas], 32, 0.01, True)
    return sitk.Shrink(blurred, factors)


def _start(fixed: sitk.Image, moving: sitk.Image) -> sitk.Euler3DTransform:
    """A transform about the centre of brightness of ``fixed``: none, or the shift between the two centres."""
    kind = sitk.CenteredTransformInitializerFilter.MOMENTS
    centred = sitk.Euler3DTransform(
        sitk.CenteredTransformInitializer(fixed, moving, sitk.Euler3DTransform(), kind)  # type: ignore[arg-type]
    )
    header = sitk.Euler3DTransform(centred)
    header.SetTranslation((0.0, 0.0, 0.0))
    return min((header, centred), key=lambda transform: _cost(transform, fixed, moving))


def _cost(transform: sitk.Transform, fixed: sitk.Image, moving: sitk.Image) -> float:
    """Mutual information, negative; infinite without overlap."""
    try:
        return _method(transform, fixed).MetricEvaluate(fixed, moving)
    except RuntimeError:
        return np.inf


def _method(transform: sitk.Transform, fixed: sitk.Image) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(min(1.0, SAMPLES / fixed.GetNumberOfPixels()), 1)
    method.SetInterpolator(sitk.sitkLinear)
    # Else gradients are of images blurred once more, which have their optimum elsewhere where a volume cuts the head.
    method.MetricUseMovingImageGradientFilterOff()
    method.MetricUseFixedImageGradientFilterOff()
    method.SetInitialTransform(transform, True)
    return method


def _improve(transform: sitk.Transform, fixed: sitk.Image, moving: sitk.Image, mm: float) -> None:
    method = _method(transform, fixed)
    method.SetOptimizerAsRegularStepGradientDescent(mm / 4, mm / 400, STEPS, RELAXATION, 1e-8)
    method.SetOptimizerScalesFromPhysicalShift()
    method.Execute(fixed, moving)
