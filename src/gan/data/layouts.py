"""Which file of a folder is which subject and contrast: one function per layout, and the checks that all share."""

import hashlib
import io
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from gan.data.label_table import read_labels
from gan.data.patterns import compile_pattern, files_below, folders_with_files
from gan.data.pool import together
from gan.errors import GanError

Row = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """One volume or image of a data set.

    path: a NIfTI file, a folder with one DICOM series or several, or an image file; label: class name, empty without
    labels; split: ``train`` or ``test`` where the layout has such folders, else empty.
    """

    subject: str
    contrast: str
    path: Path
    label: str = ""
    split: str = ""


def find(row: Row, root: Path) -> list[Found]:
    """All volumes (or images) that a dataset row asks for, by subject, then in the order of its contrasts, mask last.

    row: ``layout``, ``pattern``, ``contrasts``, ``mask`` of config.yaml, and ``labels`` if they are of subjects; root:
    the data set's ``raw``. Where nothing matches there and it holds a single folder (as archives often do), that folder
    is the root. Each subject has each contrast once, except in the layout ``images``, where a subject has any number
    of images.

    Raises GanError when the folder is missing or empty, nothing matches, a subject lacks a contrast or its mask or has
    one twice, a label is unknown, or an image stands in train and test.
    """
    layout = row["layout"]
    if layout not in LAYOUTS:
        raise GanError(f"layout '{layout}': unknown; it is one of {', '.join(LAYOUTS)}")
    root = Path(root)
    if not root.is_dir():
        raise GanError(f"{root}: no such folder; make it with the data set's source")
    for folder in _enclosing(root):
        if everything := LAYOUTS[layout](row, folder):
            break
    else:
        raise GanError(_nothing(row, root))
    found = everything if layout == "images" else _complete(everything, row)
    return _labelled(found, row, folder)


def _enclosing(root: Path) -> list[Path]:
    """``root`` and, as long as it is the only entry of its parent, the folder inside."""
    folders = [root]
    while len(entries := [e for e in folders[-1].iterdir() if not e.name.startswith((".", "__MACOSX"))]) == 1:
        if not entries[0].is_dir() or len(folders) > 4:
            break
        folders.append(entries[0])
    return folders


def _nothing(row: Row, root: Path) -> str:
    files = files_below(root)
    if not files:
        return f"{root}: the folder is empty; check the data set's source"
    wanted = f"pattern '{row['pattern']}'" if row["layout"] in ("nifti", "dicom") else EXPECTED[row["layout"]]
    return f"{root}: nothing matches layout {row['layout']} ({wanted}); a file found there: {files[len(files) // 2]}"


def channels(row: Row) -> list[str]:
    """The contrasts of ``row``, and last its mask, if any."""
    return [*row["contrasts"], *([row["mask"]] if row["mask"] else [])]


def _complete(everything: list[Found], row: Row) -> list[Found]:
    """The wanted volumes in order, after checking that each subject has each of them once."""
    wanted = channels(row)
    subjects: dict[str, dict[str, Found]] = defaultdict(dict)
    for item in everything:
        other = subjects[item.subject].setdefault(item.contrast, item)
        if other is not item and item.contrast in wanted:
            raise GanError(
                f"subject {item.subject}: two volumes for contrast {item.contrast}: {other.path} and {item.path}; "
                "remove one, or make the pattern narrower"
            )
    errors = [
        GanError(
            f"subject {subject}: no {'mask' if contrast == row['mask'] else 'contrast'} {contrast}; it has "
            f"{', '.join(sorted(contrasts))} (in {next(iter(contrasts.values())).path.parent}); "
            "add the file, remove the subject, or do not ask for it in the row"
        )
        for subject, contrasts in sorted(subjects.items())
        for contrast in wanted
        if contrast not in contrasts
    ]
    if errors:
        raise together(errors, len(subjects) * len(wanted), "volume")
    return [subjects[subject][contrast] for subject in sorted(subjects) for contrast in wanted]


def _labelled(found: list[Found], row: Row, root: Path) -> list[Found]:
    rule = row["labels"]
    if rule is None:
        return [replace(item, label="") for item in found]
    if isinstance(rule, dict):
        labels = read_labels(rule, {item.subject for item in found}, root)
        found = [replace(item, label=labels[item.subject]) for item in found]
    elif missing := next((item for item in found if not item.label), None):
        raise GanError(
            f"labels 'folder': {missing.path} is in no class folder (layout {row['layout']}); sort the subjects into "
            "folders, put {label} into the pattern, or set labels to null or a table"
        )
    classes = {item.label for item in found}
    if len(classes) == 1:
        raise GanError(f"labels: all subjects are of one class ({classes.pop()}); set labels to null")
    return found


def _brats(row: Row, root: Path) -> list[Found]:
    """Case folders at any depth, each named as its files begin; the folder above a case is its class."""
    found = []
    for path in files_below(root):
        *above, name = path.split("/")
        if above and (match := re.fullmatch(re.escape(above[-1]) + r"-(.+)\.nii(\.gz)?", name)):
            found.append(Found(above[-1], match[1], root / path, label=above[-2] if len(above) > 1 else ""))
    return found


CHAOS = {
    "T1DUAL/DICOM_anon/InPhase": "t1_in",
    "T1DUAL/DICOM_anon/OutPhase": "t1_out",
    "T2SPIR/DICOM_anon": "t2_spir",
}


def _chaos(row: Row, root: Path) -> list[Found]:
    """``MR/<id>/<series>`` at any depth; the masks of CHAOS are pictures, not volumes, and are passed over."""
    found = []
    for path in folders_with_files(root):
        for series, contrast in CHAOS.items():
            if match := re.fullmatch(rf"(?:.*/)?(?:MR/)?([^/]+)/{series}", path):
                found.append(Found(match[1], contrast, root / path))
    return found


def _ixi(row: Row, root: Path) -> list[Found]:
    """``IXI012-HH-1211-T1.nii.gz`` at any depth: subject IXI012, contrast t1 (t2, pd, mra) in the row's spelling."""
    spelling = {contrast.lower(): contrast for contrast in channels(row)}
    found = []
    for path in files_below(root):
        if match := re.fullmatch(r"(?:.*/)?(IXI\d+)-[^/]*[-_]([^/_-]+)\.nii(\.gz)?", path):
            contrast = match[2].lower()
            found.append(Found(match[1], spelling.get(contrast, contrast), root / path))
    return found


def _by_pattern(row: Row, root: Path, paths: Iterable[str]) -> list[Found]:
    """Paths that match the row's pattern, or the pattern of each contrast."""
    pattern, wanted = row["pattern"], channels(row)
    if not pattern:
        raise GanError(f"layout {row['layout']}: it needs a pattern, such as '{{subject}}_{{contrast}}.nii.gz'")
    if isinstance(pattern, dict):
        if missing := [contrast for contrast in wanted if contrast not in pattern]:
            raise GanError(f"pattern: no entry for {', '.join(missing)}; give a pattern for each contrast and the mask")
        rules = [(compile_pattern(pattern[contrast], [contrast]), contrast) for contrast in wanted]
    elif "{contrast}" in pattern:
        rules = [(compile_pattern(pattern, wanted), None)]
    elif len(wanted) == 1:
        rules = [(compile_pattern(pattern), wanted[0])]
    else:
        raise GanError(
            f"pattern '{pattern}': without {{contrast}} it cannot tell {', '.join(wanted)} apart; add {{contrast}}, "
            "or give a pattern for each contrast"
        )
    found = []
    for path in paths:
        for rule, contrast in rules:
            if match := rule.fullmatch(path):
                parts = match.groupdict()
                label = parts.get("label", "")
                found.append(Found(parts["subject"], contrast or parts["contrast"], root / path, label))
    return found


def _nifti(row: Row, root: Path) -> list[Found]:
    """NIfTI files whose path below the root matches the pattern."""
    return _by_pattern(row, root, [p for p in files_below(root) if p.endswith((".nii", ".nii.gz"))])


def _dicom(row: Row, root: Path) -> list[Found]:
    """Folders with files whose path below the root matches the pattern; without one, the root itself is a subject."""
    if row["pattern"]:
        return _by_pattern(row, root, folders_with_files(root))
    if len(channels(row)) != 1:
        raise GanError("layout dicom: several contrasts need a pattern, for example '{subject}/{contrast}'")
    return [Found(root.resolve().name, channels(row)[0], root)] if "." in folders_with_files(root) else []


IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def _images(row: Row, root: Path) -> list[Found]:
    """``train/<class>/*`` and ``test/<class>/*``, or ``<class>/*`` alone, with each file's content once."""
    if len(row["contrasts"]) != 1 or row["mask"]:
        raise GanError("layout images: it has one contrast and no mask; name one in contrasts and set mask to null")
    splits = [name for name in ("train", "test") if (root / name).is_dir()]
    if splits == ["test"]:
        raise GanError(f"{root}: a folder test without train; rename it or add train/<class>")
    stem = compile_pattern(row["pattern"]) if row["pattern"] else None
    found, passed_over = [], []
    for path in files_below(root):
        *above, name = path.split("/")
        split = above[0] if splits and above else ""
        in_class = len(above) == (2 if splits else 1) and (split in splits or not splits)
        if not in_class or not name.lower().endswith(IMAGES):
            passed_over.append(path)
        else:
            subject = _image_subject(path, stem)
            found.append(Found(subject, row["contrasts"][0], root / path, above[-1], split))
    if not found:
        return []
    _report(f"{root}: {{}} files are not images in a class folder and are passed over", passed_over)
    found = _distinct(found, bool(row["labels"]))
    splits_of = {}
    for item in found:
        other = splits_of.setdefault(item.subject, item)
        if other.split != item.split:
            raise GanError(f"subject {item.subject} is in train and test: {other.path} and {item.path}; remove one")
    return sorted(found, key=lambda item: (item.subject, item.path))


def _image_subject(path: str, stem: re.Pattern[str] | None) -> str:
    name = path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    if stem is None:
        return path.rsplit(".", 1)[0].replace("/", "-")
    if match := stem.fullmatch(name):
        return match["subject"]
    raise GanError(f"{path}: its name '{name}' does not match the pattern; rename it or change the row's pattern")


def _distinct(found: list[Found], labelled: bool) -> list[Found]:
    """Without repeated contents; the same content in train and test, or in two classes, is an error."""
    first: dict[bytes, Found] = {}
    repeated = []
    for item in tqdm(found, desc="images", unit="file", file=sys.stderr, disable=len(found) < 1000):
        content = item.path.read_bytes()
        try:
            Image.open(io.BytesIO(content)).close()
        except (OSError, Image.DecompressionBombError) as error:
            raise GanError(f"{item.path}: not an image that can be read; remove or replace it") from error
        other = first.setdefault(hashlib.sha256(content).digest(), item)
        if other is item:
            continue
        if other.split != item.split:
            raise GanError(f"same image in {other.split} and {item.split}: {other.path} and {item.path}; remove one")
        if labelled and other.label != item.label:
            raise GanError(f"same image in two classes: {other.path} and {item.path}; remove the wrong one")
        repeated.append(str(item.path))
    _report("{} images repeat another one and are left out", repeated)
    return list(first.values())


def _report(message: str, paths: Sequence[str]) -> None:
    if paths:
        print(f"warning: {message.format(len(paths))}: {paths[0]}{' and more' * (len(paths) > 1)}", file=sys.stderr)


LAYOUTS: dict[str, Callable[[Row, Path], list[Found]]] = {
    "brats": _brats,
    "chaos": _chaos,
    "ixi": _ixi,
    "nifti": _nifti,
    "dicom": _dicom,
    "images": _images,
}
EXPECTED = {
    "brats": "<class>/<case>/<case>-<contrast>.nii.gz",
    "chaos": "MR/<id>/T1DUAL/DICOM_anon/InPhase",
    "ixi": "IXI012-HH-1211-T1.nii.gz",
    "images": "train/<class>/*.png, test/<class>/*.png",
}
