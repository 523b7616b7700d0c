"""The reference of the samples, as files: features of the real images by extractor, and facts of their pixels.

Both are worked out once per data set and shared by all cells. `prepare_extractor` makes an extractor's file,
`real_features` the features that it gives, `image_facts` what needs no extractor.
"""

import itertools
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gan.cells import SPLITS
from gan.data.store import Store
from gan.errors import GanError
from gan.files import atomic_path
from gan.metrics.areas import label_areas
from gan.metrics.pixels import PixelSums
from gan.metrics.ssim import PAIRS, PAIRS_OF_VOLUMES, pairs_of_subjects, similarity_of_pairs
from gan.scales import stored_to_uint8
from gan.scoring.extractors import files
from gan.scoring.planes import InPlanes, open_images, slices_of
from gan.scoring.planes import named as planes_of
from gan.train.device import pick_device

Floors = dict[str, dict[tuple[str, str], float]]  # by split, metric and direction
ROWS = 256  # images of the store read at a time
DESCRIBED = ("train", "val")  # splits whose pixels are described: what is compared with, and the floor


@dataclass(frozen=True)
class RealFeatures:
    """extractor: its id; features[split][contrast]: float32 [n, d]; subjects[split]: codes [n] without meaning;
    classes[split]: the class of each image [n], -1 without classes."""

    extractor: str
    features: dict[str, dict[str, NDArray[np.float32]]]
    subjects: dict[str, NDArray[np.int64]]
    classes: dict[str, NDArray[np.int64]]

    @property
    def contrasts(self) -> list[str]:
        return list(self.features["train"])

    def save(self, path: str | os.PathLike) -> None:
        """Write an uncompressed .npz, atomically."""
        arrays = {f"subjects/{split}": codes for split, codes in self.subjects.items()}
        arrays |= {f"classes/{split}": codes for split, codes in self.classes.items()}
        for split, by_contrast in self.features.items():
            arrays |= {f"features/{split}/{contrast}": features for contrast, features in by_contrast.items()}
        _save(path, arrays | {"extractor": np.array(self.extractor)})

    @classmethod
    def load(cls, path: str | os.PathLike, extractor: str) -> "RealFeatures":
        """Read the file of `save`. Raises `GanError` if it is absent, broken, or of another extractor than that id."""
        arrays = _load(path, "extractor", *(f"classes/{split}" for split in SPLITS))
        if (found := str(arrays["extractor"])) != extractor:
            raise GanError(
                f"{path}: features of the extractor {found}, but {extractor} is required; "
                f"delete it and rerun the step that makes the features"
            )
        features: dict[str, dict[str, NDArray]] = {split: {} for split in SPLITS}
        for name, array in arrays.items():
            if name.startswith("features/"):
                _, split, contrast = name.split("/", 2)
                features[split][contrast] = array
        subjects, classes = ({split: arrays[f"{kind}/{split}"] for split in SPLITS} for kind in ("subjects", "classes"))
        return cls(found, features, subjects, classes)


@dataclass(frozen=True)
class ImageFacts:
    """Facts of the pixels of the real images.

    similarity[contrast]: MS-SSIM of pairs of training images of different subjects, [pairs]; of volumes the mean over
    their slices. areas: those of the labels of the training masks, in % of the image or volume [n, L], L = 0 without a
    mask (`gan.metrics.areas`). pairs [pairs, 2], subjects [n]: whose images these are, as codes without meaning.
    pixels[split][contrast] of the splits `DESCRIBED`: sums over the images of each subject. floors[split]: of
    translations, by metric and direction, what the family ``lookup`` reaches.
    """

    similarity: dict[str, NDArray[np.float64]]
    areas: NDArray[np.float64]
    pairs: NDArray[np.int64]
    subjects: NDArray[np.int64]
    pixels: dict[str, dict[str, PixelSums]]
    floors: Floors = field(default_factory=dict)

    @property
    def contrasts(self) -> list[str]:
        return list(self.similarity)

    def save(self, path: str | os.PathLike) -> None:
        """Write an uncompressed .npz, atomically."""
        arrays = {f"similarity/{name}": values for name, values in self.similarity.items()}
        arrays |= {"areas": self.areas, "pairs": self.pairs, "subjects": self.subjects}
        for split, by_contrast in self.pixels.items():
            for contrast, sums in by_contrast.items():
                arrays |= {f"pixels/{split}/{name}/{contrast}": values for name, values in vars(sums).items()}
        for split, values in self.floors.items():
            arrays |= {f"floors/{split}/{metric}/{name}": np.array(value) for (metric, name), value in values.items()}
        _save(path, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "ImageFacts":
        """Read the file of `save`. Raises `GanError` if it is absent or broken."""
        arrays = _load(path, "areas", "pairs", "subjects")
        found: dict[str, dict[str, dict[str, NDArray]]] = {split: {} for split in DESCRIBED}
        for name, array in arrays.items():
            if name.startswith("pixels/"):
                _, split, field, contrast = name.split("/", 3)
                found[split].setdefault(contrast, {})[field] = array
        if not found["val"]:
            raise GanError(f"{path}: made by another version; delete it and rerun the step that makes it")
        pixels = {
            split: {contrast: PixelSums(**sums) for contrast, sums in by_contrast.items()}
            for split, by_contrast in found.items()
        }
        names = [name for name in arrays if name.startswith("similarity/")]
        floors: Floors = {split: {} for split in SPLITS}
        for name in arrays:
            if name.startswith("floors/"):
                _, split, metric, way = name.split("/", 3)
                floors[split][metric, way] = float(arrays[name])
        similarity = {name.removeprefix("similarity/"): arrays[name] for name in names}
        return cls(similarity, arrays["areas"], arrays["pairs"], arrays["subjects"], pixels, floors)


class Reference(NamedTuple):
    """features: of the real images, by the id of their extractor; images: facts of their pixels."""

    features: dict[str, RealFeatures]
    images: ImageFacts


class Scored(NamedTuple):
    """A contrast and its position: the channel of an image, and the class of the image if classes are contrasts."""

    name: str
    channel: int
    label: int | None = None


def to_score(meta: dict[str, Any]) -> list[Scored]:
    """The contrasts of images that ``meta`` of their store describes: all channels but the mask, or all classes.

    Of volumes each plane of them (`gan.scoring.planes`).
    """
    apart = meta.get("label_of") == "contrast"
    names = meta["labels"] if apart else [name for name in meta["channels"] if name != meta.get("mask")]
    if not meta.get("volumes"):
        return [Scored(name, 0, place) if apart else Scored(name, place) for place, name in enumerate(names)]
    planes = [planes_of(name) for name in names]
    if apart:
        return [Scored(name, place, label) for label, of in enumerate(planes) for place, name in enumerate(of)]
    return [Scored(name, place) for place, name in enumerate(itertools.chain.from_iterable(planes))]


def sided(meta: dict[str, Any]) -> list[str]:
    """The contrasts of `to_score` whose left and right are those of the patient."""
    if meta.get("axis") == "sagittal":
        return []
    names = [one.name for one in to_score(meta)]
    return [name for name in names if not meta.get("volumes") or not name.endswith(" sagittal")]


def joint(contrasts: Sequence[Scored]) -> bool:
    """Whether a sample has several contrasts, as its channels."""
    return len(contrasts) > 1 and contrasts[0].label is None


def prepare_extractor(
    kind: str, spec: dict[str, Any], store: str | os.PathLike, out: str | os.PathLike, device: str = "auto"
) -> None:
    """Write the file of the extractor ``kind`` with the settings ``spec`` (the section of that name in ``metrics``).

    An extractor that is trained sees the training split of ``store``; of weights that exist, the file is checked.
    """
    opened = open_store(store)

    def training_images() -> NDArray[np.uint8]:
        rows, places = rows_of(opened, "train", None), sorted({contrast.channel for contrast in to_score(opened.meta)})
        images = np.empty((len(rows), len(places), *opened.images.shape[2:]), np.uint8)
        for start in range(0, len(rows), ROWS):
            block = slice(start, start + ROWS)
            images[block] = stored_to_uint8(opened.images[rows[block]][:, places])
        return images.reshape(-1, *images.shape[2:])

    files.save(out, kind, files.make(kind, spec, training_images, pick_device(device)))


def real_features(
    extractor: str | os.PathLike, store: str | os.PathLike, out: str | os.PathLike, device: str = "auto"
) -> None:
    """Write the features of all real images of ``store`` by split and contrast (`RealFeatures`)."""
    opened, extract = open_store(store), files.load(extractor, pick_device(device))
    contrasts = to_score(opened.meta)
    rows = {split: [rows_of(opened, split, contrast.label) for contrast in contrasts] for split in SPLITS}
    kept = opened.index[opened.index["kept"]].set_index("row")["subject"]
    found: dict[str, dict[str, NDArray]] = {}
    total = sum(len(of_contrast) for of_split in rows.values() for of_contrast in of_split)
    with tqdm(total=total, desc=f"features of real images ({extract.name})", unit="image") as bar:
        for split in SPLITS:
            found[split] = {}
            for contrast, mine in zip(contrasts, rows[split], strict=True):
                parts = [np.empty((0, extract.dim), np.float32)]
                for start in range(0, len(mine), ROWS):
                    images = opened.images[mine[start : start + ROWS], contrast.channel]
                    parts.append(extract(stored_to_uint8(images)))
                    bar.update(len(images))
                found[split][contrast.name] = np.concatenate(parts)
    # images of all contrasts are of the same slices, in the same order
    subjects = {split: _codes(kept, rows[split][0]) for split in SPLITS}
    classes = {split: opened.labels(rows[split][0]) for split in SPLITS}
    if contrasts[0].label is not None:  # a class is a contrast, and an image of the others is not there
        classes = {split: np.full(len(codes), -1) for split, codes in classes.items()}
    RealFeatures(extract.id, found, subjects, classes).save(out)


def image_facts(store: str | os.PathLike, out: str | os.PathLike, floors: Floors | None = None) -> None:
    """Write the facts of the pixels of the real images of ``store`` (`ImageFacts`), with the floors of translations."""
    opened = open_store(store)
    contrasts = to_score(opened.meta)
    rows = [rows_of(opened, "train", contrast.label) for contrast in contrasts]
    kept = opened.index[opened.index["kept"]].set_index("row")["subject"]
    codes = _codes(kept, rows[0])
    each = slices_of(opened.meta)  # of a volume, which are compared with those of another one at the same places
    pairs = pairs_of_subjects(codes[::each], PAIRS if each == 1 else PAIRS_OF_VOLUMES)
    compared = pairs[:, None] * each + np.arange(each)[:, None]
    similarity = {}
    for contrast, mine in zip(contrasts, rows, strict=True):
        images = stored_to_uint8(opened.images[mine[compared.ravel()], contrast.channel])
        similarity[contrast.name] = similarity_of_pairs(images).reshape(-1, each).mean(1)
    pixels = {
        split: {contrast.name: _pixel_sums(opened, split, contrast, kept) for contrast in contrasts}
        for split in DESCRIBED
    }
    whole = opened.whole if isinstance(opened, InPlanes) else opened  # a mask is that of a volume
    subjects = _codes(whole.index[whole.index["kept"]].set_index("row")["subject"], whole.rows("train"))
    ImageFacts(similarity, _training_areas(whole), codes[::each][pairs], subjects, pixels, floors or {}).save(out)


def _pixel_sums(store: Store, split: str, contrast: Scored, subjects: Any) -> PixelSums:
    """Facts of the images of ``contrast`` in ``split``, summed by subject."""
    rows, parts = rows_of(store, split, contrast.label), []
    for start in range(0, len(rows), ROWS):
        parts.append(PixelSums.of(stored_to_uint8(store.images[rows[start : start + ROWS], contrast.channel])))
    return PixelSums.together(parts).by(_codes(subjects, rows))


def _codes(subjects: Any, rows: NDArray) -> NDArray[np.int64]:
    """The subjects of ``rows`` as numbers without meaning."""
    return np.unique(subjects.loc[rows], return_inverse=True)[1]


def _training_areas(store: Store) -> NDArray[np.float64]:
    """Areas of the labels of the training masks, [n, largest label]; [n, 0] without a mask."""
    rows = store.rows("train")
    if store.meta["mask"] is None:
        return np.empty((len(rows), 0))
    blocks = np.array_split(rows, -(-len(rows) // (ROWS if store.images.ndim == 4 else 8)))  # volumes are large
    largest = max(1, *(int(store.images[block, -1].max()) for block in blocks))
    return np.concatenate([label_areas(store.images[block, -1], largest) for block in blocks])


def rows_of(store: Store, split: str, label: int | None) -> NDArray[np.int64]:
    """Rows of the images of ``split`` that have every contrast; label: of that class alone."""
    rows = store.rows(split)
    if label is not None:
        return rows[store.labels(rows) == label]
    return rows[store.present(rows, store.meta["channels"])]


def open_store(store: str | os.PathLike) -> Store:
    """The store, whose images can be scored, in all three splits; volumes as slices. `GanError` otherwise."""
    opened = open_images(store)
    if opened.images.ndim != 4:
        raise GanError(f"{store}: has volumes, but its store.json does not say which; build it again")
    for split in SPLITS:
        if not len(opened.rows(split)):
            raise GanError(
                f"{store}: no images in the split {split}, all three are needed for scores; raise its fraction in the "
                f"data set's split or add subjects"
            )
    opened.check_files()
    return opened


def _save(path: str | os.PathLike, arrays: dict[str, NDArray]) -> None:
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _load(path: str | os.PathLike, *needed: str) -> dict[str, NDArray]:
    """Read the arrays of a file of `_save`, which must contain ``needed``."""
    try:
        with np.load(Path(path), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        for name in needed:
            arrays[name]
    except FileNotFoundError as error:
        raise GanError(f"{path}: no such file; run the step that makes it from the real images") from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise GanError(
            f"{path}: not a file of features, or a broken one; delete it and rerun the step that makes it"
        ) from error
    return arrays
