"""Probes: each sees every batch of samples once, and returns rows of scores at the end.

A metric that needs pixels, masks or a trained network is a probe of its own; one of features is a function that
`FeatureProbe` calls (`gan.metrics.scores`). A row says all that it depends on.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from gan.cells import JOINT
from gan.metrics.areas import label_areas
from gan.metrics.as_published import score_as_published
from gan.metrics.facts import PIXELS
from gan.metrics.scores import Sets, join, score_areas, score_classes, score_similarity
from gan.metrics.sizes import score_label_sizes
from gan.metrics.ssim import PAIRS, PAIRS_OF_VOLUMES, similarity_of_pairs
from gan.scoring.extractors import registry
from gan.scoring.extractors.files import Extractor
from gan.scoring.extractors.registry import metric_name, published
from gan.scoring.paired import Pairs
from gan.scoring.planes import seen
from gan.scoring.reference import Reference

Rows = list[dict[str, Any]]
OTHER = {"val": "test", "test": "val"}  # the held-out split of which the floor is


class Contents(NamedTuple):
    """What each sample was made of: grey, by contrast, uint8 [n, H, W]; real: whether these are training images."""

    grey: dict[str, NDArray[np.uint8]]
    real: bool


class Samples(NamedTuple):
    """A batch. grey: by contrast, uint8 [n, *size]; masks: label images [n, *size], None without a mask.

    Where classes are contrasts, a batch has one of them. pairs: translations next to their sources and targets.
    contents: of samples that were made of an image each.
    """

    grey: dict[str, NDArray[np.uint8]]
    masks: NDArray[np.integer] | None
    pairs: Pairs | None = None
    contents: Contents | None = None


class Probe(Protocol):
    """One way to look at samples."""

    def add(self, batch: Samples) -> None:
        """See a batch."""
        ...

    def rows(self, reference: Reference) -> Rows:
        """Scores of all that was seen, next to those of real images."""
        ...


class FeatureProbe:
    """Metrics of the features that ``extract`` gives, by contrast, against the real images of ``split``, val or test.

    An extractor of images sees slices of volumes on three planes (`gan.scoring.planes`), each plane as a contrast. The
    floor is of the other one of the two: neither generator nor encoder has seen its subjects.
    scoring: from `Sets` to rows, `gan.metrics.scores.score` or `score_curve`; joint: whether contrasts are channels of
    one sample, whose features are also scored concatenated.
    """

    def __init__(self, extract: Extractor, scoring: Callable[..., Rows], split: str, seed: int, joint: bool):
        self.extract, self.scoring, self.split, self.seed, self.joint = extract, scoring, split, seed, joint
        self.axes = registry.axes(extract.name)
        self.found: dict[str, list[NDArray]] = {}
        self.translated_from: list[NDArray] = []
        self.each = 1  # slices of a volume that are successive

    def add(self, batch: Samples) -> None:
        grey = seen(batch.grey, self.axes)
        self.each = len(next(iter(grey.values()))) // len(next(iter(batch.grey.values())))
        for contrast, images in grey.items():
            self.found.setdefault(contrast, []).append(self.extract(images))
        if batch.pairs is not None:
            self.translated_from.append(batch.pairs.subjects.repeat(self.each))

    def features(self) -> dict[str, NDArray]:
        """Features of all samples, [n, d] by contrast, and as `gan.cells.JOINT` concatenated."""
        fake = {contrast: np.concatenate(parts) for contrast, parts in self.found.items()}
        return join(fake) if self.joint else fake

    def _sets(self, reference: Reference) -> Sets:
        known, fake, other = reference.features[self.extract.id], self.features(), OTHER[self.split]
        every = (known.features[split] for split in (self.split, "train", other))
        real = [{contrast: of[contrast] for contrast in self.found} for of in every]
        held_out, train, unseen = map(join, real) if JOINT in fake else real
        of = np.concatenate(self.translated_from) if self.translated_from else None
        subjects, others = known.subjects[self.split], known.subjects[other]
        return Sets(held_out, fake, subjects, train, unseen, others, of, self.each)

    def rows(self, reference: Reference) -> Rows:
        sets = self._sets(reference)
        conditions = {"split": self.split, "n_real": len(sets.subjects), "n_subjects": len(np.unique(sets.subjects))}
        conditions |= {"n_fake": sets.number, "extractor": self.extract.id, "seed": self.seed}
        rows = self.scoring(sets, published=published(self.extract.name))
        if self.axes == 3 and min(len(sets.subjects), sets.number) <= self.extract.dim:
            rows = [row for row in rows if row["metric"] != "fd"]  # of fewer volumes than features it is mostly bias
        return [row | {"metric": metric_name(row["metric"], self.extract.name)} | conditions for row in rows]

    def class_rows(self, reference: Reference, classes: NDArray, names: list[str], bootstrap: int) -> Rows:
        """Scores of the images of each class; classes of the samples, images or volumes, whose names are ``names``."""
        classes = classes.repeat(self.each)
        known = reference.features[self.extract.id].classes
        codes = known[self.split], classes, known[OTHER[self.split]]
        rows = score_classes(self._sets(reference), *codes, names, bootstrap=bootstrap, seed=self.seed)
        conditions = {"split": self.split, "extractor": self.extract.id, "seed": self.seed}
        return [row | {"metric": metric_name(row["metric"], self.extract.name)} | conditions for row in rows]


class AsPublishedProbe(FeatureProbe):
    """A `FeatureProbe` of a curve that sees more images: the first ``number`` of each contrast make its rows, the first
    ``against_train``, next to the training images, those as published."""

    def __init__(self, number: int, against_train: int, device: torch.device, *arguments: Any):
        super().__init__(*arguments)
        self.number, self.against_train, self.device = number, against_train, device

    def features(self) -> dict[str, NDArray]:
        return _first(super().features(), self.number)

    def rows(self, reference: Reference) -> Rows:
        known, fake = reference.features[self.extract.id], _first(super().features(), self.against_train)
        subjects = known.subjects["train"]
        conditions = {"split": "train", "n_real": len(subjects), "n_subjects": len(np.unique(subjects))}
        conditions |= {"n_fake": len(next(iter(fake.values()))), "extractor": self.extract.id, "seed": self.seed}
        own = {"published": published(self.extract.name), "device": self.device}
        rows = score_as_published(known.features["train"], fake, **own)
        named = [row | {"metric": metric_name(row["metric"], self.extract.name)} | conditions for row in rows]
        return super().rows(reference) + named


def _first(features: dict[str, NDArray], number: int) -> dict[str, NDArray]:
    return {contrast: found[:number] for contrast, found in features.items()}


class LikenessProbe:
    """How alike samples are, by MS-SSIM of successive pairs of each contrast, at most `PAIRS` or `PAIRS_OF_VOLUMES`."""

    def __init__(self, bootstrap: int, seed: int):
        self.bootstrap, self.seed = bootstrap, seed
        self.found: dict[str, list[NDArray]] = {}
        self._single: dict[str, NDArray] = {}  # the sample whose pair comes with the next batch

    def add(self, batch: Samples) -> None:
        for contrast, images in batch.grey.items():
            found = self.found.setdefault(contrast, [])
            room = (PAIRS if images.ndim == 3 else PAIRS_OF_VOLUMES) - sum(map(len, found))
            samples = np.concatenate([self._single.pop(contrast, images[:0]), images])
            if len(samples) % 2:
                self._single[contrast] = samples[-1:]
            found.append(similarity_of_pairs(samples[: 2 * min(len(samples) // 2, room)]))

    def rows(self, reference: Reference) -> Rows:
        pairs, known = {name: np.concatenate(parts) for name, parts in self.found.items()}, reference.images
        real, subjects = known.similarity, known.pairs
        numbers = {name: 2 * len(next(iter(of.values()))) for name, of in (("n_real", real), ("n_fake", pairs))}
        conditions = {"split": "train", **numbers, "n_subjects": len(np.unique(known.subjects["train"]))}
        conditions |= {"extractor": PIXELS, "seed": self.seed}
        rows = score_similarity(pairs, real, subjects, bootstrap=self.bootstrap, seed=self.seed)
        return [row | conditions for row in rows]


class MaskProbe:
    """How much of an image or volume each label of the mask covers; ``mask`` is its name, ``labels`` the largest.

    voxel: of volumes, in ml, whose labels are then also compared in ml; None of images.
    """

    def __init__(self, mask: str, labels: int, bootstrap: int, seed: int, voxel: float | None = None):
        self.mask, self.labels, self.bootstrap, self.seed = mask, labels, bootstrap, seed
        self.voxel, self.voxels = voxel, 0  # of a volume
        self.found: list[NDArray] = []

    def add(self, batch: Samples) -> None:
        if batch.masks is not None:
            self.voxels = batch.masks[0].size
            self.found.append(label_areas(batch.masks, self.labels))

    def rows(self, reference: Reference) -> Rows:
        fake, known = np.concatenate(self.found), reference.images
        real, subjects = known.areas["train"], known.subjects["train"]
        conditions = {"split": "train", "n_real": len(real), "n_subjects": len(np.unique(subjects))}
        conditions |= {"n_fake": len(fake), "extractor": PIXELS, "seed": self.seed}
        drawn = {"bootstrap": self.bootstrap, "seed": self.seed}
        rows = score_areas(fake, real, subjects, self.mask, **drawn)
        if self.voxel is not None:
            unseen, others = known.areas["val"], known.subjects["val"]
            ours, train, held_out = (of / 100 * self.voxels * self.voxel for of in (fake, real, unseen))
            found = score_label_sizes(ours, train, held_out, subjects, others, self.mask, **drawn)
            numbers = {"n_floor": len(unseen), "n_floor_subjects": len(np.unique(others))}
            rows += [row | numbers for row in found]
        return [row | conditions for row in rows]
