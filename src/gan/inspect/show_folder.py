"""The survey of a folder as text."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from gan.data.endings import unread
from gan.inspect.folder import Survey
from gan.inspect.inventory import Inventory
from gan.inspect.look import Seen
from gan.inspect.row import DEFAULTS, LEAST, NEGATIVE, complete, to_yaml
from gan.inspect.text import NAMED, count, headed, joined, span, spans, table
from gan.inspect.values import Values

MAPS = {
    "percentile": "percentile, 0.5 to 99.5 % of the voxels above 0 of each volume",
    "minmax": "minmax, lowest to highest value of each volume",
    "window": "window, the whole range that the bits of the files allow",
}
CLIPPED = 0.01  # of the voxels at the highest value


def render(found: Survey) -> str:
    """The report: what lies there, what the row would do with it, and the row."""
    lines = [f"{found.files.root}: {_amounts(found.files)}", *_layout(found), *headed("contrasts", _contrasts(found))]
    if found.look and found.look.seen:
        row = complete(found.row)
        ranges = [*intensities(found.look.seen, row["contrasts"]), f"recommended map: {MAPS[row['intensity']['map']]}"]
        lines += headed(_read(found), ranges)
        lines += headed("slices", _slices(found))
    lines += headed("equal images", _equal(found))
    lines += headed("not used", _unused(found))
    lines += headed("look at", _warnings(found))
    lines += ["", f"the row for config.yaml{', which is refused as it is' if found.refused else ''}:"]
    return "\n".join([*lines, "", to_yaml(found.name, found.row, found.comments)])


def _amounts(files: Inventory) -> str:
    dicom = sum(map(len, files.dicom.values()))
    parts = [(len(files.volumes), "volume"), (dicom, "DICOM file"), (len(files.pictures), "picture")]
    named = [count(number, thing) for number, thing in [*parts, (len(files.others), "other file")] if number]
    return ", ".join(named)


def _layout(found: Survey) -> list[str]:
    guessed = found.guess
    scans = {key for of in guessed.contrasts.values() for key in of}
    sessions = {scan for _, scan in scans if scan}
    subjects = len({item.subject for item in found.found}) or len(guessed.subjects)
    several = f", {count(len(scans), 'scan')}" if sessions else ""
    pattern = found.row.get("pattern")
    text = f" {pattern}" if isinstance(pattern, str) else ""
    classes = sorted({item.label for item in found.found if item.label})
    return [
        f"layout: {guessed.layout}{text}",
        f"subjects: {subjects}{several}" + (f"; classes (folders): {joined(classes)}" if len(classes) > 1 else ""),
    ]


def _contrasts(found: Survey) -> list[str]:
    """A line for each contrast: who has it, and its grids."""
    rows = []
    everyone = found.guess.subjects
    for name, scans in found.guess.contrasts.items():
        subjects = {subject for subject, _ in scans}
        missing = [subject for subject in everyone if subject not in subjects]
        heads = list(found.heads[name].values())
        grids = [of.grids[name] for of in found.look.seen if name in of.grids] if found.look else []
        if found.files.kind == "volumes" and heads:
            grid = [spans([head.shape for head in heads]), _mm([head.spacing for head in heads])]
            grid += [joined(_common(head.axes for head in heads)), joined(_common(head.dtype.name for head in heads))]
        else:
            grid = [joined(_common(shape for shape, _ in grids)), joined(_common(mm for _, mm in grids)), "", ""]
        what = "mask" if name in found.masks else "unread" if name in found.rejected else ""
        lacks = f"not {joined(missing)}" if missing and len(subjects) > len(missing) else ""
        rows.append([name, what, len(subjects), len(scans), *grid, lacks])
    if found.files.kind == "pictures":
        return table(
            ["contrast", "", "pictures", "", "pixels", "", "", "", ""], [[*row[:3], "", *row[4:]] for row in rows]
        )
    titles = ["contrast", "", "subjects", "files", "voxels", "mm", "axes", "type", ""]
    return table(titles, rows)


def grids(seen: Sequence[Seen], names: Sequence[str]) -> list[str]:
    """A line for each contrast: its grids, as converted."""
    rows = [
        [name, *(joined(_common(of.grids[name][place] for of in seen if name in of.grids)) for place in (0, 1))]
        for name in names
    ]
    return table(["contrast", "voxels (x, y, z)", "mm"], rows)


def _common(values: Iterable[str]) -> list[str]:
    """The different values, the most frequent first."""
    return [value for value, _ in Counter(values).most_common() if value]


def _mm(spacings: Sequence[Sequence[float]]) -> str:
    return spans([[float(f"{mm:.3g}") for mm in spacing] for spacing in spacings])


def _read(found: Survey) -> str:
    assert found.look
    things = "pictures" if found.files.kind == "pictures" else "subjects"
    of = len({item.subject for item in found.found})
    seen = len({seen.item.subject for seen in found.look.seen})
    return f"intensities ({'all' if seen == of else f'{seen} of {of}'} {things} were read)"


def intensities(seen: Sequence[Seen], names: Sequence[str]) -> list[str]:
    """A line for each contrast: the range of its values."""
    rows = []
    for name in names:
        values = [of.values[name] for of in seen if name in of.values]
        kinds = joined(_common(of.dtype.name for of in values))
        if not values:
            continue
        below = max(of.below for of in values)
        rows.append([name, span([of.low for of in values]), span([of.high for of in values]), f"{below:.1%}", kinds])
    return table(["contrast", "lowest value", "highest value", "below 0 (most)", "type"], rows)


def _slices(found: Survey) -> list[str]:
    """What the row keeps of the subjects that were read."""
    assert found.look
    full = complete(found.row)
    spec, size = full["slices"], full["slices"]["size"]
    kept, candidates = Counter(), Counter()
    for of in found.look.seen:
        kept[of.item.subject] += int(of.encoded.kept.sum())
        candidates[of.item.subject] += len(of.encoded.kept)
    pictures = full["layout"] == "images"
    numbers = [kept[subject] for subject in candidates]
    lines = [f"{'pictures' if pictures else spec['axis'] + ' slices'} of {size} x {size} pixels"]
    if pictures:
        lines.append(f"{sum(numbers)} of {candidates.total()} are kept")
    else:
        of = span(list(candidates.values()))
        lines.append(f"each subject keeps {span(numbers)} of {of}, in the mean {np.mean(numbers):.0f}")
    if empty := [subject for subject in candidates if not kept[subject]]:
        lines.append(f"{count(len(empty), 'subject keeps', 'subjects keep')} none: {joined(empty)}")
    return lines


def _equal(found: Survey) -> list[str]:
    lines = [_same(group) for group in found.equal[:10]]
    if len(found.equal) > 10:
        lines.append(f"and {len(found.equal) - 10} more groups")
    same: dict[bytes, dict[str, str]] = {}  # of the voxels that were read: names, and their files
    for of in found.look.seen if found.look and found.files.kind != "pictures" else []:
        for name in found.row["contrasts"]:
            file = found.guess.contrasts[name].get((of.item.subject, of.item.scan), "")
            title = " ".join(filter(None, (of.item.subject, of.item.scan, name)))
            same.setdefault(of.values[name].digest, {})[title] = file
    twins = [of for of in same.values() if len(of) > 1 and not any({*of.values()} <= {*group} for group in found.equal)]
    lines += [f"{_same(list(of))} (the same voxels)" for of in twins[:10]]
    return lines


def _same(names: Sequence[str]) -> str:
    rest = len(names) - NAMED
    return " = ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _unused(found: Survey) -> list[str]:
    files, used = found.files, {path for of in found.guess.contrasts.values() for path in of.values()}
    lines = [f"contrast {name}: {reason}" for name, reason in found.rejected.items()]
    wanted = [*found.row["contrasts"], found.row.get("mask")]
    left = [name for name in found.guess.contrasts if name not in wanted and name not in found.rejected]
    if left:
        lines.append(f"{count(len(left), 'contrast')} not in the row: {joined(left)}")
    if found.files.kind == "volumes" and (odd := [path for path in files.volumes if path not in used]):
        lines.append(f"{count(len(odd), 'volume')} whose name fits no pattern: {joined(odd)}")
    bad = {path: why for path, why in found.unread.items() if not any(why == of for of in found.rejected.values())}
    lines += list(dict.fromkeys(bad.values()))[:5]
    if len(bad) > 5:
        lines.append(f"and {count(len(bad) - 5, 'more file')} that cannot be read")
    for kind, paths in (("volumes", files.volumes), ("pictures", files.pictures), ("dicom", list(files.dicom))):
        if paths and kind != files.kind:
            what = "folder with DICOM files" if kind == "dicom" else kind.rstrip("s")
            plural = "folders with DICOM files" if kind == "dicom" else ""
            lines.append(f"{count(len(paths), what, plural)}: {joined(paths)}")
    if files.kind == "pictures" and (odd := [path for path in files.pictures if path not in used]):
        lines.append(f"{count(len(odd), 'picture')} not in a class folder: {joined(odd)}")
    for path in [path for path in files.others if unread([path])][:10]:
        lines.append(f"{path}: {unread([path])}")
    rest = [path for path in files.others if not unread([path])]
    if rest:
        endings = Counter(PurePosixPath(path).suffix or "no ending" for path in rest)
        several = joined([f"{ending} ({number})" for ending, number in endings.most_common()])
        lines.append(f"{count(len(rest), 'file')} of other kinds: {joined(rest) if len(rest) < 4 else several}")
    return lines


def _warnings(found: Survey) -> list[str]:
    lines = [f"refused: {found.refused}"] if found.refused else []
    if found.look and len(found.look.errors) > 1:
        lines.append(f"and {len(found.look.errors) - 1} more of the subjects that were read are refused")
    lines += found.remarks
    if found.look:
        lines += warnings_of(found.look.seen, complete(found.row))
    split = complete(found.row)["split"]
    subjects = len({item.subject for item in found.found})
    if not found.refused and not split["test"]:
        few = f"{count(subjects, 'subject')}: too few for scores, which need {LEAST}"
        lines.append(f"{few}; the row makes a store to look at")
    elif not found.refused and split["test"] != DEFAULTS["split"]["test"]:
        lines.append(f"{subjects} subjects are few: val and test get {split['test']:g} each, so that two are in each")
    if found.equal:
        lines.append(
            f"{count(len(found.equal), 'group')} of equal images: remove all but one, or name them one subject"
        )
    return lines


def warnings_of(seen: Sequence[Seen], row: dict[str, Any]) -> list[str]:
    """Notes of conversion, and what is odd about intensities; a line for all contrasts and subjects that share it."""
    found: dict[str, list[str]] = {}
    for of in seen:
        if of.item.notes:
            found.setdefault(of.item.notes, []).append(of.item.subject)
    lines = [f"{note} ({joined(list(dict.fromkeys(names)))})" for note, names in list(found.items())[:5]]
    odd: dict[str, list[str]] = {}
    for name in row["contrasts"]:
        for line in _of_values([of.values[name] for of in seen if name in of.values], row):
            odd.setdefault(line, []).append(name)
    return [*lines, *(f"{joined(names)}: {line}" for line, names in odd.items())]


def _of_values(values: Sequence[Values], row: dict[str, Any]) -> list[str]:
    """Warnings of the intensities of one contrast."""
    lines, percentile = [], row["intensity"]["map"] == "percentile"
    below = max((of.below for of in values), default=0.0)
    if below > NEGATIVE and percentile:
        lines.append(
            f"up to {below:.0%} of the voxels are below 0 (z-scores, phase?), which the map percentile makes black; "
            "set intensity.map to minmax, or to window with low below 0"
        )
    elif below > NEGATIVE:
        lines.append(
            f"up to {below:.0%} of the voxels are below 0 (z-scores, phase?); the map percentile would make them "
            f"black, {row['intensity']['map']} does not; a window with fixed limits keeps subjects comparable"
        )
    elif below > 0 and percentile:
        lines.append(f"at most {NEGATIVE:.0%} of the voxels are below 0, as resampling leaves them, and become black")
    if values and all(of.dtype == np.uint8 for of in values):
        lines.append("8 bits, at most 256 values; if you have the scanner's own values, take those")
    top = max((of.top for of in values if not of.levels), default=0.0)
    if top > CLIPPED and below <= NEGATIVE:
        lines.append(f"up to {top:.0%} of the voxels have the highest value: bright tissue is clipped")
    return lines
