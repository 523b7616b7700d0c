"""``gan export --cell results/<study>/<dataset>/<variant>/seed<k> --out DIR``: a cell as a folder to pass on.

Weights, images, model card, datasheet, checklists and the terms of the data, which decide whether there is an export at
all. docs/terms.md.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from gan.cells import CellFiles
from gan.data.folders import atomic_folder
from gan.errors import GanError, command
from gan.files import checksum, write_json
from gan.governance.allowed import acts_of, allowed, copied
from gan.governance.card import card
from gan.governance.croissant import croissant
from gan.governance.datasheet import datasheet
from gan.governance.dicom import require_dicom
from gan.governance.facts import Facts, read_facts
from gan.governance.images import FORMS, Exported, export_images
from gan.governance.reporting import reporting
from gan.governance.reproducibility import write_statement
from gan.sampling.snapshot import Snapshot, content_of, load_generator, load_header
from gan.sampling.tensors import require_tensors, write_tensors
from gan.terms import FILE

CARD, WEIGHTS = "README.md", "model.safetensors"


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gan export", description="A trained cell as a folder to pass on.")
    parser.add_argument("--cell", required=True, type=Path, help="folder of the cell, .../<dataset>/<variant>/seed<k>")
    parser.add_argument("--out", required=True, type=Path, help="folder to write, which must not be there yet")
    parser.add_argument("--n", type=int, help="images to draw; default: 64, of what translates 0")
    parser.add_argument("--seed", type=int, default=0, help="decides the images (%(default)s)")
    parser.add_argument("--format", choices=FORMS, default="png", help="of the images (%(default)s)")
    parser.add_argument("--no-weights", action="store_true", help="the images alone")
    given = parser.parse_args(argv)
    if given.seed < 0 or (given.n is not None and given.n < 0):
        raise GanError(f"--n is {given.n} and --seed is {given.seed}; allowed: both from 0")
    return given


@command
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    given = _arguments(argv)
    if given.out.exists():
        raise GanError(f"{given.out}: is there already; name another folder, or delete it")
    facts = read_facts(_cell(given.cell))
    snapshot = load_generator(_scored(facts))
    snapshot = replace(snapshot, data=snapshot.data | {"terms": facts.terms.record()}, present=facts.terms)
    number = _number(snapshot, given.n)
    if given.no_weights and not number:
        raise GanError("--no-weights and --n 0: nothing is left to export; leave one of them out")
    warnings = allowed(facts.terms, acts_of(snapshot, weights=not given.no_weights, images=number > 0))
    warnings += copied(facts.copies)
    if not given.no_weights:
        require_tensors()
    if number and given.format == "dicom":
        require_dicom(snapshot)
    with atomic_folder(given.out) as folder:
        images = export_images(snapshot, folder, number, given.seed, given.format) if number else None
        _documents(facts, images, folder, warnings, weights=not given.no_weights)
        if not given.no_weights:
            about = {"card_sha256": checksum(folder / CARD), "licence": " and ".join(facts.terms.licences)}
            write_tensors(folder / WEIGHTS, content_of(snapshot), about)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(given.out / CARD)


def _documents(facts: Facts, images: Exported | None, folder: Path, warnings: list[str], *, weights: bool) -> None:
    """All that is text; the card last but for the weights, which hold its checksum."""
    write_json(folder / FILE, facts.terms.record())
    _write(folder / "reporting.md", reporting(facts))
    write_statement(facts, folder)
    if images:
        _write(folder / "datasheet.md", datasheet(facts, images, warnings))
        write_json(folder / "croissant.json", croissant(facts, images, folder, warnings))
    # What lies there by now, and what is written last.
    files = sorted({path.relative_to(folder).parts[0] for path in folder.rglob("*")} | {CARD, *[WEIGHTS] * weights})
    _write(folder / CARD, card(facts, files, warnings))


def _cell(folder: Path) -> CellFiles:
    path = folder.absolute()
    if len(path.parts) < 4 or not path.name.removeprefix("seed").isdigit():
        raise GanError(f"{folder}: no folder of a cell; name results/<study>/<dataset>/<variant>/seed<k>")
    return CellFiles(path.parts[-3], path.parts[-2], int(path.name.removeprefix("seed")), path)


def _scored(facts: Facts) -> Path:
    """The snapshot whose scores the card has; without scores the last one, which is the generator."""
    folder = facts.cell.folder
    if facts.kimg is None:
        return folder / "generator.pt"
    for path in sorted((folder / "snapshots").glob("kimg*.pt")):
        if load_header(path)["kimg"] == facts.kimg:
            return path
    raise GanError(
        f"{folder / 'snapshots'}: has no snapshot at {facts.kimg:g} kimg, which scores.json names; score it again"
    )


def _number(snapshot: Snapshot, asked: int | None) -> int:
    if not snapshot.task:
        return 64 if asked is None else asked
    if asked:
        raise GanError(
            f"--n {asked}: this cell translates, and a translation is made of a patient's scan; leave --n out"
        )
    return 0


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
