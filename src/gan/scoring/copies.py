"""The search for copied patients: generated images through two eyes, features and pixels, next to real ones.

Each eye turns an image into a vector; `gan.metrics.copies` tells from distances whether it is suspiciously near to one
training patient. The same eyes look at planted copies in disguise, whose share found is the power of the search, and at
held-out real images, of which about 1 % are suspicious by chance.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gan.cells import WHOLE
from gan.data.store import Store
from gan.metrics.copies import ALPHA, FEWEST, Nearest, Null, Rate, nearest_patients, rate
from gan.metrics.facts import PIXELS
from gan.metrics.thumbnails import correlated, moved, thumbnails
from gan.report.copies import Pair
from gan.scales import stored_to_uint8
from gan.scoring.extractors.files import Extractor
from gan.scoring.faults import DISGUISES, to_grey
from gan.scoring.probes import FeatureProbe, Rows, Samples
from gan.scoring.reference import Reference, Scored, joint, rows_of

CALIBRATED = 1000  # training images, and held-out ones, that are compared with other patients, at most
PLANTED = 50  # training images that are copied in each disguise
BLOCK = 1024  # images of the store read at a time
SHOWN = 12  # most suspicious images that are kept for people to look at
HELD_OUT = ("val", "test")
BOTH = "both"  # eyes together
Grey = Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Eye:
    """known: by group the vectors [t, d] of all training images; see: of images [n, H, W] by contrast their vectors
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
        self._store = store
        together = joint(contrasts) or len(contrasts) == 1
        self.groups = {WHOLE: list(contrasts)} if together else {one.name: [one] for one in contrasts}
        kept = store.index[store.index["kept"]].sort_values("row")
        self.subjects = np.unique(kept["subject"], return_inverse=True)[1]
        self.train = {group: self._rows("train", members) for group, members in self.groups.items()}
        self.held_out = {
            group: np.concatenate([self._rows(split, members) for split in HELD_OUT])
            for group, members in self.groups.items()
        }

    def _rows(self, split: str, members: list[Scored]) -> NDArray[np.int64]:
        return rows_of(self._store, split, members[0].label)

    def grey(self, group: str, rows: NDArray) -> dict[str, NDArray[np.uint8]]:
        """8-bit images [n, H, W] of ``rows`` by contrast."""
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
        blocks = [real.grey(group, rows[start : start + BLOCK]) for start in range(0, len(rows), BLOCK)]
        known[group] = np.concatenate([correlated([thumbnails(images) for images in grey.values()]) for grey in blocks])

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


class CopyProbe:
    """How many generated images are copies of a training patient, seen after ``features`` saw the same batches.

    ``enough`` says whether there are `FEWEST` training patients; otherwise there are no rows.
    """

    def __init__(
        self,
        store: Store,
        contrasts: Sequence[Scored],
        features: FeatureProbe,
        reference: Reference,
        bootstrap: int,
        seed: int,
    ):
        self.real, self.features = RealImages(store, contrasts), features
        self.bootstrap, self.seed = bootstrap, seed
        self.enough = all(len(np.unique(self.real.subjects[rows])) >= FEWEST for rows in self.real.train.values())
        self.eyes = [feature_eye(features.extract, reference, self.real), pixel_eye(self.real)] if self.enough else []
        self._found: dict[tuple[str, str], list[Nearest]] = {}
        self._units: list[NDArray] = []
        self._shown: list[tuple[float, str, int, dict[str, NDArray[np.uint8]]]] = []

    def add(self, batch: Samples) -> None:
        if not self.enough:
            return
        group = self.real.group(batch.grey)
        grey = {one.name: batch.grey[one.name] for one in self.real.groups[group]}
        subjects = self.real.subjects[self.real.train[group]]
        before = sum(len(one.ratio) for one in self._found.get((self.eyes[0].name, group), []))
        latest = []
        for eye in self.eyes:
            vectors = self._features_of(grey) if eye is self.eyes[0] else eye.see(grey)
            latest.append(nearest_patients(vectors, eye.known[group], subjects))
            self._found.setdefault((eye.name, group), []).append(latest[-1])
        if batch.pairs is not None:
            self._units.append(batch.pairs.subjects)
        worst = np.min([one.ratio for one in latest], 0)
        for index in np.argsort(worst)[:SHOWN]:
            images = {name: of[index].copy() for name, of in grey.items()}
            self._shown.append((float(worst[index]), group, before + int(index), images))
        self._shown = sorted(self._shown, key=lambda one: one[0])[:SHOWN]

    def _features_of(self, grey: Grey) -> NDArray[np.float32]:
        """Of the batch that the probe of features has just seen."""
        return np.concatenate([self.features.found[name][-1] for name in grey], 1)

    @functools.cached_property
    def nulls(self) -> dict[str, list[Null]]:
        """What each eye sees of real images, by group; `BOTH` is the search, in which either eye may be surprised."""
        bar = tqdm(self.eyes, desc="planted copies", unit="set", leave=False)
        found = {eye.name: [calibrate(eye, self.real, group, self.seed) for group in self.real.groups] for eye in bar}
        return found | {BOTH: [Null.of_both(nulls) for nulls in zip(*found.values(), strict=True)]}

    def nearest(self, eye: str, group: str) -> Nearest:
        return Nearest(*(np.concatenate(part) for part in zip(*self._found[eye, group], strict=True)))

    @functools.cached_property
    def rates(self) -> dict[str, Rate]:
        """How many copies each eye sees, and `BOTH` together."""
        units = np.concatenate(self._units) if self._units else None
        ratios = {eye.name: [self.nearest(eye.name, group).ratio for group in self.real.groups] for eye in self.eyes}
        surprise = [[n.surprise(r) for n, r in zip(self.nulls[eye], of, strict=True)] for eye, of in ratios.items()]
        ratios[BOTH] = [np.min(of_group, 0) for of_group in zip(*surprise, strict=True)]
        return {eye: rate(of, self.nulls[eye], self.bootstrap, self.seed, units) for eye, of in ratios.items()}

    def rows(self, reference: Reference) -> Rows:
        if not self.enough:
            return []
        of = self.rates[BOTH]
        row: dict[str, Any] = {"metric": f"copies_{self.eyes[0].name}", "contrast": WHOLE, "value": of.copies}
        row |= {"low": of.low, "high": of.high, "floor": 0.0, "floor_low": None, "floor_high": None}
        row |= {"above_floor": of.copies, "above_floor_low": of.low, "above_floor_high": of.high}
        row |= {"replicates": [float(f"{draw:.6g}") for draw in of.replicates]}
        images = sum(map(len, self.real.train.values()))
        row |= {"split": "train", "n_real": images, "n_subjects": self._patients(), "n_fake": self._number()}
        return [row | {"seed": self.seed, "extractor": self.features.extract.id}]

    def _patients(self) -> int:
        return len(np.unique(self.real.subjects[np.concatenate(list(self.real.train.values()))]))

    def _number(self) -> int:
        """Of generated images."""
        return sum(map(len, self.rates[BOTH].suspicious))

    def summary(self) -> dict[str, Any]:
        """What a reader has to know beside the rate: what each eye sees, the power of the search, its control."""
        if not self.enough:
            return {"left_out": f"a search for copies needs {FEWEST} training patients"}
        copied, agreed = set(), []
        for place, group in enumerate(self.real.groups):
            seen = np.array([self.rates[eye.name].suspicious[place] for eye in self.eyes])
            agreed.append(seen.all(0).mean())
            near = self.nearest(self.eyes[-1].name, group).first[self.rates[BOTH].suspicious[place]]
            copied |= set(self.real.subjects[self.real.train[group][near]].tolist())
        of = self.rates[BOTH]
        return {
            **{"copies": of.copies, "low": of.low, "high": of.high, "alpha": ALPHA, "n_fake": self._number()},
            **{"patients": self._patients(), "patients_near": len(copied), "seen_by_both": float(np.mean(agreed))},
            **{"eyes": [eye.name for eye in self.eyes], "suspicious": self._of_each(lambda eye: self._share(eye))},
            **{"control": self._of_each(self._control), "power": self._of_each(self._power)},
        }

    def _of_each(self, ask: Callable[[str], Any]) -> dict[str, Any]:
        return {eye: ask(eye) for eye in self.nulls}

    def _share(self, eye: str) -> float:
        return float(np.mean(self.rates[eye].suspicious))

    def _control(self, eye: str) -> list[float | None]:
        """The share of held-out images that is suspicious, with its interval; the mean over groups."""
        controls = [null.control(self.bootstrap, self.seed) for null in self.nulls[eye]]
        of = list(zip(*controls, strict=True))
        return [None if None in values else float(np.mean(values)) for values in of]  # type: ignore[arg-type]

    def _power(self, eye: str) -> dict[str, float]:
        found = [null.power() for null in self.nulls[eye]]
        return {name: float(np.mean([of[name] for of in found])) for name in DISGUISES}

    def suspects(self) -> tuple[list[Pair], list[Pair]]:
        """The generated images most likely to be copies, and the held-out real images that rank first in the same way,
        the most suspicious first."""
        fakes = []
        for _, group, index, grey in self._shown if self.enough else []:
            of = {eye.name: self.nearest(eye.name, group).ratio[index] for eye in self.eyes}
            fakes.append(self._pair(group, grey, of, self.nearest(self.eyes[0].name, group), index))
        reals = []
        for place, (group, rows) in enumerate(self.real.held_out.items() if self.enough else []):
            ratios = {eye.name: self.nulls[eye.name][place].held_out for eye in self.eyes}
            order = np.argsort(np.min(list(ratios.values()), 0))[:SHOWN]
            looked_at = rows[self.real.some(group, CALIBRATED, train=False)]
            grey, subjects = self.real.grey(group, looked_at[order]), self.real.subjects[self.real.train[group]]
            found = nearest_patients(self.eyes[0].see(grey), self.eyes[0].known[group], subjects)
            for rank, index in enumerate(order):
                images = {name: of[rank] for name, of in grey.items()}
                of = {name: float(ratio[index]) for name, ratio in ratios.items()}
                reals.append(self._pair(group, images, of, found, rank))
        return fakes, sorted(reals, key=lambda one: min(one.ratios.values()))[:SHOWN]

    def _pair(self, group: str, grey: dict, ratios: dict[str, float], found: Nearest, index: int) -> Pair:
        rows = self.real.train[group][[found.first[index], found.second[index]]]
        near = [{name: of[0] for name, of in self.real.grey(group, rows[place : place + 1]).items()} for place in (0, 1)]
        return Pair(grey, *near, {name: float(ratio) for name, ratio in ratios.items()})
