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
        if path := os.environ.get("PAUSE"):
            kimg, seconds = map(float, Path(path).read_text().split())
            time.sleep(seconds if seen >= kimg * 1000 else 0)
        super().begin_step(seen, optimizers)
