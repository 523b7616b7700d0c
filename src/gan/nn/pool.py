"""A pool of generated images of earlier steps, which a discriminator sees too (Shrivastava et al. 2017)."""

import torch
from torch import Tensor, nn

from gan import parallel


class ImagePool(nn.Module):
    """Images of earlier steps and those of this one; equal on all ranks, and all of it is in ``state_dict()``.

    In a step: `keep`, `query`, `store`. Until the pool is full it stores every image and gives it back. Then an image
    is, with probability 1/2, exchanged for a random stored one, of an earlier step.

    images: [capacity, *shape]; count: how many of them are stored; fresh: [batch, *shape], those of the step; slots:
    where each of these is stored, -1 for nowhere.
    """

    images: Tensor
    count: Tensor
    fresh: Tensor
    slots: Tensor

    def __init__(self, capacity: int, shape: tuple[int, ...], batch: int):
        """shape: of an image, [C, *size]; batch: images a step, over all devices; capacity 0: no pool."""
        super().__init__()
        self.capacity = capacity
        self.register_buffer("images", torch.zeros(capacity, *shape))
        self.register_buffer("count", torch.zeros([], dtype=torch.int64))
        self.register_buffer("fresh", torch.zeros(batch, *shape))
        self.register_buffer("slots", torch.full([batch], -1.0))

    @torch.no_grad()
    def keep(self, images: Tensor) -> None:
        """Take this rank's share [n, C, *size] of the images of a step; with `Pieces` all are known after the last."""
        self.fresh.copy_(parallel.gather(images.detach()))

    @torch.no_grad()
    def query(self) -> Tensor:
        """This rank's share [n, C, *size] of what the discriminator sees instead of the images of the step."""
        share = len(self.fresh) // parallel.parts()
        images = self.fresh.narrow(0, parallel.place() * share, share)
        if not self.capacity:
            return images
        chance = parallel.rand(len(images), 2, device=images.device)
        place = torch.arange(len(images), device=images.device) + parallel.place() * len(images) + self.count
        fills = place < self.capacity
        swaps = ~fills & (self.count > 0) & (chance[:, 0] < 0.5)
        slots = torch.where(fills, place, (chance[:, 1] * self.count).long()).clamp(max=self.capacity - 1)
        self.slots.copy_(parallel.gather(torch.where(fills | swaps, slots, -1).to(self.slots.dtype)))
        return torch.where(swaps.view(-1, *[1] * (images.ndim - 1)), self.images[slots], images)

    @torch.no_grad()
    def store(self) -> None:
        """Store what `query` chose of the images of the step: once a step. Of several for one slot the last stays."""
        if not self.capacity:
            return
        order = torch.arange(1, len(self.slots) + 1, device=self.slots.device)
        here = self.slots == torch.arange(self.capacity, device=self.slots.device)[:, None]
        last = (here * order).amax(dim=1)
        chosen = self.fresh[(last - 1).clamp(min=0)]
        self.images.copy_(torch.where((last > 0).view(-1, *[1] * (chosen.ndim - 1)), chosen, self.images))
        self.count.add_(len(self.slots)).clamp_(max=self.capacity)
