"""DICOM files of many patients and series in any folders, as archives export them: grouped by their headers.

Identifiers and dates group and order, and go no further: a patient is called by a number. Series descriptions choose,
and are not repeated in messages, since they can name a person.
"""

import sys
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from gan.data.dicom_headers import SERIES_NUMBER, SERIES_UID, listed, no_image, open_image
from gan.data.found import Found, Row, channels
from gan.data.notices import warn
from gan.data.patterns import files_below
from gan.errors import GanError

MARK = "series:"  # prefix of a pattern of series descriptions
PATIENT, STUDY, DATE, TIME, DESCRIPTION = "0010|0020", "0020|000d", "0008|0020", "0008|0030", "0008|103e"


class _Key(NamedTuple):
    """The group of a file; studies are in the order of their dates."""

    patient: str
    study: tuple[str, str, str]
    series: str


class _Series(NamedTuple):
    number: str
    contrasts: tuple[str, ...]
    files: list[Path]


def asks_for_export(row: Row) -> bool:
    """Whether the pattern of ``row`` matches series descriptions."""
    patterns = row["pattern"].values() if isinstance(row["pattern"], dict) else [row["pattern"] or ""]
    return any(pattern.startswith(MARK) for pattern in patterns)


def find_export(row: Row, root: Path) -> list[Found]:
    """A volume for each series below ``root`` whose description matches the pattern of a contrast, in any case.

    pattern: ``{t1: "series: *mprage*"}``. Patients are called patient1, patient2, ... by the order of their
    identifiers; where one has several studies, these are scans, ses-1, ses-2, ... by date.
    """
    found: list[Found] = []
    series = _grouped(root, _rules(row))
    patients = sorted({key.patient for key in series})
    unmatched = 0
    for number, patient in enumerate(patients, 1):
        mine = {key: of for key, of in series.items() if key.patient == patient}
        unmatched += sum(not of.contrasts for of in mine.values())
        studies = sorted({key.study for key, of in mine.items() if of.contrasts})
        for key, of in sorted(mine.items()):
            for contrast in of.contrasts:
                scan = f"ses-{studies.index(key.study) + 1}" if len(studies) > 1 else ""
                name = f"patient{number:0{len(str(len(patients)))}d}"
                found.append(Found(name, contrast, root, scan=scan, files=tuple(of.files), series=of.number))
    if unmatched:
        warn(f"{root}: {unmatched} of {len(series)} DICOM series match no contrast and are not used")
    return found


def _rules(row: Row) -> dict[str, str]:
    wanted, pattern = channels(row), row["pattern"]
    rules: dict[str, str] = pattern if isinstance(pattern, dict) else {wanted[0]: pattern}
    for contrast in wanted:
        if not rules.get(contrast, "").startswith(MARK):
            raise GanError(
                f"pattern: give '{MARK} <description of the series, with *>' for each of {', '.join(wanted)}"
            )
    return {contrast: rules[contrast].removeprefix(MARK).strip().lower() for contrast in wanted}


def _grouped(root: Path, rules: dict[str, str]) -> dict[_Key, _Series]:
    """The images below ``root`` by series; other files are counted in a warning."""
    series: dict[_Key, _Series] = {}
    others: Counter[str] = Counter()
    paths = [root / path for path in files_below(root)]
    for path in tqdm(paths, desc="headers", unit="file", file=sys.stderr, disable=len(paths) < 1000):
        try:
            tags = tags_of(path)
        except RuntimeError as error:
            others[no_image(path, error)] += 1
            continue
        study = tags.get(STUDY, "")
        key = _Key(
            tags.get(PATIENT) or study, (tags.get(DATE, ""), tags.get(TIME, ""), study), tags.get(SERIES_UID, "")
        )
        description = tags.get(DESCRIPTION, "").lower()
        contrasts = tuple(contrast for contrast, rule in rules.items() if fnmatchcase(description, rule))
        series.setdefault(key, _Series(tags.get(SERIES_NUMBER, "?"), contrasts, [])).files.append(path)
    if others:
        warn(f"{root}: {others.total()} of {len(paths)} files are no DICOM images and are not used ({listed(others)})")
    return series


def tags_of(path: Path) -> dict[str, str]:
    """The tags that group the DICOM file ``path``; `RuntimeError` if it is none, or has no image."""
    reader = open_image(path)
    reader.ReadImageInformation()
    keys = (PATIENT, STUDY, DATE, TIME, SERIES_UID, SERIES_NUMBER, DESCRIPTION)
    return {key: reader.GetMetaData(key).strip().strip("\0 ") for key in keys if reader.HasMetaDataKey(key)}
