"""The probe of samples that were made of an image each: how much of it they still are.

None of it is a merit or a fault by itself, and none of it is an accuracy: an image that was not changed at all has the
structural similarity 1.
"""

import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gan.data.store import Store
from gan.metrics.facts import FACTS, PIXELS
from gan.metrics.intervals import Estimate, image_weights
from gan.metrics.neighbours import distances
from gan.metrics.scores import Found, metric_rows
from gan.metrics.ssim import WINDOW, ssim_map
from gan.scales import stored_to_uint8
from gan.scoring.contrasts import rows_of, to_score
from gan.scoring.extractors.files import Extractor
from gan.scoring.extractors.registry import metric_name
from gan.scoring.probes import Rows, Samples
from gan.scoring.reference import ROWS, Reference

Pair = tuple[NDArray, NDArray]  # of samples and of their contents
OWN, SSIM, MAE = "own_content", "content_ssim", "content_mae"


class ContentProbe:
    """By contrast: mean SSIM and absolute difference to the content, and, where that is a training image, the share of
    samples that no other training image is nearer to, by each extractor of ``panel`` and, if the ``store`` of the data
    set is given, by its pixels. Other samples make no rows."""

    def __init__(self, panel: Sequence[Extractor], bootstrap: int, seed: int, store: str | os.PathLike | None = None):
        self.panel, self.bootstrap, self.seed, self.store = panel, bootstrap, seed, store
        self.pixels: dict[str, dict[str, list[NDArray]]] = {SSIM: {}, MAE: {}}
        self.features: dict[tuple[str, str], list[Pair]] = {}
        self.images: dict[str, list[Pair]] = {}

    def add(self, batch: Samples) -> None:
        if batch.contents is None:
            return
        for contrast, images in batch.grey.items():
            content = batch.contents.grey[contrast]
            difference = np.abs(images.astype(np.float64) - content).mean((1, 2))
            self.pixels[MAE].setdefault(contrast, []).append(difference)
            if min(images.shape[1:]) >= WINDOW:
                similarity = ssim_map(images, content).mean(dim=(1, 2)).numpy()
                self.pixels[SSIM].setdefault(contrast, []).append(similarity)
            if batch.contents.real:
                self.images.setdefault(contrast, []).append((images, content))
            for extract in self.panel if batch.contents.real else ():
                pair = extract(images), extract(content)
                self.features.setdefault((extract.id, contrast), []).append(pair)

    def rows(self, reference: Reference) -> Rows:
        rows = []
        for metric, by_contrast in self.pixels.items():
            found = {contrast: np.concatenate(parts) for contrast, parts in by_contrast.items()}
            rows += self._rows(metric, found, {"extractor": PIXELS})
        for extract in self.panel:
            train, found = reference.features[extract.id].features["train"], {}
            for (id, contrast), parts in self.features.items():
                if id == extract.id:
                    found[contrast] = _own(_joined(parts), [train[contrast]])
            rows += self._rows(OWN, found, {"metric": metric_name(OWN, extract.name), "extractor": extract.id})
        if self.store is not None:
            found = {name: _own(_joined(parts), self._training(name)) for name, parts in self.images.items()}
            rows += self._rows(OWN, found, {"metric": metric_name(OWN, PIXELS), "extractor": PIXELS})
        subjects = next(iter(reference.features.values())).subjects["train"]
        known = {"split": "train", "n_real": len(subjects), "n_subjects": len(np.unique(subjects)), "seed": self.seed}
        return [row | known for row in rows]

    def _training(self, contrast: str) -> Iterator[NDArray[np.float32]]:
        """The training images of ``contrast``, some at a time, a row of pixels each."""
        assert self.store is not None
        opened = Store.open(self.store)
        known = next(one for one in to_score(opened.meta) if one.name == contrast)
        rows = rows_of(opened, "train", known.label)
        for first in range(0, len(rows), ROWS):
            stored = opened.images[rows[first : first + ROWS], known.channel]
            yield _flat(stored_to_uint8(stored))

    def _rows(self, metric: str, values: dict[str, NDArray], conditions: dict[str, str]) -> Rows:
        """Means of ``values`` [n] by contrast, with intervals over the samples."""
        if not values:
            return []
        count = len(next(iter(values.values())))
        drawn = image_weights(count, self.bootstrap, self.seed) / count if self.bootstrap else None
        units = count if FACTS[metric].share else None
        found = {
            contrast: Found(Estimate(float(of.mean()), None if drawn is None else drawn @ of, units))
            for contrast, of in values.items()
        }
        return [row | {"n_fake": count} | conditions for row in metric_rows(metric, found)]


def _own(pair: Pair, training: Iterable[NDArray]) -> NDArray[np.float64]:
    """Of each sample 1 if the training image next to it is its content, else 0; training: [m, d], some at a time."""
    count, start = len(pair[0]), 0
    both = np.concatenate(pair)
    least, place = np.full(2 * count, np.inf), np.zeros(2 * count, np.int64)
    for block in training:
        between = distances(both, block)
        distance, index = between.min(1), between.argmin(1)
        closer = distance < least
        least, place = np.where(closer, distance, least), np.where(closer, index + start, place)
        start += len(block)
    # The content is a training image itself: what is next to it is its own place among them.
    return (place[:count] == place[count:]).astype(np.float64)


def _joined(parts: list[Pair]) -> Pair:
    """All samples and all contents; images as a row of pixels each."""
    samples, contents = (np.concatenate(side) for side in zip(*parts, strict=True))
    return (samples, contents) if samples.ndim == 2 else (_flat(samples), _flat(contents))


def _flat(images: NDArray) -> NDArray[np.float32]:
    return images.reshape(len(images), -1).astype(np.float32)
