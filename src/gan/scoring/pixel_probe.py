"""The probe of what needs no extractor: power spectrum, histogram, background noise and asymmetry of the pixels, and of
volumes how large and how bright what they show is."""

from collections.abc import Collection

from gan.metrics.facts import PIXELS
from gan.metrics.pixels import PLAIN, PixelSums, score_pixels
from gan.metrics.sizes import score_sizes
from gan.scoring.probes import Rows, Samples
from gan.scoring.reference import Reference


class PixelProbe:
    """Statistics of the pixels by contrast, next to those of training and of validation images.

    sides: the contrasts whose left and right are those of the patient, so that their asymmetry says something; voxel:
    of volumes, in ml, None of images.
    """

    def __init__(self, bootstrap: int, seed: int, sides: Collection[str], voxel: float | None = None):
        self.bootstrap, self.seed, self.sides, self.voxel = bootstrap, seed, sides, voxel
        self.found: dict[str, list[PixelSums]] = {}

    def add(self, batch: Samples) -> None:
        for contrast, images in batch.grey.items():
            self.found.setdefault(contrast, []).append(PixelSums.of(images))

    def rows(self, reference: Reference) -> Rows:
        fake = {contrast: PixelSums.together(parts) for contrast, parts in self.found.items()}
        pixels = reference.images.pixels
        drawn = {"bootstrap": self.bootstrap, "seed": self.seed}
        rows = score_pixels(fake, pixels["train"], pixels["val"], sides=self.sides, **drawn)
        if self.voxel is not None:
            rows += score_sizes(fake, pixels["train"], pixels["val"], self.voxel, **drawn)
        known = {split: next(iter(by_contrast.values())).images for split, by_contrast in pixels.items()}
        conditions = {"n_floor": int(known["val"].sum()), "n_floor_subjects": len(known["val"])}
        conditions |= {"n_fake": int(next(iter(fake.values())).images.sum()), "extractor": PIXELS, "seed": self.seed}
        for row in rows:
            split = "val" if row["metric"] in PLAIN else "train"
            row |= {"split": split, "n_real": int(known[split].sum()), "n_subjects": len(known[split]), **conditions}
        return rows
