"""The options of StyleGAN2."""

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

from gan.errors import GanError
from gan.families.options import Options, augment_real, option
from gan.pyramid import Pyramid

_QUANTIZER = ("quantize_at", "quantize_codes", "quantize_decay", "quantize_commitment")
_FILTERED = 3  # doublings of the smallest images that the filter bank of `gan.augment` fits
ADA = ("mri", "bg", "bgc", "bgcf", "bgcfn", "bgcfnc")  # presets of `gan.augment`


@dataclass(frozen=True)
class StyleGAN2Options(Options):
    """StyleGAN2 with adaptive discriminator augmentation (Karras et al. 2020a, 2020b)."""

    TASK: ClassVar[str] = "generate"
    REVISION: ClassVar[int] = 1
    PRECISIONS: ClassVar[tuple[str, ...]] = ("fp32", "tf32", "bf16", "fp16")
    # As in the program of Karras et al. 2020b: p reacts sooner, and the average keeps its starting point longer.
    TRANSFER: ClassVar[dict[str, Any]] = {"ada_kimg": 100.0, "ema_rampup": None}

    z_dim: int = option(512, "dimensions of the latent z", low=1)
    w_dim: int = option(512, "dimensions of the intermediate latent w", low=1)
    mapping_layers: int = option(2, "depth of the generator's mapping network", low=1)
    channel_base: int = option(16384, "feature maps at resolution r: min(channel_max, channel_base / r)", low=16)
    channel_max: int = option(512, "most feature maps of a layer", low=1)
    modulation: str = option(
        "demod", "how w styles the images: modulated convolutions, or AdaIN", choices=("demod", "adain")
    )
    attention: str = option("none", "kind of attention", choices=("none", "linear", "sagan"))
    attention_at: tuple[int, ...] = option((32,), "resolutions with attention", low=4)
    attention_heads: int = option(8, "heads of linear attention", low=1)
    attention_width: int = option(64, "channels of a head of linear attention", low=1)
    attention_in: str = option("both", "networks with attention", choices=("g", "d", "both"))
    quantize: str = option(
        "none", "feature quantization in the discriminator", choices=("none", "replace", "loss_only")
    )
    quantize_at: tuple[int, ...] = option((16, 8), "resolutions with feature quantization", low=4)
    quantize_codes: int = option(128, "codes of each resolution", low=2)
    quantize_decay: float = option(0.8, "decay of the moving averages that the codes are, a step", low=0.0, high=0.9999)
    quantize_commitment: float = option(0.25, "weight of the commitment of features to their codes", low=0.0)
    freeze_d: int = option(
        0, "layers of the discriminator, from the image on, that stay as `init_from` has them", low=0
    )
    mbstd_group: int = option(4, "images per group of the minibatch standard deviation; divides the batch", low=1)
    lr: float = option(0.0025, "learning rate of Adam", low=0.0)
    lr_phases: tuple[tuple[float, float], ...] = option(
        (), "[kimg, lr] pairs: the learning rate from there on", low=0.0
    )
    lr_warmup_kimg: float = option(0.0, "kimg in which the learning rate rises from 0", low=0.0)
    beta1: float = option(0.0, "beta1 of Adam", low=0.0, high=0.9999)
    beta2: float = option(0.99, "beta2 of Adam", low=0.0, high=0.9999)
    objective: str = option("nonsaturating", "adversarial loss", choices=("nonsaturating", "wgan_gp", "hinge", "r3gan"))
    n_critic: int = option(1, "discriminator steps for each generator step", low=1)
    gp_weight: float | None = option(None, "weight of the gradient penalty; null: 10 with wgan_gp, else 0", low=0.0)
    gp_target: float = option(1.0, "target gradient norm of the gradient penalty", low=0.0)
    drift: float = option(0.0, "weight of the drift term, mean D(real)^2", low=0.0)
    r1_gamma: float | None = option(None, "weight of R1; null: 0.0002 * resolution^2 / batch, with wgan_gp 0", low=0.0)
    r2_gamma: float | None = option(None, "weight of R2; null: that of R1 with r3gan, else 0", low=0.0)
    r1_every: int = option(16, "discriminator steps between two terms of R1 and R2", low=1)
    lecam: float = option(0.0, "weight of the LeCam regulariser", low=0.0)
    lecam_decay: float = option(0.99, "decay of the mean logits that LeCam compares with, a step", low=0.0, high=0.9999)
    topk: bool = option(False, "the generator learns from the samples of a batch that look most real")
    topk_decay: float = option(0.99, "factor of the share that top-k keeps, an epoch", low=0.0, high=1.0)
    topk_min: float = option(0.5, "the smallest share that top-k keeps", low=0.0, high=1.0)
    pl_weight: float = option(2.0, "weight of the path length penalty; 0 switches it off", low=0.0)
    pl_every: int = option(4, "generator steps between two path length terms", low=1)
    style_mixing: float = option(0.9, "probability of style mixing", low=0.0, high=1.0)
    ema_kimg: float | None = option(None, "half-life of the generator's moving average; null: batch * 10 / 32", low=0.0)
    ema_rampup: float | None = option(0.05, "the half-life is at most this share of the kimg seen; null: no ramp-up")
    augment: str = option(
        "none",
        "augmentation before the discriminator: diffaugment, or a preset of ADA",
        choices=("none", *ADA, "diffaugment"),
    )
    diffaugment: tuple[str, ...] = option(
        ("colour", "translation", "cutout"), "policies of DiffAugment", choices=("colour", "translation", "cutout")
    )
    ada_target: float = option(0.6, "target of E[sign D(real)]", low=0.0, high=1.0)
    ada_kimg: float = option(500.0, "kimg in which p can go from 0 to 1", low=0.001)
    ada_p: float | None = option(None, "fixed augmentation probability instead of the adaptive one", low=0.0, high=1.0)
    ada_oversample: bool = option(
        True, "move images at twice their resolution, as published; false: by linear interpolation alone", added=True
    )
    xflip: bool = option(False, "mirror real images left to right at random")
    augment_real: str = augment_real()
    conditional: bool = option(False, "condition on the data set's labels")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attention != "none" and not self.attention_at:
            raise GanError("option attention_at is empty; name a resolution, or set attention to none")
        if self.quantize != "none" and not self.quantize_at:
            raise GanError("option quantize_at is empty; name a resolution, or set quantize to none")
        if self.augment == "diffaugment" and not self.diffaugment:
            raise GanError("option diffaugment is empty; name a policy, or set augment to none")
        starts = [kimg for kimg, _ in self.lr_phases]
        if any(later <= earlier for earlier, later in itertools.pairwise(starts)):
            raise GanError(f"option lr_phases is {self.lr_phases!r}; each pair must begin at more kimg than the last")

    def without_effect(self) -> dict[str, str]:
        """See `Options.without_effect`."""
        wgan = self.objective == "wgan_gp"
        r1 = self.r1_gamma if self.r1_gamma is not None else 0.0 if wgan else 1.0
        r2 = self.r2_gamma if self.r2_gamma is not None else r1 if self.objective == "r3gan" else 0.0
        gp = self.gp_weight if self.gp_weight is not None else 10.0 if wgan else 0.0
        adaptive = self.augment in ADA
        switched_off = (
            (self.attention == "none", "attention is none", ("attention_at", "attention_in")),
            (self.attention != "linear", f"attention is {self.attention}", ("attention_heads", "attention_width")),
            (self.quantize == "none", "quantize is none", _QUANTIZER),
            (not r1 and not r2, "r1_gamma and r2_gamma are 0", ("r1_every",)),
            (not gp, "gp_weight is 0", ("gp_target",)),
            (not self.lecam, "lecam is 0", ("lecam_decay",)),
            (not self.topk, "topk is false", ("topk_decay", "topk_min")),
            (not self.pl_weight, "pl_weight is 0", ("pl_every",)),
            (self.ema_kimg == 0, "ema_kimg is 0", ("ema_rampup",)),
            (not adaptive, f"augment is {self.augment}", ("ada_target", "ada_kimg", "ada_p", "ada_oversample")),
            (adaptive and self.ada_p is not None, f"ada_p is {self.ada_p}", ("ada_target", "ada_kimg")),
            (self.augment != "diffaugment", f"augment is {self.augment}", ("diffaugment",)),
        )
        return {name: reason for off, reason, names in switched_off if off for name in names}

    def check_fit(self, size: tuple[int, ...], kimg: float, batch: int) -> None:
        doublings = Pyramid.of(size).doublings
        self.check_layers(doublings)
        if self.augment.startswith("bgcf") and doublings < _FILTERED:
            raise GanError(
                f"option augment is {self.augment}, whose filters are for images that double {_FILTERED} times or "
                f"more; these double {doublings} times: take bgc"
            )

    def check_layers(self, doublings: int) -> None:
        """Raise `GanError` if ``freeze_d`` exceeds the number of layers: that of the image, and three a doubling."""
        layers = 1 + 3 * doublings
        if self.freeze_d > layers:
            raise GanError(f"option freeze_d is {self.freeze_d}; the discriminator has {layers} layers to freeze")
