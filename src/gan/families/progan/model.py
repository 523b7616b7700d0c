"""Progressive growing of GANs (Karras et al. 2018): 4 x 4 images first, repeatedly doubled.

A level is a size: 0 is the small grid, the last one the image. Each is trained in a stable phase and before it, level 0
apart, in one that fades it in: generator, discriminator and real images are blends of the level below and the new one,
whose share alpha rises from 0 to 1. Meanwhile the level is the number k - 1 + alpha.
"""

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from gan import parallel
from gan.families.contract import (
    Batch,
    ImageShape,
    Latents,
    Phase,
    Variant,
    conditions,
    half_life_beta,
    lay_out,
    mirrored,
    require_groups,
)
from gan.families.progan.options import ProGANOptions
from gan.nn import Conv, Linear, Pyramid, minibatch_stddev, pixel_norm
from gan.objectives import OBJECTIVES, drift, gradient_penalty, interpolate
from gan.ops import bias_act
from gan.ops.precision import reduced, widened


class Stage(NamedTuple):
    """Networks at levels ``low`` and ``high``, which is ``low`` or, with the share ``alpha``, the one above."""

    low: int
    high: int
    alpha: float | Tensor

    @classmethod
    def of(cls, level: float) -> "Stage":
        """The stage at ``level``, from 0 on; without a fraction alpha is 0 and both levels are one."""
        low = math.floor(level)
        return cls(low, math.ceil(level), level - low)

    def blend(self, low: Tensor, high: Tensor) -> Tensor:
        """Blend both levels in at least float32: bfloat16 resolves only 256 steps."""
        old, new = widened(low), widened(high)
        alpha = self.alpha.to(old.dtype) if isinstance(self.alpha, Tensor) else self.alpha
        return torch.lerp(old, new, alpha).to(low.dtype)


def level_after(images: float, phase: float, doublings: int) -> float:
    """The level after ``images``: k while level k is stable, k - 1 + alpha while it fades in.

    phase: images of a phase, of which level 0 has one and the others two, fading and stable; the last level stays.
    """
    index, rest = divmod(images, phase)
    level = index // 2 + (rest / phase if index % 2 else 0.0)
    return min(level, float(doublings))


class ProGAN(Variant):
    """Phases G and D: WGAN-GP with a drift term (appendix A.1); the batch is the same at every level.

    Adam restarts when a fade begins and when it ends, as in the published program: its moments are those of other
    networks. The schedule needs ``budget``.
    """

    saturates = False
    options: ProGANOptions
    generator: "Generator"
    alpha: Tensor
    form: tuple[int, int]

    def __init__(self, options: ProGANOptions, shape: ImageShape, batch: int):
        super().__init__(options, shape, batch)
        require_groups(batch, options.mbstd_group, len(shape.size))
        self.pyramid = pyramid = Pyramid.of(shape.size)
        self.generator = self.build_kept(options, shape)
        widths = _widths(pyramid, options)
        self.discriminator = Discriminator(pyramid, shape.channels, self.labels, widths, options.mbstd_group)
        self.register_buffer("alpha", torch.zeros([]), persistent=False)
        self.form = 0, 0
        lay_out(self, len(shape.size))

    @staticmethod
    def build_kept(options: ProGANOptions, shape: ImageShape) -> "Generator":
        pyramid = Pyramid.of(shape.size)
        labels, widths = conditions(options, shape), _widths(pyramid, options)
        generator = Generator(pyramid, shape.channels, options.z_dim, labels, widths)
        lay_out(generator, len(shape.size))
        return generator

    def kept(self) -> nn.Module:
        return self.generator

    def phases(self) -> tuple[Phase, ...]:
        return Phase("G", "G"), Phase("D", "D")

    def networks(self) -> dict[str, nn.Module]:
        return {"G": self.generator, "D": self.discriminator}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        rates = {"G": self.options.lr, "D": self.options.lr if self.options.lr_d is None else self.options.lr_d}
        return {
            name: torch.optim.Adam(network.parameters(), lr=rates[name], betas=(0.0, 0.99), eps=1e-8, fused=True)
            for name, network in self.networks().items()
        }

    def begin_step(self, seen: int, optimizers: dict[str, torch.optim.Optimizer]) -> None:
        self.options.check_budget(self.pyramid.doublings, self.budget / 1000, self.batch)
        level, before = self._level(seen), Stage.of(self._level(max(0, seen - self.batch)))
        low, high, alpha = Stage.of(level)
        self.form = low, high
        self.alpha.fill_(alpha)
        self.generator.level.fill_(level)
        if self.form != before[:2]:
            for optimizer in optimizers.values():
                optimizer.state.clear()

    def loss(self, phase: str, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return self._loss_g(batch) if phase == "G" else self._loss_d(batch)

    def ema_beta(self, seen: int) -> float:
        images = self.options.ema_kimg * 1000
        if self.options.ema_rampup is not None:
            images = min(images, seen * self.options.ema_rampup)
        return half_life_beta(self.batch, images)

    def end_step(self, step: int) -> dict[str, Tensor]:
        return {"grow/level": self.generator.level}

    @staticmethod
    def draw(kept: nn.Module, request: Latents) -> Tensor:
        """As `Variant.draw`; an image of a level that is not the last is enlarged. truncation: see `Generator`."""
        return kept(*request)

    @property
    def stage(self) -> Stage:
        """The stage of this step; its share is a tensor, which a recorded step reads again."""
        return Stage(*self.form, self.alpha)

    def _level(self, seen: int) -> float:
        doublings = self.pyramid.doublings
        return level_after(seen, self.options.phase_images(doublings, self.budget), doublings)

    def _loss_g(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        fake = self.discriminator(self._generate(batch), batch.labels, self.stage)
        loss = OBJECTIVES["wgan_gp"].generator(fake, fake).mean()
        return loss, {"loss/G": loss.detach(), "logits/fake": fake.detach().mean()}

    def _loss_d(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            images = self._generate(batch)
            originals = mirrored(batch.real) if self.options.xflip else batch.real
            originals = at_stage(originals, self.stage, self.pyramid.doublings)
        fake = self.discriminator(images, batch.labels, self.stage)
        real = self.discriminator(originals, batch.labels, self.stage)
        between = interpolate(originals, images)
        penalty = gradient_penalty(self.discriminator(between, batch.labels, self.stage), between)
        away = drift(real)
        loss = OBJECTIVES["wgan_gp"].discriminator(real, fake)
        logs = {"loss/D": loss, "loss/gp": penalty, "loss/drift": away, "logits/real": real.mean()}
        total = loss + self.options.gp_weight * penalty + self.options.drift * away
        return total, {name: value.detach() for name, value in logs.items()}

    def _generate(self, batch: Batch) -> Tensor:
        z = parallel.randn(len(batch.real), self.options.z_dim, device=batch.real.device)
        return self.generator.images(z, batch.labels, self.stage)


class Generator(nn.Module):
    """z [N, z_dim] and labels [N, labels] -> images [N, channels, *size], about [-1, 1].

    The latent is a point on a sphere: z and the labels, by `pixel_norm`. truncation draws that point towards the
    centre, labels apart. ``level`` is the level of the last step; where it is not the highest, images are enlarged.
    """

    level: Tensor

    def __init__(self, pyramid: Pyramid, channels: int, z_dim: int, labels: int, widths: list[int]):
        """widths: feature maps by level."""
        super().__init__()
        dims, self.labels, self.doublings = len(pyramid.grid), labels, pyramid.doublings
        self.start = Start(z_dim + labels, widths[0], pyramid.grid)
        self.conv = Conv(widths[0], widths[0], 3, act="lrelu", spatial_dims=dims)
        self.blocks = nn.ModuleList(Doubling(old, new, dims) for old, new in itertools.pairwise(widths))
        self.to_image = nn.ModuleList(Conv(width, channels, 1, spatial_dims=dims) for width in widths)
        self.register_buffer("level", torch.zeros([]))

    def forward(self, z: Tensor, labels: Tensor, truncation: float = 1.0) -> Tensor:
        """Draw images. It waits for the device, to read the level: not for use in a training step."""
        stage = Stage.of(self.level.item())
        image = self.images(z, labels, stage, truncation)
        return functional.interpolate(image, scale_factor=2.0 ** (self.doublings - stage.high))

    def images(self, z: Tensor, labels: Tensor, stage: Stage, truncation: float = 1.0) -> Tensor:
        """Images [N, channels, *size at the higher level of ``stage``]."""
        latent = pixel_norm(torch.cat([z, labels], dim=1) if self.labels else z)
        latent = torch.cat([latent[:, : z.shape[1]] * truncation, latent[:, z.shape[1] :]], dim=1)
        x = pixel_norm(self.conv(reduced(self.start(latent), self.doublings)))
        for level in range(stage.low):
            x = self.blocks[level](x)
        image = widened(self.to_image[stage.low](x))
        if stage.high == stage.low:
            return image
        new = widened(self.to_image[stage.high](self.blocks[stage.low](x)))
        return stage.blend(double(image), new)


class Discriminator(nn.Module):
    """Images at the higher level of a `Stage` and labels [N, labels] -> logits [N, 1], high for real.

    With labels the last features are projected on an embedding of them (Miyato and Koyama 2018).
    """

    def __init__(self, pyramid: Pyramid, channels: int, labels: int, widths: list[int], mbstd_group: int):
        """widths: feature maps by level."""
        super().__init__()
        dims, last, self.mbstd_group = len(pyramid.grid), widths[0], mbstd_group
        self.from_image = nn.ModuleList(Conv(channels, width, 1, act="lrelu", spatial_dims=dims) for width in widths)
        self.blocks = nn.ModuleList(Halving(new, old, dims) for old, new in itertools.pairwise(widths))
        self.conv = Conv(last + 1, last, 3, act="lrelu", spatial_dims=dims)
        self.hidden = Linear(last * math.prod(pyramid.grid), last, act="lrelu")
        self.logits = Linear(last, 1)
        self.embedding = Linear(labels, last) if labels else None

    def forward(self, images: Tensor, labels: Tensor, stage: Stage) -> Tensor:
        images = reduced(images, 0)
        x = self.from_image[stage.high](images)
        if stage.high > stage.low:
            x = stage.blend(self.from_image[stage.low](halve(images)), self.blocks[stage.low](x))
        for level in reversed(range(stage.low)):
            x = self.blocks[level](x)
        x = self.conv(minibatch_stddev(widened(x), self.mbstd_group))
        x = self.hidden(x.flatten(1))
        if self.embedding is None:
            return self.logits(x)
        return self.logits(x) + (x * self.embedding(labels)).sum(dim=1, keepdim=True) / math.sqrt(x.shape[1])


class Start(nn.Module):
    """Latents [N, inputs] -> features [N, outputs, *grid]: a dense layer, leaky ReLU, `pixel_norm`.

    The gain sqrt(2) / 4 is that of the published program; pixel norm takes it out of all but the weight of the bias.
    """

    def __init__(self, inputs: int, outputs: int, grid: tuple[int, ...]):
        super().__init__()
        self.grid = grid
        self.weight = nn.Parameter(torch.randn(outputs * math.prod(grid), inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.weight_gain = math.sqrt(2 / inputs) / 4

    def forward(self, latent: Tensor) -> Tensor:
        x = (latent @ (self.weight * self.weight_gain).t()).unflatten(1, (-1, *self.grid))
        return pixel_norm(bias_act(x, self.bias, "lrelu", gain=1.0))


class Doubling(nn.Module):
    """[N, inputs, *size] -> [N, outputs, *size * 2]: nearest neighbours, then two convolutions, each normalised."""

    def __init__(self, inputs: int, outputs: int, spatial_dims: int):
        super().__init__()
        self.first = Conv(inputs, outputs, 3, act="lrelu", spatial_dims=spatial_dims)
        self.second = Conv(outputs, outputs, 3, act="lrelu", spatial_dims=spatial_dims)

    def forward(self, x: Tensor) -> Tensor:
        return pixel_norm(self.second(pixel_norm(self.first(double(x)))))


class Halving(nn.Module):
    """[N, inputs, *size] -> [N, outputs, *size / 2]: two convolutions, then the mean of neighbours."""

    def __init__(self, inputs: int, outputs: int, spatial_dims: int):
        super().__init__()
        self.first = Conv(inputs, inputs, 3, act="lrelu", spatial_dims=spatial_dims)
        self.second = Conv(inputs, outputs, 3, act="lrelu", spatial_dims=spatial_dims)

    def forward(self, x: Tensor) -> Tensor:
        return halve(self.second(self.first(x)))


def _widths(pyramid: Pyramid, options: ProGANOptions) -> list[int]:
    """Feature maps by level."""
    return [pyramid.width(k, options.channel_base, options.channel_max) for k in range(pyramid.doublings + 1)]


def at_stage(images: Tensor, stage: Stage, doublings: int) -> Tensor:
    """Images [N, C, *size] as ``stage`` has them: averaged down, and in a fade blended with those of half the size."""
    for _ in range(doublings - stage.high):
        images = halve(images)
    return stage.blend(double(halve(images)), images) if stage.high > stage.low else images


def double(x: Tensor) -> Tensor:
    """[N, C, *size] -> [N, C, *size * 2], each value repeated."""
    return functional.interpolate(x, scale_factor=2.0)


def halve(x: Tensor) -> Tensor:
    """[N, C, *size] -> [N, C, *size / 2], means of 2 x 2 (2 x 2 x 2) values."""
    return (functional.avg_pool2d if x.ndim == 4 else functional.avg_pool3d)(x, 2)
