"""The probe of paired translation: translated images next to the real ones of the same place (docs/protocol.md)."""

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gan.cells import WHOLE
from gan.metrics import paired, regions
from gan.metrics.facts import FACTS, PIXELS, fact
from gan.metrics.intervals import centred_interval, subject_weights
from gan.metrics.paired import FLICKER, MEASURES, OUTSIDE, SHARPNESS, Compared, Measure, by_subject
from gan.metrics.ssim import WINDOW
from gan.scoring.reference import Reference

if TYPE_CHECKING:
    from gan.scoring.probes import Samples

Rows = list[dict[str, Any]]
# of each snapshot; the first one chooses the best
PAIRED_CURVE = tuple(name for name, known in FACTS.items() if known.curve and name.split("_")[0] in MEASURES)
OTHERS = {"sharpness": SHARPNESS, "outside": OUTSIDE, "flicker": FLICKER}


class Pairs(NamedTuple):
    """A batch of slices or whole volumes of a split, in the order of the store.

    translated, target: float32 [n, C, *size]; sources: float32 [n, Cs, *size]; all on the scale 0..255. masks: label
    images [n, *size], None without a mask. subjects: codes [n]; slices: numbers along the axis [n]; volumes: codes of
    the scans [n], None where a subject has one. has: bool [n, C], whether an image has the real target, None if all do.
    """

    translated: NDArray[np.float32]
    target: NDArray[np.float32]
    sources: NDArray[np.float32]
    masks: NDArray[np.integer] | None
    subjects: NDArray[np.int64]
    slices: NDArray[np.int64]
    volumes: NDArray[np.int64] | None = None
    has: NDArray[np.bool_] | None = None


def direction(sources: Sequence[str], target: str) -> str:
    """What the contrast of a row is called: ``t1n>t2w``, or ``t1n+t1c>t2w``."""
    return f"{'+'.join(sources)}>{target}"


class _Part(NamedTuple):
    """The images of one target that have it, with their region ``fg``."""

    translated: NDArray
    target: NDArray
    fg: NDArray
    subjects: NDArray
    volumes: NDArray
    slices: NDArray


class PairedProbe:
    """Measures of `gan.metrics.paired` by direction, averaged over slices, then over subjects.

    directions: what the rows of each target channel are called (`direction`); split: of the images; bootstrap:
    resamples of subjects, 0 for none; every: distance of neighbouring slices; labels: the largest label of the mask;
    level: above it a pixel is not background (`regions.foreground`); names: metrics to compute, None for all.
    Images whose region is too small are left out and counted in ``left_out``; a region that no image has makes no row.
    Images below 11 pixels have no SSIM, and whole volumes no flicker, which is between slices that know nothing of each
    other.
    """

    def __init__(
        self,
        directions: Sequence[str],
        split: str,
        bootstrap: int,
        seed: int,
        *,
        every: int = 1,
        labels: int = 0,
        level: float = regions.LEVEL,
        names: Collection[str] | None = None,
    ):
        self.directions, self.split, self.bootstrap, self.seed = list(directions), split, bootstrap, seed
        self.every, self.labels, self.level, self.names = every, labels, level, names
        self._found: dict[str, dict[str, list[tuple[NDArray, NDArray]]]] = {}  # metric, direction: subjects and terms
        self._last: dict[str, _Part] = {}  # the last slice of each direction: its neighbour may be in the next batch

    def add(self, batch: "Samples") -> None:
        """See a batch with pairs. `ValueError` and `TypeError` as of `Compared.of` and `regions`."""
        if batch.pairs is not None:
            self._add(batch.pairs)

    def _add(self, batch: Pairs) -> None:
        fg = regions.foreground(batch.sources, batch.target, self.level)
        named = {regions.HEAD: fg, regions.WHOLE: np.ones_like(fg)}
        if batch.masks is not None:
            named |= regions.of_mask(batch.masks, self.labels)
        volumes = batch.subjects if batch.volumes is None else batch.volumes
        for channel, name in enumerate(self.directions):
            here = np.ones(len(fg), bool) if batch.has is None else batch.has[:, channel]
            if not here.any():
                continue
            images = batch.translated[:, channel], batch.target[:, channel]
            part = _Part(*(of[here] for of in (*images, fg, batch.subjects, volumes, batch.slices)))
            pair = Compared.of(part.translated, part.target)
            for metric, measure, region in self._wanted({key: of[here] for key, of in named.items()}):
                self._keep(metric, name, part.subjects, paired.terms(measure, pair, region))
            if batch.translated.ndim == 4 and (self.names is None or "flicker" in self.names):
                self._flicker(name, part)

    def _wanted(self, named: dict[str, regions.Region]) -> Iterator[tuple[str, Measure, regions.Region]]:
        """Each metric of an image alone, with its measure and its region."""
        small = min(named[regions.HEAD].shape[1:]) < WINDOW
        every = [
            (f"{name}_{place}", measure, region)
            for place, region in named.items()
            for name, measure in MEASURES.items()
            if not (measure.inner and small)
        ]
        fg = named[regions.HEAD]
        every += [("sharpness", SHARPNESS, regions.inner(fg)), ("outside", OUTSIDE, ~fg)]
        for metric, measure, region in every:
            if self.names is None or metric in self.names:
                yield metric, measure, region

    def _flicker(self, name: str, part: _Part) -> None:
        """Differences of neighbouring slices, where either is in the head; over the edge of a batch, too."""
        if last := self._last.get(name):
            part = _Part(*(np.concatenate(both) for both in zip(last, part, strict=True)))
        self._last[name] = _Part(*(of[-1:] for of in part))
        first = paired.neighbours(part.volumes, part.slices, self.every)
        pair = Compared.of(part.translated, part.target)
        steps = Compared(*(images[first + 1] - images[first] for images in (pair.prediction, pair.reference)))
        found = paired.terms(FLICKER, steps, part.fg[first] | part.fg[first + 1])
        self._keep("flicker", name, part.subjects[first], found)

    def _keep(self, metric: str, name: str, subjects: NDArray, found: NDArray) -> None:
        self._found.setdefault(metric, {}).setdefault(name, []).append((subjects, found))

    def rows(self, reference: Reference | None = None) -> Rows:
        """``metric, contrast, value, low, high, floor, replicates``, conditions; by direction and as `all`.

        The interval is of a bootstrap over subjects, None with fewer than 2. ``floor`` is 1 where the real images
        themselves have 1, else None: it is what the family ``lookup`` reaches.
        """
        rows = []
        for metric, of_direction in self._found.items():
            found = [self._row(metric, name, parts) for name, parts in of_direction.items()]
            found = [row for row in found if row is not None]
            if found:
                rows += [*found, _mean(found)]
        return rows

    def _row(self, metric: str, name: str, parts: list[tuple[NDArray, NDArray]]) -> dict[str, Any] | None:
        subjects, found = (np.concatenate(column) for column in zip(*parts, strict=True))
        measure = OTHERS.get(metric) or MEASURES[metric.split("_")[0]]
        values = by_subject(measure, found, subjects)
        values = values[~np.isnan(values)]
        if not len(values):
            return None
        used = int((~np.isnan(found).any(1)).sum())
        draws = np.empty(0)
        if self.bootstrap and len(values) > 1:
            draws = subject_weights(np.arange(len(values)), self.bootstrap, self.seed) @ values / len(values)
        numbers = {"n_real": used, "n_fake": used, "n_subjects": len(values), "left_out": len(found) - used}
        conditions = {"split": self.split, **numbers, "extractor": PIXELS, "seed": self.seed}
        return _scored(metric, name, float(values.mean()), draws) | conditions


def _scored(metric: str, contrast: str, value: float, draws: NDArray) -> dict[str, Any]:
    known = fact(metric)
    assert known is not None, metric
    low, high = centred_interval(value, draws, known.low, known.high) if len(draws) else (None, None)
    return {
        **{"metric": metric, "contrast": contrast, "value": value, "low": low, "high": high},
        **{"floor": known.floor, "replicates": [float(f"{draw:.6g}") for draw in draws]},
    }


def _mean(rows: Rows) -> dict[str, Any]:
    """The mean of the directions; its numbers of images and subjects are the largest of them."""
    value = float(np.mean([row["value"] for row in rows]))
    several = all(row["replicates"] for row in rows)
    draws = np.mean([row["replicates"] for row in rows], 0) if several else np.empty(0)
    numbers = {key: max(row[key] for row in rows) for key in ("n_real", "n_fake", "n_subjects", "left_out")}
    return rows[0] | _scored(rows[0]["metric"], WHOLE, value, draws) | numbers
