"""How an eye, features or pixels, sees real images and planted copies of them (`gan.metrics.copies`)."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gan.cells import WHOLE
from gan.data.store import Store
from gan.metrics.copies import FEWEST, Null, nearest_patients
from gan.metrics.facts import PIXELS
from gan.metrics.thumbnails import correlated, moved, thumbnails
from gan.scales import stored_to_uint8
from gan.scoring.contrasts import Scored, joint, rows_of, to_score
from gan.scoring.extractors import registry
from gan.scoring.extractors.files import Extractor
from gan.scoring.faults import DISGUISES, to_grey
from gan.scoring.planes import store_seen
from gan.scoring.reference import Reference, at_once

CALIBRATED = 1000  # training images, and held-out ones, that are compared with other patients, at most
PLANTED = 50  # training images that are copied in each disguise
HELD_OUT = ("val", "test")
EITHER = "either"  # eye: the search as a whole
Grey = Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Eye:
    """known: by group the vectors [t, d] of all training images; see: of images [n, *size] by contrast their vectors
    [n, d], or [s, n, d] in s versions; real: the same of a group's training or held-out images with these indices."""

    name: str
    known: dict[str, NDArray[np.float32]]
    see: Callable[[Grey], NDArray[np.float32]]
    real: Callable[[str, bool, NDArray], NDArray[np.float32]]


class RealImages:
    """The real images of the ``contrasts`` of a store, in groups: all contrasts of a slice, or the images of a class.

    train[group]: rows of the training images; subjects: the patient of each row of the store, as codes.
    """

    def __init__(self, store: Store, contrasts: Sequence[Scored]):
        self._store, self.at_once = store, at_once(store)
        classes: dict[int | None, list[Scored]] = {}
        for one in contrasts:
            classes.setdefault(one.label, []).append(one)
        together = joint(contrasts) or len(contrasts) == 1
        self.groups = {WHOLE if together else of[0].name: of for of in classes.values()}
        kept = store.index[store.index["kept"]].set_index("row").sort_index()
        self.subjects = np.unique(kept["subject"], return_inverse=True)[1]
        self.train = {group: self._rows("train", members) for group, members in self.groups.items()}
        self.held_out = {
            group: np.concatenate([self._rows(split, members) for split in HELD_OUT])
            for group, members in self.groups.items()
        }

    def _rows(self, split: str, members: list[Scored]) -> NDArray[np.int64]:
        return rows_of(self._store, split, members[0].label)

    def classes(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The class of each of ``rows``, -1 without classes."""
        return self._store.labels(rows)

    def patients(self, split: str, name: int) -> int:
        """How many patients of ``split`` have images of class ``name``."""
        rows = self._store.rows(split)
        return len(np.unique(self.subjects[rows[self.classes(rows) == name]]))

    def grey(self, group: str, rows: NDArray) -> dict[str, NDArray[np.uint8]]:
        """8-bit images [n, *size] of ``rows`` by contrast."""
        block = self._store.images[rows]
        return {one.name: stored_to_uint8(block[:, one.channel]) for one in self.groups[group]}

    def group(self, batch: Grey) -> str:
        """The group that generated images of these contrasts belong to."""
        return WHOLE if WHOLE in self.groups else next(iter(batch))

    def rows(self, group: str, train: bool) -> NDArray[np.int64]:
        return (self.train if train else self.held_out)[group]

    def some(self, group: str, number: int, train: bool = True) -> NDArray[np.int64]:
        """Indices of about ``number`` of the rows at most: as many of each patient, evenly spaced."""
        subjects = self.subjects[self.rows(group, train)]
        names = np.unique(subjects)
        each = -(-number // len(names))
        places = [np.flatnonzero(subjects == name) for name in names]
        chosen = [of[np.unique(np.linspace(0, len(of) - 1, min(each, len(of))).astype(int))] for of in places]
        return np.sort(np.concatenate(chosen))


def feature_eye(extract: Extractor, reference: Reference, real: RealImages) -> Eye:
    """Of the features of all contrasts of a group, side by side."""
    features = reference.features[extract.id].features

    def joined(group: str, splits: Sequence[str]) -> NDArray[np.float32]:
        names = [one.name for one in real.groups[group]]
        return np.concatenate([np.concatenate([features[split][name] for name in names], 1) for split in splits])

    known = {group: joined(group, ["train"]) for group in real.groups}
    held_out = {group: joined(group, HELD_OUT) for group in real.groups}
    return Eye(
        extract.name,
        known,
        lambda grey: np.concatenate([extract(images) for images in grey.values()], 1),
        lambda group, train, index: (known if train else held_out)[group][index],
    )


def pixel_eye(real: RealImages) -> Eye:
    """Of the correlation of small pictures, moved a little."""
    known: dict[str, NDArray[np.float32]] = {}
    for group, rows in real.train.items():
        parts = []
        for start in range(0, len(rows), real.at_once):
            grey = real.grey(group, rows[start : start + real.at_once])
            parts.append(correlated([thumbnails(images) for images in grey.values()]))
        known[group] = np.concatenate(parts)

    def see(grey: Grey) -> NDArray[np.float32]:
        return moved([thumbnails(images) for images in grey.values()])

    return Eye(PIXELS, known, see, lambda group, train, index: see(real.grey(group, real.rows(group, train)[index])))


def calibrate(eye: Eye, real: RealImages, group: str, seed: int) -> Null:
    """What ``eye`` sees of real images of ``group`` and of planted copies of them."""
    rows, known, random = real.train[group], eye.known[group], np.random.default_rng([seed, 6])
    subjects = real.subjects[rows]
    # Real images: those of training patients next to other patients, those of held-out ones next to all.
    some, held = real.some(group, CALIBRATED), real.some(group, CALIBRATED, train=False)
    ratios = nearest_patients(eye.real(group, True, some), known, subjects, own=subjects[some]).ratio
    held_out = nearest_patients(eye.real(group, False, held), known, subjects).ratio
    # Planted copies.
    planted = real.some(group, PLANTED)
    images, others = (real.grey(group, rows[of]) for of in (planted, _of_others(subjects, planted, random)))
    panel = {}
    for name, change in DISGUISES.items():
        copies = {
            of: to_grey(change(x.astype(np.float64), others[of].astype(np.float64), np.random.default_rng([seed, 7])))
            for of, x in images.items()
        }
        panel[name] = nearest_patients(eye.see(copies), known, subjects).ratio
    return Null(ratios, subjects[some], held_out, real.subjects[real.held_out[group][held]], panel)


def _of_others(subjects: NDArray, chosen: NDArray, random: np.random.Generator) -> NDArray[np.int64]:
    """For each ``chosen`` image one of another patient at about the same place among that patient's images."""
    names, codes = np.unique(subjects, return_inverse=True)
    places = [np.flatnonzero(codes == code) for code in range(len(names))]
    found = []
    for index in chosen:
        own = places[codes[index]]
        other = places[(codes[index] + random.integers(1, len(names))) % len(names)]
        share = np.searchsorted(own, index) / max(1, len(own) - 1)
        found.append(other[round(share * (len(other) - 1))])
    return np.array(found)


class Search:
    """What a search for copies among images of the contrasts ``names`` knows before it sees any: its eyes, and what
    they see of real images.

    axes: of what the eyes see, as ``extract`` does: whole volumes, or slices of them. ``enough``: whether there are
    `FEWEST` training patients; without them it has no eyes.
    """

    def __init__(self, store: Store, extract: Extractor, reference: Reference, seed: int, names: Sequence[str]):
        self.axes = registry.axes(extract.name)
        contrasts = to_score(store.meta, self.axes)
        chosen = [one for one in contrasts if one.name in names]
        self.real, self.seed = RealImages(store_seen(store, self.axes), chosen), seed
        self.enough = all(len(np.unique(self.real.subjects[rows])) >= FEWEST for rows in self.real.train.values())
        self.eyes = [feature_eye(extract, reference, self.real), pixel_eye(self.real)] if self.enough else []

    @functools.cached_property
    def nulls(self) -> dict[str, list[Null]]:
        """What each eye sees of real images, by group; `EITHER` is the search as a whole."""
        bar = tqdm(self.eyes, desc="planted copies", unit="set", leave=False)
        found = {eye.name: [calibrate(eye, self.real, group, self.seed) for group in self.real.groups] for eye in bar}
        return found | {EITHER: [Null.of_either(nulls) for nulls in zip(*found.values(), strict=True)]}
