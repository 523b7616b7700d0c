"""Which layout a folder has, and which subjects have which contrasts there, from names and DICOM headers."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gan.data import bids, picture_layout
from gan.data.found import Found
from gan.data.layouts import LAYOUTS
from gan.errors import GanError
from gan.inspect.inventory import Inventory
from gan.inspect.names import named_kinds, read_names
from gan.inspect.words import described, is_telling

MOST = 0.5  # of the volumes: a layout that has fewer of them is another one
NUMBERED = re.compile(r"([^_\-. ]+)([_\-. ])(?:slice|sl|z|img|im|s)?\d+", re.IGNORECASE)  # of a picture of a series

Scans = dict[tuple[str, str], str]


class Guess(NamedTuple):
    """layout: of config.yaml; contrasts: a path for each subject and scan, by contrast; pattern: what the row needs for
    some contrasts; labels: whether folders are classes; remarks: for the user."""

    layout: str
    contrasts: dict[str, Scans]
    pattern: Callable[[Sequence[str]], Any]
    labels: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def subjects(self) -> list[str]:
        return sorted({subject for scans in self.contrasts.values() for subject, _ in scans})


def _none(contrasts: Sequence[str]) -> None:
    """No pattern."""


def of_volumes(files: Inventory) -> Guess:
    """The layout of the volumes, by their names alone."""
    named = [path for path in files.volumes if path.startswith("sub-") and bids.parse(path)]
    if len(named) > MOST * len(files.volumes):
        return _bids(files.volumes)
    for layout in ("brats", "ixi"):
        found = LAYOUTS[layout]({"contrasts": [], "mask": None}, files.root)
        if len(found) > MOST * len(files.volumes) and all(re.fullmatch(r"\w{1,64}", item.contrast) for item in found):
            return _of_found(layout, found, files.root)
    scheme = read_names(files.volumes)
    kinds, shared = named_kinds(scheme.kinds)
    contrasts = {name: kind.paths for name, kind in kinds.items()}

    def pattern(names: Sequence[str]) -> Any:
        if shared:
            return shared + scheme.ending
        several = {name: kinds[name].pattern + scheme.ending for name in names}
        return several if len(names) > 1 else several[names[0]]

    return Guess("nifti", contrasts, pattern, bool(scheme.labels))


def _of_found(layout: str, found: Sequence[Found], root: Path) -> Guess:
    contrasts: dict[str, Scans] = defaultdict(dict)
    for item in found:
        contrasts[item.contrast][item.subject, item.scan] = item.path.relative_to(root).as_posix()
    labels = {item.label for item in found}
    return Guess(layout, dict(contrasts), _none, len(labels) > 1 and "" not in labels)


def _bids(paths: Sequence[str]) -> Guess:
    """Suffixes are contrasts; where that is not enough, and for derivatives, entities are named as well."""
    groups: dict[tuple[str, str, tuple[tuple[str, str], ...]], Scans] = defaultdict(dict)
    for path in paths:
        if file := bids.parse(path):
            rest = tuple((key, value) for key, value in file.entities.items() if key not in ("sub", "ses", "run"))
            scan = "_".join(f"{key}-{file.entities[key]}" for key in ("ses", "run") if key in file.entities)
            folder = path[: path.find("sub-")]
            groups[folder, file.suffix, rest][f"sub-{file.entities['sub']}", scan] = path
    several = Counter((folder, suffix) for folder, suffix, _ in groups)
    contrasts, texts = {}, {}
    for (folder, suffix, rest), scans in groups.items():
        plain = not folder and several[folder, suffix] == 1
        text = folder + "_".join([*(f"{key}-{value}" for key, value in rest), suffix])
        name = suffix if plain else re.sub(r"\W+", "_", "_".join([*(value for _, value in rest), suffix]))
        name = name if name not in contrasts else f"{name}_{len(contrasts)}"
        contrasts[name], texts[name] = scans, suffix if plain else text

    def pattern(names: Sequence[str]) -> Any:
        return {name: texts[name] for name in names if texts[name] != name} or None

    return Guess("bids", contrasts, pattern)


def of_dicom(files: Inventory, tags: dict[str, list[Any]]) -> Guess:
    """The layout of folders with DICOM files. tags: (patient, study, series, words of the description) of the files
    that were read in each folder."""
    chaos = LAYOUTS["chaos"]({}, files.root)
    if len(chaos) > MOST * len(files.dicom):
        return _of_found("chaos", chaos, files.root)
    if any(_mixed(of_folder) for of_folder in tags.values()):
        return _export(tags)
    folders = sorted(files.dicom)
    if folders == ["."]:
        words = re.findall(r"[A-Za-z0-9]+", files.root.name)
        contrast = next((word for word in words if is_telling(word)), "image")
        return Guess("dicom", {contrast: {(files.root.resolve().name, ""): "."}}, _none)
    scheme = read_names(folders, folders=True)
    kinds, shared = named_kinds(scheme.kinds)

    def pattern(names: Sequence[str]) -> Any:
        several = {name: kinds[name].pattern for name in names}
        return shared or (several if len(names) > 1 else several[names[0]])

    contrasts = {name: kind.paths for name, kind in kinds.items()}
    return Guess("dicom", contrasts, pattern, bool(scheme.labels))


def _mixed(of_folder: Sequence[Any]) -> bool:
    """Whether a folder holds several series with several files each."""
    return sum(count > 1 for count in Counter(series for _, _, series, _ in of_folder).values()) > 1


def _export(tags: dict[str, list[Any]]) -> Guess:
    """By series description, of which only the words that name a contrast are used."""
    contrasts: dict[str, Scans] = defaultdict(dict)
    unnamed = set()
    patients = sorted({patient for of_folder in tags.values() for patient, *_ in of_folder})
    for of_folder in tags.values():
        for patient, study, series, words in of_folder:
            telling = described(words)
            if telling:
                contrasts[telling][f"patient{patients.index(patient) + 1}", study] = series
            else:
                unnamed.add(series)
    remarks = []
    if unnamed:
        remarks.append(
            f"{len(unnamed)} DICOM series have no word for a contrast in their description, which is not shown as it "
            "can name a person; add a contrast with a pattern such as 'series: *words of it*'"
        )
    if not contrasts:
        raise GanError("DICOM of several series in one folder, and " + remarks[0])

    def pattern(names: Sequence[str]) -> dict[str, str]:
        return {name: f"series: *{name}*" for name in names}

    return Guess("dicom", dict(contrasts), pattern, False, tuple(remarks))


def of_pictures(files: Inventory) -> Guess:
    """Pictures in folders of classes, below train and test or not."""
    tops = {path.split("/")[0] for path in files.pictures if "/" in path}
    splits = {top for top in tops if top.lower() in picture_layout.SPLITS}
    depth = 2 if splits else 1
    taken = [path for path in files.pictures if path.count("/") == depth]
    taken = [path for path in taken if not splits or path.split("/")[0] in splits]
    if not taken:
        raise GanError(
            f"{files.root}: pictures, but not in class folders (<class>/*, or train/<class>/* and test/<class>/*); "
            "move them into a folder below it, one for all or one for each class"
        )
    classes = {path.split("/")[-2] for path in taken}
    numbered = [NUMBERED.fullmatch(path.rsplit("/", 1)[-1].rsplit(".", 1)[0]) for path in taken]
    stems, marks = ({match[place] for match in numbered if match} for place in (1, 2))
    if all(numbered) and len(marks) == 1 and 2 * len(classes) < len(stems) <= len(taken) / 2:
        pattern = f"{{subject}}{marks.pop()}{{slice}}"
        remark = f"names end in a number: what is before it is taken for the subject ({len(stems)} of them)"
    else:
        pattern = None
        remark = (
            "each picture is a subject of its own; if a patient has several, add a pattern such as {subject}_{slice}"
        )
    scans = {(path.rsplit(".", 1)[0].replace("/", "-"), ""): path for path in taken}
    remarks = [remark]
    if lossy := sum(path.lower().endswith((".jpg", ".jpeg")) for path in taken):
        remarks.append(f"{lossy} of {len(taken)} pictures are JPEG, whose blocks a generator learns as well")
    return Guess("images", {"image": scans}, lambda names: pattern, len(classes) > 1, tuple(remarks))
