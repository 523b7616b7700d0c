"""How often the intervals of a reading hold the truth, and how often readers who guess get their claim, by simulation.

Readers see an image as a number: half of d' above or below 0, with a standard deviation of 1, some of it shared by all
readers. They cut it into six levels, with a bias of their own where they guess or differ.

    python benchmarks/reading_coverage.py [--readings 400]
"""

import argparse

import numpy as np
from scipy.special import ndtr

from gan.metrics.intervals import centred_interval
from gan.readers.measures import Draws, counts, measures
from gan.readers.power import MARGIN

CUTS = (-1.0, -0.5, 0.0, 0.5, 1.0)
BIAS, RESAMPLES = 0.3, 400
ALIKE, DIFFER = 0.5, 0.3  # standard deviations: of what is shared of a case, of d' between readers
# name, d', standard deviations of cases and of readers, images of each kind, numbers of readers
KINDS = (
    *(("guess", 0.0, 0.0, 0.0, images, (1, 3, 5)) for images in (30, 50, 100, 150)),
    ("guess, cases alike", 0.0, ALIKE, 0.0, 100, (1, 3, 5)),
    ("accuracy 0.60, cases alike", 0.507, ALIKE, 0.0, 100, (1, 3, 5)),
    ("d' = 1, cases alike", 1.0, ALIKE, 0.0, 100, (1, 3, 5, 10)),
    ("d' = 1, cases alike, readers differ", 1.0, ALIKE, DIFFER, 100, (3, 5, 10)),
)


def skills(rng: np.random.Generator, readers: int, d_prime: float, differ: float) -> tuple[np.ndarray, np.ndarray]:
    """d' and bias of readers."""
    biased = BIAS if differ or not d_prime else 0.0
    return d_prime + differ * rng.normal(size=readers), biased * rng.normal(size=readers)


def levels(rng: np.random.Generator, shift: np.ndarray, alike: float, images: int) -> np.ndarray:
    """What readers with a ``shift`` [R] say of images of one kind, [R, images]."""
    seen = alike * rng.normal(size=images) + np.sqrt(1 - alike**2) * rng.normal(size=(len(shift), images))
    return np.digitize(seen + shift[:, None], CUTS)


def held(d_prime: float, alike: float, differ: float, images: int, readers: int, readings: int) -> dict[str, float]:
    """Shares of readings: whose intervals hold the truth, which find a difference, whose bound is below the margin."""
    rng = np.random.default_rng([images, readers, int(100 * d_prime), int(100 * differ), int(100 * alike)])
    many, biases = skills(np.random.default_rng(1), 40_000, d_prime, differ)
    right = (ndtr(many / 2 + biases) + ndtr(many / 2 - biases)) / 2
    truth = {"accuracy": float(right.mean()), "d_prime": d_prime}
    found: dict[str, float] = dict.fromkeys(("accuracy", "d_prime", "differs", "bound"), 0.0)
    for _ in range(readings):
        skill, bias = skills(rng, readers, d_prime, differ)
        fake, real = (levels(rng, sign * skill / 2 + bias, alike, images) for sign in (1, -1))
        draws = Draws(readers, np.arange(images), {"v": images}, RESAMPLES, int(rng.integers(1 << 31)))
        once = np.ones((1, images))
        values = measures(counts(fake, once), counts(real, once))
        drawn = measures(counts(fake, draws.fake["v"]), counts(real, draws.real))
        for name, value in truth.items():
            low, high = centred_interval(values[name].mean(), draws.mean(drawn[name]))
            found[name] += (low <= value <= high) / readings
        accuracy, replicates = values["accuracy"].mean(), draws.mean(drawn["accuracy"])
        found["differs"] += (centred_interval(accuracy, replicates)[0] > 0.5) / readings
        found["bound"] += (centred_interval(accuracy, replicates, level=0.90)[1] < MARGIN) / readings
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=400, help="of each kind (%(default)s)")
    given = parser.parse_args()
    print("| readings | images | readers | accuracy held | d' held | above 0.5 | bound below 0.60 |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, d_prime, alike, differ, images, numbers in KINDS:
        for readers in numbers:
            shares = held(d_prime, alike, differ, images, readers, given.readings).values()
            cells = [name, f"{images} + {images}", str(readers), *(f"{100 * share:.0f} %" for share in shares)]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
