"""How wide a 95 % interval a number of test subjects will give, before there is anything to score.

A subject is one observation, whatever its number of slices. A share (precision, recall, coverage) then has Wilson's
interval, which is an upper bound: slices of a subject differ, too. A mean over subjects has Student's, relative to the
mean ``t / sqrt(n)`` times their coefficient of variation. For the kernel distance that is of the order of 1 while the
generator is close to the real images, and smaller if it is not (`benchmarks/interval_width.py`; docs/data.md).
"""

from math import sqrt

from scipy.stats import norm, t


def wilson(share: float, subjects: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a ``share`` seen in a number of subjects, which may be 0."""
    z = float(norm.ppf((1 + level) / 2))
    if not subjects:
        return 0.0, 1.0
    middle = (share + z**2 / (2 * subjects)) / (1 + z**2 / subjects)
    half = z / (1 + z**2 / subjects) * sqrt(share * (1 - share) / subjects + z**2 / (4 * subjects**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def relative(subjects: int, level: float = 0.95) -> float:
    """Half the width of the interval of a mean, relative to it, for a coefficient of variation of 1; infinite for
    fewer than 2 subjects."""
    if subjects < 2:
        return float("inf")
    return float(t.ppf((1 + level) / 2, subjects - 1)) / sqrt(subjects)


def sentences(subjects: int) -> list[str]:
    """What a test split of so many subjects can show."""
    if subjects < 2:
        return ["no interval: an interval over patients needs 2 of them"]
    half, nine = ("{:.2f} to {:.2f}".format(*wilson(share, subjects)) for share in (0.5, 0.9))
    usual = relative(subjects)
    size = (
        f"of the order of +-{usual:.0%} of its value, a third of that if it is large" if usual <= 1 else "wider than it"
    )
    return [
        f"a share such as recall: at most {half} around 0.5, {nine} around 0.9",
        f"a kernel distance: {size}",
        f"for intervals half as wide: about {4 * subjects} subjects in the test split",
    ]
