"""DCGAN that rests before each step for PAUSE seconds: a training that lasts and leaves the CPUs to others."""

import os
import time

from gan.families.dcgan import model


class Paused(model.DCGAN):
    """Its results are those of DCGAN, whatever the pause."""

    def begin_step(self, seen, optimizers):
        time.sleep(float(os.environ.get("PAUSE", "0")))
        super().begin_step(seen, optimizers)
