"""Answers of readers, checked against the key: every image answered once, by known readers, each with one file."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan.data.notices import some
from gan.errors import GanError
from gan.files import checksum, read_json
from gan.readers.design import AGAIN, FIRST, WARM_UP
from gan.readers.questions import ANSWERS, CONFIDENCE, CUES, KEY, LEDGER, LEVELS, REAL, REALISM, SYNTHETIC


@dataclass(frozen=True)
class Cases:
    """The images that count, [C]. variant: its name, or `REAL`; patient: a code, -1 of generated images."""

    variant: NDArray[np.str_]
    patient: NDArray[np.int64]

    @property
    def real(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.variant == REAL)

    def of(self, variant: str) -> NDArray[np.int64]:
        return np.flatnonzero(self.variant == variant)


@dataclass(frozen=True)
class Answers:
    """What readers [R] said of cases [C] when they saw them first.

    level: 0 (surely real) to `LEVELS` - 1 (surely synthetic); realism: 1 to 5; cues: ticked or not [R, C, cues];
    seconds; place: of the image among those that count, 0 for the first. again: of each reader the cases that came
    twice, [2, k] levels of the first and of the second time. began: when the first of all answers was given, if the
    files say so.
    """

    readers: list[str]
    level: NDArray[np.int64]
    realism: NDArray[np.int64]
    cues: NDArray[np.bool_]
    seconds: NDArray[np.float64]
    place: NDArray[np.int64]
    again: list[NDArray[np.int64]]
    began: datetime | None

    @property
    def called(self) -> NDArray[np.bool_]:
        """Whether each case was called synthetic, [R, C]."""
        return self.level >= LEVELS // 2


def read_key(path: Path) -> tuple[dict[str, Any], Cases]:
    """The key and its cases that count; `GanError` if it is no key."""
    key = read_json(path, "name the key.json that gan readers make wrote")
    if not isinstance(key, dict) or key.get("format") != KEY:
        raise GanError(f"{path}: not the key of a reading; name the key.json that gan readers make wrote")
    counted = sorted({item["case"] for of in key["readers"].values() for item in of["items"] if item["role"] == FIRST})
    if counted != list(range(len(counted))):
        raise GanError(f"{path}: its cases are not numbered as they were written; take the unchanged file")
    known = key["cases"][: len(counted)]
    variants = np.array([one.get("variant", REAL) for one in known])
    return key, Cases(variants, np.array([one.get("patient", -1) for one in known]))


def recorded(path: Path) -> datetime | None:
    """When the ledger of the study recorded the key ``path``; None without a ledger. `GanError` if it was another."""
    ledger = path.resolve().parent.parent / LEDGER
    if not ledger.exists():
        return None
    mine = [entry for entry in read_json(ledger) if entry["reading"] == path.resolve().parent.name]
    if found := next((entry for entry in mine if entry["key"] == checksum(path)), None):
        return datetime.fromisoformat(found["made"])
    raise GanError(f"{path}: has another sha256 than {ledger} recorded before the reading; take the unchanged file")


def read(paths: Sequence[Path], key: dict[str, Any], cases: Cases) -> Answers:
    """The answers in ``paths``, in the order of the key's readers. `GanError` names the file that does not fit."""
    files: dict[str, tuple[Path, dict[str, dict[str, Any]]]] = {}
    began: list[datetime] = []
    for path in paths:
        reader, found, started = _one(path, key)
        began += [] if started is None else [started]
        if reader in files:
            raise GanError(f"{path}: answers of {reader}, as {files[reader][0]}; give one file of each reader")
        files[reader] = path, found
    readers = [reader for reader in key["readers"] if reader in files]
    shape = len(readers), len(cases.variant)
    answers = Answers(
        readers,
        level=np.zeros(shape, np.int64),
        realism=np.zeros(shape, np.int64),
        cues=np.zeros((*shape, len(CUES)), np.bool_),
        seconds=np.zeros(shape),
        place=np.zeros(shape, np.int64),
        again=[],
        began=min(began, default=None),
    )
    for row, reader in enumerate(readers):
        _fill(answers, row, key["readers"][reader]["items"], files[reader][1])
    return answers


def _fill(answers: Answers, row: int, items: Sequence[dict[str, Any]], found: dict[str, dict[str, Any]]) -> None:
    """Put what a reader said into its ``row``."""
    place, second = 0, {}
    for item in items:
        said, case = found[item["id"]], item["case"]
        if item["role"] == AGAIN:
            second[case] = _level(said)
        if item["role"] == FIRST:
            answers.level[row, case], answers.realism[row, case] = _level(said), said["realism"]
            answers.cues[row, case] = [cue in said["cues"] for cue in CUES]
            answers.seconds[row, case], answers.place[row, case] = said["ms"] / 1000, place
        place += item["role"] != WARM_UP
    answers.again.append(np.array([answers.level[row, list(second)], list(second.values())], np.int64).reshape(2, -1))


def _level(said: dict[str, Any]) -> int:
    """0, surely real, to `LEVELS` - 1, surely synthetic."""
    half = LEVELS // 2
    return half - said["confidence"] if said["call"] == REAL else half - 1 + said["confidence"]


def _one(path: Path, key: dict[str, Any]) -> tuple[str, dict[str, dict[str, Any]], datetime | None]:
    """The reader of a file, its answers by the names of images, and when they began; `GanError` if one is missing or
    not understood."""
    content = read_json(path, "save the answers again from the page")
    if (
        not isinstance(content, dict)
        or content.get("format") != ANSWERS
        or not isinstance(content.get("answers"), list)
    ):
        raise GanError(f"{path}: not the answers of a reader; name a file that a page saved")
    reader = next((name for name, of in key["readers"].items() if of["page"] == content.get("page")), None)
    if reader is None:
        raise GanError(f"{path}: answers to a page of another key; give the key that was made with the page")
    items = [item["id"] for item in key["readers"][reader]["items"]]
    found: dict[str, dict[str, Any]] = {}
    for said in content["answers"]:
        name = said.get("id") if isinstance(said, dict) else None
        if not isinstance(name, str) or name not in items or name in found:
            raise GanError(f"{path}: image {name} is not one of {reader}'s, or is there twice; save the answers again")
        if fault := _fault(said):
            raise GanError(f"{path}: image {name}: {fault}; save the answers again from the page")
        found[name] = said
    if missing := [name for name in items if name not in found]:
        raise GanError(
            f"{path}: {len(missing)} of {len(items)} images have no answer ({some(missing, 3)}); {reader} has to open "
            f"the page again, finish the reading and save"
        )
    return reader, found, _started(path, content.get("started"))


def _started(path: Path, text: Any) -> datetime | None:
    """A time of a page; None if it kept none."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (TypeError, ValueError) as error:
        raise GanError(f"{path}: started is {text!r}; save the answers again from the page") from error


def _fault(said: dict[str, Any]) -> str | None:
    """What is wrong with an answer, if anything."""
    allowed = {
        "call": (REAL, SYNTHETIC),
        "confidence": range(1, len(CONFIDENCE) + 1),
        "realism": range(1, len(REALISM) + 1),
    }
    for question, values in allowed.items():
        value = said.get(question)
        if isinstance(value, bool) or not isinstance(value, int | str) or value not in values:
            return f"{question} is {value!r}"
    cues, ms = said.get("cues"), said.get("ms")
    if not isinstance(cues, list) or any(cue not in CUES for cue in cues):
        return f"cues are {cues!r}"
    if isinstance(ms, bool) or not isinstance(ms, int | float) or not 0 <= ms < float("inf"):
        return f"ms is {ms!r}"
    return None
