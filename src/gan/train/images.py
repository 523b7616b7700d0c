"""The images of a store, as training and the scores of translations use them."""

from typing import Any

import numpy as np
import torch
from torch import nn

from gan.data.splits import halves
from gan.data.store import Store
from gan.errors import GanError
from gan.families.contract import Batch, ImageShape
from gan.masks import MOST, spread
from gan.scales import FULL_SCALE

RESIDENT = 0.25  # fraction of a GPU's free memory that the training images may take


class StoreDataset:
    """A split of a store as float32 in [-1, 1] on ``device``.

    Intensities: 0..65535 to [-1, 1]. Mask: 0 to the largest label of the split to [-1, 1]. Images stay on the GPU when
    they take at most a quarter of its free memory, else they are read from the memory-mapped file batch by batch.
    task: ``translate`` of the data set's row; its targets are then the images, and its sources the images to translate.
    Images without a target are left out, and in other splits than ``train`` those that lack any contrast, since all are
    scored on the same. planes: a mask that is to be generated and has 2 to `gan.masks.MOST` labels is a plane for each
    (`gan.masks.spread`). rows: the store's row of each image.
    """

    def __init__(
        self,
        store: Store,
        device: torch.device,
        conditional: bool,
        task: dict[str, Any] | None = None,
        split: str = "train",
        planes: bool = True,
    ):
        self._split = store.rows(split)
        if not len(self._split):
            raise GanError(f"{store.folder}: no images in the split {split}; raise split.{split} of its row")
        self._store, self._task = store, task
        self._images, self._device, self._mask = store.images, device, store.meta["mask"]
        self._names = list(store.meta["channels"])
        targets = task["target"] if task else self._names
        needed = targets if split == "train" else self._names
        self._used = np.flatnonzero(store.present(self._split, needed))
        self.rows = self._split[self._used]
        if not len(self.rows):
            raise GanError(f"{store.folder}: no image of the split {split} has {', '.join(needed)}; check the data set")
        names = list(store.meta["labels"]) if conditional else []
        classes = store.labels(self.rows) if names else np.zeros(len(self.rows), dtype=np.int64)
        if (classes < 0).any():
            raise GanError(f"{store.folder}: {(classes < 0).sum()} {split} images have no label, conditional needs all")
        self._classes = torch.from_numpy(classes).to(device)
        # Channels: of the targets, and of the sources with their neighbours.
        self._targets = [self._names.index(name) for name in targets]
        self._sources = [self._names.index(name) for name in task["source"]] if task else []
        neighbours = task["neighbours"] if task else 0
        self._around = store.neighbours(self._split, neighbours) if task else None
        full = {place: self._full_scale(place) for place in [*self._targets, *self._sources]}
        self._scale, self._source_scale = self._per_channel(full, self._targets), self._per_channel(full, self._sources)
        largest = full[self._targets[-1]] if self._names[self._targets[-1]] == self._mask else 0
        masks = largest if planes and largest <= MOST else min(1, largest)
        size = tuple(store.images.shape[2:])
        width = len(self._sources) * (2 * neighbours + 1)
        channels = len(targets) + max(0, masks - 1)
        self.shape = ImageShape(channels, size, len(names), masks, width, neighbours)
        counts = np.bincount(classes, minlength=len(names)).tolist() if names else []
        self.meta = store.meta | {
            "labels": names,
            "label_counts": counts,
            "full_scale": [full[p] for p in self._targets],
        }
        if task:
            about = {"channels": targets, "mask": None, "translate": task, "has_mask": self._mask is not None}
            self.meta |= about | {"source_full_scale": [full[place] for place in self._sources]}
            grey = [name for name in (*task["source"], *task["target"]) if name != self._mask]
            if split == "train":
                self.meta |= {"limits": store.median_limits(grey), "filled": self._filled(store, grey)}
        self._resident = self._load() if self._fits() else None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def marked(self) -> np.ndarray:
        """See `gan.families.contract.Dataset`."""
        if self._mask is None:
            return np.empty(0, np.int64)
        place = self._names.index(self._mask)
        return np.flatnonzero([self._images[row, place].any() for row in self.rows])

    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        """See `gan.families.contract.OfSubjects`; by ``split.seed``. Subjects that lack a source give none.

        `GanError` if there is one subject, or a half has no image.
        """
        kept = self._store.index[self._store.index["kept"]].set_index("row").loc[self.rows]
        by_subject = self._store.meta.get("label_of") == "subject"
        labels = kept["label"] if by_subject else [""] * len(kept)
        first, other = halves(dict(zip(kept["subject"], labels, strict=True)), self._store.meta["split"]["seed"])
        whole = self._store.present(self.rows, self._task["source"] if self._task else [])
        found = np.flatnonzero(kept["subject"].isin(first) & whole), np.flatnonzero(kept["subject"].isin(other))
        if not len(found[0]):
            raise GanError(
                f"{self._store.folder}: no training subject of the half that gives sources has all of them; change "
                f"split.seed, or set option pairing to shuffled"
            )
        return found

    def batch(self, indices: np.ndarray) -> Batch:
        """See `gan.families.contract.Dataset`."""
        stored = self._stored(self._used[indices], self._targets).add_(32768)
        planes = spread(stored[:, -1], self.shape.masks) if self.shape.masks > 1 else None
        real = stored.mul_(self._scale).sub_(1)
        if planes is not None:
            real = torch.cat([real[:, :-1], planes], 1)
        labels = torch.zeros(len(indices), 0, device=self._device)
        if self.shape.labels:
            places = self._move(torch.from_numpy(indices))
            labels = nn.functional.one_hot(self._classes[places], self.shape.labels).float()
        return Batch(real, labels, self._source(indices) if self._around is not None else real[:, :0])

    def _source(self, indices: np.ndarray) -> torch.Tensor:
        """Images to translate [n, sources, *size]; of each contrast its neighbours in order, the slice amid them."""
        around = self._around[self._used[indices]]  # type: ignore[index]
        stored = self._stored(around.reshape(-1), self._sources)
        scaled = stored.add_(32768).mul_(self._source_scale).sub_(1)
        by_contrast = scaled.unflatten(0, around.shape).transpose(1, 2)
        return by_contrast.flatten(1, 2).contiguous()

    def _stored(self, places: np.ndarray, channels: list[int]) -> torch.Tensor:
        """Images of the split, float32, as stored less 32768."""
        if self._resident is not None:
            found = self._resident[self._move(torch.from_numpy(places))]
            return (found if len(channels) == found.shape[1] else found[:, channels]).float()
        found = self._images[self._split[places]]
        return self._move(_signed(found if len(channels) == found.shape[1] else found[:, channels])).float()

    def _move(self, tensor: torch.Tensor) -> torch.Tensor:
        """Copy to the device; from pinned memory, without waiting on the host."""
        if self._device.type != "cuda":
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)

    def _full_scale(self, channel: int) -> int:
        """The stored value that becomes 1."""
        if self._names[channel] != self._mask:
            return FULL_SCALE
        return max([1, *(int(self._images[row, channel].max()) for row in self._split)])

    def _filled(self, store: Store, names: list[str]) -> dict[str, float]:
        """Of each contrast the smallest share of pixels above 0 that a subject of the split has in its images."""
        subjects = store.index[store.index["kept"]].set_index("row")["subject"]
        found = {}
        for name in names:
            rows = self._split[store.present(self._split, [name])]
            place, pixels = self._names.index(name), self._images[0, 0].size
            shares = subjects.loc[rows].to_frame()
            shares["share"] = [np.count_nonzero(self._images[row, place]) / pixels for row in rows]
            found[name] = float(f"{shares.groupby('subject')['share'].mean().min():.4g}")
        return found

    def _per_channel(self, full: dict[int, int], places: list[int]) -> torch.Tensor:
        """2 / full scale of some channels, to be multiplied with images."""
        values = torch.tensor([full[place] for place in places], dtype=torch.float32)
        return (2 / values).reshape(-1, *[1] * (self._images.ndim - 2)).to(self._device)

    def _fits(self) -> bool:
        if self._device.type != "cuda":
            return False
        size = len(self._split) * int(np.prod(self._images.shape[1:])) * 2
        return size <= RESIDENT * torch.cuda.mem_get_info(self._device)[0]

    def _load(self) -> torch.Tensor:
        blocks = np.array_split(self._split, max(1, len(self._split) // 256))
        return torch.cat([_signed(self._images[rows]).to(self._device) for rows in blocks])


def _signed(images: np.ndarray) -> torch.Tensor:
    """16 bit images less 32768: torch computes with signed integers of that size only."""
    return torch.from_numpy((np.ascontiguousarray(images) ^ np.uint16(0x8000)).view(np.int16))
