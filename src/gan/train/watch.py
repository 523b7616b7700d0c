"""Signs of a failed training: NaN and infinities stop it; saturation, runaway augmentation and collapse warn."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from gan.errors import GanError

WINDOW = 5  # rows of statistics that must agree before a warning
SATURATED = 0.01  # loss of a discriminator that tells every real image from every generated one
ADA_LIMIT = 0.8  # Karras et al. 2020b: above it augmentations can leak into the images
DRIFTED = 100  # mean output of a critic: the published drift term, 0.001 D^2, then equals the weight of gp, 10
DRIFT_RATIO = 10  # ratio of that mean to the distance between real and generated images, the only training signal
STEEP = 1.0  # mean (|gradient| - target)^2 over target^2: as far from the target as a zero gradient
UNEVEN = 0.05  # perplexity of the codes, as a fraction of their number
ALIKE = 0.25  # 1 - MS-SSIM of samples, as a fraction of that of real images; k repeated images would give 1 - 1/k
WATCHED = ("recall",)  # metrics of the leading extractor that rows of statistics have as ``scores/<metric>``
RECALL, LOST = 0.1, 0.1  # the least recall that can be lost, and the fraction of it that is left then


class Sign(NamedTuple):
    """shows: of the values of ``keys`` in a row; message: with the row's numbers; rows: how many in succession."""

    event: str
    keys: tuple[str, ...]
    shows: Callable[..., bool]
    message: str
    rows: int = WINDOW


SIGNS = (
    Sign(
        "discriminator_saturated",
        ("loss/D",),
        lambda loss: loss < SATURATED,
        "the discriminator tells real from generated images without error (loss/D {loss/D:.2g}), the generator learns "
        "little from it; use augmentation, a larger r1_gamma or more images",
    ),
    Sign(
        "ada_runaway",
        ("ada/p",),
        lambda p: p > ADA_LIMIT,
        f"the augmentation probability is {{ada/p:.2f}}, above {ADA_LIMIT}: augmentations may leak into the images; "
        f"raise r1_gamma or use more images",
    ),
    Sign(
        "critic_drift",
        ("logits/real", "logits/fake"),
        lambda real, fake: abs(real + fake) / 2 > max(DRIFTED, DRIFT_RATIO * abs(real - fake)),
        "the outputs of the discriminator have drifted to {logits/real:.4g} for real and {logits/fake:.4g} for "
        "generated images, far from 0 for their distance; raise the weight of the drift term",
    ),
    Sign(
        "critic_steep",
        ("loss/gp", "target/gp"),
        lambda penalty, target: penalty > STEEP * max(1.0, target**2),
        "the gradient penalty does not hold the critic (loss/gp {loss/gp:.3g}); lower the learning rate or raise the "
        "penalty's weight",
    ),
    Sign(
        "codes_collapsed",
        ("fq/evenness",),
        lambda evenness: evenness < UNEVEN,
        "few codes of a feature quantizer represent nearly all features (perplexity {fq/evenness:.1%} of the codes); "
        "lower quantize_decay or the learning rate",
    ),
    Sign(
        "collapse",
        ("samples/ms_ssim", "samples/ms_ssim_real"),
        lambda fake, real: 1 - fake < ALIKE * (1 - real),
        "samples are alike: their mean MS-SSIM is {samples/ms_ssim:.2f}, that of real images "
        "{samples/ms_ssim_real:.2f}; the generator has collapsed to few images",
        1,
    ),
    Sign(
        "recall_lost",
        ("scores/recall", "scores/recall_best"),
        lambda recall, best: best >= RECALL and recall < LOST * best,
        "recall has fallen from {scores/recall_best:.2f} to {scores/recall:.2f}: kinds of real images are not made any "
        "more",
        1,
    ),
)


@dataclass
class Watch:
    """Warns once of each kind. Its whole memory is in `state_dict`, so a resumed run warns like an uninterrupted one.

    saturates: of the variant, whose loss else says nothing of saturation; gp_target: the gradient norm that its
    penalty asks for.
    """

    saturates: bool = True
    gp_target: float = 1.0
    warned: list[str] = field(default_factory=list)
    shown: dict[str, int] = field(default_factory=dict)
    recall: float = 0.0

    def row(self, row: dict[str, Any]) -> list[tuple[str, str]]:
        """Warnings (event, message) caused by a row of statistics; a sign ignores rows without its keys."""
        self.recall = max(self.recall, row.get("scores/recall", 0.0))
        row = row | {"scores/recall_best": self.recall, "target/gp": self.gp_target}
        found = []
        for sign in SIGNS:
            if not set(sign.keys) <= set(row) or (sign.event == "discriminator_saturated" and not self.saturates):
                continue
            shows = sign.shows(*(row[key] for key in sign.keys))
            self.shown[sign.event] = self.shown.get(sign.event, 0) + 1 if shows else 0
            if self.shown[sign.event] >= sign.rows and sign.event not in self.warned:
                found.append((sign.event, sign.message.format_map(row)))
        self.warned += [event for event, _ in found]
        return found

    def state_dict(self) -> dict[str, Any]:
        return {"warned": list(self.warned), "shown": dict(self.shown), "recall": self.recall}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.warned, self.shown, self.recall = list(state["warned"]), dict(state["shown"]), state["recall"]


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
