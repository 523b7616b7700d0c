"""The probe of samples that were made of an image each: how much of it they still are.

None of it is a merit or a fault by itself, and none of it is an accuracy: an image that was not changed at all has the
structural similarity 1.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gan.metrics.facts import FACTS, PIXELS
from gan.metrics.intervals import Estimate, image_weights
from gan.metrics.neighbours import distances
from gan.metrics.scores import Found, metric_rows
from gan.metrics.ssim import WINDOW, ssim_map
from gan.scoring.extractors.files import Extractor
from gan.scoring.extractors.registry import metric_name
from gan.scoring.probes import Rows, Samples
from gan.scoring.reference import Reference

OWN, SSIM, MAE = "own_content", "content_ssim", "content_mae"


class ContentProbe:
    """By contrast: mean SSIM and absolute difference to the content, and, where that is a training image, the share of
    samples that no other training image is nearer to, by each extractor of ``panel``. Other samples make no rows."""

    def __init__(self, panel: Sequence[Extractor], bootstrap: int, seed: int):
        self.panel, self.bootstrap, self.seed = panel, bootstrap, seed
        self.pixels: dict[str, dict[str, list[NDArray]]] = {SSIM: {}, MAE: {}}
        self.features: dict[tuple[str, str], list[tuple[NDArray, NDArray]]] = {}

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
                    # The content is a training image itself: its nearest one is its own place among them.
                    samples, contents = (np.concatenate(side) for side in zip(*parts, strict=True))
                    same = np.equal(*(distances(of, train[contrast]).argmin(1) for of in (samples, contents)))
                    found[contrast] = same.astype(np.float64)
            rows += self._rows(OWN, found, {"metric": metric_name(OWN, extract.name), "extractor": extract.id})
        subjects = next(iter(reference.features.values())).subjects["train"]
        known = {"split": "train", "n_real": len(subjects), "n_subjects": len(np.unique(subjects)), "seed": self.seed}
        return [row | known for row in rows]

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
