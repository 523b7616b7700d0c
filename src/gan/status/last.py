"""The config of each study that was started in this folder, complete, below ``.snakemake``: which one ran last."""

import time
from dataclasses import dataclass
from pathlib import Path

from gan import project
from gan.errors import GanError
from gan.files import read_json, write_json
from gan.study import Study, load

FOLDER = Path(".snakemake/gan")


@dataclass(frozen=True)
class Started:
    """A study, and when it was started last (s since the epoch)."""

    study: Study
    time: float

    def title(self) -> str:
        """``demo, started 2026-11-27 10:15``."""
        return f"{self.study.name}, started {time.strftime('%Y-%m-%d %H:%M', time.localtime(self.time))}"


def note(study: Study) -> None:
    """Remember that ``study`` starts now."""
    write_json(FOLDER / f"{study.name}.json", study.config)


def last(name: str | None = None) -> Started | None:
    """The study that was started last, or the one called ``name``; None if none was. `GanError` if another version of
    the program has started it, whose config is not understood."""
    paths = {path.stem: path for path in FOLDER.glob("*.json")}
    if name is not None:
        paths = {stem: path for stem, path in paths.items() if stem == name}
    if not paths:
        return None
    path = max(paths.values(), key=lambda path: path.stat().st_mtime)
    try:
        return Started(load(read_json(path), project.schema()), path.stat().st_mtime)
    except GanError as error:
        raise GanError(f"{path}: {error}; name the study's files by --configfile") from error
