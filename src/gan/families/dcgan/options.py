"""The options of DCGAN."""

from dataclasses import dataclass
from typing import ClassVar

from gan.errors import GanError
from gan.families.options import Options, augment_real, option
from gan.pyramid import Pyramid


@dataclass(frozen=True)
class DCGANOptions(Options):
    """DCGAN (Radford et al. 2016)."""

    TASK: ClassVar[str] = "generate"
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
    augment_real: str = augment_real()
    conditional: bool = option(False, "condition on the data set's labels")

    def check_fit(self, size: tuple[int, ...], kimg: float, batch: int) -> None:
        self.check_layers(Pyramid.of(size).doublings)

    def check_layers(self, doublings: int) -> None:
        """`GanError` if the first layer of the generator would be smaller than the grid."""
        if self.layers is not None and self.layers > doublings + 1:
            raise GanError(
                f"option layers is {self.layers}; images of this size double {doublings} times, so take at most "
                f"{doublings + 1}, or null"
            )
