"""How wide the 95 % intervals of scores are for a number of test subjects, next to what `gan inspect` says beforehand.

Real features as in `interval_coverage`: subjects have a mean of their own, slices scatter around it, half of the
variance each. One generator is close to the real images, the other clearly off. Half widths are means over studies.

    python benchmarks/interval_width.py [--studies 40]
"""

import argparse

import numpy as np
from interval_coverage import DIM, study
from tqdm import tqdm

from gan.inspect.width import relative, wilson
from gan.metrics.distances import kernel_distances
from gan.metrics.intervals import centred_interval, image_weights, subject_weights
from gan.metrics.neighbours import Balls

SLICES, FAKES, RESAMPLES = 20, 400, 200
GENERATORS = {"close": (0.3, 1.0), "off": (0.6, 0.9)}  # shift and scale of features


def half_widths(subjects: int, shift: float, scale: float, studies: int) -> dict[str, tuple[float, float]]:
    """Mean value and mean half width of the interval, by metric."""
    rng = np.random.default_rng(0)
    rows: dict[str, list[tuple[float, float]]] = {"kernel distance": [], "precision": [], "recall": []}
    for number in tqdm(range(studies), desc=f"{subjects} subjects", unit="study"):
        real, _ = study(rng, subjects, SLICES, FAKES, DIM)
        fake = shift + scale * rng.normal(size=(FAKES, DIM))
        codes = np.arange(len(real)) // SLICES
        drawn = subject_weights(codes, RESAMPLES, number), image_weights(FAKES, RESAMPLES, number)
        balls = Balls.of(real, fake, 3, codes)
        statistics = {
            "kernel distance": lambda a, b, real=real, fake=fake, codes=codes: kernel_distances(
                real, fake, a, b, codes
            ),
            "precision": balls.precision,
            "recall": balls.recall,
        }
        for name, statistic in statistics.items():
            value = float(statistic(np.ones((1, len(real))), np.ones((1, FAKES)))[0])
            low, high = centred_interval(value, statistic(*drawn))
            rows[name].append((value, (high - low) / 2))
    return {
        name: (float(values), float(halves)) for name, found in rows.items() for values, halves in [np.mean(found, 0)]
    }


def main() -> None:
    """Print a line for each number of subjects, generator and metric."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--studies", type=int, default=40)
    given = parser.parse_args()
    for subjects in (6, 12, 30):
        for name, (shift, scale) in GENERATORS.items():
            for metric, (value, half) in half_widths(subjects, shift, scale, given.studies).items():
                if metric == "kernel distance":
                    said = f"{half / value:.0%} of the value, said {relative(subjects):.0%}"
                else:
                    low, high = wilson(value, subjects)
                    said = f"+-{half:.2f}, said at most +-{(high - low) / 2:.2f}"
                print(f"{subjects:3d} subjects  {name:5s}  {metric:15s} {value:.2f}  {said}")


if __name__ == "__main__":
    main()
