"""StyleGAN2 (Karras et al. 2020a), optionally with adaptive discriminator augmentation (ADA, Karras et al. 2020b).

Fake images are conditioned on the labels of the batch of real ones, so both have the same distribution of labels.
Nothing here reads a value back from the device: a step is the same sequence of operations whatever the numbers are.
"""

import functools
import math

import torch
from torch import Tensor, nn

from gan import objectives, parallel
from gan.augment import AdaController, AugmentPipe, preset
from gan.diffaugment import diffaugment
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
from gan.families.stylegan2 import memory
from gan.families.stylegan2.options import StyleGAN2Options
from gan.nn import Discriminator, Generator
from gan.nn.attention import Attention, LinearAttention, SelfAttention
from gan.nn.quantize import Quantized, learn


class StyleGAN2(Variant):
    """Phases G, Gpl (path length), D, Dr1 (R1 and R2); a penalty runs every ``pl_every`` and ``r1_every`` steps.

    A step is one of the discriminator; the generator takes every ``n_critic`` of them. Lazy regularisation: a penalty
    that runs every k steps of its network is multiplied by k, and the network's learning rate and betas become
    lr k / (k + 1) and beta^(k / (k + 1)), so that the sum over steps is that of a penalty that always runs (Karras et
    al. 2020a, section 3.1).
    """

    options: StyleGAN2Options
    generator: Generator
    path_length_mean: Tensor
    anchors: Tensor
    seen: Tensor

    def __init__(self, options: StyleGAN2Options, shape: ImageShape, batch: int):
        super().__init__(options, shape, batch)
        require_groups(batch, options.mbstd_group, len(shape.size))
        if options.pl_weight:
            parallel.share(max(1, batch // 2), "half of training.batch, as the path length term takes it")
        self.generator = self.build_kept(options, shape)
        self.discriminator = Discriminator(
            shape.size,
            shape.channels,
            self.labels,
            channel_base=options.channel_base,
            channel_max=options.channel_max,
            mbstd_group=options.mbstd_group,
            attention=_attention(options, "d"),
            quantize_at=options.quantize_at if options.quantize != "none" else (),
            quantize={
                "codes": options.quantize_codes,
                "decay": options.quantize_decay,
                "replace": options.quantize == "replace",
            },
        )
        options.check_layers(len(self.discriminator.blocks))
        for layer in self._frozen():
            layer.requires_grad_(False)
        self.objective = objectives.OBJECTIVES[options.objective]
        self.saturates, self.gp_target = self.objective.saturates, options.gp_target
        self.register_buffer("path_length_mean", torch.zeros([]))
        if options.lecam:
            self.register_buffer("anchors", torch.zeros(3))
        if options.topk:
            self.register_buffer("seen", torch.zeros([], dtype=torch.int64))
        adaptive = options.augment not in ("none", "diffaugment")
        operations = preset(options.augment, len(shape.size)) if adaptive else ()
        self.augment = AugmentPipe(operations, shape.masks, options.ada_oversample) if adaptive else None
        self.controller = self._controller()
        lay_out(self, len(shape.size))

    @staticmethod
    def build_kept(options: StyleGAN2Options, shape: ImageShape) -> Generator:
        generator = Generator(
            shape.size,
            shape.channels,
            conditions(options, shape),
            z_dim=options.z_dim,
            w_dim=options.w_dim,
            mapping_layers=options.mapping_layers,
            channel_base=options.channel_base,
            channel_max=options.channel_max,
            attention=_attention(options, "g"),
            modulation=options.modulation,
        )
        lay_out(generator, len(shape.size))
        return generator

    def kept(self) -> nn.Module:
        return self.generator

    def phases(self) -> tuple[Phase, ...]:
        options = self.options
        # Labels of half of the batch, then the mean length; top-k's logits; LeCam's means, or the uses of codes.
        lengths = Phase("Gpl", "G", options.pl_every * options.n_critic, exchanges=2 if self.labels else 1)
        path_length = [lengths] if options.pl_weight else []
        critic = Phase("D", "D", exchanges=1 if options.lecam or options.quantize != "none" else 0)
        r1 = [Phase("Dr1", "D", options.r1_every)] if self.r1_gamma or self.r2_gamma else []
        return Phase("G", "G", options.n_critic, exchanges=int(options.topk)), *path_length, critic, *r1

    def networks(self) -> dict[str, nn.Module]:
        return {"G": self.generator, "D": self.discriminator}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        lazy = self._lazy()
        return {name: self._adam(network, lazy[name]) for name, network in self.networks().items()}

    def kept_bytes(self, images: int, width: int) -> int:
        options = self.options
        sizes = memory.features(self.shape.size, options.channel_base, options.channel_max)
        of = memory.kept(sizes, options.modulation, width)
        taken = {phase.name: math.ceil(images / 2) if phase.name == "Gpl" else images for phase in self.phases()}
        return round(max(of[name] * count for name, count in taken.items()))

    def begin_step(self, seen: int, optimizers: dict[str, torch.optim.Optimizer]) -> None:
        for name, rate in self.learning_rates(seen).items():
            for group in optimizers[name].param_groups:
                group["lr"] = rate

    def learning_rates(self, seen: int) -> dict[str, float]:
        """The learning rate of each network after ``seen`` images, scaled for lazy regularisation; empty: constant."""
        options, kimg = self.options, seen / 1000
        if not options.lr_phases and not options.lr_warmup_kimg:
            return {}
        rate = next((lr for start, lr in reversed(options.lr_phases) if kimg >= start), options.lr)
        if options.lr_warmup_kimg:
            rate *= min(1.0, (kimg + self.batch / 1000) / options.lr_warmup_kimg)
        return {name: rate * lazy for name, lazy in self._lazy().items()}

    def loss(self, phase: str, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        losses = {"G": self._loss_g, "Gpl": self._loss_path_length, "D": self._loss_d, "Dr1": self._loss_gradients}
        return losses[phase](batch)

    def ema_beta(self, seen: int) -> float:
        kimg = self.batch * 10 / 32 if self.options.ema_kimg is None else self.options.ema_kimg
        images = kimg * 1000
        if self.options.ema_rampup is not None:
            images = min(images, seen * self.options.ema_rampup)
        return half_life_beta(self.batch, images)

    def end_step(self, step: int) -> dict[str, Tensor]:
        if self.options.topk:
            self.seen.fill_((step + 1) * self.batch)
        if (step + 1) % self.controller.interval:
            return {}
        self.controller.adjust()
        return {"ada/rt": self.controller.rt.clone(), "ada/p": self.controller.p.clone()}

    @staticmethod
    def draw(kept: nn.Module, request: Latents) -> Tensor:
        return kept(*request)

    @property
    def r1_gamma(self) -> float:
        """Weight of R1: the option, or the published heuristic 0.0002 * pixels / batch (Karras et al. 2020b).

        A volume counts as an image of its mean side, voxels^(2/3): by its voxels the weight would grow with the depth.
        """
        if self.options.r1_gamma is not None:
            return self.options.r1_gamma
        if self.options.objective == "wgan_gp":
            return 0.0
        positions = math.prod(self.shape.size)
        pixels = positions if len(self.shape.size) == 2 else positions ** (2 / 3)
        return 0.0002 * pixels / self.batch

    @property
    def r2_gamma(self) -> float:
        """Weight of R2: the option, or with r3gan that of R1 (Huang et al. 2024)."""
        if self.options.r2_gamma is not None:
            return self.options.r2_gamma
        return self.r1_gamma if self.options.objective == "r3gan" else 0.0

    @property
    def gp_weight(self) -> float:
        """Weight of the gradient penalty: the option, or with wgan_gp 10 (Gulrajani et al. 2017)."""
        if self.options.gp_weight is not None:
            return self.options.gp_weight
        return 10.0 if self.options.objective == "wgan_gp" else 0.0

    def _loss_g(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        ws = self._styles(batch.labels, track=True)
        fake = self._judge(self.generator.synthesis(ws), batch.labels)
        real = self._judge(self._real(batch), batch.labels) if self.objective.paired else fake
        losses = self.objective.generator(fake, real)
        logs = {"logits/fake": fake.detach().mean()}
        if self.options.topk:
            logs["topk/share"] = self._kept_share()
            losses = losses * objectives.topk_weights(fake, logs["topk/share"])
        loss = losses.mean()
        return loss, logs | {"loss/G": loss.detach()}

    def _loss_path_length(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Path length on half of the batch, which is enough and half the cost (Karras et al. 2020a, appendix B)."""
        ws = self._styles(parallel.leading(batch.labels, max(1, self.batch // 2)))
        lengths = objectives.path_lengths(self.generator.synthesis(ws), ws)
        penalty, mean = objectives.path_length_penalty(lengths, self.path_length_mean)
        self.path_length_mean.copy_(mean)
        return penalty * (self.options.pl_weight * self.options.pl_every), {"loss/pl": penalty.detach()}

    def _loss_d(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        notes: list[Quantized] = []
        images = self._fake(batch)
        fake = self._judge(images, batch.labels, notes)
        originals = self._real(batch)
        real = self._judge(originals, batch.labels, notes)
        self.controller.update(real)
        loss = self.objective.discriminator(real, fake)
        terms: dict[str, tuple[float, Tensor]] = {}
        if self.options.drift:
            terms["drift"] = self.options.drift, objectives.drift(real)
        if self.options.lecam:
            terms["lecam"] = self.options.lecam, self._lecam(real, fake)
        if self.gp_weight:
            between = objectives.interpolate(originals, images)
            penalty = objectives.gradient_penalty(self._judge(between, batch.labels), between, self.gp_target)
            terms["gp"] = self.gp_weight, penalty
        if notes:
            terms["fq"] = self.options.quantize_commitment, torch.stack([n.commitment for n in notes]).sum() / 2
        logs = {"loss/D": loss.detach(), "logits/real": real.detach().mean()} | (learn(notes) if notes else {})
        logs |= {f"loss/{name}": term.detach() for name, (_, term) in terms.items()}
        return sum((weight * term for weight, term in terms.values()), loss), logs

    def _lecam(self, real: Tensor, fake: Tensor) -> Tensor:
        """The third running sum counts the weights and normalises the other two (bias correction)."""
        means = parallel.mean(torch.stack([real.detach().mean(), fake.detach().mean(), real.new_ones([])]))
        self.anchors.copy_(means.lerp(self.anchors, self.options.lecam_decay))
        return objectives.lecam(real, fake, self.anchors[:2] / self.anchors[2])

    def _kept_share(self) -> Tensor:
        """Share of the batch that top-k keeps: max(decay^epoch, min) (Sinha et al. 2020, section 3.2)."""
        if not self.epoch:
            raise ValueError("top-k counts epochs: set epoch to the number of training images")
        share = self.options.topk_decay ** (self.seen // self.epoch).double()
        return share.clamp(min=self.options.topk_min)

    def _loss_gradients(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """R1, and R2 on generated images. The gradient is taken at the images before their augmentation."""
        terms = {}
        if self.r1_gamma:
            terms["r1"] = self.r1_gamma, self._squared_gradient(self._real(batch), batch.labels)
        if self.r2_gamma:
            terms["r2"] = self.r2_gamma, self._squared_gradient(self._fake(batch), batch.labels)
        weighted = [penalty * (gamma / 2 * self.options.r1_every) for gamma, penalty in terms.values()]
        return torch.stack(weighted).sum(), {f"loss/{name}": term.detach() for name, (_, term) in terms.items()}

    def _squared_gradient(self, images: Tensor, labels: Tensor) -> Tensor:
        images = images.detach().requires_grad_()
        return objectives.r1_penalty(self._judge(images, labels), images)

    @torch.no_grad()
    def _fake(self, batch: Batch) -> Tensor:
        return self.generator.synthesis(self._styles(batch.labels))

    def _styles(self, labels: Tensor, *, track: bool = False) -> Tensor:
        """ws [N, layers, w_dim] of new latents for labels [N, labels], some of them mixed of two latents."""
        z = parallel.randn(2, len(labels), self.options.z_dim, axis=1, device=labels.device)
        w = self.generator.mapping(z[0], labels)
        if track:
            self.generator.mapping.track(w)
        if not self.options.style_mixing:
            return self.generator.broadcast(w)
        return self.generator.mix(w, self.generator.mapping(z[1], labels), self.options.style_mixing)

    def _real(self, batch: Batch) -> Tensor:
        return mirrored(batch.real) if self.options.xflip else batch.real

    def _judge(self, images: Tensor, labels: Tensor, notes: list[Quantized] | None = None) -> Tensor:
        """Logits of images, augmented first where the variant does so; notes: of the quantizers."""
        if self.augment is not None:
            images = self.augment(images, self.controller.p)
        elif self.options.augment == "diffaugment":
            images = diffaugment(images, self.options.diffaugment, self.shape.masks)
        return self.discriminator(images, labels, notes)

    def _controller(self) -> AdaController:
        """The controller of the augmentation; without one, or with a fixed p, it only measures r_t."""
        options = self.options
        adaptive = self.augment is not None and options.ada_p is None
        p = options.ada_p or 0.0 if self.augment is not None else 0.0
        return AdaController(self.batch, options.ada_target, options.ada_kimg if adaptive else math.inf, p=p)

    def _lazy(self) -> dict[str, float]:
        """k / (k + 1) of each network with a penalty every k of its steps, 1 of the others."""
        every = {"Gpl": self.options.pl_every, "Dr1": self.options.r1_every}
        penalties = {phase.trains: every[phase.name] for phase in self.phases() if phase.name in every}
        return {name: k / (k + 1) if (k := penalties.get(name)) else 1.0 for name in self.networks()}

    def _adam(self, network: nn.Module, lazy: float) -> torch.optim.Adam:
        betas = self.options.beta1**lazy, self.options.beta2**lazy
        frozen = {parameter for layer in self._frozen() for parameter in layer.parameters()}
        parameters = [parameter for parameter in network.parameters() if parameter not in frozen]
        return torch.optim.Adam(parameters, lr=self.options.lr * lazy, betas=betas, eps=1e-8, fused=True)

    def _frozen(self) -> list[nn.Module]:
        """Layers of the discriminator that are not trained but pass the gradient on (freeze-D, Mo et al. 2020)."""
        return self.discriminator.layers()[: self.options.freeze_d]


def _attention(options: StyleGAN2Options, network: str) -> dict[int, Attention]:
    """Layers of attention of ``network``, g or d, by resolution."""
    if options.attention == "none" or options.attention_in not in (network, "both"):
        return {}
    linear = functools.partial(LinearAttention, heads=options.attention_heads, width=options.attention_width)
    return dict.fromkeys(options.attention_at, linear if options.attention == "linear" else SelfAttention)
