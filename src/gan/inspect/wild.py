"""Paths with words of their own in nearly every file, such as dates and numbers of an archive: these become ``*``."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from gan.data.patterns import compile_pattern
from gan.inspect.places import (
    SAMPLE,
    SUBJECT,
    Parts,
    Place,
    Tokens,
    guesses,
    names_contrast,
    subject_of,
    template_of,
)

MANY = 0.4  # of the files: so many different words at one place are of single files
Scans = dict[tuple[str, str], str]


def read(split: dict[str, Parts]) -> tuple[dict[str, Scans], list[str]]:
    """The files of each pattern, by subject and session, and the paths that fit none. split: the parts of each path."""
    stars = dict(zip(split, _starred(list(split.values())), strict=True))
    some = [(split[path], stars[path]) for path in list(split)[:: max(1, len(split) // SAMPLE)]]
    place = min(guesses([parts for parts, _ in some]), key=lambda place: _cost(some, place))
    found: dict[str, list[str]] = defaultdict(list)
    unmatched = []
    for path, parts in split.items():
        if subject := subject_of(parts, place):
            found[_pattern(parts, stars[path], subject)].append(path)
        else:
            unmatched.append(path)
    scans: dict[str, Scans] = {}
    for pattern, paths in found.items():
        stems = {"/".join("".join(part) for part in split[path]): path for path in paths}
        final, of_stems = _with_sessions(pattern, list(stems))
        scans[final] = {key: stems[stem] for key, stem in of_stems.items()}
    return scans, unmatched


def _starred(paths: Sequence[Parts]) -> list[Parts]:
    """``paths`` with ``*`` for words that hold a number and differ between most files of the same form."""
    forms: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, parts in enumerate(paths):
        forms[tuple(map(len, parts))].append(number)
    found = list(paths)
    for numbers in forms.values():
        words: dict[tuple[int, int], set[str]] = defaultdict(set)
        for number in numbers:
            for part, tokens in enumerate(paths[number]):
                for place, token in enumerate(tokens):
                    words[part, place].add(token)
        own = {
            place
            for place, several in words.items()
            if len(several) > max(2, MANY * len(numbers)) and all(re.search(r"\d", word) for word in several)
        }
        for number in numbers:
            found[number] = tuple(
                tuple("*" if (part, place) in own else token for place, token in enumerate(tokens))
                for part, tokens in enumerate(paths[number])
            )
    return found


def _joined(pattern: str) -> str:
    """``pattern`` with one ``*`` for several in a row, and for a folder of little else."""
    parts = []
    for part in pattern.split("/"):
        part = re.sub(r"\*(?:[_\-. ]+\*)+", "*", part)
        few = "{" not in part and part.count("*") and not re.search(r"[A-Za-z]{2}", part)
        parts.append("*" if few else part)
    return "/".join(parts)


def _with_sessions(pattern: str, paths: Sequence[str]) -> tuple[str, dict[tuple[str, str], str]]:
    """``pattern`` with ``{session}`` for a ``*`` if a subject has several of ``paths`` (without endings), a folder if
    there is one; and the paths by subject and session, those that the pattern does not match left out."""
    matches = [(path, compile_pattern(pattern).fullmatch(path)) for path in paths]
    several = Counter(match["subject"] for _, match in matches if match)
    if max(several.values(), default=0) > 1 and "*" in pattern:
        folders = pattern.split("/")
        place = next((n for n, part in enumerate(folders[:-1]) if part == "*"), None)
        if place is None:
            pattern = pattern.replace("*", "{session}", 1)
        else:
            pattern = "/".join([*folders[:place], "{session}", *folders[place + 1 :]])
        matches = [(path, compile_pattern(pattern).fullmatch(path)) for path in paths]
    found = {}
    for path, match in matches:
        if match:
            found[match["subject"], match.groupdict().get("session", "")] = path
    return pattern, found


def _kept(parts: Parts, stars: Parts, subject: Tokens) -> Parts:
    """``stars`` with the words of ``subject`` as they are in ``parts``."""
    kept = []
    for tokens, starred in zip(parts, stars, strict=True):
        row = list(starred)
        for place in range(len(tokens) - len(subject) + 1):
            if tokens[place : place + len(subject)] == subject:
                row[place : place + len(subject)] = subject
        kept.append(tuple(row))
    return tuple(kept)


def _pattern(parts: Parts, stars: Parts, subject: Tokens) -> str:
    return _joined(template_of(_kept(parts, stars, subject), subject))


def _cost(split: Sequence[tuple[Parts, Parts]], place: Place) -> tuple[float, ...]:
    """As of `places`, with the further scans of a subject, and half as much for a name that paths repeat; of equal
    guesses the upper folder, then the longer name. split: paths, without and with stars."""
    subjects, patterns, pairs, lacking, named = set(), set(), set(), 0, 0
    for parts, stars in split:
        if subject := subject_of(parts, place):
            pattern = _pattern(parts, stars, subject)
            subjects.add(subject)
            patterns.add(pattern)
            pairs.add((subject, pattern))
            named += any(map(names_contrast, subject))
        else:
            lacking += 1
    wrong = len(subjects) < 2 or named > len(subjects) / 2
    once = sum(pattern.count(SUBJECT) for pattern in patterns) < 2 * len(patterns)
    scans = len(split) - len(pairs)  # and the paths without a subject a second time
    words = max(map(len, subjects), default=0)
    cost = (1 + once) * (len(subjects) + len(patterns) + scans + lacking)
    return (wrong, cost, place.part, place.part < 0 and -words)
