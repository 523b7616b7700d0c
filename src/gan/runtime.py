"""What a training runs on and how: all that a job requests from its machine, and none of it decides a result.

A new resource is a field here, its row in the schema's ``train_resources``, and its use.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from gan.errors import GanError

DEVICES = ("auto", "cpu", "cuda")
OPS = ("auto", "cuda", "reference")
STEPS = ("auto", "graph", "eager")
RENAMED = {"gpus": "gpu"}  # a field with another name in the config, which is that of Snakemake and its plugins


def _choice(allowed: tuple[str, ...]) -> Any:
    return field(default=allowed[0], metadata={"allowed": allowed})


def _number(default: float, least: float, above: bool = False) -> Any:
    return field(default=default, metadata={"least": least, "above": above})


@dataclass(frozen=True)
class Runtime:
    """device: auto takes a GPU if there is one. gpus: processes that share each batch, one a GPU, over all ``nodes`` of
    a Slurm job, which have the same number each; 0 and 1 are one process. threads: of the CPU on a node, 0 as many as
    torch takes. ops: see `gan.check.choose`. step: see `gan.train.graphs.pick_graphs`. microbatches: pieces in which
    each process takes its share of a batch. checkpoint_kimg: between two checkpoints.

    `GanError` if a value is not allowed.
    """

    device: str = _choice(DEVICES)
    gpus: int = _number(1, 0)
    nodes: int = _number(1, 1)
    threads: int = _number(0, 0)
    ops: str = _choice(OPS)
    step: str = _choice(STEPS)
    microbatches: int = _number(1, 1)
    checkpoint_kimg: float = _number(20.0, 0, above=True)

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if not _fits(each, value):
                raise GanError(f"--runtime: {each.name} is {value!r}; allowed: {allowed(each)}")
        if uneven(self.gpus, self.nodes):
            raise GanError(
                f"--runtime: gpus is {self.gpus}; it must be a multiple of the number of nodes, {self.nodes} "
                f"(resources.train.gpu and nodes)"
            )

    @classmethod
    def parse(cls, word: str) -> "Runtime":
        """``device=cuda,gpus=2`` of a command line; what it does not name has its default. `GanError` names the key,
        its value and what is allowed."""
        fields = {each.name: each for each in dataclasses.fields(cls)}
        given: dict[str, Any] = {}
        for pair in filter(None, word.split(",")):
            name, _, text = pair.partition("=")
            if name not in fields:
                raise GanError(f"--runtime: {pair}: {name!r} is no key; allowed: {', '.join(fields)}")
            if name in given:
                raise GanError(f"--runtime: {pair}: {name} is given twice; name it once")
            try:
                given[name] = type(fields[name].default)(text)
            except ValueError:
                raise GanError(f"--runtime: {name} is {text!r}; allowed: {allowed(fields[name])}") from None
        return cls(**given)

    @classmethod
    def resources(cls) -> dict[str, str]:
        """The key in the config's ``resources.train`` of each field."""
        return {each.name: RENAMED.get(each.name, each.name) for each in dataclasses.fields(cls)}

    @property
    def processes(self) -> int:
        """How many train together, on all nodes."""
        return max(self.gpus, self.nodes)


def uneven(gpus: int, nodes: int) -> bool:
    """Whether several ``nodes`` cannot have the same number of ``gpus`` each."""
    return nodes > 1 and (gpus < nodes or gpus % nodes > 0)


def usage() -> str:
    """The keys, their defaults and what else is allowed, for a help page."""
    return ", ".join(f"{each.name}={each.default} ({allowed(each)})" for each in dataclasses.fields(Runtime))


def allowed(each: dataclasses.Field) -> str:
    """The allowed values of a field, in words."""
    if choices := each.metadata.get("allowed"):
        return ", ".join(choices)
    kind = "whole numbers" if isinstance(each.default, int) else "numbers"
    return f"{kind} {'above' if each.metadata['above'] else 'from'} {each.metadata['least']}"


def _fits(each: dataclasses.Field, value: Any) -> bool:
    if choices := each.metadata.get("allowed"):
        return value in choices
    least = each.metadata["least"]
    within = value > least if each.metadata["above"] else value >= least
    return within and math.isfinite(value)
