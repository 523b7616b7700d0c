"""Which file of a folder is which subject and contrast: one function per layout, and the checks that all share."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from gan.data.bids import find_bids, parse
from gan.data.dicom_export import asks_for_export, find_export
from gan.data.endings import DICOM, is_volume
from gan.data.found import Found, Row, channels, check_files, leaves
from gan.data.label_table import read_labels
from gan.data.matching import enclosing, nothing, pattern_rules
from gan.data.notices import some, warn
from gan.data.patterns import compile_pattern, files_below, folders_with_files
from gan.data.picture_layout import find_pictures
from gan.data.pool import together
from gan.errors import GanError


def find(row: Row, root: Path) -> list[Found]:
    """All volumes (or images) that a dataset row needs, by subject, then in the order of its contrasts, mask last.

    row: ``layout``, ``pattern``, ``contrasts``, ``mask`` of config.yaml, and ``labels`` if they are of subjects; root:
    the data set's ``raw``. Where nothing matches there and it holds a single folder (as archives often do), that folder
    is the root. Each scan of a subject has each contrast once, except in the layout ``images``, where a subject has any
    number of images, and with ``missing: leave``, where a scan has one of the contrasts at least.

    Raises GanError when the folder is missing or empty, nothing matches, a subject lacks a contrast or its mask or has
    one twice, a label is unknown, or an image is in train and test.
    """
    layout = row["layout"]
    if layout not in LAYOUTS:
        raise GanError(f"layout '{layout}': unknown; it is one of {', '.join(LAYOUTS)}")
    root = Path(root)
    if not root.is_dir():
        raise GanError(f"{root}: no such folder; make it with the data set's source")
    for folder in enclosing(root):
        if everything := LAYOUTS[layout](row, folder):
            break
    else:
        raise GanError(nothing(row, root))
    if layout == "images":
        return _labelled(everything, row, folder)
    _report_unmatched(row, folder, everything)
    found = _complete(everything, row)
    check_files(found)
    _warn_of_sessions(found)
    return _labelled(found, row, folder)


def _report_unmatched(row: Row, root: Path, everything: list[Found]) -> None:
    """Warn of files that look like volumes, or folders that look like series, but do not match the layout."""
    if any(item.files for item in everything):  # `find_export` has warned already
        return
    known = {item.path.relative_to(root).as_posix() for item in everything}
    if row["layout"] in ("dicom", "chaos"):
        folders = {path.rpartition("/")[0] or "." for path in files_below(root) if path.lower().endswith(DICOM)}
        what, there = "folders with DICOM files", sorted(folders)
    else:
        what, there = "files that look like volumes", [path for path in files_below(root) if is_volume(path)]
    unmatched = [path for path in there if path not in known]
    if row["layout"] == "bids":  # files named as in BIDS are other contrasts, runs or derivatives
        unmatched = [path for path in unmatched if path.startswith("sub-") and not parse(path)]
    elif "{contrast}" in (row["pattern"] or {}):
        free = compile_pattern(row["pattern"])  # contrasts that the row does not use are not counted
        unmatched = [path for path in unmatched if not free.fullmatch(path)]
    if unmatched:
        warn(f"{root}: {len(unmatched)} of {len(there)} {what} match nothing and are not used: {some(unmatched)}")


def _complete(everything: list[Found], row: Row) -> list[Found]:
    """The wanted volumes in order, after checking that each scan has each of them once.

    A scan that lacks one is left out, with a warning, where its subject has another that is whole.
    """
    wanted = channels(row)
    scans: dict[tuple[str, str], dict[str, Found]] = defaultdict(dict)
    for item in everything:
        other = scans[item.subject, item.scan].setdefault(item.contrast, item)
        if other is not item and item.contrast in wanted:
            raise GanError(
                f"subject {item.name}: two volumes for contrast {item.contrast}: {other.place} and {item.place}; "
                "remove one, make the pattern narrower, or put {session} into it if they are scans of one subject"
            )
    lacking = {key: [contrast for contrast in wanted if contrast not in scans[key]] for key in sorted(scans)}
    if leaves(row):
        taken = _taken(scans, lacking, row)
        return [scans[key][contrast] for key in taken for contrast in wanted if contrast in scans[key]]
    whole = {subject for (subject, _), missing in lacking.items() if not missing}
    errors, left_out = [], []
    for (subject, scan), missing in lacking.items():
        for contrast in missing:
            what = f"no {'mask' if contrast == row['mask'] else 'contrast'} {contrast}"
            fault = f"subject {next(iter(scans[subject, scan].values())).name}: {what}"
            if subject in whole:
                left_out.append(fault)
            else:
                errors.append(_lacks(fault, scans[subject, scan]))
    if errors:
        raise together(errors, len(scans) * len(wanted), "volume")
    if left_out:
        warn(f"scans that are not whole are left out: {some(left_out)}")
    return [scans[key][contrast] for key, missing in lacking.items() if not missing for contrast in wanted]


def _taken(
    scans: dict[tuple[str, str], dict[str, Found]], lacking: dict[tuple[str, str], list[str]], row: Row
) -> list[tuple[str, str]]:
    """The scans that have one of the contrasts at least; a warning counts those that lack some."""
    taken = [key for key in lacking if not scans[key].keys().isdisjoint(row["contrasts"])]
    lines = []
    for contrast in channels(row):
        names = [next(iter(scans[key].values())).name for key in taken if contrast in lacking[key]]
        if len(names) == len(taken):
            raise GanError(f"missing: leave: no subject has {contrast}; check its name and the pattern of the row")
        lines += [f"{len(names)} of {len(taken)} scans lack {contrast} ({some(names, 3)})"] * bool(names)
    if without := [f"{key[0]} {key[1]}".strip() for key in lacking if key not in taken]:
        lines.append(f"{len(without)} with none of the contrasts are left out ({some(without, 3)})")
    if lines:
        warn(f"missing: leave: {'; '.join(lines)}")
    return taken


def _lacks(fault: str, contrasts: dict[str, Found]) -> GanError:
    return GanError(
        f"{fault}; it has {', '.join(sorted(contrasts))} (in {next(iter(contrasts.values())).path.parent}); "
        "add the file, remove the subject, or leave it out of the row"
    )


def _warn_of_sessions(found: list[Found]) -> None:
    """Warn of subjects named like sessions of one: train and test could hold the same person."""
    people: dict[str, set[str]] = defaultdict(set)
    for item in found:
        if match := re.fullmatch(r"(.+?)[_-]ses-?[A-Za-z0-9]+", item.subject):
            people[match[1]].add(item.subject)
    if several := [names for names in people.values() if len(names) > 1]:
        names = " and ".join(sorted(several[0])[:2])
        warn(f"subjects {names} look like sessions of one, which splits would part; put {{session}} into the pattern")


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
        if above and (match := re.fullmatch(re.escape(above[-1]) + r"-(.+)(?i:\.nii(\.gz)?)", name)):
            found.append(Found(above[-1], match[1], root / path, label=above[-2] if len(above) > 1 else ""))
    return found


CHAOS = {
    "T1DUAL/DICOM_anon/InPhase": "t1_in",
    "T1DUAL/DICOM_anon/OutPhase": "t1_out",
    "T2SPIR/DICOM_anon": "t2_spir",
}


def _chaos(row: Row, root: Path) -> list[Found]:
    """``MR/<id>/<series>`` at any depth; the masks of CHAOS are pictures, not volumes, and are skipped."""
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
        if match := re.fullmatch(r"(?:.*/)?(IXI\d+)-[^/]*[-_]([^/_-]+)(?i:\.nii(\.gz)?)", path):
            contrast = match[2].lower()
            found.append(Found(match[1], spelling.get(contrast, contrast), root / path))
    return found


def _by_pattern(row: Row, root: Path, paths: Iterable[str]) -> list[Found]:
    """Paths that match the row's pattern, or the pattern of each contrast."""
    rules = pattern_rules(row)
    found = []
    for path in paths:
        for rule, contrast in rules:
            if match := rule.fullmatch(path):
                parts = match.groupdict()
                label = parts.get("label", "")
                scan = parts.get("session", "")
                found.append(Found(parts["subject"], contrast or parts["contrast"], root / path, label, scan=scan))
                break
    return found


def _nifti(row: Row, root: Path) -> list[Found]:
    """Files of volumes whose path below the root matches the pattern."""
    return _by_pattern(row, root, filter(is_volume, files_below(root)))


def _dicom(row: Row, root: Path) -> list[Found]:
    """Folders with files whose path below the root matches the pattern; without one, the root itself is a subject.

    With a pattern of series descriptions, files by what their headers say.
    """
    if asks_for_export(row):
        return find_export(row, root)
    if row["pattern"]:
        return _by_pattern(row, root, folders_with_files(root))
    if len(channels(row)) != 1:
        raise GanError("layout dicom: several contrasts need a pattern, for example '{subject}/{contrast}'")
    return [Found(root.resolve().name, channels(row)[0], root)] if "." in folders_with_files(root) else []


LAYOUTS: dict[str, Callable[[Row, Path], list[Found]]] = {
    "bids": find_bids,
    "brats": _brats,
    "chaos": _chaos,
    "ixi": _ixi,
    "nifti": _nifti,
    "dicom": _dicom,
    "images": find_pictures,
}
