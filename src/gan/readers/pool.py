"""Images that can be shown: real slices of a split, and the first images of a generator, on one grey scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gan.cells import CellFiles
from gan.data.planes import three_planes
from gan.data.store import Store
from gan.errors import GanError
from gan.grids import GAP, GAP_GREY
from gan.metrics.thumbnails import correlated, thumbnails
from gan.readers.match import ANY, Traits
from gan.sampling.snapshot import Snapshot, load_generator, load_header
from gan.sampling.tasks import chunks, classes_of
from gan.scales import generated_to_uint8, stored_to_uint8
from gan.scoring.samples import finite

NEAREST = 5  # training slices whose median position is that of an image
COMPARED = 4000  # training slices at most that positions are read from


@dataclass(frozen=True)
class Contrasts:
    """Which channels of ``store`` are shown, side by side: all but the mask, or one."""

    store: Store
    names: tuple[str, ...]

    @classmethod
    def of(cls, store: Store, only: str | None) -> "Contrasts":
        known = [name for name in store.meta["channels"] if name != store.meta["mask"]]
        if only is not None and only not in known:
            raise GanError(f"--contrast {only}: not in {store.folder}; allowed: {', '.join(known)}")
        return cls(store, tuple(known if only is None else [only]))

    @property
    def places(self) -> list[int]:
        return [self.store.meta["channels"].index(name) for name in self.names]

    @property
    def located(self) -> bool:
        """Whether the images are slices, which have a position along an axis."""
        return bool(self.store.meta.get("axis")) and not self.store.meta.get("volumes")

    def stored(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images [n, C, *size] of ``rows``."""
        return stored_to_uint8(self.store.images[rows][:, self.places])

    def pictures(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Images [n, C, *size] as [n, H, W']: contrasts side by side, of volumes three planes of each."""
        if images.ndim == 5:
            shown = [plane for one in images.swapaxes(0, 1) for plane in three_planes(one, self.store.meta["spacing"])]
        else:
            shown = list(images.swapaxes(0, 1))
        gap = np.full((*shown[0].shape[:2], GAP), GAP_GREY, np.uint8)
        strips = [part for one in shown for part in (gap, one)][1:]
        return np.concatenate(strips, 2)


class Ruler:
    """Reads the position of a slice from its content: that of the training slices which it correlates with best.

    Generated images have no other position. Real ones are read in the same way, so that an error of the ruler is the
    same for both.
    """

    def __init__(self, contrasts: Contrasts):
        rows = contrasts.store.rows("train")
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), COMPARED)).astype(np.int64)]
        self._vectors = _vectors(contrasts.stored(rows)) if contrasts.located else None
        self._known = positions(contrasts.store, rows)

    def read(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Positions 0..1 of images [n, C, H, W]; NaN where they have none."""
        if self._vectors is None:
            return np.full(len(images), np.nan)
        nearest = np.argsort(-(_vectors(images) @ self._vectors.T), 1)[:, :NEAREST]
        return np.median(self._known[nearest], 1)


def positions(store: Store, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """The positions 0..1 of stored images along the axis."""
    kept = store.index[store.index["kept"]].set_index("row")
    return kept.loc[rows, "position"].to_numpy(np.float64)


def _vectors(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return correlated([thumbnails(one) for one in images.swapaxes(0, 1)])


@dataclass(frozen=True)
class Pool:
    """Images [n, C, *size] uint8 with what they are matched on; patients: a code for each, of real ones."""

    images: NDArray[np.uint8]
    traits: Traits
    patients: NDArray[np.int64]


def real(contrasts: Contrasts, ruler: Ruler, split: str) -> Pool:
    """All slices of ``split`` that have the contrasts."""
    store = contrasts.store
    rows = store.rows(split)
    rows = rows[store.present(rows, contrasts.names)]
    images = contrasts.stored(rows)
    subjects = store.index[store.index["kept"]].set_index("row").loc[rows, "subject"]
    traits = Traits(ruler.read(images), store.labels(rows))
    return Pool(images, traits, np.unique(subjects, return_inverse=True)[1].astype(np.int64))


def generated(
    snapshot: Snapshot, contrasts: Contrasts, ruler: Ruler, *, number: int, seed: int, truncation: float
) -> Pool:
    """The first ``number`` images of ``seed``: none is chosen or left out."""
    drawn = [
        generated_to_uint8(finite(images).numpy()[:, contrasts.places])
        for images in chunks(snapshot, number, seed, truncation=truncation)
    ]
    images = np.concatenate(drawn)
    classed = snapshot.shape.labels > 0
    labels = classes_of(snapshot, number, seed).numpy() if classed else np.full(number, ANY, np.int64)
    return Pool(images, Traits(ruler.read(images), labels), np.zeros(0, np.int64))


def scored_generator(cell: CellFiles) -> Path:
    """The file of the snapshot that has the scores of ``cell``; `GanError` if it has none, or translates."""
    if reason := cell.unfinished():
        raise GanError(f"{cell.name}: {reason}; readers see what has scores, so finish the study first")
    last = cell.folder / "generator.pt"
    kimg = cell.json("scores.json")["snapshot"]["kimg"]
    header = load_header(last)
    if "translate" in header["data"]:
        raise GanError(
            f"{cell.name}: its images are made of scans of test patients, and a reading of those is not made yet; name "
            f"a variant of a data set without translate"
        )
    if kimg is None or header["kimg"] == kimg:
        return last
    for path in sorted((cell.folder / "snapshots").glob("kimg*.pt")):
        if load_header(path)["kimg"] == kimg:
            return path
    raise GanError(
        f"{cell.folder / 'snapshots'}: has no snapshot at {kimg:g} kimg, which has the scores; train it again"
    )


def cells_of(study: Path, dataset: str | None, variants: Sequence[str], seed: int | None) -> list[CellFiles]:
    """The cells that are read, one of each variant; `GanError` names what there is."""
    cells = CellFiles.below(study)
    if not cells:
        raise GanError(f"{study}: no cell has begun there; name results/<study> of a study that has run")
    known = list(dict.fromkeys(cell.dataset for cell in cells))
    if dataset is None and len(known) > 1:
        raise GanError(f"{study}: has several data sets; name one with --dataset: {', '.join(known)}")
    dataset = dataset or known[0]
    found = []
    for variant in variants:
        mine = [cell for cell in cells if (cell.dataset, cell.variant) == (dataset, variant)]
        chosen = [cell for cell in mine if seed in (None, cell.seed)]
        if not chosen:
            there = [f"{cell.variant} seed {cell.seed}" for cell in cells if cell.dataset == dataset]
            asked = variant if seed is None else f"{variant} seed {seed}"
            raise GanError(f"{study}: has no {asked} of data set {dataset}; there is {', '.join(there) or 'none'}")
        found.append(min(chosen, key=lambda cell: cell.seed))
    return found


def load(cell: CellFiles, device: str) -> Snapshot:
    """The generator that has the scores of ``cell``."""
    return load_generator(scored_generator(cell), device)
