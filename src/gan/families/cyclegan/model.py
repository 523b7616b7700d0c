"""CycleGAN (Zhu et al. 2017): two translations, each the way back of the other, learned without pairs.

F translates sources to targets, B targets to sources; a discriminator judges the images of each side. Neither direction
knows which target belongs to a source: B(F(x)) has to be x again, and F(B(y)) has to be y.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan.errors import GanError
from gan.families.contract import (
    Batch,
    ImageShape,
    Phase,
    Source,
    conditions,
    mirrored,
)
from gan.families.cyclegan.options import CycleGANOptions
from gan.families.translator import LOSSES, Translator
from gan.jitter import jittered
from gan.nn import ImagePool, PatchGAN, ResNet, normal_weights
from gan.nn.plain import with_planes
from gan.nn.resnet import default_blocks
from gan.objectives import OBJECTIVES
from gan.pyramid import patch_layers


class Side(NamedTuple):
    """Real images [N, C, *size] and their labels [N, labels]."""

    images: Tensor
    labels: Tensor


class CycleGAN(Translator):
    """Phases G (both generators) and D (both discriminators), in the order of the published program.

    The discriminators see the translations that phase G made, from before its step, by way of the pools.
    """

    both_ways = True
    options: CycleGANOptions

    def __init__(self, options: CycleGANOptions, shape: ImageShape, batch: int):
        super().__init__(options, shape, batch)
        if options.identity and shape.sources != shape.channels:
            raise GanError(
                f"option identity is {options.identity:g}, but sources have {shape.sources} channels and targets "
                f"{shape.channels}; name as many of both, without neighbours, or set it to 0"
            )
        self.unpaired, self.disjoint = options.pairing != "paired", options.pairing == "disjoint"
        self.objective = OBJECTIVES[LOSSES[options.objective]]
        self.generators = self.build_kept(options, shape)
        layers = patch_layers(shape.size, options.patch_layers)
        sides = {"targets": shape.channels + self.labels, "sources": shape.sources + self.labels}
        self.discriminators = nn.ModuleDict(
            {
                side: PatchGAN(shape.size, channels, layers=layers, width=options.channels, norm=options.norm)
                for side, channels in sides.items()
            }
        )
        self.pools = nn.ModuleDict(
            {side: ImagePool(options.pool, (channels, *shape.size), batch) for side, channels in sides.items()}
        )
        self.apply(normal_weights)

    @staticmethod
    def build_kept(options: CycleGANOptions, shape: ImageShape) -> "Generators":
        return Generators(options, shape)

    def kept(self) -> nn.Module:
        return self.generators

    def phases(self) -> tuple[Phase, ...]:
        return Phase("G", "G"), Phase("D", "D")

    def networks(self) -> dict[str, nn.Module]:
        return {"G": self.generators, "D": self.discriminators}

    def loss(self, phase: str, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        source, target = self._augment(batch.source), self._augment(batch.real)
        apart = batch.apart if len(batch.apart) else batch.labels
        sides = Side(source, batch.labels), Side(target, apart)
        return self._loss_g(*sides) if phase == "G" else self._loss_d(*sides)

    def end_step(self, step: int) -> dict[str, Tensor]:
        for pool in self.pools.values():
            pool.store()  # type: ignore[operator]
        return {}

    @staticmethod
    def draw(kept: nn.Module, request: Source) -> Tensor:
        """As `Variant.draw`, in both directions."""
        return kept(*request)

    def _loss_g(self, source: Side, target: Side) -> tuple[Tensor, dict[str, Tensor]]:
        onward, back = self.generators(*source), self.generators(*target, backward=True)
        # Adversarial: each translation has the labels of what it was made of.
        made = {"targets": self._labelled(onward, source.labels), "sources": self._labelled(back, target.labels)}
        for side, images in made.items():
            self.pools[side].keep(images)  # type: ignore[operator]
        logits = [self.discriminators[side](images) for side, images in made.items()]
        adversarial = torch.stack([self.objective.generator(one, one).mean() for one in logits])
        # There and back.
        cycles = self._differences(
            (self.generators(onward, source.labels, backward=True), source.images),
            (self.generators(back, target.labels), target.images),
        )
        total = adversarial.sum() + self.options.cycle * cycles.sum()
        logs = {"loss/G": adversarial.mean(), "loss/cycle": cycles.mean()}
        if self.options.identity:
            same = self._differences(
                (self.generators(*target), target.images), (self.generators(*source, backward=True), source.images)
            )
            total = total + self.options.identity * same.sum()
            logs["loss/identity"] = same.mean()
        logs["logits/fake"] = torch.stack([one.mean() for one in logits]).mean()
        return total, {name: value.detach() for name, value in logs.items()}

    def _loss_d(self, source: Side, target: Side) -> tuple[Tensor, dict[str, Tensor]]:
        losses, reals = [], []
        for side, real in (("targets", target), ("sources", source)):
            fake = self.discriminators[side](self.pools[side].query())  # type: ignore[operator]
            reals.append(self.discriminators[side](self._labelled(*real)))
            losses.append(self.objective.discriminator(reals[-1], fake))
        loss = torch.stack(losses)
        logs = {"loss/D": loss.mean(), "logits/real": torch.stack([one.mean() for one in reals]).mean()}
        return self.options.d_weight * loss.sum(), {name: value.detach() for name, value in logs.items()}

    @staticmethod
    def _differences(*pairs: tuple[Tensor, Tensor]) -> Tensor:
        """Mean absolute differences of images, one of each pair."""
        return torch.stack([(one - other).abs().mean() for one, other in pairs])

    def _labelled(self, images: Tensor, labels: Tensor) -> Tensor:
        return with_planes(images, labels) if self.labels else images

    def _augment(self, images: Tensor) -> Tensor:
        images = mirrored(images) if self.options.xflip else images
        return jittered(images) if self.options.jitter else images


class Generators(nn.Module):
    """Both directions: images of one side [N, C, *size] and labels [N, labels] -> images of the other in [-1, 1]."""

    def __init__(self, options: CycleGANOptions, shape: ImageShape):
        super().__init__()
        self.labels = conditions(options, shape)
        blocks = default_blocks(shape.size) if options.blocks is None else options.blocks
        settings = {"width": options.channels, "blocks": blocks, "norm": options.norm}
        self.onward = ResNet(shape.size, shape.sources + self.labels, shape.channels, **settings)
        self.back = ResNet(shape.size, shape.channels + self.labels, shape.sources, **settings)

    def forward(self, images: Tensor, labels: Tensor, backward: bool = False) -> Tensor:
        network = self.back if backward else self.onward
        return network(with_planes(images, labels) if self.labels else images)
