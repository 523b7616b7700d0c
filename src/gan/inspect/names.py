"""Which part of the paths of a folder is the subject, which the contrast, the session, the class: from names alone.

A guess at the subject is a run of words in one part of the path. With ``{subject}`` in its place, a path is a template.
The right guess needs few subjects and few templates for all paths: 75 files of one contrast are 75 subjects and 1
template, and 20 subjects with 3 contrasts are 20 and 3.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gan.data.endings import cut_ending
from gan.inspect import wild
from gan.inspect.places import SEPARATORS, Tokens, best, subject_of, template_of, tokens_of
from gan.inspect.words import is_contrast, is_session, is_telling, may_be_session

SESSION, LABEL = "{session}", "{label}"
FEW = 4  # templates that any folder may have
CLASSES = 20  # most folders that are taken for classes
SPLITS = re.compile(r"train(ing)?|val(id(ation)?)?|test(ing)?|dev", re.IGNORECASE)


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
        return [token for token in tokens_of(self.pattern) if token not in SEPARATORS and "{" not in token]


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
    split = {path: tuple(tokens_of(part) for part in stem.split("/")) for path, (stem, _) in stems.items()}
    place = best(list(split.values()))
    templates: dict[str, dict[str, str]] = defaultdict(dict)
    unmatched = []
    for path, parts in split.items():
        if subject := subject_of(parts, place):
            templates[template_of(parts, subject)][path] = "".join(subject)
        else:
            unmatched.append(path)
    if len(templates) > max(FEW, len(paths) / 2):
        found, unmatched = wild.read(split)
        kinds, labels = [Kind(pattern, scans) for pattern, scans in found.items()], {}
    else:
        labelled, labels = _classes(templates)
        kinds = list(_by_session(labelled).values())
    kinds.sort(key=lambda kind: (-len(kind.paths), kind.pattern))
    return Scheme(kinds, _ending(stems), labels, unmatched)


def _ending(stems: dict[str, tuple[str, str]]) -> str:
    """The ending of all paths, or ``.*``. stems: by path what `cut_ending` gives."""
    several = {ending.lower() for _, ending in stems.values()}
    return next(iter(stems.values()))[1] if len(several) == 1 else ".*"


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
    found = {template: tokens_of(template) for template in templates}
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
    tokens = [tokens_of(kind.pattern) for kind in kinds]
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
