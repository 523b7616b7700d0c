"""The mapping network: latents z, and labels if any, to intermediate latents w (Karras et al. 2019)."""

import torch
from torch import Tensor, nn

from gan import parallel
from gan.nn.layers import Linear, pixel_norm

W_AVG_BETA = 0.995


class Mapping(nn.Module):
    """z [N, z_dim] and labels [N, labels] -> w [N, w_dim]; with z_dim 0, of the labels alone.

    Each input is normalised to unit second moment; labels are embedded linearly first. All fully connected layers learn
    at 1/100 of the rate. ``w_avg`` is a moving average of w that `track` updates, the centre of the truncation.
    """

    w_avg: Tensor

    def __init__(self, z_dim: int, labels: int, w_dim: int, layers: int, *, lr_multiplier: float = 0.01):
        super().__init__()
        self.z_dim, self.labels = z_dim, labels
        self.embed = Linear(labels, w_dim) if labels else None
        inputs = z_dim + (w_dim if labels else 0)
        self.layers = nn.Sequential(
            *(
                Linear(inputs if depth == 0 else w_dim, w_dim, act="lrelu", lr_multiplier=lr_multiplier)
                for depth in range(layers)
            )
        )
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor | None, labels: Tensor, truncation: float = 1.0) -> Tensor:
        """truncation: psi of w_avg + psi (w - w_avg); 1 leaves w as it is, 0 gives the average image."""
        parts = []
        if self.z_dim and z is not None:
            parts.append(pixel_norm(z))
        if self.embed is not None:
            parts.append(pixel_norm(self.embed(labels)))
        w = self.layers(torch.cat(parts, dim=1))
        return w if truncation == 1 else self.w_avg.lerp(w, truncation)

    @torch.no_grad()
    def track(self, w: Tensor) -> None:
        """Move ``w_avg`` towards the mean of the batch ``w`` [N, w_dim], decay 0.995."""
        self.w_avg.copy_(parallel.mean(w.float().mean(dim=0)).lerp(self.w_avg, W_AVG_BETA))
