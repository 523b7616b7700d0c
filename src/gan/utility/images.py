"""Images with their masks and classes, real or generated, on the same grid of 8 bits: a network cannot tell them apart
by their rounding."""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gan.data.store import SUBJECTS, Store
from gan.data.volumes import TABLE
from gan.errors import GanError
from gan.files import as_named
from gan.sampling.snapshot import Snapshot
from gan.sampling.tasks import available, chunks, classes_of
from gan.scales import HALF, generated_to_labels, generated_to_uint8, stored_to_uint8

MOST_LABELS = 32  # of a mask: more are an atlas, which so small a network does not learn
ROWS = 256  # images read at a time
SMALLEST = 16  # pixels a side of images
AXES = {"sagittal": 0, "coronal": 1, "axial": 2}  # of a canonical volume


@dataclass(frozen=True)
class Labelled:
    """pixels: grey values uint8 [N, C, H, W] of all contrasts; masks: label numbers uint8 [N, H, W], 0 without a mask;
    classes: int64 [N], -1 without classes; positions: of slices 0..1 of the way through the volume, float64 [N], NaN of
    generated images."""

    pixels: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    classes: NDArray[np.int64]
    positions: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, places: NDArray) -> "Labelled":
        return Labelled(self.pixels[places], self.masks[places], self.classes[places], self.positions[places])


@dataclass(frozen=True)
class Scan:
    """places: of its slices among some images, in their order; depths: of each slice along the axis, from 0 on;
    spacing: mm between slices, rows and columns; None for pictures."""

    places: NDArray[np.int64]
    depths: NDArray[np.int64]
    spacing: tuple[float, ...] | None

    def volume(self, masks: NDArray) -> NDArray:
        """Its slices of ``masks`` [N, H, W] as a volume; a slice that is not stored is empty."""
        found = np.zeros((int(self.depths.max()) + 1, *masks.shape[1:]), masks.dtype)
        found[self.depths] = masks[self.places]
        return found


Patients = list[list[Scan]]  # of each patient, in an order without meaning


@dataclass(frozen=True)
class Real:
    """The images of a split, the scans of its patients, and the patient of each image as a code."""

    images: Labelled
    patients: Patients
    subjects: NDArray[np.int64]


def read_split(store: Store, split: str, spacing: dict[tuple[str, str], tuple[float, ...]]) -> Real:
    """The images of ``split`` of ``store`` that have every contrast; spacing: of `scan_spacing`."""
    rows = store.rows(split)
    rows = rows[store.present(rows, store.meta["channels"])]
    if not len(rows):
        raise GanError(f"{store.folder}: no images in the split {split}; utility needs it, raise split.{split}")
    grey = [place for place, name in enumerate(store.meta["channels"]) if name != store.meta["mask"]]
    pixels = np.empty((len(rows), len(grey), *store.images.shape[2:]), np.uint8)
    masks = np.zeros((len(rows), *store.images.shape[2:]), np.uint8)
    for first in range(0, len(rows), ROWS):  # of 16 bits they would need more memory
        part = slice(first, first + ROWS)
        stored = store.images[rows[part]]
        pixels[part] = stored_to_uint8(stored[:, grey])
        if store.meta["mask"] is not None:
            check_labels(store, int(stored[:, -1].max()))
            masks[part] = stored[:, -1]
    kept = store.index[store.index["kept"]].set_index("row").loc[rows]
    _, subjects = np.unique(kept["subject"], return_inverse=True)
    images = Labelled(pixels, masks, store.labels(rows), kept["position"].to_numpy(np.float64))
    return Real(images, _scans(kept, store.meta["filter"]["every"], spacing), subjects)


def check_size(store: Store) -> None:
    """`GanError` unless the store has slices that a network of four levels can see."""
    if store.images.ndim != 4 or min(store.images.shape[2:]) < SMALLEST:
        raise GanError(f"{store.folder}: utility needs slices of {SMALLEST} pixels a side; leave utility out")


def check_labels(store: Store, largest: int) -> None:
    """`GanError` if a mask has more labels than a small network learns."""
    if largest > MOST_LABELS:
        raise GanError(
            f"{store.folder}: its mask has labels up to {largest}, utility takes up to {MOST_LABELS}; leave the data "
            f"set out of a study with utility, or name a mask with fewer labels"
        )


def scan_spacing(store: Store, volumes: str | os.PathLike) -> dict[tuple[str, str], tuple[float, ...]]:
    """mm between slices, rows and columns of each scan, by subject and scan; empty for pictures.

    volumes: the folder of canonical volumes that the slices of ``store`` were cut from.
    """
    subjects = pd.read_csv(store.folder / SUBJECTS, dtype=str, keep_default_na=False).map(as_named)
    table = pd.read_csv(Path(volumes) / TABLE, dtype=str, keep_default_na=False).map(as_named)
    if "pixel_spacing" not in subjects or "spacing" not in table:
        return {}
    in_plane = dict(zip(subjects["subject"], subjects["pixel_spacing"].map(_numbers), strict=True))
    axis = AXES[store.meta["axis"]]
    of_reference = table[table["contrast"] == store.meta["reference"]]
    scans = of_reference["scan"] if "scan" in table else [""] * len(of_reference)
    of_scan = zip(of_reference["subject"], scans, of_reference["spacing"].map(_numbers), strict=True)
    return {(subject, scan): (mm[axis], *in_plane[subject]) for subject, scan, mm in of_scan if subject in in_plane}


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split("x") if part)


def _scans(kept: pd.DataFrame, every: int, spacing: dict[tuple[str, str], tuple[float, ...]]) -> Patients:
    """The scans of each patient of the kept slices, in the order of the codes of `numpy.unique`."""
    scans = kept["scan"].to_numpy() if "scan" in kept else np.full(len(kept), "")
    patients: Patients = []
    for subject in np.unique(kept["subject"]):
        mine = np.flatnonzero(kept["subject"] == subject)
        patients.append([])
        for scan in np.unique(scans[mine]):
            places = mine[scans[mine] == scan]
            depths = kept["slice"].to_numpy(np.int64)[places] // every
            mm = spacing.get((subject, scan))
            apart = None if mm is None else (mm[0] * every, *mm[1:])
            patients[-1].append(Scan(places, depths - depths.min(), apart))
    return patients


def generate(snapshot: Snapshot, number: int, seed: int, truncation: float = 1.0) -> Labelled:
    """``number`` images of ``snapshot`` with their masks and classes, or as many as there are.

    Classes are drawn as often as they occur in the training images.
    """
    if (limit := available(snapshot)) is not None:
        number, truncation = min(number, limit), 1.0
    parts = [as_stored(images.numpy(), snapshot) for images in chunks(snapshot, number, seed, truncation=truncation)]
    pixels, masks = (np.concatenate(part) for part in zip(*parts, strict=True))
    classes = classes_of(snapshot, number, seed).numpy() if snapshot.shape.labels else np.full(number, -1)
    return Labelled(pixels, masks, classes.astype(np.int64), np.full(number, np.nan))


def as_stored(images: NDArray[np.float32], snapshot: Snapshot) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pixels and masks of generated images [n, C, H, W]. `GanError` if a value is NaN or infinite."""
    if not np.isfinite(images).all():
        raise GanError("generates NaN or infinite values; its training diverged, see stats.jsonl")
    largest = snapshot.mask_labels
    if not largest:
        return generated_to_uint8(images), np.zeros((len(images), *images.shape[2:]), np.uint8)
    return generated_to_uint8(images[:, :-1]), generated_to_labels(images[:, -1], largest).astype(np.uint8)


def as_generated(real: Labelled, largest: int, seed: int) -> Labelled:
    """``real`` images on the way that generated ones take, by numbers in [-1, 1], in another order."""
    order = np.random.default_rng([seed, 7]).permutation(len(real))
    mixed = real.take(order)
    grey = np.asarray(mixed.pixels / HALF - 1, np.float32)
    masks = np.asarray(mixed.masks / max(1, largest) * 2 - 1, np.float32)
    labels = generated_to_labels(masks, max(1, largest)).astype(np.uint8)
    return replace(mixed, pixels=generated_to_uint8(grey), masks=labels)


def detected(images: Labelled, least: float) -> Labelled:
    """``images`` whose class is whether their masks cover more than ``least`` % of them: 1, or 0."""
    return replace(images, classes=((images.masks > 0).mean((1, 2)) * 100 > least).astype(np.int64))


def scramble(real: Real, seed: int, by_image: bool = False) -> Labelled:
    """The images of ``real`` with masks of other patients, and with the patients' classes dealt out at random;
    by_image: with the classes of the images whose masks they get."""
    rng, images = np.random.default_rng([seed, 8]), real.images
    count = len(real.patients)
    # Each patient gives to the next one of a random round, so that nobody keeps the own mask.
    order = rng.permutation(count)
    giver = np.empty(count, np.int64)
    giver[order] = np.roll(order, 1)
    takes = np.empty(len(images), np.int64)
    for patient in range(count):
        mine, other = (np.flatnonzero(real.subjects == code) for code in (patient, giver[patient]))
        takes[mine] = rng.choice(other, len(mine))
    if by_image:
        return replace(images, masks=images.masks[takes], classes=images.classes[takes])
    of_patient = np.array([images.classes[real.subjects == code][0] for code in range(count)])
    return replace(images, masks=images.masks[takes], classes=rng.permutation(of_patient)[real.subjects])
