"""A `gan.runtime.Runtime` resolved for this process."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from gan.runtime import Runtime
from gan.train.graphs import Graphs


@dataclass(frozen=True)
class Machine:
    """device: of this rank. graphs: replay the phases of a step (`Trainer`). warnings: events with their messages,
    found while resolving."""

    runtime: Runtime = field(default_factory=Runtime)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    graphs: Graphs | None = None
    warnings: Sequence[tuple[str, str]] = ()
