"""The options of ProGAN."""

from dataclasses import dataclass
from typing import ClassVar

from gan.errors import GanError
from gan.families.options import Options, augment_real, option
from gan.pyramid import Pyramid


@dataclass(frozen=True)
class ProGANOptions(Options):
    """Progressive growing of GANs (Karras et al. 2018)."""

    TASK: ClassVar[str] = "generate"
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
    ema_rampup: float | None = option(0.05, "the half-life is at most this share of the kimg seen; null: no ramp-up")
    xflip: bool = option(False, "mirror real images left to right at random")
    augment_real: str = augment_real()
    conditional: bool = option(False, "condition on the data set's labels")

    def without_effect(self) -> dict[str, str]:
        """See `Options.without_effect`."""
        return {"ema_rampup": "ema_kimg is 0"} if self.ema_kimg == 0 else {}

    def phase_images(self, doublings: int, images: float) -> float:
        """Images of each phase but the last, of a training on ``images``: 1 + 2 ``doublings`` phases."""
        if self.phase_kimg is not None:
            return self.phase_kimg * 1000
        return min(self.PUBLISHED_PHASE * 1000, images / (1 + 2 * doublings))

    def check_fit(self, size: tuple[int, ...], kimg: float, batch: int) -> None:
        self.check_budget(Pyramid.of(size).doublings, kimg, batch)

    def check_budget(self, doublings: int, kimg: float, batch: int) -> None:
        """The full size must be grown before the last step, which begins ``batch`` images before the end."""
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
