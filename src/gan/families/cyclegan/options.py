"""The options of CycleGAN."""

from dataclasses import dataclass
from typing import ClassVar

from gan.families.options import Options, option
from gan.pyramid import patch_layers


@dataclass(frozen=True)
class CycleGANOptions(Options):
    """CycleGAN (Zhu et al. 2017): translation in both directions, learned without pairs."""

    TASK: ClassVar[str] = "translate"
    REVISION: ClassVar[int] = 1
    PRECISIONS: ClassVar[tuple[str, ...]] = ("fp32", "tf32", "bf16")

    pairing: str = option(
        "shuffled",
        "sources and targets of a batch: of slices drawn independently, of different subjects, or of the same slices",
        choices=("shuffled", "disjoint", "paired"),
    )
    objective: str = option("lsgan", "adversarial loss: least squares or cross-entropy", choices=("lsgan", "bce"))
    cycle: float = option(10.0, "weight of the mean absolute difference after translation there and back", low=0.0)
    identity: float = option(0.0, "weight of the difference that a translation makes to its own target", low=0.0)
    d_weight: float = option(0.5, "weight of the discriminators' losses, of real and of generated images", low=0.0)
    pool: int = option(50, "generated images of earlier steps kept for each discriminator; 0: none", low=0)
    channels: int = option(64, "feature maps of the layer next to the image, in all networks", low=1)
    blocks: int | None = option(None, "residual blocks of a generator; null: 9, or 6 below 256 pixels", low=1)
    norm: str = option("instance", "normalisation in all networks", choices=("instance", "batch"))
    patch_layers: int | None = option(
        None, "halvings in a discriminator; 0: of single pixels; null: 3, or 2 below 128 pixels", low=0
    )
    lr: float = option(2e-4, "learning rate of Adam", low=0.0)
    lr_d: float | None = option(None, "learning rate of the discriminators; null: lr", low=0.0)
    lr_decay: float = option(
        0.5, "last share of training.kimg in which the learning rates fall linearly to 0", low=0.0, high=1.0
    )
    beta1: float = option(0.5, "beta1 of Adam", low=0.0, high=1.0)
    ema_kimg: float = option(0.0, "half-life of the generators' moving average; 0: the weights themselves", low=0.0)
    xflip: bool = option(False, "mirror sources and targets left to right at random, each by itself")
    jitter: bool = option(False, "enlarge sources and targets to 286/256 and crop them at random, each by itself")
    conditional: bool = option(False, "condition on the data set's labels")

    def check_fit(self, size: tuple[int, ...], kimg: float, batch: int) -> None:
        patch_layers(size, self.patch_layers)
