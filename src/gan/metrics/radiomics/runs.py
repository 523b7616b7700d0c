"""Grey level runs: how far a grey level continues along a line (Galloway 1975; IBSI 1, section 3.7)."""

import functools

import numpy as np
from numpy.typing import NDArray

from gan.metrics.radiomics.sums import divided

LINES = 4  # directions: along rows, columns and both diagonals


def of_runs(levels: NDArray[np.integer], number: int) -> dict[str, NDArray[np.float64]]:
    """Features of the runs of images, [n] each, of all four directions together.

    levels: [n, H, W], 0 to number - 1, and ``number`` outside of the region, which ends a run. All are 0 without a
    pixel.
    """
    count, (height, width) = len(levels), levels.shape[1:]
    longest = max(height, width)
    by_level, by_length = np.zeros((count, number)), np.zeros((count, longest))
    flat = levels.reshape(count, -1)
    for order, first in _lines(height, width):
        image, level, length = _runs(flat.take(order, 1), first, number)
        by_level += np.bincount(image * number + level, minlength=by_level.size).reshape(by_level.shape)
        by_length += np.bincount(image * longest + length - 1, minlength=by_length.size).reshape(by_length.shape)
    runs, pixels = by_level.sum(1), (levels < number).sum((1, 2))
    square = np.arange(1.0, longest + 1) ** 2
    return {
        **{"short": divided(by_length @ (1 / square), runs), "long": divided(by_length @ square, runs)},
        "levels": divided((by_level**2).sum(1), runs**2),
        "lengths": divided((by_length**2).sum(1), runs**2),
        "percentage": divided(runs, LINES * pixels),
    }


def _runs(rows: NDArray[np.integer], first: NDArray[np.bool_], number: int) -> tuple[NDArray, NDArray, NDArray]:
    """Image, grey level and length of each run of ``rows`` [n, pixels]; first [pixels]: where a line begins."""
    begins = np.ones(rows.shape, bool)
    begins[:, 1:] = (rows[:, 1:] != rows[:, :-1]) | first[1:]
    places = np.flatnonzero(begins)
    lengths = np.diff(places, append=rows.size)
    level = rows.ravel()[places]
    inside = level < number
    return (places // rows.shape[1])[inside], level[inside], lengths[inside]


@functools.lru_cache(maxsize=4)
def _lines(height: int, width: int) -> list[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Of each direction the pixels of an image, line after line, and which of them begin one."""
    y, x = (axis.ravel() for axis in np.mgrid[:height, :width])
    found = []
    for line, along in ((y, x), (x, y), (y - x, y), (y + x, y)):
        order = np.lexsort((along, line))
        found.append((order, np.diff(line[order], prepend=line[order[0]] - 1) != 0))
    return found
