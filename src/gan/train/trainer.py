"""One run's state and how it advances by a step. All that decides the next step is in `Trainer.state_dict`."""

import contextlib
import copy
from collections.abc import Iterable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from gan import parallel
from gan.errors import GanError
from gan.families.contract import Batch, Dataset, OfSubjects, Phase
from gan.families.registry import build
from gan.nn.layers import channels_last
from gan.ops.precision import computing, full_precision
from gan.train.device import check_precision
from gan.train.exchange import Exchange
from gan.train.graphs import Graphs
from gan.train.reals import changed
from gan.train.sampler import Sampler
from gan.train.stats import Meter
from gan.train.watch import Watch, norm, require_finite


class Trainer:
    """Networks, moving average, optimizers and random numbers of one recipe on one device.

    With more than one rank each has a trainer, and all advance together; they differ only in the images that they see.
    microbatches: number of pieces in which a rank takes its share of a batch, one after another. It saves memory and
    changes numbers only by rounding. graphs: of a GPU; replay the phases instead of launching their operations one by
    one.
    """

    def __init__(
        self,
        recipe: dict[str, Any],
        dataset: Dataset,
        device: torch.device,
        microbatches: int = 1,
        graphs: Graphs | None = None,
    ):
        training, variant = recipe["training"], recipe["variant"]
        self.precision = training["precision"]
        check_precision(self.precision, variant["family"], device)
        full_precision()
        torch.manual_seed(recipe["seed"])
        self.dataset, self.device, self.batch = dataset, device, training["batch"]
        self.orders = [self._order(len(dataset), recipe["seed"])]
        self.microbatches, self.graphs = microbatches, graphs  # graphs: of one rank and whole batches (`pick_graphs`)
        with parallel.Pieces(microbatches).at(0) if microbatches > 1 else contextlib.nullcontext():
            parallel.share(self.batch, "training.batch")
            self.variant = build(variant["family"], variant["options"], dataset.shape, self.batch).to(device)
        if device.type == "cuda":
            channels_last(self.variant)
        if self.variant.unpaired:
            whole = len(dataset), len(dataset)
            sources, targets = cast(OfSubjects, dataset).halves() if self.variant.disjoint else whole
            self.orders = [self._order(sources, recipe["seed"]), self._order(targets, (recipe["seed"], 1))]
        self.variant.epoch = max(order.length for order in self.orders)
        self.variant.budget = training["kimg"] * 1000
        self.ema = copy.deepcopy(self.variant.kept()).eval().requires_grad_(False)
        self.networks = self.variant.networks()
        self.optimizers = self.variant.optimizers()
        self.phases = self.variant.phases()
        self._exchange = {phase.name: Exchange(self._parameters(phase.trains)) for phase in self.phases}
        self._first = {phase.trains: phase for phase in reversed(self.phases)}  # a network's loss, before its penalties
        for name in self.optimizers:
            self._trainable(name, False)
        self.watch = Watch(self.variant.saturates, self.variant.gp_target)
        self.meter, self.step = Meter(), 0
        self._seed = recipe["seed"]

    @property
    def pace(self) -> int:
        """Number of steps in which every network is trained at least once."""
        return max(phase.every for phase in self._first.values())

    def advance(self, measure: bool) -> None:
        """One step: every phase that is due, the moving average, the variant's own controllers.

        measure: also take the gradient norm of the first phase of each network, as ``grad/<network>``, if it is due.
        """
        batch = self._batch()
        self.variant.begin_step(self.step * self.batch, self.optimizers)
        if self.graphs:
            batch = self.graphs.begin(batch, self.variant.form)
        with parallel.together(), computing(self.precision):
            for phase in self.phases:
                if self.step % phase.every == 0:
                    self._descend(phase, batch, measure and phase is self._first[phase.trains])
            self._average(self.variant.ema_beta(self.step * self.batch))
            self.meter.add(self.variant.end_step(self.step))
        self.step += 1

    def _batch(self) -> Batch:
        indices = self.orders[0].indices(self.step)
        batch = self.dataset.batch(indices)
        if self.variant.augment_real != "none":
            kind, masks, spacing = self.variant.augment_real, self.dataset.shape.masks, self.dataset.meta["spacing"]
            batch = batch._replace(real=changed(batch.real, kind, self._seed, self.step, indices, spacing, masks))
        if len(self.orders) == 1:
            return batch
        other = self.dataset.batch(self.orders[1].indices(self.step))
        return batch._replace(real=other.real, apart=other.labels)

    def _order(self, images: int | np.ndarray, seed: int | tuple[int, ...]) -> Sampler:
        return Sampler(images, self.batch, seed, parallel.rank(), parallel.world())

    def _descend(self, phase: Phase, batch: Batch, measure: bool) -> None:
        optimizer = self.optimizers[phase.trains]
        self._trainable(phase.trains, True)
        optimizer.zero_grad(set_to_none=True)
        parameters = self._parameters(phase.trains)
        if self.graphs:
            scalars = self.graphs.run(phase.name, lambda: self._backward(phase, batch), parameters)
        elif self.microbatches > 1:
            scalars = self._backward_in_pieces(phase, batch)
        else:
            scalars = self._backward(phase, batch)
        self.meter.add(scalars)
        if self.precision == "fp16":
            _clean(parameter.grad for parameter in parameters if parameter.grad is not None)
        if measure:
            self.meter.add({f"grad/{phase.trains}": norm(p.grad for p in parameters if p.grad is not None)})
        optimizer.step()
        self._trainable(phase.trains, False)

    def _backward(self, phase: Phase, batch: Batch, send: bool = True) -> dict[str, Tensor]:
        """send: send gradients to the other ranks as soon as they are complete, as no other piece adds to them."""
        loss, scalars = self.variant.loss(phase.name, batch)
        with self._exchange[phase.name].sending() if send else contextlib.nullcontext():
            (loss if self.microbatches == 1 else loss / self.microbatches).backward()
        return scalars | {f"phase/{phase.name}": loss.detach()}

    def _backward_in_pieces(self, phase: Phase, batch: Batch) -> dict[str, Tensor]:
        """Like ranks, all pieces begin with the same random numbers and buffers and end with the same.

        In the turns before the last one, the pieces compute what their losses share.
        """
        pieces, begin = parallel.Pieces(self.microbatches), self._moving()
        sums: dict[str, Tensor] = {}
        for last in [False] * phase.exchanges + [True]:
            for index in range(self.microbatches):
                self._move_back(begin)
                part = batch.piece(index, self.microbatches)
                with pieces.at(index):
                    if last:
                        scalars = self._backward(phase, part, send=index == self.microbatches - 1)
                        sums = {name: value + sums.get(name, 0) for name, value in scalars.items()}
                    else:
                        self.variant.loss(phase.name, part)
        return {name: value / self.microbatches for name, value in sums.items()}

    def _moving(self) -> tuple[list[Tensor], dict[str, Tensor | None]]:
        """The state that a loss changes: copies of the buffers, and the states of the random generators."""
        return [buffer.clone() for buffer in self.variant.buffers()], self._random_state()

    @torch.no_grad()
    def _move_back(self, begin: tuple[list[Tensor], dict[str, Tensor | None]]) -> None:
        buffers, random = begin
        for buffer, value in zip(self.variant.buffers(), buffers, strict=True):
            buffer.copy_(value)
        self._set_random_state(random)

    def _random_state(self) -> dict[str, Tensor | None]:
        gpu = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        return {"random": torch.get_rng_state(), "random_cuda": gpu}

    def _set_random_state(self, state: dict[str, Any]) -> None:
        torch.set_rng_state(state["random"])
        if self.device.type == "cuda":
            if state["random_cuda"] is not None:
                torch.cuda.set_rng_state(state["random_cuda"], self.device)
            else:
                torch.cuda.manual_seed(self._seed + self.step)  # saved on a CPU: not the same random numbers

    @torch.no_grad()
    def _average(self, beta: float) -> None:
        source = self.variant.kept()
        average = get_ema_multi_avg_fn(beta)
        average(list(self.ema.parameters()), list(source.parameters()), None)
        if buffers := list(self.ema.buffers()):
            torch._foreach_copy_(buffers, list(source.buffers()))  # type: ignore[reportPrivateImportUsage]

    def require_finite(self, kimg: float, means: dict[str, float]) -> None:
        """`GanError` if anything in ``means`` or any weight is NaN or infinite."""
        require_finite(kimg, means, self.networks)

    def require_equal(self) -> None:
        """`GanError` if the ranks do not hold the same weights, statistics and random generators."""
        generators = {"the random generator": torch.get_rng_state()}
        if self.device.type == "cuda":
            generators["the GPU's random generator"] = torch.cuda.get_rng_state(self.device)
        parallel.require_equal(self.variant.state_dict() | self.ema.state_dict(prefix="ema.") | generators)

    def state_dict(self) -> dict[str, Any]:
        """The state that decides the next steps, on any number of ranks; all call it together."""
        return {
            "step": self.step,
            "variant": self.variant.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "meter": self.meter.state_dict(),
            "watch": self.watch.state_dict(),
            **self._random_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from ``state``; on the kind of device that saved it, as if never interrupted."""
        try:
            self.variant.load_state_dict(state["variant"])
            self.ema.load_state_dict(state["ema"])
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][name])
                _in_the_formats_of_the_weights(optimizer)
        except (RuntimeError, KeyError, ValueError) as error:
            raise GanError(
                "the checkpoint is of another version of this variant; delete its folder to train from the start"
            ) from error
        self.meter.load_state_dict(state["meter"], self.device)
        self.watch.load_state_dict(state["watch"])
        self.step = state["step"]
        self._set_random_state(state)

    def _parameters(self, name: str) -> list[nn.Parameter]:
        return [parameter for group in self.optimizers[name].param_groups for parameter in group["params"]]

    def _trainable(self, name: str, flag: bool) -> None:
        for parameter in self._parameters(name):
            parameter.requires_grad_(flag)


def _in_the_formats_of_the_weights(optimizer: torch.optim.Optimizer) -> None:
    """Moments lie in memory as their weights do, which fused optimizers need; those of a CPU's checkpoint did not."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter).copy_(value)


def _clean(gradients: Iterable[Tensor]) -> None:
    """Replace overflowed gradients, as published, instead of scaling the loss (Karras et al. 2020b)."""
    for gradient in gradients:
        torch.nan_to_num(gradient, nan=0.0, posinf=1e5, neginf=-1e5, out=gradient)
