"""The training images of a store, as the loop uses them."""

import numpy as np
import torch
from torch import nn

from gan.data.store import Store
from gan.errors import GanError
from gan.families.contract import Batch, ImageShape
from gan.scales import FULL_SCALE

RESIDENT = 0.25  # fraction of a GPU's free memory that the training images may take


class StoreDataset:
    """The training split of a store as float32 in [-1, 1] on ``device``.

    Intensities: 0..65535 to [-1, 1]. Mask: 0 to the largest label of the split to [-1, 1]. Images stay on the GPU when
    they take at most a quarter of its free memory, else they are read from the memory-mapped file batch by batch.
    """

    def __init__(self, store: Store, device: torch.device, conditional: bool):
        self._rows = store.rows("train")
        if not len(self._rows):
            raise GanError(f"{store.folder}: no images in the split train; loosen slices or split.train of its row")
        self._images, self._device = store.images, device
        names = list(store.meta["labels"]) if conditional else []
        classes = store.labels(self._rows) if names else np.zeros(len(self._rows), dtype=np.int64)
        if (classes < 0).any():
            raise GanError(
                f"{store.folder}: {(classes < 0).sum()} training images have no label, conditional needs all"
            )
        _, channels, *size = store.images.shape
        self.shape = ImageShape(channels, tuple(size), len(names), masks=int(store.meta["mask"] is not None))
        self._classes = torch.from_numpy(classes).to(device)
        full = [
            self._full_scale(place, name == store.meta["mask"]) for place, name in enumerate(store.meta["channels"])
        ]
        self._scale = (2 / torch.tensor(full, dtype=torch.float32)).reshape(-1, *[1] * len(size)).to(device)
        counts = np.bincount(classes, minlength=len(names)).tolist() if names else []
        self.meta = store.meta | {"labels": names, "label_counts": counts, "full_scale": full}
        self._resident = self._load() if self._fits() else None

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, indices: np.ndarray) -> Batch:
        """See `gan.train.trainer.Dataset`."""
        places = self._move(torch.from_numpy(indices))
        if self._resident is not None:
            real = self._resident[places]
        else:
            real = self._move(_signed(self._images[self._rows[indices]]))
        real = real.float().add_(32768).mul_(self._scale).sub_(1)
        if not self.shape.labels:
            return Batch(real, torch.zeros(len(indices), 0, device=self._device), real[:, :0])
        labels = nn.functional.one_hot(self._classes[places], self.shape.labels).float()
        return Batch(real, labels, real[:, :0])

    def _move(self, tensor: torch.Tensor) -> torch.Tensor:
        """Copy to the device; from pinned memory, without waiting on the host."""
        if self._device.type != "cuda":
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)

    def _full_scale(self, channel: int, mask: bool) -> int:
        """The stored value that becomes 1."""
        return max([1, *(int(self._images[row, channel].max()) for row in self._rows)]) if mask else FULL_SCALE

    def _fits(self) -> bool:
        if self._device.type != "cuda":
            return False
        size = len(self._rows) * int(np.prod(self._images.shape[1:])) * 2
        return size <= RESIDENT * torch.cuda.mem_get_info(self._device)[0]

    def _load(self) -> torch.Tensor:
        blocks = np.array_split(self._rows, max(1, len(self._rows) // 256))
        return torch.cat([_signed(self._images[rows]).to(self._device) for rows in blocks])


def _signed(images: np.ndarray) -> torch.Tensor:
    """16 bit images less 32768: torch computes with signed integers of that size only."""
    return torch.from_numpy((np.ascontiguousarray(images) ^ np.uint16(0x8000)).view(np.int16))
