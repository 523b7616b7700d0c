"""Inputs of a study that cannot work, before any job runs: files that are not there, patterns that match nothing.

The workflow's driver imports this module: no numpy, no torch. No file is opened, and a folder is only searched until
each contrast has one match.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from gan.data.bids import contrast_rules, parse
from gan.data.endings import is_volume
from gan.data.found import Row, channels
from gan.data.matching import enclosing, nothing, pattern_rules
from gan.data.notices import first
from gan.data.patterns import walk
from gan.data.places import locate
from gan.errors import GanError
from gan.study import Study


def check_inputs(study: Study, results: Path) -> None:
    """`GanError`, one line, if an input that jobs will read is not there; results: the folder of all studies.

    What an earlier run has fetched needs no source any more; archives and addresses cannot be searched.
    """
    cells = [*study.cells(), *study.sources()]
    faults = []
    for name in dict.fromkeys(cell.dataset for cell in cells):
        try:
            _check_dataset(study.dataset(name), results / study.name / "data" / name / "raw")
        except GanError as error:
            faults.append(f"data set {name}: {error}")
    for variant, path in {cell.variant: study.weights(cell) for cell in cells}.items():
        if path and not Path(path).is_file():
            faults.append(f"variants.{variant}.init_from.path: {path}: no such file; correct it")
    if faults:
        raise GanError(first(faults))


def _check_dataset(row: Row, raw: Path) -> None:
    root = raw if raw.is_dir() else None
    if "path" in row["source"] and not (root or raw.is_symlink()):
        place = locate(row["source"]["path"])
        root = place if place.is_dir() else None
    folders = enclosing(root) if root else []
    rule = row["labels"]
    table = rule.get("table") if isinstance(rule, dict) else None
    known = bool(root) or "phantom" in row["source"]  # an archive may bring its table along
    if table and known and not any(path.exists() for path in (Path(table), *(folder / table for folder in folders))):
        raise GanError(f"labels: table {table} is not here{f' nor below {root}' if root else ''}; check the path")
    if root and (look := _matcher(row)):
        wanted = channels(row)
        seen = next(filter(None, (_seen(folder, look, set(wanted)) for folder in folders)), set())
        if missing := [contrast for contrast in wanted if contrast not in seen]:
            raise GanError(nothing(row, root, missing[0] if seen else ""))


def _matcher(row: Row) -> Callable[[str], set[str]] | None:
    """From a relative path to the contrasts that take it; None for layouts whose names are not the row's."""
    if row["layout"] == "bids":
        rules = contrast_rules(row)
        return lambda path: {name for name, rule in rules.items() if (file := parse(path)) and rule.takes(file)}
    pattern = row["pattern"]
    if row["layout"] not in ("nifti", "dicom") or not pattern or "series:" in str(pattern):
        return None
    known = pattern_rules(row)
    return lambda path: {name or found["contrast"] for rule, name in known if (found := rule.fullmatch(path))}


def _seen(folder: Path, look: Callable[[str], set[str]], wanted: set[str]) -> set[str]:
    """The contrasts with a match below ``folder``; the search ends when all ``wanted`` ones have one."""
    seen: set[str] = set()
    for path in _paths(folder):
        seen |= look(path)
        if seen >= wanted:
            break
    return seen


def _paths(root: Path) -> Iterator[str]:
    """Relative paths of the volumes below ``root``, and of the folders with files."""
    for folder, names in walk(root):
        below = folder.relative_to(root)
        yield from ((below / name).as_posix() for name in names if is_volume(name))
        if names:
            yield below.as_posix()
