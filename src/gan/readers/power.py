"""What a number of images can show, for one reader who guesses or who is right a little more often."""

import numpy as np
from scipy.stats import binom, norm

from gan.metrics.intervals import NORMAL

MARGIN = 0.60  # accuracy below which images count as indistinguishable
ONE_SIDED = float(norm.ppf(0.95))
POWER = 0.8
DETECTED = (0.60, 0.65, 0.70)
MOST = 100_000


def shows(images: int, accuracy: float = 0.5) -> float:
    """How often a reader of ``images`` who is right with ``accuracy`` gets an upper bound below `MARGIN`."""
    right = np.arange(images + 1)
    share = right / images
    bound = share + ONE_SIDED * np.sqrt(share * (1 - share) / images)
    return float(binom.pmf(right, images, accuracy)[bound < MARGIN].sum())


def needed(accuracy: float, power: float = POWER) -> int:
    """Images with which a reader of ``accuracy`` is found to differ from chance at 5 % (two-sided), with ``power``."""
    spread = NORMAL / 2 + float(norm.ppf(power)) * np.sqrt(accuracy * (1 - accuracy))
    return int(np.ceil((spread / (accuracy - 0.5)) ** 2))


def detects(images: int, accuracy: float) -> float:
    """How often a reader of ``images`` with ``accuracy`` is found to differ from chance at 5 % (two-sided)."""
    return float(norm.cdf(((accuracy - 0.5) * np.sqrt(images) - NORMAL / 2) / np.sqrt(accuracy * (1 - accuracy))))
