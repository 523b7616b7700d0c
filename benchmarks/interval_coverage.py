"""How often the 95 % bootstrap intervals of scores hold the truth, by simulation.

Subjects have a mean of their own, slices scatter around it, generated images are independent and a little off: the
situation of a small MRI test set. The truth is the expected score under the same numbers of images. Compared with the
centred interval (what is used) are plain percentiles, the basic interval (percentiles reflected at the value) and the
centred interval from a bootstrap of single images. Of pairs (a variant and its baseline, a few seeds each) the interval
over seeds alone is compared with that over seeds and patients (what is used).

First come the scores themselves, as `gan.metrics.scores.score` gives them: value, floor and difference to the floor of
the leading metric, the kernel distance, and of the metrics of neighbours, for a perfect and for a flawed generator.

    python benchmarks/interval_coverage.py [--studies 400] [--only scores] [--json FILE]
"""

import argparse
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gan.metrics import scores
from gan.metrics.distances import frechet_distance
from gan.metrics.intervals import centred_interval, image_weights, subject_weights
from gan.report.pairs import half_width

DIM = 16


def study(rng: np.random.Generator, subjects: int, slices: int, fakes: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Real features [subjects * slices, dim] and generated ones [fakes, dim], of equal total variance about 1."""
    means = rng.normal(size=(subjects, dim)) * 0.5**0.5
    real = means.repeat(slices, 0) + rng.normal(size=(subjects * slices, dim)) * 0.5**0.5
    return real, rng.normal(size=(fakes, dim)) * 0.9 + 0.3


def score_coverage(subjects: int, studies: int, flawed: bool) -> dict[str, dict[str, float]]:
    """By metric: mean value and floor, and the share of studies whose intervals of value, floor and difference to the
    floor hold the mean over all studies. 20 slices a subject, 300 generated images, 300 resamples."""
    rng, of = np.random.default_rng(2), np.arange(subjects * 20) // 20
    kinds = {"value": ("low", "high"), "floor": ("floor_low", "floor_high")}
    kinds["above_floor"] = ("above_floor_low", "above_floor_high")
    found: dict[str, list] = {}
    for number in tqdm(range(studies), desc=f"scores, {subjects} subjects", unit="study"):
        (real, flaws), (unseen, _), (train, _) = (study(rng, s, 20, 300, DIM) for s in (subjects, subjects, 10))
        fake = flaws if flawed else rng.normal(size=(300, DIM))
        sets = scores.Sets({"t1": real}, {"t1": fake}, of, {"t1": train}, {"t1": unseen}, of)
        for row in scores.score(sets, bootstrap=300, seed=number):
            if row["contrast"] == "t1" and row["metric"] != "fd":
                found.setdefault(row["metric"], []).append(
                    [[row[kind], *(row[e] for e in kinds[kind])] for kind in kinds]
                )
    table = {}
    for metric, rows in found.items():
        value, low, high = np.moveaxis(np.array(rows, float), 2, 0)
        truth = value.mean(0)
        held = dict(zip(kinds, ((low <= truth) & (truth <= high)).mean(0), strict=True))
        table[metric] = {"mean": truth[0], "mean_floor": truth[1], **held}
    return table


def intervals(real: np.ndarray, fake: np.ndarray, slices: int, resamples: int, seed: int) -> dict[str, tuple]:
    """The interval of each kind for one study, with its value."""
    value = frechet_distance(real, fake)
    subjects = np.arange(len(real)) // slices
    drawn = image_weights(len(fake), resamples, seed)

    def replicates(weights: np.ndarray) -> np.ndarray:
        return np.array([frechet_distance(real, fake, *pair) for pair in zip(weights, drawn, strict=True)])

    by_subject = replicates(subject_weights(subjects, resamples, seed))
    by_image = replicates(image_weights(len(real), resamples, seed + 1))
    low, high = np.quantile(by_subject, [0.025, 0.975])
    return {
        "centred, by subject": centred_interval(value, by_subject, 0),
        "percentile, by subject": (low, high),
        "basic, by subject": (2 * value - high, 2 * value - low),
        "centred, by image": centred_interval(value, by_image, 0),
    }


def coverage(subjects: int, studies: int, slices: int = 20, fakes: int = 400, dim: int = 16) -> dict[str, dict]:
    """Share of simulated studies whose interval holds the truth, and mean width relative to the truth."""
    rng = np.random.default_rng(0)
    truth = np.mean([frechet_distance(*study(rng, subjects, slices, fakes, dim)) for _ in range(1000)])
    held: dict[str, list] = {}
    for number in tqdm(range(studies), desc=f"{subjects} subjects", unit="study"):
        found = intervals(*study(rng, subjects, slices, fakes, dim), slices, resamples=200, seed=number)
        for kind, (low, high) in found.items():
            held.setdefault(kind, []).append((low <= truth <= high, (high - low) / truth))
    return {
        kind: {"held": float(np.mean([h for h, _ in rows])), "width": float(np.mean([w for _, w in rows]))}
        for kind, rows in held.items()
    }


def pair(
    rng: np.random.Generator, subjects: int, seeds: int, number: int, resamples: int
) -> tuple[float, float, float]:
    """One study of a blurred generator against a shifted one: mean difference, and s and b of `gan.report.pairs`."""
    slices, fakes = 20, 200
    real, _ = study(rng, subjects, slices, fakes, DIM)
    drawn = subject_weights(np.arange(len(real)) // slices, resamples, number), image_weights(fakes, resamples, number)
    values, replicates = [], []
    for _ in range(seeds):
        shift, scale = rng.normal(0.3, 0.05, (2, 1)), rng.normal(0.75, 0.02)  # what training again changes
        blurred, shifted = (
            rng.normal(size=(fakes, DIM)) * scale + shift[0] / 3,
            rng.normal(size=(fakes, DIM)) + shift[1],
        )
        values.append(frechet_distance(real, shifted) - frechet_distance(real, blurred))
        draws = [[frechet_distance(real, fake, *w) for w in zip(*drawn, strict=True)] for fake in (shifted, blurred)]
        replicates.append(np.array(draws[0]) - np.array(draws[1]))
    return float(np.mean(values)), float(np.std(values, ddof=1)), float(np.mean(replicates, 0).std(ddof=1))


def pair_coverage(subjects: int, seeds: int, studies: int) -> dict[str, float]:
    """Share of simulated pairs whose interval holds the truth: over seeds alone, and over seeds and patients."""
    rng = np.random.default_rng(1)
    truth = np.mean([pair(rng, subjects, 2, number, 2)[0] for number in range(2000)])
    found = [
        pair(rng, subjects, seeds, number, 100)
        for number in tqdm(range(studies), desc=f"{subjects} subjects, {seeds} seeds", unit="pair")
    ]
    return {
        name: float(np.mean([abs(d - truth) <= half_width(0.05, seeds, s, b * (name == "both")) for d, s, b in found]))
        for name in ("seeds", "both")
    }


def main() -> None:
    """Print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--only", choices=["scores"], help="leave out the comparison of kinds of intervals")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    for flawed in (False, True):
        for subjects in (6, 11, 30):
            for metric, row in score_coverage(subjects, given.studies, flawed).items():
                shown = "  ".join(f"{key} {value:.3f}" for key, value in row.items())
                print(f"{'flawed' if flawed else 'perfect'}, {subjects:3d} subjects  {metric:10s} {shown}", flush=True)
    if given.only:
        return
    for subjects, seeds in ((6, 3), (12, 3), (30, 3), (12, 5)):
        row = pair_coverage(subjects, seeds, given.studies)
        held = f"seeds alone {row['seeds']:.1%}, seeds and patients {row['both']:.1%}"
        print(f"{subjects:3d} subjects, {seeds} seeds, pairs: {held}")
    table = {subjects: coverage(subjects, given.studies) for subjects in (6, 12, 30)}
    for subjects, rows in table.items():
        for kind, row in rows.items():
            print(f"{subjects:3d} subjects  {kind:24s} held {row['held']:6.1%}  width {row['width']:.2f} of the truth")
    if given.json:
        given.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
