"""What the page shows of a cell in addition to its scores: points of plots, and pictures, in the folder ``shown``.

All of it is of the first generated images that are scored anyway, and descriptive: nothing is chosen by it.

- ``plots.json``: `gan.scoring.plots.plots`.
- ``real.png``, ``fake.png``: real training images and generated ones of the same slice positions. A generated image has
  no position: it gets that of its nearest training image. The first one of each position is shown, none is picked.
- ``interpolation.png``, ``mixing.png``: `gan.sampling.between`, where the family has latents or styles.
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gan.data.folders import atomic_folder
from gan.data.store import Store
from gan.families.contract import Latents
from gan.families.registry import families
from gan.files import write_json
from gan.grids import layout, write_grid
from gan.metrics.scores import join
from gan.nn import Generator
from gan.sampling.between import interpolation_grid, mixing_grid
from gan.sampling.marks import Mark, first
from gan.sampling.snapshot import Snapshot
from gan.sampling.tasks import classes_of
from gan.scales import HALF, stored_to_uint8
from gan.scoring.contrasts import joint, rows_of, to_score
from gan.scoring.extractors import registry
from gan.scoring.extractors.files import Extractor
from gan.scoring.planes import seen, slices_of
from gan.scoring.plots import at_positions, nearest, plots
from gan.scoring.probes import Rows, Samples
from gan.scoring.reference import Reference

FEATURES, PIXELS = 600, 128  # images of each contrast whose features, and whose pixels, are kept
VOLUMES = 16  # whose voxels are kept
MOST_COLUMNS = 8
EMPTY_GREY = -1.0  # of a position without an image
BETWEEN, STEPS, MIXED = 3, 6, 6  # samples between which is interpolated, images between two of them, samples mixed


class Shown:
    """A probe without rows: it keeps the first images and their features by ``extract``, the leading extractor."""

    def __init__(self, extract: Extractor):
        self.extract, self.axes = extract, registry.axes(extract.name)
        self.grey: dict[str, list[NDArray[np.uint8]]] = {}
        self.found: dict[str, list[NDArray[np.float32]]] = {}

    def add(self, batch: Samples) -> None:
        for contrast, images in seen(batch.grey, self.axes).items():
            features = self.found.setdefault(contrast, [])
            if (room := FEATURES - sum(map(len, features))) > 0:
                features.append(self.extract(images[:room]))
        for contrast, images in batch.grey.items():
            pixels, most = self.grey.setdefault(contrast, []), PIXELS if images.ndim == 3 else VOLUMES
            if (room := most - sum(map(len, pixels))) > 0:
                pixels.append(images[:room].copy())

    def rows(self, reference: Reference) -> Rows:
        return []

    def write(
        self, folder: Path, generator: Snapshot, reference: Reference, store: str | os.PathLike | None, seed: int
    ) -> None:
        """Write ``folder``, whole or not at all; store: that of the real images, for the positions of slices."""
        contrasts = [one for one in to_score(generator.data, self.axes) if one.name in self.found]
        together = joint(contrasts)
        names = [one.name for one in contrasts] if together else [contrasts[0].name]
        fake = _side_by_side({name: np.concatenate(self.found[name]) for name in names})
        known = reference.features[self.extract.id]
        real = {split: _side_by_side({name: of[name] for name in names}) for split, of in known.features.items()}
        opened = None
        if store is not None and contrasts[0].label is None and slices_of(generator.data) == 1:
            opened = Store.open(store)
        at = None if opened is None else _positions(opened)
        grey = {name: np.concatenate(parts) for name, parts in self.grey.items()}
        with atomic_folder(folder) as part:
            each = slices_of(generator.data) if self.axes == 2 else 1
            points = plots(fake, real, known.subjects, at, grey, reference.images.pixels, each)
            about = {"run_key": generator.run_key, "extractor": self.extract.id, "contrasts": names}
            write_json(part / "plots.json", about | points)
            if opened is not None and at is not None and not generator.task:
                _by_position(part, opened, at, nearest(fake[:PIXELS], real["train"]), grey, generator, seed)
            _between(part, generator, seed)


def _side_by_side(features: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """The features of a sample [n, d]: of several contrasts those of all, concatenated."""
    return list(join(features).values())[-1] if len(features) > 1 else next(iter(features.values()))


def _positions(store: Store) -> NDArray[np.float64] | None:
    """Where each training image is along the axis of its volume, 0..1; None where images are no slices."""
    kept = store.index[store.index["kept"]].set_index("row")
    if "position" not in kept:
        return None
    at = kept["position"].loc[rows_of(store, "train", None)].to_numpy(np.float64)
    return at if np.isfinite(at).all() and len(np.unique(at)) > 1 else None


def _by_position(
    folder: Path,
    store: Store,
    at: NDArray[np.float64],
    near: NDArray[np.int64],
    grey: dict[str, NDArray[np.uint8]],
    generator: Snapshot,
    seed: int,
) -> None:
    """``real.png`` and ``fake.png``: a column each position, and ``positions.json``.

    near: the nearest training image of each generated one.
    """
    contrasts = to_score(generator.data)
    columns = min(MOST_COLUMNS, layout(len(contrasts), generator.shape.size)[1])
    edges, real, fake = at_positions(at, at[near], columns, seed)
    rows = rows_of(store, "train", None)
    images = store.images[np.sort(rows[real])][np.argsort(np.argsort(rows[real]))]
    shown = stored_to_uint8(images[:, [one.channel for one in contrasts]]) / HALF - 1
    write_grid(folder / "real.png", shown.astype(np.float32), columns)
    drawn = np.full_like(shown, EMPTY_GREY, dtype=np.float32)
    for column, index in enumerate(fake):
        if index >= 0:
            drawn[column] = np.stack([grey[one.name][index] for one in contrasts]) / HALF - 1
    index = ",".join(str(one) for one in fake if one >= 0) or "none"
    write_grid(folder / "fake.png", drawn, columns, text=Mark.of(generator, seed).text(index))
    write_json(folder / "positions.json", {"edges": edges.tolist(), "images": fake.tolist(), "of": len(near)})


def _between(folder: Path, generator: Snapshot, seed: int) -> None:
    """``interpolation.png`` and ``mixing.png``, as far as the family has them."""
    if families()[generator.family].model.request is not Latents:
        return
    # Volumes take as long as their slices do together.
    samples, steps, mixed = (2, 3, 4) if len(generator.shape.size) == 3 else (BETWEEN, STEPS, MIXED)
    classes = classes_of(generator, max(samples, mixed), seed)
    text = Mark.of(generator, seed).text(first(samples))
    grid = interpolation_grid(generator, samples, seed, classes[:samples], 1.0, steps)
    write_grid(folder / "interpolation.png", grid.numpy(), steps + 2, generator.mask_labels, text)
    if isinstance(generator.network, Generator) and generator.network.synthesis.layers > 1:
        grid = mixing_grid(generator, mixed, seed, classes[:mixed], 1.0, None)
        text = Mark.of(generator, seed).text(first(mixed))
        write_grid(folder / "mixing.png", grid.numpy(), mixed - mixed // 2 + 1, generator.mask_labels, text)
