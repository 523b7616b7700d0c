"""What lies in a folder, and the row of config.yaml that it asks for."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gan.data.endings import unread as remedy_of
from gan.data.formats import read_volume
from gan.data.found import Found
from gan.data.heads import Head
from gan.data.layouts import find
from gan.data.nifti import Volume
from gan.data.pictures import read_picture
from gan.errors import GanError
from gan.inspect import guess, headers, inventory, row
from gan.inspect.inventory import Inventory
from gan.inspect.look import ALL_TRAIN, Look, look
from gan.inspect.values import Values, equal_files, values_of
from gan.inspect.words import is_mask

SUBJECTS = 12  # whose voxels are read: as many as a contact sheet shows
PICTURES = 200  # pictures whose pixels are read
PEEKS = 2  # volumes of each contrast that are read to tell masks from images
FEW_LABELS = 10  # different values of a label volume whose name does not say that it is one


@dataclass
class Survey:
    """What was found. heads: by contrast, of its files; equal: groups of files; rejected: contrasts that cannot be
    used, with the reason; refused: why the row does not work as it is, empty if it does."""

    files: Inventory
    guess: guess.Guess
    heads: dict[str, dict[str, Head]]
    peeks: dict[str, list[Values]]
    unread: dict[str, str]
    equal: list[list[str]]
    masks: list[str]
    rejected: dict[str, str]
    row: dict[str, Any]
    name: str
    comments: dict[str, str] = field(default_factory=dict)
    found: list[Found] = field(default_factory=list)
    look: Look | None = None
    refused: str = ""
    remarks: list[str] = field(default_factory=list)


def survey(folder: Path, *, everything: bool = False, workers: int = 1, scratch: Path | None = None) -> Survey:
    """Find out what lies in ``folder``; writes nothing but a temporary folder in ``scratch``.

    everything: read the voxels of all subjects, and all headers, instead of some. Raises `GanError` where there are no
    images, or none that a layout could be found for.
    """
    files = inventory.take(Path(folder))
    guessed = _guess(files, everything)
    heads, unread = _heads(files, guessed, everything)
    peeks = _peek(files, guessed, heads, unread)
    rejected = _rejected(guessed, heads, unread, peeks)
    pictures = files.kind == "pictures"
    masks = [name for name, of in peeks.items() if not pictures and name not in rejected and _is_mask(name, of)]
    name = row.name_of(files.root)
    wanted = _contrasts(guessed, masks, rejected)
    if not wanted:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(rejected.items())[:3])
        raise GanError(f"{files.root}: no images that can be used ({reasons or 'label volumes only'})")
    equal = _equal(files, {path for mask in masks for path in guessed.contrasts[mask].values()})
    found = Survey(files, guessed, heads, peeks, unread, equal, masks, rejected, {}, name)
    found.remarks += [*guessed.remarks, *_participants(files, guessed)]
    _propose(found, wanted)
    _try(found, everything, workers, scratch)
    found.row = {key: value for key, value in found.row.items() if value != {}}
    return found


def _participants(files: Inventory, guessed: guess.Guess) -> list[str]:
    """The labels that a table of BIDS offers, by the names of its columns."""
    path = files.root / "participants.tsv"
    if guessed.layout != "bids" or not path.is_file():
        return []
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        columns = file.readline().strip().split("\t")
    if "participant_id" not in columns:
        return []
    return [
        f"participants.tsv has the columns {', '.join(columns)}; for classes of subjects add labels: "
        "{table: participants.tsv, subject: participant_id, label: <column>}"
    ]


def _guess(files: Inventory, everything: bool) -> guess.Guess:
    if files.kind == "volumes":
        return guess.of_volumes(files)
    if files.kind == "dicom":
        return guess.of_dicom(files, headers.tags_of_folders(files, everything=everything))
    if files.kind == "pictures":
        return guess.of_pictures(files)
    hint = remedy_of(files.others)
    what = f"no images among its {len(files.others)} files"
    raise GanError(f"{files.root}: {what}{hint and f' ({hint})'}; name another folder")


def _heads(
    files: Inventory, guessed: guess.Guess, everything: bool
) -> tuple[dict[str, dict[str, Head]], dict[str, str]]:
    """By contrast the head of its files, and why the others cannot be read."""
    heads: dict[str, dict[str, Head]] = {name: {} for name in guessed.contrasts}
    unread: dict[str, str] = {}
    if files.kind == "pictures":
        return heads, unread
    most = max(1, headers.MOST // max(1, len(guessed.contrasts)))
    of = {
        path: name
        for name, scans in guessed.contrasts.items()
        for path in (list(scans.values()) if everything else headers.spread(list(scans.values()), most))
    }
    if files.kind == "volumes":
        results = headers.heads_of(files.root, list(of))
    else:
        few = [path for path in headers.spread(list(of), 20) if path in files.dicom]
        results = [(path, headers.head_of_series(files.root / path, files.dicom[path])) for path in few]
    for path, head in results:
        if isinstance(head, str):
            unread[path] = head
        else:
            heads[of[path]][path] = head
    return heads, unread


def _peek(
    files: Inventory, guessed: guess.Guess, heads: dict[str, dict[str, Head]], unread: dict[str, str]
) -> dict[str, list[Values]]:
    """The values of a few volumes of each contrast."""
    peeks: dict[str, list[Values]] = defaultdict(list)
    if files.kind == "pictures":
        scans = guessed.contrasts["image"]
        for path in headers.spread(list(scans.values()), PICTURES):
            try:
                peeks["image"].append(values_of(Volume(read_picture(files.root / path)[..., None], np.eye(4))))
            except GanError as error:
                unread[path] = str(error)
        return peeks
    if files.kind != "volumes":
        return peeks
    for name in guessed.contrasts:
        for path in headers.spread(list(heads[name]), PEEKS):
            try:
                peeks[name].append(values_of(read_volume(files.root / path)))
            except GanError as error:
                unread[path] = str(error)
    return peeks


def _is_mask(name: str, peeks: Sequence[Values]) -> bool:
    named = any(is_mask(word) for word in name.replace("-", "_").split("_"))
    return bool(peeks) and all(of.labels and (named or of.levels <= FEW_LABELS) for of in peeks)


def _rejected(
    guessed: guess.Guess, heads: dict[str, dict[str, Head]], unread: dict[str, str], peeks: dict[str, list[Values]]
) -> dict[str, str]:
    """Contrasts of which no file could be read, with the reason of the first."""
    reasons = {}
    for name, scans in guessed.contrasts.items():
        bad = [unread[path] for path in scans.values() if path in unread]
        if bad and (not heads[name] or (not peeks.get(name) and len(bad) >= len(heads[name]))):
            reasons[name] = bad[0]
    return reasons


def _contrasts(guessed: guess.Guess, masks: Sequence[str], rejected: dict[str, str]) -> list[str]:
    """The contrasts of the row, and last its mask: those that every subject has which has the first of them."""
    usable = {name: scans for name, scans in guessed.contrasts.items() if name not in rejected}
    images = [name for name in usable if name not in masks]
    if not images:
        return []
    images.sort(key=lambda name: (-len(_subjects(usable[name])), _rank(name)))
    whole = [name for name in images if _complete(usable[images[0]], usable[name])]
    whole.sort(key=_rank)
    mask = next((name for name in sorted(masks, key=len) if _complete(usable[images[0]], usable[name])), None)
    return [*whole, *([mask] if mask else [])]


def _subjects(scans: guess.Scans) -> set[str]:
    return {subject for subject, _ in scans}


def _complete(first: guess.Scans, other: guess.Scans) -> bool:
    """Whether each subject has a scan with both."""
    return _subjects(first) == {subject for subject, scan in first if (subject, scan) in other}


def _rank(name: str) -> tuple[int, str]:
    order = ("t1n", "t1", "t1w", "image", "t1c", "t2", "t2w", "flair")
    return (order.index(name.lower()) if name.lower() in order else len(order), name)


def _equal(files: Inventory, masks: set[str]) -> list[list[str]]:
    """Groups of equal files, apart from ``masks``, which may be empty; of DICOM folders, those with the same middle
    file."""
    if files.kind == "dicom":
        middle = {f"{folder}/{names[len(names) // 2]}": folder for folder, names in files.dicom.items()}
        return [[middle[path] for path in group] for group in equal_files(files.root, list(middle))]
    images = files.volumes if files.kind == "volumes" else files.pictures
    return equal_files(files.root, [path for path in images if path not in masks])


def _propose(found: Survey, wanted: list[str]) -> None:
    """The row without what needs voxels of the slices."""
    guessed, masks = found.guess, [name for name in wanted if name in found.masks]
    images = [name for name in wanted if name not in masks]
    given: dict[str, Any] = {"source": {"path": str(found.files.root.resolve())}, "layout": guessed.layout}
    if pattern := guessed.pattern(wanted):
        given["pattern"] = pattern
    given["contrasts"] = images
    if masks:
        given["mask"] = masks[0]
    if guessed.labels:
        given["labels"] = "folder"
    if _grids_differ(found, wanted):
        given["align"] = True
        found.comments["align"] = "grids of one subject differ; resampled by the headers, without registration"
    heads = [head for name in images for head in found.heads[name].values()]
    axis = row.plane(heads) if heads else "axial"
    given["slices"] = {"axis": axis, "size": row.size(heads, axis)} if heads else {"size": 64, "fraction": 0.0}
    left = {name: len(_subjects(scans)) for name, scans in guessed.contrasts.items() if name not in wanted}
    if lacking := [f"{name} ({count})" for name, count in left.items() if name not in found.rejected]:
        found.comments["contrasts"] = f"not all of the {len(guessed.subjects)} subjects have {', '.join(lacking)}"
    values = [of for name in images for of in found.peeks.get(name, [])]
    if guessed.layout == "images" and values:
        given["slices"]["size"] = row.size_of_pictures(values)
    given["intensity"] = row.intensity(values, pictures=guessed.layout == "images") if values else {}
    found.row = given


def _grids_differ(found: Survey, wanted: Sequence[str]) -> bool:
    """Whether contrasts of a scan have other shapes or spacings."""
    grids: dict[tuple[str, str], set[Any]] = defaultdict(set)
    for name in wanted:
        for key, path in found.guess.contrasts[name].items():
            if head := found.heads[name].get(path):
                grids[key].add((head.shape, head.axes, tuple(round(mm, 2) for mm in head.spacing)))
    return any(len(of) > 1 for of in grids.values())


def _try(found: Survey, everything: bool, workers: int, scratch: Path | None) -> None:
    """Find the row's files, take some subjects through the data steps, and complete the row with what that shows."""
    pictures = found.guess.layout == "images"
    try:
        found.found = find(row.complete(found.row), found.files.root)
    except GanError as error:
        found.refused = str(error)
        return
    labels = {item.subject: item.label for item in found.found}
    fixed = {item.subject: item.split for item in found.found if item.split == "test"}
    found.row["split"] = row.split(labels, fixed)
    few = found.found if everything else _some(found.found, PICTURES if pictures else SUBJECTS)
    full = row.complete(found.row) | {"split": ALL_TRAIN}
    found.look = look(full, few, workers=workers, scratch=scratch)
    if found.look.seen and not pictures:
        found.row["intensity"] = row.intensity(_values(found.look, found.row["contrasts"]), pictures=False)
        _filter(found)
        changed = row.complete(found.row) | {"split": ALL_TRAIN}
        if changed != full:
            found.look = look(changed, few, workers=workers, scratch=scratch)
    if found.look.errors:
        found.refused = found.look.errors[0]


def _some(found: Sequence[Found], most: int) -> list[Found]:
    """The files of some subjects, evenly spread."""
    chosen = set(headers.spread(sorted({item.subject for item in found}), most))
    return [item for item in found if item.subject in chosen]


def _values(seen: Look, names: Sequence[str]) -> list[Values]:
    return [of.values[name] for of in seen.seen for name in names]


def _filter(found: Survey) -> None:
    """The filter that leaves slices of every subject that was read."""
    assert found.look
    shares: dict[str, list[np.ndarray]] = defaultdict(list)
    for of in found.look.seen:
        shares[of.item.subject].append(of.encoded.fractions)
    chosen = row.fraction([np.concatenate(of) for of in shares.values()])
    if chosen != row.DEFAULTS["slices"]["fraction"]:
        found.row["slices"] = found.row["slices"] | {"fraction": chosen}
        found.comments["slices"] = f"with the usual fraction of {row.FRACTIONS[0]:g} a subject keeps few slices or none"
