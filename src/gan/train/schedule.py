"""When a run logs, takes a snapshot, saves and ends: functions of the step alone, which a resumed run repeats."""

import math
from dataclasses import dataclass
from typing import Any

TICKS = 200  # rows of statistics of a run, about
SHORTEST_TICK = 4  # steps; reading the statistics stops the device
LONGEST_TICK = 4.0  # kimg


@dataclass(frozen=True)
class Schedule:
    """Steps count from 1: step k is the end of the k-th batch. ``snapshots`` maps a step to its nominal kimg."""

    batch: int
    steps: int
    tick: int
    checkpoint: int
    snapshots: dict[int, float]

    @classmethod
    def of(cls, training: dict[str, Any], checkpoint_kimg: float) -> "Schedule":
        """From ``recipe["training"]``. Snapshots are at 0, every ``snapshot_kimg`` and at the end."""
        kimg, batch, every = training["kimg"], training["batch"], training["snapshot_kimg"]
        steps = max(1, _steps(kimg, batch))
        marks = [index * every for index in range(math.floor(kimg / every + 1e-9) + 1)]
        snapshots = {_steps(mark, batch): mark for mark in marks if _steps(mark, batch) < steps} | {steps: kimg}
        tick = max(SHORTEST_TICK, _steps(min(LONGEST_TICK, kimg / TICKS), batch))
        return cls(batch, steps, tick, max(1, _steps(checkpoint_kimg, batch)), snapshots)

    def kimg(self, step: int) -> float:
        """Thousands of real images seen after ``step`` steps."""
        return step * self.batch / 1000

    def is_tick(self, step: int) -> bool:
        """True if a row of statistics ends with this step."""
        return self.before_tick(step) == 0

    def before_tick(self, step: int) -> int:
        """Steps from this one to the end of its row of statistics."""
        return min(-step % self.tick, self.steps - step)

    def is_checkpoint(self, step: int) -> bool:
        """True if the whole state is saved after this step."""
        return step % self.checkpoint == 0 or step == self.steps


def stem(kimg: float) -> str:
    """Name of the files of a snapshot: ``kimg00040``."""
    return f"kimg{kimg:05g}"


def _steps(kimg: float, batch: int) -> int:
    return math.ceil(kimg * 1000 / batch - 1e-9)
