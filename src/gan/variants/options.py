"""What can be set on each family of variants: one frozen dataclass a family, defaults as published.

This module needs the standard library alone: the workflow reads it to validate a config and to fill in recipes without
importing torch. ``REVISION`` is part of every recipe: raise it when a change makes the family's results differ.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gan.errors import GanError


def option(default: Any, doc: str, *, choices: tuple = (), low: float | None = None, high: float | None = None) -> Any:
    """A dataclass field with a one-line description and the allowed values (``choices``, or ``low <= x <= high``)."""
    return field(default=default, metadata={"doc": doc, "choices": choices, "low": low, "high": high})


def unfit(value: Any, limits: Mapping[str, Any]) -> str | None:
    """What is allowed instead, in words, if ``value`` breaks the metadata of its `option`; None if it does not.

    The limits of a list are those of its members.
    """
    if isinstance(value, list | tuple):
        return next((problem for one in value if (problem := unfit(one, limits))), None)
    choices, low, high = limits["choices"], limits["low"], limits["high"]
    if choices and value not in choices:
        return f"allowed: {', '.join(map(str, choices))}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if low is not None and not value >= low:
        return f"it must be at least {low:g}"
    if high is not None and not value <= high:
        return f"it must be at most {high:g}"
    return None


class Options:
    """Base of the dataclasses below: a value out of bounds raises `GanError` with the option and what is allowed.

    PRECISIONS: what ``training.precision`` may be; a family adds those that its networks heed (`gan.ops.precision`).
    TRANSFER: the defaults that differ for a training that starts from the networks of another one (``init_from``).
    """

    PRECISIONS: ClassVar[tuple[str, ...]] = ("fp32", "tf32")
    TRANSFER: ClassVar[dict[str, Any]] = {}

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if problem := unfit(value, item.metadata):
                raise GanError(f"option {item.name} is {value!r}; {problem}")

    def check_fit(self, doublings: int, kimg: float, batch: int) -> None:
        """`GanError` if these options do not suit images that double ``doublings`` times, or a training on ``kimg``."""


@dataclass(frozen=True)
class StyleGAN2Options(Options):
    """StyleGAN2 with adaptive discriminator augmentation (Karras et al. 2020a, 2020b)."""

    FAMILY: ClassVar[str] = "stylegan2"
    MODULE: ClassVar[str] = "gan.variants.stylegan2"
    CLASS: ClassVar[str] = "StyleGAN2"
    REVISION: ClassVar[int] = 1
    PRECISIONS: ClassVar[tuple[str, ...]] = ("fp32", "tf32", "bf16", "fp16")
    # As in the program of Karras et al. 2020b: p reacts sooner, and the average does not forget what it starts from.
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
    gp_target: float = option(1.0, "gradient norm that the gradient penalty asks for", low=0.0)
    drift: float = option(0.0, "weight of the drift term, mean D(real)^2", low=0.0)
    r1_gamma: float | None = option(None, "weight of R1; null: 0.0002 * resolution^2 / batch, with wgan_gp 0", low=0.0)
    r2_gamma: float | None = option(None, "weight of R2; null: that of R1 with r3gan, else 0", low=0.0)
    r1_every: int = option(16, "discriminator steps between two terms of R1 and R2", low=1)
    lecam: float = option(0.0, "weight of the LeCam regulariser", low=0.0)
    lecam_decay: float = option(0.99, "decay of the mean logits that LeCam compares with, a step", low=0.0, high=0.9999)
    topk: bool = option(False, "the generator learns from the samples of a batch that look most real")
    topk_decay: float = option(0.99, "factor of the part that top-k keeps, an epoch", low=0.0, high=1.0)
    topk_min: float = option(0.5, "the smallest part that top-k keeps", low=0.0, high=1.0)
    pl_weight: float = option(2.0, "weight of the path length penalty; 0 switches it off", low=0.0)
    pl_every: int = option(4, "generator steps between two path length terms", low=1)
    style_mixing: float = option(0.9, "probability of style mixing", low=0.0, high=1.0)
    ema_kimg: float | None = option(None, "half-life of the generator's moving average; null: batch * 10 / 32", low=0.0)
    ema_rampup: float | None = option(0.05, "the half-life is at most this part of the kimg seen; null: no ramp-up")
    augment: str = option(
        "none",
        "augmentation before the discriminator: diffaugment, or a preset of ADA",
        choices=("none", "mri", "bgc", "blit_geom", "diffaugment"),
    )
    diffaugment: tuple[str, ...] = option(
        ("colour", "translation", "cutout"), "policies of DiffAugment", choices=("colour", "translation", "cutout")
    )
    ada_target: float = option(0.6, "target of E[sign D(real)]", low=0.0, high=1.0)
    ada_kimg: float = option(500.0, "kimg in which p can go from 0 to 1", low=0.001)
    ada_p: float | None = option(None, "fixed augmentation probability instead of the adaptive one", low=0.0, high=1.0)
    xflip: bool = option(False, "mirror real images left to right at random")
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

    def check_fit(self, doublings: int, kimg: float, batch: int) -> None:
        self.check_layers(doublings)

    def check_layers(self, doublings: int) -> None:
        """`GanError` if more layers are frozen than there are: that of the image, and three a doubling."""
        layers = 1 + 3 * doublings
        if self.freeze_d > layers:
            raise GanError(f"option freeze_d is {self.freeze_d}; the discriminator has {layers} layers to freeze")


@dataclass(frozen=True)
class DCGANOptions(Options):
    """DCGAN (Radford et al. 2016)."""

    FAMILY: ClassVar[str] = "dcgan"
    MODULE: ClassVar[str] = "gan.variants.dcgan"
    CLASS: ClassVar[str] = "DCGAN"
    REVISION: ClassVar[int] = 1
    PRECISIONS: ClassVar[tuple[str, ...]] = ("fp32", "tf32", "bf16")

    z_dim: int = option(100, "dimensions of the latent z", low=1)
    channels: int = option(64, "feature maps of the layer next to the image", low=1)
    layers: int | None = option(None, "layers of each network; null: one for each doubling, and one", low=2)
    activation: str = option("relu", "activation in the generator", choices=("relu", "leaky_relu"))
    noise: str = option("normal", "distribution of the latent z; uniform: from -1 to 1", choices=("normal", "uniform"))
    lr: float = option(2e-4, "learning rate of Adam", low=0.0)
    lr_d: float | None = option(None, "learning rate of the discriminator; null: lr", low=0.0)
    beta1: float = option(0.5, "beta1 of Adam", low=0.0, high=1.0)
    ema_kimg: float = option(0.0, "half-life of the generator's moving average; 0: the weights themselves", low=0.0)
    xflip: bool = option(False, "mirror real images left to right at random")
    conditional: bool = option(False, "condition on the data set's labels")

    def check_fit(self, doublings: int, kimg: float, batch: int) -> None:
        self.check_layers(doublings)

    def check_layers(self, doublings: int) -> None:
        """`GanError` if the first layer of the generator would be smaller than the grid."""
        if self.layers is not None and self.layers > doublings + 1:
            raise GanError(
                f"option layers is {self.layers}; images of this size double {doublings} times, so take at most "
                f"{doublings + 1}, or null"
            )


@dataclass(frozen=True)
class ProGANOptions(Options):
    """Progressive growing of GANs (Karras et al. 2018)."""

    FAMILY: ClassVar[str] = "progan"
    MODULE: ClassVar[str] = "gan.variants.progan"
    CLASS: ClassVar[str] = "ProGAN"
    REVISION: ClassVar[int] = 1
    PRECISIONS: ClassVar[tuple[str, ...]] = ("fp32", "tf32", "bf16")
    PUBLISHED_PHASE: ClassVar[float] = 600.0  # kimg

    z_dim: int = option(512, "dimensions of the latent z", low=1)
    channel_base: int = option(16384, "feature maps at resolution r: min(channel_max, channel_base / r)", low=16)
    channel_max: int = option(512, "most feature maps of a layer", low=1)
    phase_kimg: float | None = option(
        None, "kimg of a fade and of a stable phase; null: equal parts of training.kimg, at most 600", low=0.001
    )
    mbstd_group: int = option(4, "images per group of the minibatch standard deviation; divides the batch", low=1)
    lr: float = option(0.001, "learning rate of Adam", low=0.0)
    lr_d: float | None = option(None, "learning rate of the discriminator; null: lr", low=0.0)
    gp_weight: float = option(10.0, "weight of the gradient penalty", low=0.0)
    drift: float = option(0.001, "weight of the drift term, mean D(real)^2", low=0.0)
    ema_kimg: float = option(11.1, "half-life of the generator's moving average", low=0.0)
    ema_rampup: float | None = option(0.05, "the half-life is at most this part of the kimg seen; null: no ramp-up")
    xflip: bool = option(False, "mirror real images left to right at random")
    conditional: bool = option(False, "condition on the data set's labels")

    def phase_images(self, doublings: int, images: float) -> float:
        """Images of each phase but the last, of a training on ``images``: 1 + 2 ``doublings`` phases."""
        if self.phase_kimg is not None:
            return self.phase_kimg * 1000
        return min(self.PUBLISHED_PHASE * 1000, images / (1 + 2 * doublings))

    def check_fit(self, doublings: int, kimg: float, batch: int) -> None:
        """The last step must find the full size grown: it begins ``batch`` images before the end."""
        before, images = 2 * doublings, kimg * 1000
        if before * self.phase_images(doublings, images) <= images - batch:
            return
        if self.phase_kimg is None:
            raise GanError(
                f"training.kimg is {kimg:g}, but growing takes {before + 1} phases of at least a batch of {batch}; "
                f"train for {(before + 1) * batch / 1000:g} kimg or more"
            )
        raise GanError(
            f"option phase_kimg is {self.phase_kimg:g}: {before} phases come before the full size, "
            f"too many for a training.kimg of {kimg:g}; set it to null, or train longer"
        )


FAMILIES: dict[str, type] = {options.FAMILY: options for options in (StyleGAN2Options, DCGANOptions, ProGANOptions)}


def defaults(family: str, *, transfer: bool = False) -> dict[str, Any]:
    """Every option of ``family`` with its default, in order of declaration; transfer: as `Options.TRANSFER` has it."""
    found = {item.name: item.default for item in dataclasses.fields(FAMILIES[family])}
    return found | FAMILIES[family].TRANSFER if transfer else found
