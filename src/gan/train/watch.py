"""Signs of a failed training: NaN and infinities stop it; saturation, runaway augmentation and collapse warn."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from gan.errors import GanError

WINDOW = 5  # rows of statistics that must agree before a warning
SATURATED = 0.01  # loss of a discriminator that tells every real image from every fake one
ADA_LIMIT = 0.8  # Karras et al. 2020b: above it augmentations can leak into the images
COLLAPSED = 0.05  # spread between fake images, as a part of that between real ones


@dataclass
class Watch:
    """Warns once of each kind. All it remembers is in `state_dict`, so a resumed run warns as an uninterrupted one."""

    warned: list[str] = field(default_factory=list)
    saturated: int = 0
    runaway: int = 0

    def row(self, row: dict[str, Any]) -> list[tuple[str, str]]:
        """Warnings (event, message) that a row of statistics gives rise to."""
        loss, p = row.get("loss/D"), row.get("ada/p")
        self.saturated = self.saturated + 1 if loss is not None and 0 <= loss < SATURATED else 0
        self.runaway = self.runaway + 1 if p is not None and p > ADA_LIMIT else 0
        found = []
        if self.saturated >= WINDOW:
            found.append(
                (
                    "discriminator_saturated",
                    f"the discriminator tells real from fake without error (loss/D {loss:.2g}), the generator gets no "
                    f"gradient; use augmentation, a larger r1_gamma or more images",
                )
            )
        if self.runaway >= WINDOW:
            found.append(
                (
                    "ada_runaway",
                    f"the augmentation probability is {p:.2f}, above {ADA_LIMIT}: augmentations may leak into the "
                    f"images; raise r1_gamma or use more images",
                )
            )
        return self._new(found)

    def grid(self, fake: Tensor, real: Tensor) -> list[tuple[str, str]]:
        """Warnings that samples [N, C, *size] give rise to, beside real images of the same shape."""
        share = spread(fake) / max(spread(real), 1e-12)
        if share >= COLLAPSED:
            return []
        message = f"samples differ {share:.1%} as much as real images do: the generator has collapsed to few images"
        return self._new([("collapse", message)])

    def state_dict(self) -> dict[str, Any]:
        return {"warned": list(self.warned), "saturated": self.saturated, "runaway": self.runaway}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.warned, self.saturated, self.runaway = list(state["warned"]), state["saturated"], state["runaway"]

    def _new(self, found: list[tuple[str, str]]) -> list[tuple[str, str]]:
        new = [(event, message) for event, message in found if event not in self.warned]
        self.warned += [event for event, _ in new]
        return new


def spread(images: Tensor) -> float:
    """Mean standard deviation of a pixel between images [N, ...]; 0 when all are the same."""
    return float(images.float().std(dim=0, correction=0).mean())


def norm(tensors: Iterable[Tensor]) -> Tensor:
    """The 2-norm of all ``tensors`` together, on their device; NaN or infinite if any number in them is."""
    return get_total_norm([tensor.detach() for tensor in tensors])


def require_finite(kimg: float, means: dict[str, float], networks: dict[str, nn.Module]) -> None:
    """`GanError` if a loss, a logged value, a gradient norm in ``means`` or a weight is NaN or infinite.

    One transfer from the device. ``means``: see `Meter.read`; losses of phases are named ``phase/<name>``.
    """
    bad = [
        f"the loss of phase {name[6:]}" for name, value in means.items() if name.startswith("phase/") and _bad(value)
    ]
    bad += [f"the gradient of {name[5:]}" for name, value in means.items() if name.startswith("grad/") and _bad(value)]
    weights = {name: norm(network.parameters()) for name, network in networks.items()}
    values = torch.stack([value.double() for value in weights.values()]).tolist()
    bad += [f"the weights of {name}" for name, value in zip(weights, values, strict=True) if _bad(value)]
    bad += [name for name, value in means.items() if not name.startswith(("phase/", "grad/")) and _bad(value)]
    if bad:
        others = f" (nor are {len(bad) - 1} other values)" if bad[1:] else ""
        raise GanError(
            f"training diverged by {kimg:g} kimg: {bad[0]} is not finite{others}; "
            f"lower the learning rate of the variant (option lr) or regularise it more"
        )


def _bad(value: float) -> bool:
    return not math.isfinite(value)
