"""First-order features: those of the grey values within a region, wherever they lie (IBSI 1, sections 3.3 and 3.4)."""

import numpy as np
from numpy.typing import NDArray

from gan.metrics.radiomics.sums import divided, entropy

Features = dict[str, NDArray[np.float64]]


def first_order(counts: NDArray, width: int = 8) -> Features:
    """Of histograms ``counts`` [n, values], a bin for each grey value from 0, each feature [n].

    Entropy (in bits) and uniformity are of bins of ``width`` grey values. Percentiles are interpolated linearly. All
    are 0 without a pixel.
    """
    counts = np.asarray(counts, np.float64)
    values, number = np.arange(counts.shape[1], dtype=np.float64), counts.sum(1)
    shares = divided(counts, number[:, None])
    mean = shares @ values
    apart = values - mean[:, None]
    variance = (shares * apart**2).sum(1)
    deviation = np.sqrt(variance)
    low, quarter, median, three, high = percentiles(counts, (0.1, 0.25, 0.5, 0.75, 0.9))
    least, most = percentiles(counts, (0, 1))
    inner = np.where((values >= low[:, None]) & (values <= high[:, None]), shares, 0)
    inner = divided(inner, inner.sum(1, keepdims=True))
    bins = shares.reshape(len(shares), -1, width).sum(2)
    rms = np.sqrt(shares @ values**2)
    return {
        **{"mean": mean, "variance": variance},
        "skewness": divided((shares * apart**3).sum(1), deviation**3),
        "kurtosis": divided((shares * apart**4).sum(1), variance**2) - 3 * (variance > 0),
        **{"median": median, "minimum": least, "p10": low, "p90": high, "maximum": most},
        **{"iqr": three - quarter, "range": most - least},
        "mean_deviation": (shares * np.abs(apart)).sum(1),
        "robust_deviation": (inner * np.abs(values - (inner @ values)[:, None])).sum(1),
        "median_deviation": (shares * np.abs(values - median[:, None])).sum(1),
        **{"variation": divided(deviation, mean), "rms": rms},
        **{"entropy": entropy(bins), "uniformity": (bins**2).sum(1)},
    }


def percentiles(counts: NDArray, parts: tuple[float, ...]) -> list[NDArray[np.float64]]:
    """The quantiles ``parts`` of the values of each histogram [n, values]: [n] of each; 0 without a value."""
    below, last = np.cumsum(counts, 1), np.maximum(counts.sum(1) - 1, 0)
    empty = counts.sum(1) == 0

    def at(place: NDArray) -> NDArray[np.float64]:
        return np.where(empty, 0, (below <= place[:, None]).sum(1)).astype(np.float64)

    found = []
    for part in parts:
        place = part * last
        start, end = at(np.floor(place)), at(np.ceil(place))
        found.append(start + (end - start) * (place - np.floor(place)))
    return found
