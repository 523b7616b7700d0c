"""Generated images as DICOM, each of which says in many places that it is synthetic, since tools drop some of them.

An image is a Secondary Capture of a patient who does not exist: MR Image Storage would ask for the physics of a scan
that never was. There is no date and no source image. Identifiers come from the run, the seed and the index, so that
equal calls give equal files.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from gan import scales
from gan.errors import GanError
from gan.files import atomic_path
from gan.governance.facts import program
from gan.sampling.marks import NO, Mark
from gan.sampling.snapshot import Snapshot
from gan.sampling.write import channel_names, finite

SPACE = uuid.UUID("6f1d7a0e-8f0b-5c9e-9d56-0a7b6c3b2f11")  # of our identifiers; any fixed one will do
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
PURPOSE = ("109100", "DCM", "Synthesizing Equipment")
LONGEST = 64  # letters of a Long String
REMEDY = "install the extra: pip install 'gan-study[export]'"


def write_dicom(snapshot: Snapshot, images: Iterator[Tensor], out: Path, seed: int) -> None:
    """Write ``images`` [*, C, H, W] of ``seed`` that come in chunks as ``<i>_<contrast>.dcm``.

    8 bit, 0..255 of the intensity map of training, a mask as its label numbers; pixel spacing in mm where the generator
    has it. `GanError` without the package pydicom, and for volumes.
    """
    require_dicom(snapshot)
    out.mkdir(parents=True, exist_ok=True)
    names, mark, place = channel_names(snapshot), Mark.of(snapshot, seed), 0
    for chunk in images:
        for image in finite(chunk).numpy():
            for channel, name in enumerate(names):
                is_mask = name == snapshot.data.get("mask")
                if is_mask:
                    pixels = scales.generated_to_labels(image[channel], snapshot.mask_labels).astype(np.uint8)
                else:
                    pixels = scales.generated_to_uint8(image[channel])
                instance = instance_of(pixels, mark, place, name, channel + 1, snapshot.data.get("spacing"))
                with atomic_path(out / f"{place:05d}_{name}.dcm") as temporary:
                    instance.save_as(temporary, enforce_file_format=True)
            place += 1


def require_dicom(snapshot: Snapshot) -> None:
    """`GanError` if ``snapshot`` cannot be written as DICOM here."""
    _pydicom()
    if len(snapshot.shape.size) == 3:
        raise GanError("--format dicom: volumes are written as nifti; take --format nifti")
    if snapshot.mask_labels > 255:
        raise GanError(
            f"--format dicom: the mask has labels up to {snapshot.mask_labels}, above 255; take --format nifti"
        )


def instance_of(
    pixels: np.ndarray, mark: Mark, index: int, contrast: str, series: int, spacing: list[float] | None
) -> Any:
    """The DICOM data set of one image, uint8 [H, W]; series: the number of its contrast."""
    pydicom = _pydicom()
    found = pydicom.Dataset()
    found.file_meta = pydicom.dataset.FileMetaDataset()
    found.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    found.file_meta.MediaStorageSOPClassUID = SECONDARY_CAPTURE
    found.file_meta.MediaStorageSOPInstanceUID = uid(mark, index, contrast)
    found.file_meta.ImplementationClassUID = uid("implementation")
    _patient(found, mark, index)
    _series(found, mark, index, contrast, series)
    _equipment(found, mark)
    _marks(found, mark, index, contrast)
    _image(found, pixels, index, spacing)
    return found


def uid(*parts: Any) -> str:
    """A unique identifier below 2.25, the same for the same parts; a `Mark` counts by its run, kimg and seed."""
    words = [f"{part.run_key} {part.kimg} {part.seed}" if isinstance(part, Mark) else str(part) for part in parts]
    return f"2.25.{uuid.uuid5(SPACE, '/'.join(words)).int}"


def _patient(found: Any, mark: Mark, index: int) -> None:
    """Of nobody: what a patient has is empty, and the name says why."""
    found.SpecificCharacterSet = "ISO_IR 192"
    found.PatientName = f"SYNTHETIC^{index:05d}"
    found.PatientID = f"SYNTHETIC-{mark.run_key}-{mark.seed}-{index}"
    found.PatientBirthDate = found.PatientSex = found.AccessionNumber = found.ReferringPhysicianName = ""
    found.StudyDate = found.StudyTime = ""
    found.StudyID = f"{mark.run_key}"[:16]
    found.PatientIdentityRemoved = "YES"
    found.DeidentificationMethod = "no patient: the image is synthetic"


def _series(found: Any, mark: Mark, index: int, contrast: str, series: int) -> None:
    found.SOPClassUID, found.SOPInstanceUID = SECONDARY_CAPTURE, uid(mark, index, contrast)
    found.StudyInstanceUID, found.SeriesInstanceUID = uid(mark, index), uid(mark, index, "series", contrast)
    found.StudyDescription = "SYNTHETIC"
    found.SeriesNumber, found.InstanceNumber = series, 1
    found.Modality, found.ConversionType = "OT", "SYN"


def _equipment(found: Any, mark: Mark) -> None:
    """What made it, as contributing equipment: there was no scanner."""
    pydicom = _pydicom()
    purpose, equipment = pydicom.Dataset(), pydicom.Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = PURPOSE
    equipment.PurposeOfReferenceCodeSequence = pydicom.Sequence([purpose])
    equipment.Manufacturer = "gan-study"
    equipment.ManufacturerModelName = mark.family
    equipment.SoftwareVersions = program()
    equipment.ContributionDescription = f"run {mark.run_key}, {mark.kimg:g} kimg"
    found.ContributingEquipmentSequence = pydicom.Sequence([equipment])
    found.Manufacturer = "gan-study"


def _marks(found: Any, mark: Mark, index: int, contrast: str) -> None:
    """That it is synthetic, and the terms of the data."""
    if mark.synthetic == NO:
        raise GanError(f"the family {mark.family} copies real images, which are not written as synthetic DICOM")
    found.SyntheticData = "YES"
    found.ImageType = ["DERIVED", "SECONDARY"]
    found.SeriesDescription = f"SYNTHETIC {contrast}"[:LONGEST]
    found.DerivationDescription = mark.line(index)
    found.ImageComments = f"SYNTHETIC. {mark.terms.line()}"[:10240]
    found.BurnedInAnnotation = "NO"
    found.RecognizableVisualFeatures = "YES"  # a head with its face shows one, if nobody's


def _image(found: Any, pixels: np.ndarray, index: int, spacing: list[float] | None) -> None:
    found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
    found.Rows, found.Columns = pixels.shape
    found.BitsAllocated = found.BitsStored = 8
    found.HighBit, found.PixelRepresentation = 7, 0
    if spacing and len(spacing) == 2:
        found.PixelSpacing = [float(f"{side:.6g}") for side in spacing]
    data = np.ascontiguousarray(pixels).tobytes()
    found.PixelData = data + b"\0" * (len(data) % 2)


def _pydicom() -> Any:
    try:
        import pydicom
        import pydicom.dataset
        import pydicom.uid
    except ImportError as error:
        raise GanError(f"the package pydicom is missing; {REMEDY}") from error
    return pydicom
