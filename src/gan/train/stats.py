"""The statistics of a run: `stats.jsonl`, one JSON object a line, and means gathered without stopping the device."""

import json
import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan import parallel
from gan.errors import full_disk, no_space


class StatsFile:
    """Append rows to ``path``; each is one write of one line, so a reader never sees a half row before the last line.

    The file is only ever appended to or truncated in place: a hard link to it follows the run.
    """

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)

    def append(self, row: dict[str, Any]) -> None:
        """Write one row; numbers that are not finite become null, since JSON has none. `GanError` on a full disk."""
        clean = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
        }
        line = (json.dumps(clean) + "\n").encode()
        with full_disk(self.path):
            written = os.write(self._file, line)
        if written < len(line):
            raise no_space(self.path)

    def cut(self, step: int) -> None:
        """Drop every row after ``step``, and a torn last line: a resumed run writes them again."""
        keep = 0
        with open(self.path, "rb") as lines:
            for line in lines:
                row = _parse(line)
                if row is None or row.get("step", 0) > step:
                    break
                keep += len(line)
        os.ftruncate(self._file, keep)

    def sync(self) -> None:
        """Sync the rows to disk: a checkpoint must not be ahead of its statistics."""
        with full_disk(self.path):
            os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)


def _parse(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


class Meter:
    """Means of named scalars between two rows, summed on the device: only `read` waits for it.

    With more than one rank all add the same names, and `read`, `peek` and `state_dict` are called on all at once: they
    give means over the ranks.
    """

    def __init__(self):
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, scalars: dict[str, Tensor]) -> None:
        """Add one value of each; values are scalars on any device."""
        for name, value in scalars.items():
            value = torch.as_tensor(value).detach().double()
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
            self._counts[name] = self._counts.get(name, 0) + 1

    def read(self) -> dict[str, float]:
        """The mean of each since the last `read`, in one transfer."""
        if not self._sums:
            return {}
        means = {
            name: value / self._counts[name] for name, value in zip(self._sums, self._means().tolist(), strict=True)
        }
        self._sums, self._counts = {}, {}
        return means

    def peek(self) -> dict[str, float]:
        """Like `read`, but without resetting."""
        sums, counts = dict(self._sums), dict(self._counts)
        means = self.read()
        self._sums, self._counts = sums, counts
        return means

    def state_dict(self) -> dict[str, Any]:
        means = self._means().unbind() if self._sums else []
        return {"sums": dict(zip(self._sums, means, strict=True)), "counts": dict(self._counts)}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        self._sums = {name: value.to(device) for name, value in state["sums"].items()}
        self._counts = dict(state["counts"])

    def _means(self) -> Tensor:
        """The sums, as means over the ranks."""
        devices = [value.device for value in self._sums.values()]
        device = next((device for device in devices if device.type != "cpu"), devices[0])
        with parallel.together():
            return parallel.mean(torch.stack([value.to(device) for value in self._sums.values()]))
