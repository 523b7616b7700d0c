"""The options of UNIT."""

from dataclasses import dataclass
from typing import ClassVar

from gan.errors import GanError
from gan.families.options import Options, option

HALVINGS = 2  # of the encoders
LEAST = 8  # pixels a side: 2 are left after the halvings


@dataclass(frozen=True)
class UNITOptions(Options):
    """UNIT (Liu et al. 2017): translation in both directions through one latent space, learned without pairs."""

    TASK: ClassVar[str] = "translate"
    REVISION: ClassVar[int] = 2
    PRECISIONS: ClassVar[tuple[str, ...]] = ("fp32", "tf32", "bf16")

    pairing: str = option(
        "shuffled",
        "sources and targets of a batch: of slices drawn independently, of different subjects, or of the same slices",
        choices=("shuffled", "disjoint", "paired"),
    )
    # Losses.
    objective: str = option("bce", "adversarial loss: cross-entropy or least squares", choices=("bce", "lsgan"))
    adversarial: float = option(10.0, "weight of the adversarial loss, of the discriminators' too", low=0.0)
    reconstruction: float = option(100.0, "weight of the difference of an image to its own reconstruction", low=0.0)
    cycle: float = option(100.0, "weight of the difference after translation there and back", low=0.0)
    pixel_loss: str = option(
        "l1", "that difference: mean absolute, or of Charbonnier, in every pixel", choices=("l1", "charbonnier")
    )
    latent: str = option(
        "mean_square",
        "term of the codes: mean square, Kullback-Leibler divergence from N(0, 1), or mean of Charbonnier",
        choices=("mean_square", "kl", "charbonnier"),
    )
    latent_weight: float = option(0.1, "weight of that term of the codes of images", low=0.0)
    latent_cycle: float = option(0.1, "weight of that term of the codes of translations", low=0.0)
    # Generators.
    share: bool = option(True, "both directions share the last block of the encoders and the first of the decoders")
    channels: int = option(64, "feature maps of the layer next to the image, in all networks", low=1)
    res_channels: int | None = option(None, "feature maps of the residual blocks; null: 4 times channels", low=2)
    blocks: int = option(4, "residual blocks of an encoder, and of a decoder", low=1)
    down_kernel: int = option(3, "kernel of the encoders' layers that halve", choices=(3, 4))
    upsample: str = option(
        "transposed",
        "the decoders' layers that double: transposed convolutions, or nearest neighbours before a kernel of 5",
        choices=("transposed", "nearest"),
    )
    last_kernel: int = option(1, "kernel of the decoders' last layer", choices=(1, 7))
    norm: str = option("instance", "normalisation in the generators", choices=("instance", "batch", "none"))
    norm_in: str = option(
        "blocks",
        "where: in residual blocks, in all layers but the first and the last, or in all but the last",
        choices=("blocks", "inner", "all"),
    )
    norm_up: str = option(
        "same",
        "in the layers that double: as norm and norm_in have it, or layer normalisation",
        choices=("same", "layer"),
    )
    slope: float = option(
        0.01, "slope of the generators' leaky ReLU; their residual blocks have ReLU", low=0.0, high=1.0
    )
    padding: str = option("zeros", "padding in all networks", choices=("zeros", "reflect"))
    dropout: bool = option(False, "dropout of a half at the end of each residual block")
    noise: bool = option(True, "normal noise of variance 1 on the codes in training")
    stochastic_test: bool = option(False, "noise and dropout in translations too: they differ by chance")
    attention: str = option(
        "none",
        "self-attention after the last residual block of encoders or of decoders",
        choices=("none", "encoder", "generator"),
    )
    spectral_norm: bool = option(False, "spectral normalisation of every convolution of all networks")
    replicate: int = option(1, "equal copies of each channel that the networks get; their outputs are averaged", low=1)
    # Discriminators.
    d_layers: int = option(6, "layers of a discriminator that halve; their channels double", low=1)
    d_kernel: int = option(3, "kernel of these layers", choices=(3, 4))
    d_last_kernel: int = option(1, "kernel of the last layer, which gives the logits", low=1)
    d_slope: float = option(0.01, "slope of the discriminators' leaky ReLU", low=0.0, high=1.0)
    d_scales: int = option(1, "discriminators of a side, each for half the size; their losses add up", low=1)
    d_shrink: str = option(
        "gaussian",
        "how: Gaussian filter, mean of 3 x 3 (within the image) or of 2 x 2 pixels",
        choices=("gaussian", "mean3", "mean2"),
    )
    # Optimizers.
    lr: float = option(1e-4, "learning rate of Adam", low=0.0)
    lr_d: float | None = option(None, "learning rate of the discriminators; null: lr", low=0.0)
    lr_half_kimg: float = option(0.0, "the learning rates are halved after each so many kimg; 0: constant", low=0.0)
    beta1: float = option(0.5, "beta1 of Adam", low=0.0, high=1.0)
    weight_decay: float = option(1e-4, "weight decay, as an L2 term in the gradient", low=0.0)
    init: str = option(
        "normal",
        "first weights of the generators: N(0, 0.02) as in the discriminators, or of He et al. by inputs",
        choices=("normal", "kaiming"),
    )
    ema_kimg: float = option(0.0, "half-life of the generators' moving average; 0: the weights themselves", low=0.0)
    xflip: bool = option(False, "mirror sources and targets left to right at random, each by itself")
    conditional: bool = option(False, "condition on the data set's labels")

    @property
    def widest(self) -> int:
        """Feature maps of the residual blocks."""
        return 4 * self.channels if self.res_channels is None else self.res_channels

    def without_effect(self) -> dict[str, str]:
        """See `Options.without_effect`."""
        switched_off = (
            (self.norm == "none", "norm is none", ("norm_in",)),
            (self.d_scales == 1, "d_scales is 1", ("d_shrink",)),
            (not self.reconstruction and not self.cycle, "reconstruction and cycle are 0", ("pixel_loss",)),
            (not self.latent_weight and not self.latent_cycle, "latent_weight and latent_cycle are 0", ("latent",)),
            (not self.noise and not self.dropout, "noise and dropout are false", ("stochastic_test",)),
        )
        return {name: reason for off, reason, names in switched_off if off for name in names}

    def check_fit(self, size: tuple[int, ...], kimg: float, batch: int) -> None:
        self.check_size(size)

    def check_size(self, size: tuple[int, ...]) -> None:
        """`GanError` if images of ``size`` are too small for these options, or their sides do not divide."""
        images = f"images of size {list(size)}"
        if min(size) < LEAST:
            raise GanError(f"{images} are too small; UNIT needs {LEAST} pixels a side")
        if self.down_kernel == 4 and any(side % 2**HALVINGS for side in size):
            raise GanError(
                f"option down_kernel is 4, which halves even sides; {images} cannot be halved {HALVINGS} times: pad "
                f"them to multiples of {2**HALVINGS}, or take 3"
            )
        for scale in range(self.d_scales):
            if min(self.logits(side, scale) for side in size) < 1:
                of = f", at the scale {scale + 1} of {self.d_scales}" if self.d_scales > 1 else ""
                raise GanError(
                    f"option d_layers is {self.d_layers}, d_last_kernel {self.d_last_kernel}; {images} are too small "
                    f"for them{of}: take fewer layers or scales, or larger images"
                )

    def logits(self, side: int, scale: int = 0) -> int:
        """Logits along a side of so many pixels, of the discriminator of ``scale``; below 1 if it is too small."""
        for _ in range(scale):
            side = side // 2 if self.d_shrink == "mean2" else -(-side // 2)
        for _ in range(self.d_layers):
            if side < 1 + (self.padding == "reflect"):
                return 0
            side = side // 2 if self.d_kernel == 4 else -(-side // 2)
        return side - self.d_last_kernel + 1
