"""UNIT (Liu et al. 2017): images of both sides have codes in one latent space, and each side has a decoder of it.

Each side is a variational autoencoder with a discriminator. Sources are translated by encoding them and decoding the
code as targets, and targets the other way round. A translation that is encoded and decoded once more has to be the
image that it was made of.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan import parallel
from gan.families.contract import Batch, ImageShape, Phase, Source, mirrored
from gan.families.translator import LOSSES, Translator
from gan.families.unit.networks import OTHER, SAME, Discriminators, Generators
from gan.families.unit.options import UNITOptions
from gan.nn.plain import with_planes
from gan.objectives import OBJECTIVES, charbonnier


class Side(NamedTuple):
    """Real images [N, C r, *size], replicated, and their labels [N, labels]."""

    images: Tensor
    labels: Tensor


BySide = dict[str, Tensor]


class UNIT(Translator):
    """Phases D (both discriminators) and G (encoders and decoders of both sides), in the order of the programs.

    Each phase draws its own noise and translates again.
    """

    both_ways = True
    options: UNITOptions

    def __init__(self, options: UNITOptions, shape: ImageShape, batch: int):
        super().__init__(options, shape, batch)
        self.unpaired, self.disjoint = options.pairing != "paired", options.pairing == "disjoint"
        self.decay = options.weight_decay
        self.objective = OBJECTIVES[LOSSES[options.objective]]
        self.pixel_loss, self.latent = PIXEL_LOSSES[options.pixel_loss], LATENTS[options.latent]
        self.generators = self.build_kept(options, shape)
        channels = {"sources": shape.sources, "targets": shape.channels}
        self.discriminators = nn.ModuleDict(
            {
                side: Discriminators(shape.size, count * options.replicate + self.labels, options)
                for side, count in channels.items()
            }
        )

    @staticmethod
    def build_kept(options: UNITOptions, shape: ImageShape) -> Generators:
        return Generators(options, shape)

    def kept(self) -> nn.Module:
        return self.generators

    def phases(self) -> tuple[Phase, ...]:
        return Phase("D", "D"), Phase("G", "G")

    def networks(self) -> dict[str, nn.Module]:
        return {"G": self.generators, "D": self.discriminators}

    def rate(self, seen: int) -> float:
        """As `Translator.rate`: halved after each ``lr_half_kimg``."""
        every = self.options.lr_half_kimg * 1000
        return 0.5 ** (seen // every) if every else 1.0

    def loss(self, phase: str, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        source, target = self._augment(batch.source), self._augment(batch.real)
        apart = batch.apart if len(batch.apart) else batch.labels
        sides = {"sources": Side(source, batch.labels), "targets": Side(target, apart)}
        total, logs = self._loss_d(sides) if phase == "D" else self._loss_g(sides)
        return total, {name: value.detach() for name, value in logs.items()}

    @staticmethod
    def draw(kept: nn.Module, request: Source) -> Tensor:
        """As `Variant.draw`, in both directions."""
        return kept(*request)

    def _loss_d(self, sides: dict[str, Side]) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            noisy = {side: self._noisy(self._encoded(side, *real)) for side, real in sides.items()}
            made = self._decoded(noisy, OTHER)
        losses, reals = [], []
        for side, real in sides.items():
            fake = self._criticise(side, made[OTHER[side]], sides[OTHER[side]].labels)
            reals.append(self._criticise(side, *real))
            losses.append([self.objective.discriminator(*both) for both in zip(reals[-1], fake, strict=True)])
        loss = torch.stack([torch.stack(scales) for scales in losses])
        logs = self._of_scales("loss/D", loss) | {"logits/real": _mean(reals)}
        return self.options.adversarial * loss.sum(), logs

    def _loss_g(self, sides: dict[str, Side]) -> tuple[Tensor, dict[str, Tensor]]:
        options, real = self.options, {side: images for side, (images, _) in sides.items()}
        # Every code is decoded as both sides. ``made`` goes by what the images were made of.
        codes = {side: self._encoded(side, *sides[side]) for side in sides}
        noisy = {side: self._noisy(code) for side, code in codes.items()}
        same, made = self._decoded(noisy, SAME), self._decoded(noisy, OTHER)
        # Adversarial.
        fakes = [self._criticise(OTHER[side], made[side], sides[side].labels) for side in sides]
        fooled = torch.stack([self._fooled(fake) for fake in fakes])
        # There and back.
        again = {side: self._encoded(OTHER[side], made[side], sides[side].labels) for side in sides}
        back = self._decoded({side: self._noisy(code) for side, code in again.items()}, SAME)
        terms = {
            "reconstruction": (options.reconstruction, self._differences(same, real)),
            "cycle": (options.cycle, self._differences(back, real)),
            "latent": (options.latent_weight, torch.stack([self.latent(code) for code in codes.values()])),
            "latent_cycle": (options.latent_cycle, torch.stack([self.latent(code) for code in again.values()])),
        }
        total = options.adversarial * fooled.sum() + sum(weight * term.sum() for weight, term in terms.values())
        logs = self._of_scales("loss/G", fooled) | {f"loss/{name}": term.mean() for name, (_, term) in terms.items()}
        logs["logits/fake"] = _mean(fakes)
        if options.replicate > 1:
            logs["replicate/spread"] = torch.stack([self.generators.spread(images) for images in made.values()]).mean()
        return total, logs

    def _encoded(self, side: str, images: Tensor, labels: Tensor) -> Tensor:
        return self.generators.encode(images, labels, side)

    def _decoded(self, codes: BySide, to: dict[str, str]) -> BySide:
        """Codes by the side of the image that they are of, decoded as images of the side ``to``."""
        return {side: self.generators.decode(code, to[side], self.shape.size) for side, code in codes.items()}

    def _noisy(self, code: Tensor) -> Tensor:
        return code + parallel.randn_like(code) if self.options.noise else code

    def _criticise(self, side: str, images: Tensor, labels: Tensor) -> list[Tensor]:
        """Logits of each scale; a translation has the labels of what it was made of."""
        return self.discriminators[side](with_planes(images, labels) if self.labels else images)

    def _fooled(self, fake: list[Tensor]) -> Tensor:
        """The generator's adversarial loss of each scale."""
        return torch.stack([self.objective.generator(one, one).mean() for one in fake])

    def _differences(self, images: BySide, real: BySide) -> Tensor:
        return torch.stack([self.pixel_loss(images[side] - real[side]).mean() for side in real])

    def _of_scales(self, name: str, losses: Tensor) -> dict[str, Tensor]:
        """The mean of ``losses`` [sides, scales], and that of each scale if there are several, from the finest on."""
        scales = losses.mean(dim=0)
        several = {f"{name}_{index + 1}": value for index, value in enumerate(scales)} if len(scales) > 1 else {}
        return {name: scales.mean()} | several

    def _augment(self, images: Tensor) -> Tensor:
        return self.generators.replicated(mirrored(images) if self.options.xflip else images)


PIXEL_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {"l1": torch.abs, "charbonnier": charbonnier}
LATENTS: dict[str, Callable[[Tensor], Tensor]] = {  # of the means of codes [N, C, *size] with a variance of 1
    "mean_square": lambda code: code.square().mean(),
    "kl": lambda code: code.square().flatten(1).sum(dim=1).mean() / 2,
    "charbonnier": lambda code: charbonnier(code).mean(),
}


def _mean(logits: list[list[Tensor]]) -> Tensor:
    """The mean over sides and scales of the mean logit."""
    return torch.stack([scale.mean() for scales in logits for scale in scales]).mean()
