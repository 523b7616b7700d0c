"""Which real images are shown: those whose slice position and class match the generated ones, few of each patient."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from gan.errors import GanError

NEVER, FURTHER = 1e6, 10.0  # costs of a wrong class, and of each further image of a patient; positions cost at most 1
ANY = -1  # the class of an image of a generator without classes


class Traits(NamedTuple):
    """What images [n] are matched on. position: 0..1 along the axis, NaN unknown; label: class, `ANY` unknown."""

    position: NDArray[np.float64]
    label: NDArray[np.int64]

    def take(self, places: NDArray[np.int64]) -> "Traits":
        return Traits(self.position[places], self.label[places])


def every(traits: Traits, count: int) -> Traits:
    """``count`` of ``traits``, evenly spread over their classes and positions."""
    order = np.lexsort((traits.position, traits.label))
    places = ((np.arange(count) + 0.5) * len(order) / count).astype(np.int64)
    return traits.take(order[places])


def matched(
    wanted: Traits, real: Traits, patients: NDArray[np.int64], rng: np.random.Generator, of: str
) -> NDArray[np.int64]:
    """For each of ``wanted`` [n] the index of a real image, each at most once, nearest in position and of its class.

    As few images of a patient as suffice for all: one, if there are enough patients. patients: a code for each real
    image; rng: decides between equals; of: what the images are, for the `GanError` if there are not enough.
    """
    if not len(wanted.position):
        return np.zeros(0, np.int64)
    cost = _cost(wanted, real) + 1e-6 * rng.random((len(wanted.position), len(real.position)))
    names, codes = np.unique(patients, return_inverse=True)
    most = int(np.bincount(codes).max(initial=0))
    for each in range(max(1, math.ceil(len(cost) / max(1, len(names)))), most + 1):
        found = _with_at_most(each, cost, codes)
        if found is not None:
            return found
    raise GanError(
        f"{len(cost)} images requested, but {of} have {len(real.position)} slices, or too few of the classes "
        f"that were generated; ask for fewer with --n, or with --warmup if these are validation patients"
    )


def _cost(wanted: Traits, real: Traits) -> NDArray[np.float64]:
    """How ill each real image matches: [n wanted, n real]."""
    distance = np.nan_to_num(np.abs(wanted.position[:, None] - real.position[None]))
    wrong = (wanted.label[:, None] != real.label[None]) & (wanted.label[:, None] != ANY)
    return distance + NEVER * wrong


def _with_at_most(each: int, cost: NDArray[np.float64], codes: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The assignment with at most ``each`` images of a patient, or None if that is too few.

    First patients are assigned, each with ``each`` seats of which all but one are dear, then images within a patient.
    """
    images = [np.flatnonzero(codes == code) for code in range(codes.max(initial=-1) + 1)]
    seats, turn = np.array([(code, turn) for code, mine in enumerate(images) for turn in range(min(each, len(mine)))]).T
    if len(seats) < len(cost):
        return None
    nearest = np.stack([cost[:, mine].min(1) for mine in images], 1)
    rows, columns = linear_sum_assignment(nearest[:, seats] + FURTHER * turn)
    found = np.full(len(cost), -1, np.int64)
    for code in np.unique(seats[columns]):
        mine = rows[seats[columns] == code]
        places, chosen = linear_sum_assignment(cost[np.ix_(mine, images[code])])
        found[mine[places]] = images[code][chosen]
    return None if cost[np.arange(len(cost)), found].max() >= NEVER else found
