"""What families that translate share: generators and discriminators, each with Adam and a learning rate that falls."""

from typing import Any

import torch

from gan.families.contract import Source, Variant, falling, half_life_beta

LOSSES = {"bce": "nonsaturating", "lsgan": "lsgan"}  # in `gan.objectives`, by option ``objective``


class Translator(Variant):
    """A variant with the networks G and D, in this order, and the options ``lr, lr_d, beta1, ema_kimg``.

    Its learning rates fall by option ``lr_decay``, or as its own `rate` has it.
    """

    request = Source
    decay = 0.0  # of the weights, as an L2 term in the gradient

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {
            name: torch.optim.Adam(
                network.parameters(), rate, (self.options.beta1, 0.999), weight_decay=self.decay, fused=True
            )
            for (name, network), rate in zip(self.networks().items(), self._rates(), strict=True)
        }

    def begin_step(self, seen: int, optimizers: dict[str, torch.optim.Optimizer]) -> None:
        share = self.rate(seen)
        for optimizer, rate in zip(optimizers.values(), self._rates(), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * share

    def rate(self, seen: int) -> float:
        """Factor of the learning rates after ``seen`` images."""
        return falling(seen, self.budget, self.options.lr_decay)

    def ema_beta(self, seen: int) -> float:
        return half_life_beta(self.batch, self.options.ema_kimg * 1000)

    def _rates(self) -> tuple[Any, Any]:
        """Learning rates of G and D before they fall."""
        return self.options.lr, self.options.lr if self.options.lr_d is None else self.options.lr_d
