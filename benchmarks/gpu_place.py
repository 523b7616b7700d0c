"""Where a part of `benchmarks/gpu.py` works, what it has found so far, and the programs that it starts."""

import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gan.files import write_json

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


@dataclasses.dataclass
class Place:
    """The prepared folder, the folder of the results, the device, and until when (`time.monotonic`).

    A part calls `save` whenever it knows more: what is saved outlives whatever comes.
    """

    folder: Path
    out: Path
    part: str
    device: torch.device
    deadline: float
    found: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def left(self) -> float:
        """Seconds."""
        return self.deadline - time.monotonic()

    def save(self) -> None:
        write_json(self.out / f"{self.part}.json", self.found)

    def start(self, name: str, command: list[str]) -> Callable[[float], None]:
        """Start a program with its output in ``<name>.log``. What is returned waits for it so many seconds at most and
        notes its time, exit code (None: it was killed) and last lines."""
        log, begin = self.out / f"{name}.log", time.monotonic()
        with open(log, "w", encoding="utf-8") as output:
            into = {"stdout": output, "stderr": subprocess.STDOUT}
            process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **into)

        def finish(limit: float) -> None:
            code = _wait(process, min(limit, self.left))
            text = log.read_text(encoding="utf-8", errors="replace")
            last = [line for line in text.replace("\r", "\n").splitlines() if line.strip()][-3:]
            seconds = round(time.monotonic() - begin, 1)
            self.found[name] = {"seconds": seconds, "code": code, "last": last}
            self.save()
            print(f"{name}: {'ended' if code == 0 else f'FAILED ({code})'} after {seconds} s", flush=True)

        return finish


def _wait(process: subprocess.Popen, limit: float) -> int | None:
    """The exit code; None if it had to be killed, with all that it has started."""
    try:
        return process.wait(max(limit, 1))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None
