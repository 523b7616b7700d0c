"""Which part of the paths of a folder is the subject, which the contrast, the session, the class: from names alone.

A guess at the subject is a run of words in one part of the path. With ``{subject}`` in its place, a path is a template.
The right guess needs few subjects and few templates for all paths: 75 files of one contrast are 75 subjects and 1
template, and 20 subjects with 3 contrasts are 20 and 3.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gan.data.endings import cut_ending
from gan.inspect.words import is_contrast, is_session, is_telling, may_be_session

SUBJECT, SESSION, LABEL = "{subject}", "{session}", "{label}"
SAMPLE, BEST, WORDS, DEPTH = 300, 12, 8, 6  # paths that rank the guesses; guesses tried on all; their reach
CLASSES = 20  # most folders that are taken for classes
SPLITS = re.compile(r"train(ing)?|val(id(ation)?)?|test(ing)?|dev", re.IGNORECASE)
_TOKEN = re.compile(r"(?:sub|ses|session|visit|run|acq|tp)-[A-Za-z0-9]+(?=[/_. ]|$)|[^/_\-. ]+|[/_.\- ]")
_SEPARATORS = frozenset("/_.- ")

Tokens = tuple[str, ...]


class Place(NamedTuple):
    """A guess: tokens ``first`` to ``last`` (from the end if negative; None: to the end) of a part of the path."""

    part: int
    first: int
    last: int | None


@dataclass
class Kind:
    """Files of one template: ``pattern`` is of config.yaml, without the ending; ``paths`` by subject and session."""

    pattern: str
    paths: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def subjects(self) -> set[str]:
        return {subject for subject, _ in self.paths}

    @property
    def words(self) -> list[str]:
        return [token for token in _TOKEN.findall(self.pattern) if token not in _SEPARATORS and "{" not in token]


class Scheme(NamedTuple):
    """kinds: those of the files, the most frequent first; ending: of all paths, ``.*`` if there are several; labels: of
    each subject, if folders are classes; unmatched: paths that fit no kind."""

    kinds: list[Kind]
    ending: str
    labels: dict[str, str]
    unmatched: list[str]


def read_names(paths: Sequence[str], *, folders: bool = False) -> Scheme:
    """The scheme behind relative ``paths`` of files, or of ``folders``, which have no ending."""
    stems = {path: (path, "") if folders else cut_ending(path) for path in paths}
    endings = {ending.lower() for _, ending in stems.values()}
    split = {path: tuple(_tokens(part) for part in stem.split("/")) for path, (stem, _) in stems.items()}
    place = _best(list(split.values()))
    templates: dict[str, dict[str, str]] = defaultdict(dict)
    unmatched = []
    for path, parts in split.items():
        if subject := _subject(parts, place):
            templates[_template(parts, subject)][path] = "".join(subject)
        else:
            unmatched.append(path)
    labelled, labels = _classes(templates)
    kinds = sorted(_by_session(labelled).values(), key=lambda kind: (-len(kind.paths), kind.pattern))
    ending = next(iter(stems.values()))[1] if len(endings) == 1 else ".*"
    return Scheme(kinds, ending, labels, unmatched)


def _tokens(part: str) -> Tokens:
    return tuple(_TOKEN.findall(part))


def _best(paths: Sequence[tuple[Tokens, ...]]) -> Place:
    """The guess with the lowest cost."""
    step = max(1, len(paths) // SAMPLE)
    few = paths[::step]
    guesses = sorted(_guesses(few), key=lambda place: _cost(few, place))[:BEST]
    best = min(guesses, key=lambda place: _cost(paths, place))
    return _to_the_left(paths, best)


def _guesses(paths: Sequence[tuple[Tokens, ...]]) -> Iterator[Place]:
    depth = min(DEPTH, max(map(len, paths)))
    ragged = len(set(map(len, paths))) > 1
    for part in [*range(-1, -depth - 1, -1), *(range(depth) if ragged else ())]:
        longest = min(2 * WORDS, max((len(path[part]) for path in paths if -len(path) <= part < len(path)), default=0))
        yield Place(part, 0, None)
        for first in range(0, longest, 2):
            yield from (Place(part, first, last) for last in range(first + 1, longest + 1, 2))
        yield from (Place(part, -back, None) for back in range(1, longest, 2))


def _cost(paths: Sequence[tuple[Tokens, ...]], place: Place) -> tuple[float, ...]:
    """Subjects + templates + paths without a subject; then what is less likely: names of contrasts, few subjects, many
    words, and those far from the start."""
    subjects: Counter[Tokens] = Counter()
    templates, lacking = set(), 0
    for parts in paths:
        if subject := _subject(parts, place):
            subjects[subject] += 1
            templates.add(_template(parts, subject))
        else:
            lacking += 1
    if not subjects:
        return (float("inf"),)
    named = sum(any(map(is_contrast, subject)) for subject in subjects)
    words = max(map(len, subjects))
    wrong = named > len(subjects) / 2
    return (wrong, len(subjects) + len(templates) + lacking, -len(subjects), words, place.part < 0 and -place.part)


def _subject(parts: tuple[Tokens, ...], place: Place) -> Tokens:
    """The tokens at ``place``, empty if the path has none there."""
    if not -len(parts) <= place.part < len(parts):
        return ()
    part = parts[place.part]
    if place.last is not None and place.last > len(part):
        return ()
    found = part[place.first : place.last]
    return found if found and found[0] not in _SEPARATORS and found[-1] not in _SEPARATORS else ()


def _template(parts: tuple[Tokens, ...], subject: Tokens) -> str:
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


def _to_the_left(paths: Sequence[tuple[Tokens, ...]], place: Place) -> Place:
    """``place`` with the words before it that are the same in all paths: ``hippocampus_001``, not ``001``; or that
    name a site, so that numbers are repeated: neither contrasts nor sessions."""
    while place.first >= 2 and place.last is not None:
        wider = place._replace(first=place.first - 2)
        words = {found[0] for path in paths if (found := _subject(path, wider))}
        whole = all(bool(_subject(path, wider)) == bool(_subject(path, place)) for path in paths)
        constant = len(words) == 1
        if not whole or any(is_contrast(word) or (may_be_session(word) and not constant) for word in words):
            break
        place = wider
    return place


def _classes(templates: dict[str, dict[str, str]]) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """``templates`` with ``{label}`` for a folder whose names divide the subjects, and the label of each; ``*`` where
    the folders are called train and test."""
    depth = max((template.count("/") for template in templates), default=0)
    for part in range(depth):
        values: dict[str, set[str]] = defaultdict(set)
        for template, paths in templates.items():
            folders = template.split("/")
            if len(folders) - 1 != depth or "{" in folders[part] or is_contrast(folders[part]):
                break
            values[folders[part]] |= set(paths.values())
        else:
            divided = sum(map(len, values.values())) == len(set().union(*values.values()))
            if not (divided and 2 <= len(values) <= CLASSES and all(len(subjects) > 1 for subjects in values.values())):
                continue
            field_ = "*" if all(SPLITS.fullmatch(value) for value in values) else LABEL
            merged: dict[str, dict[str, str]] = defaultdict(dict)
            for template, paths in templates.items():
                folders = template.split("/")
                merged["/".join([*folders[:part], field_, *folders[part + 1 :]])].update(paths)
            labels = {subject: value for value, subjects in values.items() for subject in subjects}
            return merged, labels if field_ == LABEL else {}
    return templates, {}


def _by_session(templates: dict[str, dict[str, str]]) -> dict[str, Kind]:
    """Kinds by pattern: a word that tells scans of a subject apart becomes ``{session}``."""
    found = {template: _tokens(template) for template in templates}
    differing = _differing(list(found.values()))
    kinds: dict[str, Kind] = {}
    for template, paths in templates.items():
        tokens = found[template]
        session = next((token for token in tokens if is_session(token)), "")
        if not session and differing:
            session = next((tokens[place] for place in differing if place < len(tokens)), "")
        pattern = "".join(SESSION if token == session and session else token for token in tokens)
        kind = kinds.setdefault(pattern, Kind(pattern))
        kind.paths.update({(subject, session): path for path, subject in paths.items()})
    if all(len({session for _, session in kind.paths}) == 1 for kind in kinds.values()):  # no subject has several
        whole = {template: Kind(template) for template in templates}
        for template, paths in templates.items():
            whole[template].paths.update({(subject, ""): path for path, subject in paths.items()})
        return whole
    return kinds


def _differing(templates: Sequence[Tokens]) -> list[int]:
    """The place of a word, in templates of equal length, that is a date, a number or a letter and differs."""
    if len(templates) < 2 or len({len(template) for template in templates}) > 1:
        return []
    for place, words in enumerate(zip(*templates, strict=True)):
        several = set(words)
        if len(several) > 1 and all(may_be_session(word) for word in several):
            return [place]
    return []


def named_kinds(kinds: Sequence[Kind]) -> tuple[dict[str, Kind], str | None]:
    """The kinds by the name of a contrast, and the pattern that all share, with ``{contrast}``; None if they need one
    each."""
    tokens = [_tokens(kind.pattern) for kind in kinds]
    if len(kinds) == 1:
        word = next(iter(_telling(kinds[0].words)), "")
        if not word:
            return {"image": kinds[0]}, kinds[0].pattern
        return {word: kinds[0]}, "".join("{contrast}" if token == word else token for token in tokens[0])
    if shared := _shared(tokens):
        return dict(zip(shared[0], kinds, strict=True)), shared[1]
    names: dict[str, Kind] = {}
    count = Counter(word for kind in kinds for word in set(kind.words))
    for number, kind in enumerate(kinds):
        own = [word for word in kind.words if count[word] < len(kinds)]
        known = sorted(_telling(own), key=lambda word: count[word]) or own or ["image"]
        name = next((word for word in map(_clean, known) if word and word not in names), f"image{number}")
        names[name] = kind
    return names, None


def _telling(words: Sequence[str]) -> list[str]:
    """Those of ``words`` that can name a contrast, the telling ones first."""
    return sorted((word for word in words if is_contrast(word) and _fits(word)), key=lambda word: not is_telling(word))


def _shared(tokens: Sequence[Tokens]) -> tuple[list[str], str] | None:
    """What is between the common start and end of all templates, if it can be the name of a contrast."""
    start = next((n for n, words in enumerate(zip(*tokens, strict=False)) if len(set(words)) > 1), 0)
    backward = zip(*(reversed(words[start:]) for words in tokens), strict=False)
    end = next((n for n, words in enumerate(backward) if len(set(words)) > 1), 0)
    middle = ["".join(words[start : len(words) - end]) for words in tokens]
    if len({*middle}) < len(middle) or not all(_fits(name) and len(name) <= 24 for name in middle):
        return None
    first = tokens[0]
    return middle, "".join([*first[:start], "{contrast}", *first[len(first) - end :]])


def _fits(name: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z0-9_]{1,64}", name)) and name not in ("all", "joint")


def _clean(word: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "_", word).strip("_")
