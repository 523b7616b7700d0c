"""Transfer: the networks that a training leaves behind, and how another one starts from them.

As in the program of Karras et al. (2020b): generator, discriminator and the moving average of the generator are
copied, parameters and buffers (``w_avg`` of the mapping network, the constant noise, statistics of batch norm). The
state of the variant outside its networks starts fresh: optimizers, augmentation probability, mean path length, the
counters; so do step and seed. `gan.families.options.Options.TRANSFER` has the options that such a training sets
otherwise. A tensor that is missing in the source or has another shape there keeps its initialisation from the seed.
Networks of volumes may start from those of images, whose kernels are then inflated (`gan.train.inflate`).
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan.errors import GanError
from gan.families.registry import defaults
from gan.files import atomic_path, checksum
from gan.train.checkpoint import read_archive
from gan.train.inflate import inflated
from gan.train.trainer import Trainer

FORMAT = "gan-weights-1"
ENOUGH = 0.5  # smallest share of the generator's parameters that counts as a transfer


@dataclass(frozen=True)
class Weights:
    """networks: their states by the names of `Variant.networks`; ema: that of the generator's moving average; of: what
    they are, for people; size: of the images that they are for."""

    family: str
    networks: dict[str, dict[str, Tensor]]
    ema: dict[str, Tensor]
    of: str
    size: tuple[int, ...] = ()


def save_weights(path: Path, trainer: Trainer, recipe: dict[str, Any], run_key: str, kimg: float) -> None:
    """Write the weights for other trainings to start from, atomically. Equal weights give equal bytes."""
    family, shape = recipe["variant"]["family"], trainer.dataset.shape
    content = {
        "format": FORMAT,
        "family": family,
        "options": defaults(family) | recipe["variant"]["options"],
        "shape": asdict(shape) | {"size": list(shape.size)},
        "kimg": kimg,
        "run_key": run_key,
        "terms": trainer.dataset.meta.get("terms"),
        "networks": {name: _cpu(network) for name, network in trainer.networks.items()},
        "ema": _cpu(trainer.ema),
    }
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        torch.save(content, file)


def load_weights(recipe: dict[str, Any], path: Path | None) -> Weights | None:
    """The weights that ``recipe`` starts from, out of the file ``path``; None if it starts from new networks.

    `GanError` if the one is given without the other, or if the file is absent, damaged, of another run than the recipe
    asks for, or of another family.
    """
    asked, family = recipe["variant"].get("init_from"), recipe["variant"]["family"]
    if asked is None:
        if path:
            raise GanError(f"--init-from is {path}, but the recipe starts from new networks; leave it out")
        return None
    if path is None:
        raise GanError(f"--init-from is missing: the recipe starts from {_named(asked)}; name its weights.pt")
    if not path.is_file():
        raise GanError(f"{path}: no such file; name the weights.pt of {_named(asked)}")
    if (wanted := asked.get("sha256")) and (found := checksum(path)) != wanted:
        raise GanError(f"{path}: its sha256 is {found}, init_from requires {wanted}; name the right file or correct it")
    content, problem = read_archive(path, FORMAT)
    if content is None:
        raise GanError(f"{path}: not a weights.pt, or a damaged one ({problem}); name another or train it again")
    if (wanted := asked.get("run_key")) and content["run_key"] != wanted:
        raise GanError(
            f"{path}: of the run {content['run_key']}, but the recipe starts from {_named(asked)}, the run {wanted}; "
            f"name the weights.pt of that run or train it again"
        )
    if content["family"] != family:
        raise GanError(f"{path}: of the family {content['family']}, not {family}; start from weights of that family")
    return Weights(family, content["networks"], content["ema"], _named(asked), tuple(content["shape"]["size"]))


def transfer(trainer: Trainer, weights: Weights) -> str:
    """Set the networks and the moving average of ``trainer`` to ``weights``; returns what was copied, in words.

    Every tensor of equal name and shape is taken. `GanError` if that is less than half of the generator's parameters,
    or if it lacks a layer that is not going to be trained.
    """
    size = trainer.dataset.shape.size
    grows = (len(weights.size), len(size)) == (2, 3)

    def found(source: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
        return inflated(source, network, size) if grows else source

    fresh = {
        name: _take(found(weights.networks.get(name, {}), network), network)
        for name, network in trainer.networks.items()
    }
    lacking = _take(found(weights.ema, trainer.ema), trainer.ema)
    sizes = {name: parameter.numel() for name, parameter in trainer.ema.named_parameters()}
    share = 1 - sum(sizes.get(name, 0) for name in lacking) / sum(sizes.values())
    if share < ENOUGH:
        raise GanError(
            f"init_from: {weights.of} has {share:.0%} of the generator's parameters by name and shape, less than "
            f"{ENOUGH:.0%}; start from networks of equal widths and depths, or from new ones"
        )
    _require_trained(trainer, fresh, weights.of)
    names = [f"{network}.{name}" for network, found in fresh.items() for name in found]
    total = sum(len(network.state_dict()) for network in trainer.networks.values())
    new = f"; new are {', '.join(names)}" if names else ""
    of = f"{weights.of}, inflated from images of {' x '.join(map(str, weights.size))}" if grows else weights.of
    return f"starts from {of}: {total - len(names)} of {total} tensors{new}"


@torch.no_grad()
def _take(source: dict[str, Tensor], network: nn.Module) -> list[str]:
    """Copy the tensors that fit into ``network``; returns the names of the others."""
    fresh = []
    for name, tensor in network.state_dict().items():
        if name in source and source[name].shape == tensor.shape:
            tensor.copy_(source[name])
        else:
            fresh.append(name)
    return fresh


def _require_trained(trainer: Trainer, fresh: dict[str, list[str]], of: str) -> None:
    """Raise `GanError` if a tensor was not transferred and no optimizer trains it."""
    trained = {
        parameter
        for optimizer in trainer.optimizers.values()
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    for name, network in trainer.networks.items():
        for key, parameter in network.named_parameters():
            if key in fresh[name] and parameter not in trained:
                raise GanError(
                    f"init_from: {of} has no {name}.{key} of this shape, and option freeze_d keeps it from being "
                    f"trained; lower freeze_d, or start from networks of equal channels and size"
                )


def _named(asked: dict[str, Any]) -> str:
    """The name of a source without its path, which is not in a recipe."""
    return asked.get("cell") or f"the file with sha256 {asked['sha256'][:12]}"


def _cpu(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
