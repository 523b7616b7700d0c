"""The search for copied patients: generated images through two eyes, features and pixels, next to real ones.

Each eye turns an image into a vector; `gan.metrics.copies` tells from distances whether it is suspiciously near to one
training patient. The same eyes look at planted copies in disguise, whose share found is the power of the search, and at
held-out real images, of which about 1 % are suspicious by chance.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gan.cells import CLASS, WHOLE
from gan.data.planes import three_planes
from gan.metrics.copies import ALPHA, FEWEST, Nearest, Rate, nearest_patients, rate, rates_of_classes
from gan.metrics.scores import CLASS_SUBJECTS
from gan.report.copies import Pair
from gan.scoring.eyes import CALIBRATED, EITHER, Grey, Search
from gan.scoring.faults import DISGUISES
from gan.scoring.planes import seen
from gan.scoring.probes import FeatureProbe, Rows, Samples
from gan.scoring.reference import Reference

SHOWN = 12  # most suspicious images that are kept for people to look at


class _Suspect(NamedTuple):
    """surprise: of the eye that is more surprised; near: the indices of the nearest training images of two patients;
    ratios: of each eye; grey: images [H, W] or volumes [D, H, W] by contrast."""

    surprise: float
    group: str
    near: tuple[int, int]
    ratios: tuple[float, ...]
    grey: dict[str, NDArray[np.uint8]]


class CopyProbe:
    """How many generated images are copies of a training patient, seen after ``features`` saw the same batches.

    ``enough`` says whether there are `FEWEST` training patients; otherwise there are no rows.
    """

    def __init__(self, search: Search, features: FeatureProbe, bootstrap: int):
        self.search, self.features = search, features
        self.real, self.eyes, self.enough = search.real, search.eyes, search.enough
        self.bootstrap, self.seed = bootstrap, search.seed
        self._found: dict[tuple[str, str], list[Nearest]] = {}
        self._units: list[NDArray] = []
        self._each = 1
        self._shown: list[_Suspect] = []

    def add(self, batch: Samples) -> None:
        if not self.enough:
            return
        shown = seen(batch.grey, self.search.axes)
        group = self.real.group(shown)
        grey = {one.name: shown[one.name] for one in self.real.groups[group]}
        features = np.concatenate([self.features.found[name][-1] for name in grey], 1)  # of the same batch
        latest = self._compare(group, [features, *(eye.see(grey) for eye in self.eyes[1:])])
        for eye, found in zip(self.eyes, latest, strict=True):
            self._found.setdefault((eye.name, group), []).append(found)
        self._each = self.features.each
        if batch.pairs is not None:
            self._units.append(batch.pairs.subjects.repeat(self._each))
        suspects = [*self._shown, *self._suspects(group, latest, grey)]
        self._shown = sorted(suspects, key=lambda one: one.surprise)[:SHOWN]

    def nearest(self, eye: str, group: str) -> Nearest:
        return Nearest(*(np.concatenate(part) for part in zip(*self._found[eye, group], strict=True)))

    @functools.cached_property
    def rates(self) -> dict[str, Rate]:
        """How many copies each eye sees, and `EITHER` of them."""
        units = np.concatenate(self._units) if self._units else None
        found = {group: [self.nearest(eye.name, group) for eye in self.eyes] for group in self.real.groups}
        ratios = {eye.name: [of[place].ratio for of in found.values()] for place, eye in enumerate(self.eyes)}
        ratios[EITHER] = [self._surprise(group, of).min(0) for group, of in found.items()]
        if units is None and self._each > 1:  # slices of a volume are drawn together
            units = np.arange(len(ratios[EITHER][0])) // self._each
        return {eye: rate(of, self.search.nulls[eye], self.bootstrap, self.seed, units) for eye, of in ratios.items()}

    def rows(self, reference: Reference) -> Rows:
        if not self.enough:
            return []
        images = sum(map(len, self.real.train.values()))
        numbers = {"n_real": images, "n_subjects": self._patients(), "n_fake": self._number()}
        return [self._row(WHOLE, self.rates[EITHER], numbers)]

    def class_rows(self, classes: NDArray, names: Sequence[str]) -> Rows:
        """How many of the images of each class are copies of a patient of any class; classes of the samples, whose
        names are ``names``. A class of fewer than `CLASS_SUBJECTS` training or test patients has no interval."""
        if not self.enough or list(self.real.groups) != [WHOLE]:  # else classes are contrasts
            return []
        asked, train = classes.repeat(self._each), self.real.train[WHOLE]
        surprise = self._surprise(WHOLE, [self.nearest(eye.name, WHOLE) for eye in self.eyes]).min(0)
        known = self.real.classes(train)
        calibrated = known[self.real.some(WHOLE, CALIBRATED)]
        patients = [self.real.patients("train", name) for name in range(len(names))]
        few = [min(of, self.real.patients("test", name)) < CLASS_SUBJECTS for name, of in enumerate(patients)]
        draws, null = [0 if of else self.bootstrap for of in few], self.search.nulls[EITHER][0]
        found = rates_of_classes(surprise, asked, null, calibrated, draws, self.seed, self._each)
        rows = []
        for name, of in found.items():
            numbers = {"n_real": int((known == name).sum()), "n_subjects": patients[name]}
            rows.append(self._row(CLASS + names[name], of, numbers | {"n_fake": len(of.suspicious[0])}))
        return rows

    def _row(self, contrast: str, of: Rate, numbers: dict[str, int]) -> dict[str, Any]:
        row: dict[str, Any] = {"metric": f"copies_{self.eyes[0].name}", "contrast": contrast, "value": of.copies}
        row |= {"low": of.low, "high": of.high, "floor": 0.0, "floor_low": None, "floor_high": None}
        row |= {"above_floor": of.copies, "above_floor_low": of.low, "above_floor_high": of.high}
        row |= {"replicates": [float(f"{draw:.6g}") for draw in of.replicates], "split": "train", **numbers}
        return row | {"seed": self.seed, "extractor": self.features.extract.id}

    def _patients(self) -> int:
        return len(np.unique(self.real.subjects[np.concatenate(list(self.real.train.values()))]))

    def _number(self) -> int:
        """Of generated images."""
        return sum(map(len, self.rates[EITHER].suspicious))

    def summary(self) -> dict[str, Any]:
        """What a reader has to know next to the rate: what each eye sees, the power of the search, its control."""
        if not self.enough:
            return {"left_out": f"a search for copies needs {FEWEST} training patients"}
        copied, agreed = set(), []
        for place, group in enumerate(self.real.groups):
            seen = np.array([self.rates[eye.name].suspicious[place] for eye in self.eyes])
            agreed.append(seen.all(0).mean())
            found = [self.nearest(eye.name, group) for eye in self.eyes]
            by = self._surprise(group, found).argmin(0)  # the eye that is more surprised
            near = np.array([of.first for of in found])[by, np.arange(len(by))]
            rows = self.real.train[group][near[self.rates[EITHER].suspicious[place]]]
            copied |= set(self.real.subjects[rows].tolist())
        of = self.rates[EITHER]
        return {
            **{"copies": of.copies, "low": of.low, "high": of.high, "alpha": ALPHA, "n_fake": self._number()},
            **{"patients": self._patients(), "patients_near": len(copied), "seen_by_both": float(np.mean(agreed))},
            **{"eyes": [eye.name for eye in self.eyes], "suspicious": self._of_each(lambda eye: self._share(eye))},
            **{"control": self._of_each(self._control), "power": self._of_each(self._power)},
        }

    def _of_each(self, ask: Callable[[str], Any]) -> dict[str, Any]:
        return {eye: ask(eye) for eye in self.search.nulls}

    def _share(self, eye: str) -> float:
        return float(np.mean(self.rates[eye].suspicious))

    def _control(self, eye: str) -> list[float | None]:
        """The share of held-out images that is suspicious, with its interval; the mean over groups."""
        controls = [null.control(self.bootstrap, self.seed) for null in self.search.nulls[eye]]
        of = list(zip(*controls, strict=True))
        return [None if None in values else float(np.mean(values)) for values in of]  # type: ignore[arg-type]

    def _power(self, eye: str) -> dict[str, float]:
        found = [null.power() for null in self.search.nulls[eye]]
        return {name: float(np.mean([of[name] for of in found])) for name in DISGUISES}

    def suspects(self) -> tuple[list[Pair], list[Pair]]:
        """The generated images most likely to be copies, and the held-out real images that rank first in the same way,
        the most suspicious first."""
        reals: list[_Suspect] = []
        for group in self.real.groups if self.enough else []:
            held_out = self.real.some(group, CALIBRATED, train=False)
            seen = [eye.real(group, False, held_out) for eye in self.eyes]
            grey = self.real.grey(group, self.real.rows(group, train=False)[held_out])
            reals += self._suspects(group, self._compare(group, seen), grey)
        return self._pairs(self._shown), self._pairs(sorted(reals, key=lambda one: one.surprise)[:SHOWN])

    def _compare(self, group: str, seen: Sequence[NDArray]) -> list[Nearest]:
        """The nearest patients of images of ``group``, by what each eye has ``seen`` of them."""
        subjects = self.real.subjects[self.real.train[group]]
        return [nearest_patients(of, eye.known[group], subjects) for eye, of in zip(self.eyes, seen, strict=True)]

    def _suspects(self, group: str, found: list[Nearest], grey: Grey) -> list[_Suspect]:
        """The `SHOWN` most suspicious of some images."""
        surprise = self._surprise(group, found)
        ratios = np.array([of.ratio for of in found])
        suspects = []
        for index in np.lexsort((ratios.min(0), surprise.min(0)))[:SHOWN]:
            by = found[int(surprise[:, index].argmin())]
            near = int(by.first[index]), int(by.second[index])
            images = {name: of[index].copy() for name, of in grey.items()}
            suspects.append(_Suspect(float(surprise[:, index].min()), group, near, tuple(ratios[:, index]), images))
        return suspects

    def _surprise(self, group: str, found: Sequence[Nearest]) -> NDArray[np.float64]:
        """How surprised each eye is by what it has ``found``, [eyes, n] (`Null.surprise`)."""
        place = list(self.real.groups).index(group)
        nulls = [self.search.nulls[eye.name][place] for eye in self.eyes]
        return np.array([null.surprise(of.ratio) for null, of in zip(nulls, found, strict=True)])

    def _pairs(self, suspects: Sequence[_Suspect]) -> list[Pair]:
        pairs = []
        for one in suspects:
            rows = self.real.train[one.group][list(one.near)]
            first, second = (self.real.grey(one.group, rows[place : place + 1]) for place in (0, 1))
            ratios = dict(zip((eye.name for eye in self.eyes), map(float, one.ratios), strict=True))
            near, other = (_pictures({name: images[0] for name, images in of.items()}) for of in (first, second))
            pairs.append(Pair(_pictures(one.grey), near, other, ratios, one.surprise))
        return pairs


def _pictures(grey: Grey) -> dict[str, NDArray[np.uint8]]:
    """Images [H, W] by contrast, of volumes the three planes through their middle side by side."""
    return {name: x if x.ndim == 2 else np.hstack(three_planes(x, (1, 1, 1))) for name, x in grey.items()}
