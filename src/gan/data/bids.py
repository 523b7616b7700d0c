"""The layout of BIDS (bids-specification.readthedocs.io): names of entities and a suffix, a folder per subject."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gan.data.found import Found, Row, channels
from gan.data.notices import some, warn
from gan.data.patterns import files_below
from gan.errors import GanError

_NAME = re.compile(r"((?:[a-zA-Z]+-[a-zA-Z0-9+]+_)+)([a-zA-Z0-9]+)(?i:\.nii(?:\.gz)?)")


class File(NamedTuple):
    """A volume: ``sub-01_ses-02_run-1_T1w.nii.gz`` has the entities sub, ses and run, and the suffix T1w."""

    path: str
    entities: dict[str, str]
    suffix: str

    @property
    def run(self) -> str:
        return self.entities.get("run", "")


class Rule(NamedTuple):
    """What a contrast requires of a file: its folder, entities and suffix; further entities are allowed."""

    folder: str
    entities: dict[str, str]
    suffix: str

    def takes(self, file: File) -> bool:
        inside = file.path.startswith(f"{self.folder}sub-")
        return inside and file.suffix == self.suffix and self.entities.items() <= file.entities.items()


def parse(path: str) -> File | None:
    """The file at a relative ``path``, if it is named like a BIDS volume."""
    match = _NAME.fullmatch(path.rpartition("/")[2])
    if match is None:
        return None
    entities = dict(part.split("-", 1) for part in match[1].rstrip("_").split("_"))
    return File(path, entities, match[2]) if "sub" in entities else None


def find_bids(row: Row, root: Path) -> list[Found]:
    """The suffix of a file is its contrast, unless the row's pattern sets it: ``{t1: acq-mprage_T1w}``.

    A folder in front, ``derivatives/<name>/desc-brain_mask``, leads to derivatives, which are passed over otherwise.
    Sessions are scans of their subject, and so are runs where a session has several of a contrast.
    """
    rules = contrast_rules(row)
    grouped: dict[tuple[str, str], dict[str, list[File]]] = defaultdict(lambda: defaultdict(list))
    subjects = set()
    for path in files_below(root):
        if path.startswith("sub-"):
            subjects.add(path.partition("/")[0])
        file = parse(path)
        for contrast, rule in rules.items():
            if file and rule.takes(file):
                grouped[file.entities["sub"], file.entities.get("ses", "")][contrast].append(file)
    found = []
    for (subject, session), files in sorted(grouped.items()):
        found += [
            Found(f"sub-{subject}", contrast, root / file.path, scan=_scan(session, run))
            for run, contrast, file in _by_run(files)
        ]
    if found and (without := sorted(subjects - {item.subject for item in found})):
        warn(f"{root}: {len(without)} of {len(subjects)} subjects have none of {', '.join(rules)}: {some(without)}")
    return found


def contrast_rules(row: Row) -> dict[str, Rule]:
    """The rule of each contrast; `GanError` for a pattern that names no entities and suffix."""
    return {contrast: _rule(row, contrast) for contrast in channels(row)}


def _rule(row: Row, contrast: str) -> Rule:
    pattern = row["pattern"] or contrast
    text = pattern.get(contrast, contrast) if isinstance(pattern, dict) else pattern.replace("{contrast}", contrast)
    folder, slash, name = text.rpartition("/")
    *entities, suffix = name.split("_")
    if "-" in suffix or not all(re.fullmatch("[a-zA-Z]+-[a-zA-Z0-9+]+", entity) for entity in entities):
        raise GanError(f"pattern '{text}': layout bids needs entities and a suffix, such as acq-mprage_T1w")
    return Rule(folder + slash, dict(entity.split("-", 1) for entity in entities), suffix)


def _by_run(files: dict[str, list[File]]) -> Iterator[tuple[str, str, File]]:
    """Run, contrast and file; a contrast with one file belongs to every run of the others."""
    several = [file for of_contrast in files.values() if len(of_contrast) > 1 for file in of_contrast]
    for run in sorted({file.run for file in several}) or [""]:
        for contrast, of_contrast in files.items():
            alone = len(of_contrast) == 1
            yield from ((run, contrast, file) for file in of_contrast if alone or file.run == run)


def _scan(session: str, run: str) -> str:
    return "_".join([f"ses-{session}"] * bool(session) + [f"run-{run}"] * bool(run))
