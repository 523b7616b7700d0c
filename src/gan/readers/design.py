"""What each reader sees, in which order: shuffled, some images twice, under names that say nothing."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

WARM_UP, FIRST, AGAIN = "warm-up", "first", "again"  # the roles of what is shown
EARLY, LATE = 0.4, 0.5  # what is repeated is among the first 40 %, and comes again in the second half
DIGITS = 12  # of a name


class Item(NamedTuple):
    """One image on a page: its name there, the case that it shows, and why."""

    id: str
    case: int
    role: str


def secret(*parts: Any) -> str:
    """What names and orders depend on besides the seed: known to those who have the study, not to a reader.

    Without it whoever knows the program and the seed could compute the order, and with it the answers.
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def generator(salt: str, *use: str) -> np.random.Generator:
    """Random numbers for one ``use``."""
    return np.random.default_rng(list(bytes.fromhex(_digest(salt, *use))))


def page_id(salt: str, reader: str) -> str:
    """The name by which answers are known to belong to the page of ``reader``."""
    return _digest(salt, "page", reader)[:DIGITS]


def items(warm_up: Sequence[int], cases: Sequence[int], repeats: int, reader: str, salt: str) -> list[Item]:
    """The images of a page in their order: those of the warm-up, then ``cases``, of which ``repeats`` come twice."""
    rng = generator(salt, "order", reader)
    shown = [(int(case), FIRST) for case in rng.permutation(np.asarray(cases, np.int64))]
    early = max(repeats, round(EARLY * len(shown)))
    again = [shown[place][0] for place in rng.choice(early, repeats, replace=False)]
    for case in again:
        shown.insert(int(rng.integers(round(LATE * len(shown)), len(shown) + 1)), (case, AGAIN))
    practice = [(int(case), WARM_UP) for case in rng.permutation(np.asarray(warm_up, np.int64))]
    whole = [*practice, *shown]
    return [Item(_digest(salt, reader, str(place))[:DIGITS], *item) for place, item in enumerate(whole)]


def _digest(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()
