"""``gan inspect FOLDER`` and ``gan inspect --dataset NAME``: what lies there, before anything is trained."""

import argparse
import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gan.errors import GanError, command
from gan.files import atomic_path

SHEET, ROW, SUBJECTS = "contact_sheet.png", "row.yaml", "subjects.csv"
OUT = Path("inspected")


@command
def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    given = _parser().parse_args(argv)
    if (given.folder is None) == (given.dataset is None):
        raise GanError("give a folder, or --dataset with the name of one in config.yaml (gan inspect --help)")
    idle = {"--all": given.all and given.dataset, "--subjects": given.subjects and given.folder}
    idle["--configfile"] = given.configfile and given.folder
    if named := [option for option, nothing in idle.items() if nothing]:
        raise GanError(f"{named[0]} has no effect on {'a data set' if given.dataset else 'a folder'}; leave it out")
    out = given.out or OUT / (given.dataset or given.folder.resolve().name)
    inside = given.folder.resolve() if given.folder else None
    if inside and (out.resolve() == inside or out.resolve().is_relative_to(inside)):
        raise GanError(f"{out}: lies in the folder to inspect, where nothing is written; name another one with --out")
    workers = given.threads or min(8, len(os.sched_getaffinity(0)))
    with _made(out):
        return _folder(given, out, workers) if given.folder else _dataset(given, out, workers)


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make ``folder`` for the block, and remove what of it is empty afterwards."""
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # not empty
            for place in new:
                place.rmdir()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gan inspect",
        description="What lies in a folder of images, with a row for config.yaml that works as pasted; or what a "
        "configured data set holds, slice by slice and split by split. Reads only, and trains nothing.",
        epilog="The output shows names of files and folders, which may be names of patients, and nothing else that "
        "could identify one.",
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", metavar="FOLDER", help="folder of images; nothing is written there"
    )
    parser.add_argument("--dataset", metavar="NAME", help="a data set of the config instead of a folder")
    parser.add_argument(
        "--configfile", type=Path, nargs="+", default=[], help="overlays of config.yaml, the same as for snakemake"
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the results (%(default)s)")
    parser.add_argument(
        "--out", type=Path, help=f"folder of the contact sheet and the tables ({OUT}/<name of the folder or data set>)"
    )
    parser.add_argument("--all", action="store_true", help="read all headers and voxels; else 1000 and 12 subjects")
    parser.add_argument("--subjects", type=int, metavar="N", help="of a data set, read so many subjects only")
    parser.add_argument("--threads", type=int, metavar="N", help="processes that read (all cores, at most 8)")
    return parser


def _folder(given: argparse.Namespace, out: Path, workers: int) -> int:
    from gan.inspect.folder import survey
    from gan.inspect.row import complete, to_yaml
    from gan.inspect.show_folder import render

    found = survey(given.folder, everything=given.all, workers=workers, scratch=out)
    text = render(found)
    with atomic_path(out / ROW) as part:
        refused = f"# refused as it is: {found.refused}\n" if found.refused else ""
        part.write_text(refused + to_yaml(found.name, found.row, found.comments) + "\n", encoding="utf-8")
    written = f"{out / ROW}"
    if found.look and found.look.ledger.shown:
        found.look.draw(complete(found.row), out / SHEET)
        written = f"{out / SHEET}, {written}"
    print(f"{text}\n\nwritten: {written}")
    return 0


def _dataset(given: argparse.Namespace, out: Path, workers: int) -> int:
    from gan.inspect.dataset import survey
    from gan.inspect.show_dataset import by_subject, render
    from gan.status.command import read_study

    if given.subjects is not None and given.subjects < 1:
        raise GanError(f"--subjects is {given.subjects}; give 1 or more")
    study = read_study(given.configfile)
    with tempfile.TemporaryDirectory(dir=out, prefix=".") as scratch:
        report = survey(
            study, given.dataset, given.results, subjects=given.subjects, workers=workers, scratch=Path(scratch)
        )
    with atomic_path(out / SUBJECTS) as part:
        by_subject(report).to_csv(part, index=False, float_format="%.6g")
    written = out / SUBJECTS
    if report.look:
        report.look.draw(report.row, out / SHEET, report.splits)
        written = f"{out / SHEET}, {written}"
    elif report.store and (sheet := report.store.folder / SHEET).is_file():
        written = f"{sheet}, {written}"
    print(f"{render(report)}\n\nwritten: {written}")
    return 0


def program(argv: list[str] | None = None) -> int:
    """`main` as a process of its own, which ``| head`` ends in silence."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    return main(argv)
