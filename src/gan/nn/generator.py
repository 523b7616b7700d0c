"""Mapping and synthesis in one module, with style mixing and truncation."""

import torch
from torch import Tensor, nn

from gan import parallel
from gan.nn.adain import AdaINSynthesis
from gan.nn.attention import Attention
from gan.nn.mapping import Mapping
from gan.nn.synthesis import Synthesis
from gan.pyramid import Pyramid


class Generator(nn.Module):
    """The StyleGAN2 generator: z [N, z_dim] and labels [N, labels] -> images [N, channels, *size]."""

    def __init__(
        self,
        size: tuple[int, ...],
        channels: int,
        labels: int = 0,
        *,
        z_dim: int = 512,
        w_dim: int = 512,
        mapping_layers: int = 8,
        channel_base: int = 16384,
        channel_max: int = 512,
        attention: dict[int, Attention] | None = None,
        modulation: str = "demod",
    ):
        """attention: what makes it, by resolution, see `Synthesis`; modulation: demod or adain."""
        super().__init__()
        self.z_dim = z_dim
        self.mapping = Mapping(z_dim, labels, w_dim, mapping_layers)
        synthesis = {"demod": Synthesis, "adain": AdaINSynthesis}[modulation]
        self.synthesis = synthesis(
            Pyramid.of(size), channels, w_dim, base=channel_base, most=channel_max, attention=attention or {}
        )

    def forward(self, z: Tensor, labels: Tensor, truncation: float = 1.0, noise: str = "random") -> Tensor:
        return self.synthesis(self.broadcast(self.mapping(z, labels, truncation)), noise)

    def broadcast(self, w: Tensor) -> Tensor:
        """w [N, w_dim] -> ws [N, layers, w_dim], the same for every layer of the synthesis."""
        return w[:, None].expand(-1, self.synthesis.layers, -1)

    def mix(self, w: Tensor, other: Tensor, probability: float) -> Tensor:
        """ws [N, layers, w_dim]: a part ``probability`` of the samples is ``other`` from a random layer on.

        The crossover is drawn for each sample, uniformly from 1 to layers - 1, on the device of ``w``.
        """
        layers = self.synthesis.layers
        crossover = parallel.randint(1, layers, len(w), device=w.device)
        crossover = torch.where(parallel.rand(len(w), device=w.device) < probability, crossover, layers)
        late = torch.arange(layers, device=w.device) >= crossover[:, None]
        return torch.where(late[:, :, None], other[:, None], w[:, None])
