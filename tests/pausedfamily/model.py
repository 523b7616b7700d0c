"""DCGAN that can be held up: a training that lasts as long as a test needs it, and leaves the CPUs to others."""

import os
import time
from pathlib import Path

from gan.families.dcgan import model


class Paused(model.DCGAN):
    """Its results are those of DCGAN, whatever its rests.

    The file that PAUSE names says from which kimg on it rests before each step, and for how many seconds; a test may
    change it on the way.
    """

    def begin_step(self, seen, optimizers):
        begin = time.monotonic()
        while time.monotonic() < begin + self.rest(seen / 1000):
            time.sleep(0.1)
        super().begin_step(seen, optimizers)

    def rest(self, kimg):
        """Seconds before the step at ``kimg``."""
        if not (path := os.environ.get("PAUSE")):
            return 0
        start, seconds = map(float, Path(path).read_text().split())
        return seconds if kimg >= start else 0
