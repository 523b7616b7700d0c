"""The options of Pix2Pix."""

from dataclasses import dataclass
from typing import ClassVar

from gan.errors import GanError
from gan.families.options import Options, option
from gan.pyramid import patch_layers


@dataclass(frozen=True)
class Pix2PixOptions(Options):
    """Pix2Pix (Isola et al. 2017): translation learned from pairs."""

    TASK: ClassVar[str] = "translate"
    REVISION: ClassVar[int] = 1
    PRECISIONS: ClassVar[tuple[str, ...]] = ("fp32", "tf32", "bf16")

    objective: str = option("bce", "adversarial loss: cross-entropy or least squares", choices=("bce", "lsgan"))
    l1: float = option(100.0, "weight of the mean absolute difference to the target", low=0.0)
    d_weight: float = option(0.5, "weight of the discriminator's loss, of real and of generated images", low=0.0)
    channels: int = option(64, "feature maps of the layer next to the image, in both networks", low=1)
    depth: int | None = option(None, "how often the generator halves the image; null: until a side is 1 or odd", low=2)
    norm: str = option("instance", "normalisation in both networks", choices=("instance", "batch"))
    dropout_layers: tuple[int, ...] = option(
        (1, 2, 3), "layers of the decoder with dropout, 1 is the innermost; the last one never has it", low=1
    )
    dropout_at_test: bool = option(False, "dropout in translations too, as published: they differ by chance")
    attention: str = option("none", "attention gates on the skip connections", choices=("none", "gates"))
    upsample: str = option(
        "transposed", "the decoder's convolutions, or nearest neighbours before them", choices=("transposed", "nearest")
    )
    patch_layers: int | None = option(
        None, "halvings in the discriminator; 0: of single pixels; null: 3, or 2 below 128 pixels", low=0
    )
    lr: float = option(2e-4, "learning rate of Adam", low=0.0)
    lr_d: float | None = option(None, "learning rate of the discriminator; null: lr", low=0.0)
    lr_decay: float = option(
        0.5, "last share of training.kimg in which the learning rates fall linearly to 0", low=0.0, high=1.0
    )
    beta1: float = option(0.5, "beta1 of Adam", low=0.0, high=1.0)
    ema_kimg: float = option(0.0, "half-life of the generator's moving average; 0: the weights themselves", low=0.0)
    xflip: bool = option(False, "mirror source and target together, left to right, at random")
    jitter: bool = option(False, "enlarge source and target together to 286/256 and crop them at random")
    drop_inputs: float = option(
        0.0, "probability that a source contrast is replaced by background; one always remains", low=0.0, high=1.0
    )
    conditional: bool = option(False, "condition on the data set's labels")

    def without_effect(self) -> dict[str, str]:
        """See `Options.without_effect`."""
        return {} if self.dropout_layers else {"dropout_at_test": "dropout_layers is empty"}

    def check_fit(self, size: tuple[int, ...], kimg: float, batch: int) -> None:
        if self.depth is None and any(side % 4 for side in size):
            raise GanError(f"images of size {list(size)} cannot be halved twice without a rest; set option depth")
        if self.depth is not None and min(size) < 2**self.depth:
            raise GanError(
                f"option depth is {self.depth}; images of size {list(size)} can be halved "
                f"{min(size).bit_length() - 1} times"
            )
        patch_layers(size, self.patch_layers)
