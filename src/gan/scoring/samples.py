"""From a generator to the batches of samples that probes see."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan.data.store import Store
from gan.errors import GanError
from gan.families.contract import Source
from gan.sampling.snapshot import Snapshot
from gan.sampling.tasks import at_once, chunks, contents, translated
from gan.scales import generated_to_grey, generated_to_labels, generated_to_uint8
from gan.scoring.contrasts import Scored
from gan.scoring.paired import Pairs, direction
from gan.scoring.probes import Contents, Samples
from gan.train.images import StoreDataset

ROWS = 64  # slices translated at a time


def generated(
    generator: Snapshot, contrasts: Sequence[Scored], number: int, seed: int, truncation: float
) -> Iterator[Samples]:
    """``number`` images or volumes of ``generator``, of each class if classes are contrasts."""
    together: dict[int | None, list[Scored]] = {}
    for contrast in contrasts:
        together.setdefault(contrast.label, []).append(contrast)
    for label, members in together.items():
        drawn, made_of = chunks(generator, number, seed, label, truncation), contents(generator, number, seed, label)
        for images, known in itertools.zip_longest(drawn, made_of):
            pixels, largest = finite(images).numpy(), generator.mask_labels
            masks = generated_to_labels(pixels[:, -1], largest) if largest else None
            content = None if known is None else Contents(_grey(known[0].numpy(), members), known[1])
            yield Samples(_grey(pixels, members), masks, contents=content)


def _grey(pixels: NDArray[np.float32], members: Sequence[Scored]) -> dict[str, NDArray[np.uint8]]:
    return {name: generated_to_uint8(pixels[:, channel]) for name, channel, _ in members}


def finite(images: Tensor) -> Tensor:
    """``images``; `GanError` if a value is NaN or infinite."""
    if not torch.isfinite(images).all():
        raise GanError("generates NaN or infinite values; its training diverged, see stats.jsonl")
    return images


def way_back(task: dict[str, Any], mask: str | None) -> dict[str, Any] | None:
    """``task`` from targets to sources; None where these are more than single contrasts (as for `gan translate`)."""
    if task["neighbours"] or mask in task["source"]:
        return None
    return task | {"source": task["target"], "target": task["source"]}


class Translations:
    """The images of a split that are translated and compared with their targets: those that have every contrast.

    task: ``translate`` of the data set's row, or its `way_back`, where generators translate backward; directions: what
    the rows of each target are called.
    """

    def __init__(
        self,
        store: Store,
        task: dict[str, Any],
        conditional: bool,
        split: str,
        device: torch.device,
        backward: bool = False,
    ):
        self.task, self.split, self._backward = task, split, backward
        self._store = store
        self._images = StoreDataset(store, device, conditional, task, split)
        self.shape = self._images.shape
        self.directions = [direction(task["source"], target) for target in task["target"]]
        self.every: int = store.meta["filter"]["every"]
        self.mask: str | None = store.meta["mask"]
        mask = self.mask
        self._mask = None if mask is None else store.meta["channels"].index(mask)
        self.labels = 0 if self._mask is None else int(store.images[:, self._mask].max())
        grey = [place for place, name in enumerate(task["source"]) if name != mask]
        slices = 2 * self.shape.neighbours + 1
        self._grey = [place * slices + self.shape.neighbours for place in grey]

    def __len__(self) -> int:
        return len(self._images)

    def samples(self, draw: Callable[[Source], Tensor]) -> Iterator[Samples]:
        """What ``draw`` makes of the images, in the order of the store."""
        kept = self._store.index[self._store.index["kept"]].set_index("row").loc[self._images.rows]
        subjects = np.unique(kept["subject"], return_inverse=True)[1]
        scans = kept["subject"] + "\0" + kept["scan"] if "scan" in kept else kept["subject"]
        volumes, numbers = np.unique(scans, return_inverse=True)[1], kept["slice"].to_numpy(np.int64)
        rows = ROWS if len(self.shape.size) == 2 else at_once(self.shape.size)
        for first in range(0, len(self), rows):
            part = slice(first, first + rows)
            batch = self._images.batch(np.arange(len(self))[part])
            images = finite(draw(Source(batch.source, batch.labels, self._backward))).numpy()
            real, source = (generated_to_grey(one.cpu().numpy()) for one in (batch.real, batch.source))
            masks = None if self._mask is None else self._store.images[self._images.rows[part], self._mask]
            pairs = Pairs(
                *(generated_to_grey(images), real, source[:, self._grey], masks),
                *(subjects[part], numbers[part], volumes[part]),
            )
            grey = {name: generated_to_uint8(images[:, place]) for place, name in enumerate(self.task["target"])}
            yield Samples(grey, None, pairs)

    def by(self, generator: Snapshot, seed: int) -> Iterator[Samples]:
        """`samples` of ``generator``; ``seed`` decides its noise, if it has any."""
        return self.samples(lambda source: next(translated(generator, [source], seed)))
