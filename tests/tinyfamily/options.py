"""What can be set on the family of the tests."""

from dataclasses import dataclass
from typing import ClassVar

from gan.families.options import Options, option


@dataclass(frozen=True)
class TinyOptions(Options):
    """A perceptron with batch norm and noise."""

    TASK: ClassVar[str] = "generate"
    REVISION: ClassVar[int] = 1

    z_dim: int = option(4, "dimensions of the latent z", low=1)
    lr: float = option(1e-3, "learning rate of Adam", low=0.0)
    fail_at: int = option(-1, "step whose loss is NaN")
    p: float = option(0.1, "reported as ada/p")
    conditional: bool = option(False, "condition on the data set's labels")
