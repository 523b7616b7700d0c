"""Train, validation and test by subject, and the checks that they are disjoint."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from gan.cells import SPLITS
from gan.data import notices
from gan.errors import GanError

DIGEST = 32  # bytes of a hash of pixels


def assign(labels: Mapping[str, str], parts: dict[str, Any], fixed: Mapping[str, str] | None = None) -> dict[str, str]:
    """Split the subjects of ``labels`` (subject -> label) by the ``split`` of a data set, stratified by label.

    parts: ``train``, ``val``, ``test`` as parts (any scale) and ``seed``. fixed: splits that the data set brings along;
    the other subjects share the remaining splits. The same subjects, labels and parts give the same splits, whatever
    their order. Raises `GanError` when a wanted split would be empty.
    """
    fixed = {} if fixed is None else fixed
    wanted = {name: float(parts[name]) for name in SPLITS if parts[name] > 0 and name not in fixed.values()}
    free = sorted(set(labels) - set(fixed))
    if len(free) < len(wanted):
        names = ", ".join(wanted)
        remedy = f"at least {len(wanted)} are needed; add subjects, or set split.val and split.test to 0 (no scores)"
        raise GanError(f"split: {len(free)} subjects cannot fill {names}; {remedy}")
    if free and not wanted:
        raise GanError("split: every fraction is 0; give train a fraction above 0")
    rng = np.random.default_rng(parts["seed"])
    strata: dict[str, list[str]] = {}
    for subject in rng.permutation(np.array(free, dtype=object)):
        strata.setdefault(labels[subject], []).append(subject)
    ordered = [subject for label in sorted(strata) for subject in strata[label]]
    return {**fixed, **dict(zip(ordered, _balanced(len(ordered), wanted), strict=True))}


def halves(labels: Mapping[str, str], seed: int) -> tuple[set[str], set[str]]:
    """Two halves of the subjects of ``labels`` (subject -> label), stratified by label, as `assign` splits them."""
    if len(labels) < 2:
        raise GanError(
            f"option pairing is disjoint, which needs two training subjects, but there is {len(labels)}; raise "
            f"split.train, or set it to shuffled"
        )
    first, other = SPLITS[:2]
    half_of = assign(labels, dict.fromkeys(SPLITS, 0) | {first: 1, other: 1, "seed": seed})
    return tuple({subject for subject, half in half_of.items() if half == name} for name in (first, other))  # type: ignore[return-value]


def _balanced(count: int, parts: dict[str, float]) -> list[str]:
    """A sequence of ``count`` split names in which every section has nearly the shares of the whole."""
    totals = _whole(count, parts)
    given = dict.fromkeys(totals, 0)
    sequence = []
    for place in range(1, count + 1):
        behind = max(totals, key=lambda name: totals[name] * place / count - given[name])
        given[behind] += 1
        sequence.append(behind)
    return sequence


def _whole(count: int, parts: dict[str, float]) -> dict[str, int]:
    """``count`` divided by largest remainders, at least 1 each."""
    exact = {name: count * part / sum(parts.values()) for name, part in parts.items()}
    totals = {name: max(1, int(share)) for name, share in exact.items()}
    while sum(totals.values()) < count:
        totals[max(exact, key=lambda name: exact[name] - totals[name])] += 1
    while sum(totals.values()) > count:
        totals[max((name for name in totals if totals[name] > 1), key=lambda name: totals[name] - exact[name])] -= 1
    return totals


def check(index: pd.DataFrame) -> None:
    """Raise `GanError` unless every subject of ``index`` is in one split and every split has a kept slice."""
    split_of: dict[str, str] = {}
    for subject, split in zip(index["subject"].tolist(), index["split"].tolist(), strict=True):
        if split_of.setdefault(subject, split) != split:
            raise GanError(f"subject {subject}: in {split_of[subject]} and {split}; a subject belongs to one split")
    kept = set(index.loc[index["kept"], "split"])
    for split in sorted(set(index["split"]) - kept):
        raise GanError(
            f"split {split}: no slice of its subjects passes the filter; lower slices.fraction or slices.threshold, "
            "or change split.seed"
        )


def check_scores(index: pd.DataFrame, parts: dict[str, Any], least: int = 2) -> None:
    """`GanError` when the val or the test split of a store has fewer than ``least`` subjects: a score is of pairs.

    A split whose part is 0 is not asked for, and neither are scores then.
    """
    if not (parts["val"] and parts["test"]):
        return
    kept = index[index["kept"]]
    for split in ("val", "test"):
        count = len(set(kept.loc[kept["split"] == split, "subject"]))
        if count < least:
            raise GanError(
                f"split {split}: {count} of {len(set(kept['subject']))} subjects with images, scores need "
                f"{least}; have {_smallest(parts, least)} subjects for this split, raise split.{split}, or set "
                "split.val and split.test to 0 for a store without scores"
            )


def _smallest(parts: dict[str, Any], least: int) -> int:
    """The fewest subjects of which ``least`` are in the val and in the test split."""
    wanted = {name: float(parts[name]) for name in SPLITS if parts[name] > 0}
    return next(
        count
        for count in itertools.count(len(wanted))
        if min(_whole(count, wanted)[split] for split in ("val", "test")) >= least
    )


def check_copies(index: pd.DataFrame, digests: Mapping[int, bytes], whole: bool = False) -> None:
    """`GanError` when two splits hold the same stored image, as one scan under two names does.

    digests: row of the store -> hashes of its pixels, one of `DIGEST` bytes or several in a row; whole: images are
    volumes.
    """
    leaks: dict[tuple[str, str], str] = {}  # a pair of subjects is named once for all its slices
    first: dict[bytes, tuple[str, str, str]] = {}
    kept, columns = index[index["kept"]], ("row", "subject", "slice", "split")
    for row, subject, number, split in zip(*(kept[name].tolist() for name in columns), strict=True):
        here = (subject, "" if whole else f" slice {number}", split)
        for start in range(0, len(digests[row]), DIGEST):
            there = first.setdefault(digests[row][start : start + DIGEST], here)
            if there[2] != split:
                both = ", ".join(f"{name}{which} ({of})" for name, which, of in (there, here))
                leaks.setdefault((there[0], subject), f"the same image in two splits: {both}")
    if leaks:
        raise GanError(f"{notices.first(list(leaks.values()))}; remove one of each pair")
