"""Guesses at the place of the subject in paths, and what each costs."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gan.inspect.words import CHANNEL, is_contrast, may_be_session

SUBJECT = "{subject}"
SAMPLE, BEST, WORDS, DEPTH = 300, 12, 8, 6  # paths that rank the guesses; guesses tried on all; their reach
SEPARATORS = frozenset("/_.- ")
_TOKEN = re.compile(r"(?:sub|ses|session|visit|run|acq|tp)-[A-Za-z0-9]+(?=[/_. ]|$)|[^/_\-. ]+|[/_.\- ]")

Tokens = tuple[str, ...]
Parts = tuple[Tokens, ...]


class Place(NamedTuple):
    """A guess: tokens ``first`` to ``last`` (from the end if negative; None: to the end) of a part of the path."""

    part: int
    first: int
    last: int | None


def tokens_of(part: str) -> Tokens:
    """The words of a part of a path, and what is between them."""
    return tuple(_TOKEN.findall(part))


def best(paths: Sequence[Parts]) -> Place:
    """The guess with the lowest cost."""
    step = max(1, len(paths) // SAMPLE)
    few = paths[::step]
    cheap = sorted(guesses(few), key=lambda place: _cost(few, place))[:BEST]
    return _to_the_left(paths, min(cheap, key=lambda place: _cost(paths, place)))


def guesses(paths: Sequence[Parts]) -> Iterator[Place]:
    """Every run of words in every part of ``paths``, from the start and from the end."""
    depth = min(DEPTH, max(map(len, paths)))
    ragged = len(set(map(len, paths))) > 1
    for part in [*range(-1, -depth - 1, -1), *(range(depth) if ragged else ())]:
        longest = min(2 * WORDS, max((len(path[part]) for path in paths if -len(path) <= part < len(path)), default=0))
        yield Place(part, 0, None)
        for first in range(0, longest, 2):
            yield from (Place(part, first, last) for last in range(first + 1, longest + 1, 2))
        yield from (Place(part, -back, None) for back in range(1, longest, 2))


def _cost(paths: Sequence[Parts], place: Place) -> tuple[float, ...]:
    """Subjects + templates + paths without a subject; then what is less likely: names of contrasts, few subjects, many
    words, and those far from the start."""
    subjects: set[Tokens] = set()
    templates, lacking = set(), 0
    for parts in paths:
        if subject := subject_of(parts, place):
            subjects.add(subject)
            templates.add(template_of(parts, subject))
        else:
            lacking += 1
    if not subjects:
        return (float("inf"),)
    named = sum(any(map(names_contrast, subject)) for subject in subjects)
    words = max(map(len, subjects))
    wrong = named > len(subjects) / 2
    return (wrong, len(subjects) + len(templates) + 2 * lacking, -len(subjects), words, place.part < 0 and -place.part)


def names_contrast(word: str) -> bool:
    """Whether ``word`` names a contrast, and not a number as channels have."""
    return is_contrast(word) and not CHANNEL.fullmatch(word)


def subject_of(parts: Parts, place: Place) -> Tokens:
    """The tokens at ``place``, empty if the path has none there."""
    if not -len(parts) <= place.part < len(parts):
        return ()
    part = parts[place.part]
    if place.last is not None and place.last > len(part):
        return ()
    found = part[place.first : place.last]
    return found if found and found[0] not in SEPARATORS and found[-1] not in SEPARATORS else ()


def template_of(parts: Parts, subject: Tokens) -> str:
    """The path with ``{subject}`` wherever the words of ``subject`` are."""
    return "/".join("".join(_replaced(part, subject)) for part in parts)


def _replaced(part: Tokens, subject: Tokens) -> Iterator[str]:
    place, length = 0, len(subject)
    while place < len(part):
        if part[place : place + length] == subject:
            yield SUBJECT
            place += length
        else:
            yield part[place]
            place += 1


def _to_the_left(paths: Sequence[Parts], place: Place) -> Place:
    """``place`` with the words before it that are the same in all paths: ``hippocampus_001``, not ``001``; or that
    name a site, so that numbers are repeated: neither contrasts nor sessions."""
    while place.first >= 2 and place.last is not None:
        wider = place._replace(first=place.first - 2)
        words = {found[0] for path in paths if (found := subject_of(path, wider))}
        whole = all(bool(subject_of(path, wider)) == bool(subject_of(path, place)) for path in paths)
        constant = len(words) == 1
        if not whole or any(is_contrast(word) or (may_be_session(word) and not constant) for word in words):
            break
        place = wider
    return place
