"""The reference of the samples, as files: features of the real images by extractor, and facts of their pixels.

Both are worked out once per data set and shared by all cells. `prepare_extractor` makes an extractor's file,
`real_features` the features that it gives, `image_facts` what needs no extractor.
"""

import math
import os
import sys
import zipfile
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
from gan.scoring.contrasts import Scored, rows_of, to_score
from gan.scoring.extractors import files, registry
from gan.scoring.planes import store_seen
from gan.train.device import pick_device

Floors = dict[str, dict[tuple[str, str], float]]  # by split, metric and direction
ROWS, VOXELS = 256, 1 << 22  # images of the store read at a time, or volumes of so many voxels in all
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

    similarity[contrast]: MS-SSIM of pairs of training images of different subjects, [pairs]. areas[split]: those of the
    labels of the masks, in % of the image or volume [n, L], L = 0 without a mask (`gan.metrics.areas`). pairs
    [pairs, 2], subjects[split] [n]: whose images these are, as codes without meaning.
    pixels[split][contrast] of the splits `DESCRIBED`: sums over the images of each subject. floors[split]: of
    translations, by metric and direction, what the family ``lookup`` reaches.
    """

    similarity: dict[str, NDArray[np.float64]]
    areas: dict[str, NDArray[np.float64]]
    pairs: NDArray[np.int64]
    subjects: dict[str, NDArray[np.int64]]
    pixels: dict[str, dict[str, PixelSums]]
    floors: Floors = field(default_factory=dict)

    @property
    def contrasts(self) -> list[str]:
        return list(self.similarity)

    def save(self, path: str | os.PathLike) -> None:
        """Write an uncompressed .npz, atomically."""
        arrays: dict[str, NDArray] = {f"similarity/{name}": values for name, values in self.similarity.items()}
        arrays["pairs"] = self.pairs
        for kind in ("areas", "subjects"):
            arrays |= {f"{kind}/{split}": of for split, of in getattr(self, kind).items()}
        for split, by_contrast in self.pixels.items():
            for contrast, sums in by_contrast.items():
                arrays |= {f"pixels/{split}/{name}/{contrast}": values for name, values in vars(sums).items()}
        for split, values in self.floors.items():
            arrays |= {f"floors/{split}/{metric}/{name}": np.array(value) for (metric, name), value in values.items()}
        _save(path, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "ImageFacts":
        """Read the file of `save`. Raises `GanError` if it is absent or broken."""
        known = [f"{kind}/{split}" for kind in ("areas", "subjects") for split in DESCRIBED]
        arrays = _load(path, "pairs", *known)
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
        areas, subjects = ({split: arrays[f"{kind}/{split}"] for split in DESCRIBED} for kind in ("areas", "subjects"))
        return cls(similarity, areas, arrays["pairs"], subjects, pixels, floors)


class Reference(NamedTuple):
    """features: of the real images, by the id of their extractor; images: facts of their pixels."""

    features: dict[str, RealFeatures]
    images: ImageFacts


def prepare_extractor(
    kind: str, spec: dict[str, Any], store: str | os.PathLike, out: str | os.PathLike, device: str = "auto"
) -> None:
    """Write the file of the extractor ``kind`` with the settings ``spec`` (the section of that name in ``metrics``).

    An extractor that is trained sees the training split of ``store``; of weights that exist, the file is checked. With
    too few training volumes it is left out: the file says so, and a warning. `GanError` for one of volumes and a store
    of slices.
    """
    known, opened = registry.options_class(kind), open_store(store)
    if known.AXES == 3 and not opened.meta.get("volumes"):
        raise GanError(f"{store}: {kind} sees whole volumes, and this data set has slices; take another extractor")
    opened = store_seen(opened, known.AXES)
    rows = rows_of(opened, "train", None)
    if len(rows) < known.FEWEST:
        reason = f"it needs {known.FEWEST} training volumes, and there are {len(rows)}"
        print(f"warning: {kind} is left out: {reason}", file=sys.stderr)
        files.save(out, kind, {files.LEFT_OUT: reason})
        return

    def training_images() -> NDArray[np.uint8]:
        places = sorted({contrast.channel for contrast in to_score(opened.meta, known.AXES)})
        images = np.empty((len(rows), len(places), *opened.images.shape[2:]), np.uint8)
        for start in range(0, len(rows), at_once(opened)):
            block = slice(start, start + at_once(opened))
            images[block] = stored_to_uint8(opened.images[rows[block]][:, places])
        return images.reshape(-1, *images.shape[2:])

    files.save(out, kind, files.make(kind, spec, training_images, pick_device(device)))


def real_features(
    extractor: str | os.PathLike, store: str | os.PathLike, out: str | os.PathLike, device: str = "auto"
) -> None:
    """Write the features of all real images of ``store`` by split and contrast (`RealFeatures`).

    Of an extractor that is left out there are none, and the file says so.
    """
    if reason := files.left_out(extractor):
        _save(out, {files.LEFT_OUT: np.array(reason)})
        return
    extract = files.load(extractor, pick_device(device))
    axes = registry.axes(extract.name)
    opened = store_seen(open_store(store), axes)
    contrasts = to_score(opened.meta, axes)
    rows = {split: [rows_of(opened, split, contrast.label) for contrast in contrasts] for split in SPLITS}
    kept = opened.index[opened.index["kept"]].set_index("row")["subject"]
    found: dict[str, dict[str, NDArray]] = {}
    total = sum(len(of_contrast) for of_split in rows.values() for of_contrast in of_split)
    with tqdm(total=total, desc=f"features of real images ({extract.name})", unit="image") as bar:
        for split in SPLITS:
            found[split] = {}
            for contrast, mine in zip(contrasts, rows[split], strict=True):
                parts = [np.empty((0, extract.dim), np.float32)]
                for start in range(0, len(mine), at_once(opened)):
                    images = opened.images[mine[start : start + at_once(opened)], contrast.channel]
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
    pairs = pairs_of_subjects(codes, PAIRS if opened.images.ndim == 4 else PAIRS_OF_VOLUMES)
    similarity = {
        contrast.name: _similarity(opened, mine[pairs], contrast.channel)
        for contrast, mine in zip(contrasts, rows, strict=True)
    }
    pixels = {
        split: {contrast.name: _pixel_sums(opened, split, contrast, kept) for contrast in contrasts}
        for split in DESCRIBED
    }
    subjects = {split: _codes(kept, opened.rows(split)) for split in DESCRIBED}
    ImageFacts(similarity, _areas(opened), codes[pairs], subjects, pixels, floors or {}).save(out)


def _similarity(store: Store, pairs: NDArray, channel: int) -> NDArray[np.float64]:
    """MS-SSIM of ``pairs`` [pairs, 2] of rows, [pairs]."""
    found, step = [], max(1, at_once(store) // 2)
    for start in range(0, len(pairs), step):
        found.append(similarity_of_pairs(stored_to_uint8(store.images[pairs[start : start + step].ravel(), channel])))
    return np.concatenate(found)


def _pixel_sums(store: Store, split: str, contrast: Scored, subjects: Any) -> PixelSums:
    """Facts of the images of ``contrast`` in ``split``, summed by subject."""
    rows, parts = rows_of(store, split, contrast.label), []
    for start in range(0, len(rows), at_once(store)):
        block = store.images[rows[start : start + at_once(store)], contrast.channel]
        parts.append(PixelSums.of(stored_to_uint8(block)))
    return PixelSums.together(parts).by(_codes(subjects, rows))


def _codes(subjects: Any, rows: NDArray) -> NDArray[np.int64]:
    """The subjects of ``rows`` as numbers without meaning."""
    return np.unique(subjects.loc[rows], return_inverse=True)[1]


def _areas(store: Store) -> dict[str, NDArray[np.float64]]:
    """By split areas of the labels of the masks, [n, largest label of training masks]; [n, 0] without a mask."""
    rows = {split: store.rows(split) for split in DESCRIBED}
    if store.meta["mask"] is None:
        return {split: np.empty((len(mine), 0)) for split, mine in rows.items()}
    blocks = {split: np.array_split(mine, -(-len(mine) // at_once(store))) for split, mine in rows.items()}
    largest = max(1, *(int(store.images[block, -1].max()) for block in blocks["train"]))
    return {
        split: np.concatenate([label_areas(store.images[block, -1], largest) for block in mine])
        for split, mine in blocks.items()
    }


def at_once(store: Store) -> int:
    """How many images of ``store`` are read at a time."""
    return ROWS if store.images.ndim == 4 else max(2, VOXELS // math.prod(store.images.shape[2:]))


def open_store(store: str | os.PathLike) -> Store:
    """The store, whose images can be scored, in all three splits. `GanError` otherwise."""
    opened = Store.open(store)
    if opened.images.ndim != 4 and not opened.meta.get("volumes"):
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
