"""What a configured data set holds: the slices that each subject keeps, and what its splits will be."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from gan.data import splits
from gan.data.found import Found
from gan.data.layouts import find
from gan.data.places import locate
from gan.data.slices import facts_of, items_of
from gan.data.sources import fetch
from gan.data.store import Store
from gan.data.volumes import TABLE
from gan.errors import GanError
from gan.inspect.headers import spread
from gan.inspect.look import ALL_TRAIN, Look, look, look_at
from gan.study import Study


@dataclass
class Report:
    """origin: what was read; index: as of a store, for the subjects that were read, of ``subjects`` in all; splits: of
    all subjects; store: the folder of the store, if that was read, else look: what was seen; refused: why the study
    will stop at this data set, empty if it will not; too_few: why it cannot be scored."""

    name: str
    row: dict[str, Any]
    origin: str
    index: pd.DataFrame
    splits: dict[str, str]
    store: Store | None = None
    look: Look | None = None
    refused: list[str] = field(default_factory=list)
    too_few: str = ""

    @property
    def whole(self) -> bool:
        """Whether all subjects were read."""
        return set(self.index["subject"]) == set(self.splits)


def survey(
    study: Study, name: str, results: Path, *, subjects: int | None = None, workers: int = 1, scratch: Path
) -> Report:
    """Find out what the data set ``name`` of ``study`` holds, from its store, else its volumes below ``results``, else
    its files, which are converted one after the other below ``scratch``. subjects: read so many only, evenly spread.

    Raises `GanError` for an unknown name, a source that is not here yet, or files that the row does not fit.
    """
    known = study.config["datasets"]
    if name not in known:
        raise GanError(f"--dataset: {name!r} is not in the config; it has {', '.join(known)}")
    row, place = study.dataset(name), results / study.name / "data" / name
    if (store := _store(place / "store", row, name)) and subjects is None:
        of = dict(zip(store.index["subject"], store.index["split"], strict=True))
        report = Report(name, row, f"the store {store.folder}", store.index, of, store=store)
    else:
        report = _look(study, name, place, subjects, workers, scratch)
    if report.whole:
        try:
            splits.check_scores(report.index, row["split"])
        except GanError as error:
            report.too_few = str(error)
    return report


def _store(folder: Path, row: dict[str, Any], name: str) -> Store | None:
    """The store in ``folder``, if there is one of this row."""
    if not folder.is_dir():
        return None
    try:
        store = Store.open(folder)
    except GanError:
        return None
    wanted = facts_of(row, name)
    return store if all(store.meta.get(key) == value for key, value in wanted.items()) else None


def _look(study: Study, name: str, place: Path, subjects: int | None, workers: int, scratch: Path) -> Report:
    """The report from volumes, or from files."""
    row = study.dataset(name)
    quiet = row | {"split": ALL_TRAIN}  # the real split is drawn below, of all subjects
    if (place / "volumes" / TABLE).exists():
        origin = f"the volumes {place / 'volumes'}"
        items = items_of(row, place / "volumes")
        labels, brought = ({item.subject: getattr(item, key) for item in items} for key in ("label", "split"))
        chosen = set(spread(sorted(labels), subjects or len(labels)))
        seen = look_at(quiet, [item for item in items if item.subject in chosen], workers=workers)
    else:
        raw = _raw(study, name, place, scratch)
        found: list[Found] = find(row, raw)
        origin = f"the files {raw}" if not raw.is_relative_to(scratch) else "a phantom made for this report"
        labels, brought = ({item.subject: getattr(item, key) for item in found} for key in ("label", "split"))
        chosen = set(spread(sorted(labels), subjects or len(labels)))
        some = [item for item in found if item.subject in chosen]
        seen = look(quiet, some, workers=workers, scratch=scratch)
    refused = [*seen.errors]
    if not seen.seen:
        raise GanError(refused[0])
    fixed = {subject: split for subject, split in brought.items() if split in ("val", "test")}
    try:
        split = splits.assign(labels, row["split"], fixed)
    except GanError as error:
        refused.append(str(error))
        split = dict.fromkeys(labels, "train")
    index = _index(seen, row, subjects is None and not refused, refused)
    index["split"] = [split[subject] for subject in index["subject"]]
    return Report(name, row, origin, index, split, look=seen, refused=refused)


def _index(seen: Look, row: dict[str, Any], whole: bool, refused: list[str]) -> pd.DataFrame:
    """The index of what was seen; the checks of a store add to ``refused``."""
    if whole:
        seen.ledger.row = row
        try:
            return seen.index()
        except GanError as error:
            refused.append(str(error))
            seen.ledger.row = row | {"split": ALL_TRAIN}
    try:
        return seen.index()
    except GanError as error:
        if not refused:
            refused.append(str(error))
        return seen.ledger.table()


def _raw(study: Study, name: str, place: Path, scratch: Path) -> Path:
    """The folder of the source; a phantom is made in ``scratch``."""
    source, raw = study.dataset(name)["source"], place / "raw"
    if raw.is_dir():
        return raw
    remedy = f"fetch it first: snakemake --cores 1 {raw}"
    if "url" in source:
        raise GanError(f"data set {name}: its source is an address and is not here yet; {remedy}")
    if "phantom" in source:
        return fetch(source, scratch / "raw")
    try:
        path = locate(source["path"])
    except GanError as error:
        raise GanError(f"data set {name}: {error}") from error
    if path.is_file():
        raise GanError(f"data set {name}: {path} is an archive that is not unpacked yet; {remedy}")
    return path
