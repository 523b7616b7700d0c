"""DCGAN (Radford et al. 2016): only strided convolutions and batch normalisation.

Options ``layers``, ``activation``, ``noise`` and ``lr_d`` make it that of Chithra and Dhivya (2024), of fewer layers.
With labels: one-hot vectors join the latent, and constant planes join the image in front of the discriminator
(Mirza and Osindero 2014).
"""

import itertools
import math

import torch
from torch import Tensor, nn

from gan import parallel
from gan.families.contract import Batch, ImageShape, Latents, Phase, Variant, conditions, half_life_beta, mirrored
from gan.families.dcgan.options import DCGANOptions
from gan.nn import BatchNorm, Pyramid, normal_weights
from gan.nn.plain import LAYERS, with_planes
from gan.objectives import OBJECTIVES
from gan.ops.precision import autocast, widened

WIDEST = 8  # the most feature maps of a layer, in multiples of the layer next to the image


class DCGAN(Variant):
    """Two phases a step: the generator against binary cross-entropy in its non-saturating form, then the discriminator.

    The generator's batch norm uses the batch's own statistics in training and running ones when sampling (eval mode).
    """

    options: DCGANOptions

    def __init__(self, options: DCGANOptions, shape: ImageShape, batch: int):
        super().__init__(options, shape, batch)
        pyramid = Pyramid.of(shape.size)
        options.check_layers(pyramid.doublings)
        self.generator = self.build_kept(options, shape)
        self.discriminator = Discriminator(pyramid, shape.channels + self.labels, options)
        self.apply(normal_weights)

    @staticmethod
    def build_kept(options: DCGANOptions, shape: ImageShape) -> "Generator":
        return Generator(Pyramid.of(shape.size), shape.channels, conditions(options, shape), options)

    def kept(self) -> nn.Module:
        return self.generator

    def phases(self) -> tuple[Phase, ...]:
        return Phase("G", "G"), Phase("D", "D")

    def networks(self) -> dict[str, nn.Module]:
        return {"G": self.generator, "D": self.discriminator}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        rates = {"G": self.options.lr, "D": self.options.lr if self.options.lr_d is None else self.options.lr_d}
        return {
            name: torch.optim.Adam(network.parameters(), lr=rates[name], betas=(self.options.beta1, 0.999))
            for name, network in self.networks().items()
        }

    def loss(self, phase: str, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        if phase == "G":
            fake = self._judge(self._generate(batch), batch.labels)
            loss = OBJECTIVES["nonsaturating"].generator(fake, fake).mean()
            return loss, {"loss/G": loss.detach(), "logits/fake": fake.detach().mean()}
        with torch.no_grad():
            images = self._generate(batch)
        fake = self._judge(images, batch.labels)
        real = self._judge(mirrored(batch.real) if self.options.xflip else batch.real, batch.labels)
        loss = OBJECTIVES["nonsaturating"].discriminator(real, fake)
        return loss, {"loss/D": loss.detach(), "logits/real": real.detach().mean()}

    def ema_beta(self, seen: int) -> float:
        return half_life_beta(self.batch, self.options.ema_kimg * 1000)

    @staticmethod
    def draw(kept: nn.Module, request: Latents) -> Tensor:
        """As `Variant.draw`; truncation scales the latent towards the centre of its distribution."""
        return kept(request.z * request.truncation, request.labels)

    def _generate(self, batch: Batch) -> Tensor:
        z = parallel.randn(len(batch.real), self.options.z_dim, device=batch.real.device)
        return self.generator(z, batch.labels)

    def _judge(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.discriminator(with_planes(images, labels) if self.labels else images)


class Generator(nn.Module):
    """z [N, z_dim] and labels [N, labels] -> images [N, channels, *size] in [-1, 1].

    A dense layer makes the first feature maps, and each transposed convolution doubles them. z is normal whatever the
    option ``noise``, so that samplers need not know of it: 2 F(z) - 1, F its distribution function, is uniform.
    """

    def __init__(self, pyramid: Pyramid, channels: int, labels: int, options: DCGANOptions):
        super().__init__()
        self.labels, self.dims, self.uniform = labels, len(pyramid.grid), options.noise == "uniform"
        _, up = LAYERS[self.dims]
        doublings = _depth(pyramid, options)
        activation = nn.ReLU() if options.activation == "relu" else nn.LeakyReLU(0.2)
        widths = _widths(doublings, options.channels)[::-1]
        first = pyramid.size(pyramid.doublings - doublings)
        layers = [up(options.z_dim + labels, widths[0], first, bias=False), BatchNorm(widths[0]), activation]
        for wide, narrow in itertools.pairwise(widths):
            layers += [up(wide, narrow, 4, 2, 1, bias=False), BatchNorm(narrow), activation]
        self.layers = nn.Sequential(*layers, up(options.channels, channels, 4, 2, 1), nn.Tanh())

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        z = torch.erf(z / math.sqrt(2)) if self.uniform else z
        x = torch.cat([z, labels], dim=1) if self.labels else z
        with autocast(x):
            return widened(self.layers(x.reshape(*x.shape, *[1] * self.dims)))


class Discriminator(nn.Module):
    """Images [N, channels, *size] -> logits [N, 1], high for real. Batch norm is by the batch's own statistics.

    All layers but the last halve the image; with option ``layers`` the first one does not, and has a kernel of 3.
    """

    def __init__(self, pyramid: Pyramid, channels: int, options: DCGANOptions):
        super().__init__()
        down, _ = LAYERS[len(pyramid.grid)]
        depth = _depth(pyramid, options)
        kernel, halvings = ((4, 2, 1), depth) if options.layers is None else ((3, 1, 1), depth - 1)
        widths = _widths(depth, options.channels)
        layers = [down(channels, widths[0], *kernel), nn.LeakyReLU(0.2)]
        for narrow, wide in itertools.pairwise(widths):
            layers += [
                down(narrow, wide, 4, 2, 1, bias=False),
                BatchNorm(wide, track_running_stats=False),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, down(widths[-1], 1, pyramid.size(pyramid.doublings - halvings)))

    def forward(self, images: Tensor) -> Tensor:
        with autocast(images):
            return widened(self.layers(images).flatten(1))


def _depth(pyramid: Pyramid, options: DCGANOptions) -> int:
    """Layers of each network except the one farthest from the image."""
    return pyramid.doublings if options.layers is None else options.layers - 1


def _widths(count: int, width: int) -> list[int]:
    """Feature maps of ``count`` layers from the image on; ``width``: of the first."""
    return [width * min(2**depth, WIDEST) for depth in range(count)]
