"""The probe of what moved: radiomic features of generated images next to those of real ones, by contrast and region."""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gan.data.store import Store
from gan.metrics.moved import FeatureSums, moved
from gan.metrics.radiomics import within
from gan.metrics.regions import of_mask
from gan.scales import stored_to_uint8
from gan.scoring.contrasts import rows_of, to_score
from gan.scoring.extractors.radiomics.model import RadiomicFeatures
from gan.scoring.probes import FeatureProbe, Rows, Samples
from gan.scoring.reference import Reference, at_once

WHOLE_IMAGE, MASK = "image", "mask"
SMALLEST = 16  # pixels of a region within which features are taken
Key = tuple[str, str]  # contrast, region


class Found(NamedTuple):
    """values [n, d] of the images that have the region; units [n]: what they belong to."""

    values: NDArray[np.floating]
    units: NDArray[np.int64]


class MovedProbe:
    """Which features moved, after ``features``, of a `RadiomicFeatures`, saw the same batches.

    Of images with a mask also within it: all labels together, and each. store: of the data set, for that of real
    images; labels: the largest of the mask, 0 without. There are no rows for the table of scores.
    """

    def __init__(self, features: FeatureProbe, store: str | os.PathLike | None, labels: int, bootstrap: int, seed: int):
        assert isinstance(features.extract, RadiomicFeatures)
        self.features, self.extract = features, features.extract
        self.store, self.labels, self.bootstrap, self.seed = store, labels, bootstrap, seed
        self.inside: dict[Key, list[Found]] = {}
        self.names: tuple[str, ...] = ()
        self._seen = 0

    def add(self, batch: Samples) -> None:
        if batch.masks is None or batch.masks.ndim > 3 or not self.labels or self.store is None:
            return
        units = self._seen + np.arange(len(batch.masks))
        self._seen += len(units)
        for key, found in self._within(batch.grey, batch.masks, units):
            self.inside.setdefault(key, []).append(found)

    def rows(self, reference: Reference) -> Rows:
        return []

    def table(self, reference: Reference) -> dict[str, Any]:
        """The rows of `gan.metrics.moved.moved` by contrast and region, and what they are of."""
        known, drawn = reference.features[self.extract.id], {"bootstrap": self.bootstrap, "seed": self.seed}
        subjects = [known.subjects[split] for split in ("train", "val")]
        rows = []
        for contrast, parts in self.features.found.items():
            values = np.concatenate(parts)
            sets = [Found(values, self._units(len(values)))]
            real = [known.features[split][contrast] for split in ("train", "val")]
            sets += [Found(of, codes) for of, codes in zip(real, subjects, strict=True)]
            rows += _rows((contrast, WHOLE_IMAGE), sets, self.extract.names, drawn)
        real = [self._real(split) for split in ("train", "val")] if self.inside else []
        for key, parts in self.inside.items():
            if all(key in of for of in real):
                rows += _rows(key, [_joined(parts), *(_joined(of[key]) for of in real)], self.names, drawn)
        return {"extractor": self.extract.id, "dropped": [*self.extract.dropped], "rows": rows}

    def _units(self, number: int) -> NDArray[np.int64]:
        """What is drawn for an interval: the patient of a translation, or a generated image or volume."""
        if self.features.translated_from:
            return np.concatenate(self.features.translated_from)
        return np.arange(number) // self.features.each

    def _within(self, grey: dict[str, NDArray], masks: NDArray, units: NDArray) -> Iterator[tuple[Key, Found]]:
        for region, inside in of_mask(masks, self.labels).items():
            there = np.flatnonzero(inside.sum((1, 2)) >= SMALLEST)
            for contrast, images in grey.items() if len(there) else ():
                found = within(images[there], inside[there])
                self.names = found.names
                _, _, label = region.partition("_")
                yield (contrast, f"{MASK} {label}".strip()), Found(found.values, units[there])

    def _real(self, split: str) -> dict[Key, list[Found]]:
        """The same of the real images of ``split``."""
        assert self.store is not None
        store, found = Store.open(self.store), {}
        subjects = store.index[store.index["kept"]].set_index("row")["subject"]
        for one in to_score(store.meta):
            rows = rows_of(store, split, one.label)
            codes = pd.factorize(subjects.loc[rows])[0]
            for start in range(0, len(rows), at_once(store)):
                part = slice(start, start + at_once(store))
                block = store.images[rows[part]]
                grey = {one.name: stored_to_uint8(block[:, one.channel])}
                for key, of in self._within(grey, block[:, -1], codes[part]):
                    found.setdefault(key, []).append(of)
        return found


def _joined(parts: list[Found]) -> Found:
    return Found(*(np.concatenate(of) for of in zip(*parts, strict=True)))


def _rows(key: Key, sets: list[Found], names: tuple[str, ...], drawn: dict[str, int]) -> list[dict[str, Any]]:
    """Rows of generated, training and unseen images; none where there are too few to have an interval."""
    fake, train, unseen = (FeatureSums.of(of.values, of.units) for of in sets)
    if len(fake.images) < 2 or len(train.images) < 2 or len(unseen.images) < 2:
        return []
    numbers = {"n_fake": len(sets[0].units), "n_real": len(sets[1].units), "n_subjects": len(train.images)}
    numbers |= {"n_floor": len(sets[2].units), "n_floor_subjects": len(unseen.images)}
    named = {"contrast": key[0], "region": key[1]}
    return [named | row | numbers for row in moved(fake, train, unseen, names, **drawn)]
