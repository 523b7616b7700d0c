"""The layout of pictures: folders of classes, below train and test or not, each content once."""

import hashlib
import io
import re
import sys
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from gan.data import notices
from gan.data.endings import PICTURES
from gan.data.found import Found, Row, check_files
from gan.data.patterns import compile_pattern, files_below
from gan.data.pictures import UNREADABLE
from gan.errors import GanError

SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}


def find_pictures(row: Row, root: Path) -> list[Found]:
    """``train/<class>/*`` and ``test/<class>/*`` (or Training, Testing), or ``<class>/*``, each file's content once."""
    if len(row["contrasts"]) != 1 or row["mask"]:
        raise GanError("layout images: it has one contrast and no mask; name one in contrasts and set mask to null")
    names = [path.name for path in root.iterdir() if path.name.lower() in SPLITS and path.is_dir()]
    splits = {name: SPLITS[name.lower()] for name in names}
    if set(splits.values()) == {"test"}:
        raise GanError(f"{root}: a folder test without train; rename it or add train/<class>")
    stem = compile_pattern(row["pattern"]) if row["pattern"] else None
    found, passed_over = [], []
    for path in files_below(root):
        *above, name = path.split("/")
        split = splits.get(above[0], "") if above else ""
        in_class = len(above) == 1 if not splits else len(above) == 2 and bool(split)
        if not in_class or not name.lower().endswith(PICTURES):
            passed_over.append(path)
        else:
            subject = _image_subject(path, stem)
            found.append(Found(subject, row["contrasts"][0], root / path, above[-1], split))
    if not found:
        return []
    if passed_over:
        notices.warn(f"{root}: {len(passed_over)} files are not images in a class folder: {notices.some(passed_over)}")
    check_files(found)
    found = _distinct(found, root, bool(row["labels"]))
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


def _distinct(found: list[Found], root: Path, labelled: bool) -> list[Found]:
    """Without repeated contents; the same content in train and test, or in two classes, is an error."""
    first: dict[bytes, Found] = {}
    repeated, conflicts = [], []
    for item in tqdm(found, desc="images", unit="file", file=sys.stderr, disable=len(found) < 1000):
        other = first.setdefault(_digest(item.path), item)
        if other is item:
            continue
        pair = f"{other.path.relative_to(root)} and {item.path.relative_to(root)}"
        if other.split != item.split:
            conflicts.append(f"same image in {other.split} and {item.split}: {pair}")
        elif labelled and other.label != item.label:
            conflicts.append(f"same image in two classes: {pair}")
        else:
            repeated.append(item.path.relative_to(root))
    if conflicts:
        raise GanError(f"{root}: {notices.first(conflicts)}; remove one of each pair")
    if repeated:
        notices.warn(f"{len(repeated)} images repeat another one and are left out: {notices.some(repeated)}")
    return list(first.values())


def _digest(path: Path) -> bytes:
    """Hash of the content of an image file; `GanError` if it is none."""
    content = path.read_bytes()
    try:
        Image.open(io.BytesIO(content)).close()
    except UNREADABLE as error:
        raise GanError(f"{path}: not an image that can be read; remove or replace it") from error
    return hashlib.sha256(content).digest()
