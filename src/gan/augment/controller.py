"""How much to augment: the controller of ADA."""

import torch
from torch import Tensor, nn

from gan import parallel


class AdaController(nn.Module):
    """Strength p of the augmentation, steered so that E[sign D(real)] meets a target (Karras et al. 2020b, section 3).

    All state is in buffers on the device and in ``state_dict()``: ``p``; ``rt``, the last measured E[sign D(real)];
    the sums since then. p is bounded below by 0 and, as published, not above.
    """

    p: Tensor
    rt: Tensor
    sign_sum: Tensor
    count: Tensor

    def __init__(self, batch: int, target: float = 0.6, kimg: float = 500.0, interval: int = 4, p: float = 0.0):
        """batch: real images a step; kimg: thousands of images in which p can go from 0 to 1; interval: steps between
        two calls of `adjust`; p: where to start."""
        super().__init__()
        self.target = target
        self.interval = interval
        self.step = batch * interval / (kimg * 1000)
        self.register_buffer("p", torch.tensor(float(p)))
        for name in ("rt", "sign_sum", "count"):
            self.register_buffer(name, torch.zeros(()))

    @torch.no_grad()
    def update(self, logits: Tensor) -> None:
        """Take note of the discriminator's logits of augmented real images, positive for real, any shape."""
        self.sign_sum += parallel.total(logits.sign().sum())
        self.count += logits.numel() * parallel.parts()

    @torch.no_grad()
    def adjust(self) -> None:
        """Move p by one step up or down; without an `update` since the last call, leave it."""
        self.rt.copy_(torch.where(self.count > 0, self.sign_sum / self.count.clamp(min=1), self.rt))
        move = torch.where(self.count > 0, (self.rt - self.target).sign() * self.step, 0.0)
        self.p.add_(move).clamp_(min=0)
        self.sign_sum.zero_()
        self.count.zero_()
