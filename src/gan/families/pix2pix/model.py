"""Pix2Pix (Isola et al. 2017): a U-Net translates an image, a discriminator sees each patch of it next to the source.

The generator's loss is adversarial and the mean absolute difference to the target. It has no latent: its only noise is
dropout.
"""

import torch
from torch import Tensor, nn

from gan import parallel
from gan.errors import GanError
from gan.families.contract import (
    Batch,
    ImageShape,
    Phase,
    Source,
    conditions,
    mirrored,
)
from gan.families.pix2pix.options import Pix2PixOptions
from gan.families.translator import LOSSES, Translator
from gan.jitter import jittered
from gan.nn import PatchGAN, UNet, normal_weights
from gan.nn.plain import along, with_planes
from gan.objectives import OBJECTIVES
from gan.pyramid import patch_layers

BACKGROUND = -1.0


class Pix2Pix(Translator):
    """Phases D and G, in the order of the published programs.

    Each phase mirrors, crops and drops by its own random numbers, and translates its source itself: programs that step
    both networks on one translation differ in its dropout alone.
    """

    options: Pix2PixOptions

    def __init__(self, options: Pix2PixOptions, shape: ImageShape, batch: int):
        super().__init__(options, shape, batch)
        self.objective = OBJECTIVES[LOSSES[options.objective]]
        self.generator = self.build_kept(options, shape)
        layers = patch_layers(shape.size, options.patch_layers)
        self.discriminator = PatchGAN(
            shape.size,
            self.generator.inputs + shape.channels,
            layers=layers,
            width=options.channels,
            norm=options.norm,
        )
        self.apply(normal_weights)

    @staticmethod
    def build_kept(options: Pix2PixOptions, shape: ImageShape) -> "Generator":
        return Generator(options, shape)

    def kept(self) -> nn.Module:
        return self.generator

    def phases(self) -> tuple[Phase, ...]:
        return Phase("D", "D"), Phase("G", "G")

    def networks(self) -> dict[str, nn.Module]:
        return {"G": self.generator, "D": self.discriminator}

    def loss(self, phase: str, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        source, target = self._augment(batch)
        given = self.generator.given(source, batch.labels)
        return self._loss_d(given, target) if phase == "D" else self._loss_g(given, target)

    @staticmethod
    def draw(kept: nn.Module, request: Source) -> Tensor:
        """As `Variant.draw`; with option drop_inputs a contrast that is background everywhere is a missing one."""
        if request.backward:
            raise GanError("pix2pix translates in one direction; train another row for the other one")
        return kept(request.images, request.labels)

    def _loss_d(self, given: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            images = self.generator.network(given)
        fake = self._criticise(given, images)
        real = self._criticise(given, target)
        loss = self.objective.discriminator(real, fake)
        return self.options.d_weight * loss, {"loss/D": loss.detach(), "logits/real": real.detach().mean()}

    def _loss_g(self, given: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        images = self.generator.network(given)
        fake = self._criticise(given, images)
        loss = self.objective.generator(fake, fake).mean()
        difference = (images - target).abs().mean()
        logs = {"loss/G": loss, "loss/l1": difference, "logits/fake": fake.mean()}
        return loss + self.options.l1 * difference, {name: value.detach() for name, value in logs.items()}

    def _criticise(self, given: Tensor, images: Tensor) -> Tensor:
        return self.discriminator(torch.cat([given, images], dim=1))

    def _augment(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Source and target, which move together."""
        both, sources = torch.cat([batch.source, batch.real], dim=1), self.shape.sources
        if self.options.xflip:
            both = mirrored(both)
        if self.options.jitter:
            both = jittered(both)
        source, target = both[:, :sources], both[:, sources:]
        if self.options.drop_inputs:
            source = dropped(source, self.generator.contrasts, self.options.drop_inputs)
        return source, target


class Generator(nn.Module):
    """Source images [N, sources, *size] and labels [N, labels] -> translated images [N, channels, *size] in [-1, 1].

    contrasts: of the source, each with its neighbouring slices; inputs: channels of `given`.
    """

    def __init__(self, options: Pix2PixOptions, shape: ImageShape):
        super().__init__()
        self.contrasts = shape.sources // (2 * shape.neighbours + 1)
        if self.contrasts < 2 and options.drop_inputs:
            raise GanError(
                f"option drop_inputs is {options.drop_inputs:g}, but the data set has {self.contrasts} source "
                f"contrast; name several as its source, or set it to 0"
            )
        self.planes, self.labels = self.contrasts if options.drop_inputs else 0, conditions(options, shape)
        self.inputs = shape.sources + self.planes + self.labels
        self.network = UNet(
            shape.size,
            self.inputs,
            shape.channels,
            width=options.channels,
            depth=options.depth,
            norm=options.norm,
            dropout=options.dropout_layers,
            dropout_at_test=options.dropout_at_test,
            attention=options.attention == "gates",
            upsample=options.upsample,
        )

    def forward(self, source: Tensor, labels: Tensor) -> Tensor:
        return self.network(self.given(source, labels))

    def given(self, source: Tensor, labels: Tensor) -> Tensor:
        """What both networks get: the source, a plane for each of its contrasts, 1 if it is there and 0 without (with
        option drop_inputs), and a plane for each label (with option conditional)."""
        given = source
        if self.planes:
            given = with_planes(given, source.unflatten(1, (self.contrasts, -1)).flatten(2).amax(dim=2) > BACKGROUND)
        return with_planes(given, labels) if self.labels else given


def dropped(source: Tensor, contrasts: int, probability: float) -> Tensor:
    """``source`` [N, C, *size] in which background replaces each of its contrasts with ``probability``, but not all."""
    chance = parallel.rand(len(source), contrasts, device=source.device)
    kept = (chance >= probability) | (chance == chance.amax(dim=1, keepdim=True))
    return torch.where(along(kept.repeat_interleave(source.shape[1] // contrasts, dim=1), source), source, BACKGROUND)
