"""Score one cell: its snapshots on the validation split, the chosen one on the test split."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gan.cells import WHOLE, note_look
from gan.errors import GanError
from gan.families.registry import options_of
from gan.files import read_json, write_json
from gan.grids import layout, write_grid
from gan.metrics.facts import training
from gan.report.copies import write_pairs
from gan.sampling.marks import Mark, first
from gan.sampling.snapshot import Snapshot, load_generator, load_header
from gan.sampling.tasks import available, sample
from gan.scoring.copies import CopyProbe
from gan.scoring.judge import Judge, Protocol
from gan.scoring.moved_probe import MovedProbe
from gan.scoring.probes import Probe
from gan.scoring.shown import Shown
from gan.train.checkpoint import publish
from gan.train.outputs import release


def score_snapshots(cell: str | os.PathLike, judge: Judge, protocol: Protocol) -> None:
    """Write ``curve.json``: the score of every snapshot of ``cell`` on the validation split (`Judge.curve`)."""
    cell, rows = Path(cell), []
    paths = _snapshots(cell)
    for path in tqdm(paths, desc="snapshots", unit="snapshot"):
        rows += judge.curve(path, protocol)
    write_json(cell / "curve.json", {"run_key": load_header(paths[0])["run_key"], "rows": rows})


def score_cell(
    cell: str | os.PathLike,
    judge: Judge,
    protocol: Protocol,
    checkpoints: str | os.PathLike | None = None,
    looks: str | os.PathLike | None = None,
) -> None:
    """Write ``scores.json``, all metrics of the chosen snapshot on the test split, with their bootstrap replicates in
    ``replicates.json``, its grid ``fake.png``, with radiomic features ``moved.json`` (`MovedProbe`), and what the page
    shows in addition, ``shown`` (`gan.scoring.shown`).

    A row that is made has no kimg there. Reads ``recipe.json`` and ``curve.json`` of the cell, which is complete then:
    what its run has kept below ``checkpoints`` goes (`gan.train.outputs.release`). ``looks`` is the folder of the
    ledger of what was scored on a test split (`gan.cells.ledger`).
    """
    cell = Path(cell)
    recipe, header = read_json(cell / "recipe.json"), load_header(cell / "generator.pt")
    headline = judge.headline(header["data"])
    trained = options_of(header["family"]).TRAINED
    path = _chosen(cell, headline) if trained and protocol.choose == "best" else cell / "generator.pt"
    generator = load_generator(path, judge.device)
    shown = Shown(judge.leader())
    rows, probes = judge.scores(path, generator, protocol, [shown])
    shown.write(cell / "shown", generator, judge.reference, judge.store, protocol.seed)
    rows += _as_published(cell, generator.kimg)
    _write_moved(cell, generator.run_key, probes, judge)
    if copies := next((probe for probe in probes if isinstance(probe, CopyProbe)), None):
        summary = copies.summary()
        write_json(cell / "copies.json", {"run_key": generator.run_key, **summary})
        named = f"{recipe['data']['dataset']}, {recipe['variant']['name']}, seed {recipe['seed']}"
        write_pairs(cell / "pairs.html", named, summary, *copies.suspects())
    _write_grid(cell, generator, protocol)
    if looks is not None:
        note_look(Path(looks), recipe, generator.run_key)
    named = ("metric", "contrast", "extractor", "n_real", "n_fake", "seed")
    drawn = [{key: row[key] for key in named} | {"values": row.pop("replicates")} for row in rows]
    write_json(cell / "replicates.json", {"run_key": generator.run_key, "rows": drawn})
    write_json(
        cell / "scores.json",
        {
            **{"dataset": recipe["data"]["dataset"], "variant": recipe["variant"]["name"], "seed": recipe["seed"]},
            "run_key": generator.run_key,
            "snapshot": {"kimg": generator.kimg if trained else None, "chosen": protocol.choose, "metric": headline},
            "left_out": judge.left_out,
            "scores": rows,
        },
    )
    if checkpoints is not None:
        release(Path(checkpoints) / generator.run_key)


def _write_moved(cell: Path, run_key: str, probes: Sequence[Probe], judge: Judge) -> None:
    """``moved.json``: what moved, where there are radiomic features; else the file of an earlier judge goes."""
    (cell / "moved.json").unlink(missing_ok=True)
    for probe in probes:
        if isinstance(probe, MovedProbe):
            write_json(cell / "moved.json", {"run_key": run_key, **probe.table(judge.reference)})


def _chosen(cell: Path, headline: str) -> Path:
    """The snapshot with the lowest headline metric in ``curve.json``; of equals, the earlier one."""
    rows = read_json(cell / "curve.json")["rows"]
    values = {row["kimg"]: row["value"] for row in rows if (row["metric"], row["contrast"]) == (headline, WHOLE)}
    # an untrained generator is the zero of the curve, never a result
    trained = {kimg: value for kimg, value in values.items() if kimg > 0}
    if not trained:
        raise GanError(f"{cell / 'curve.json'}: has no {headline} of a trained snapshot; delete it and score again")
    best = min(sorted(trained), key=trained.__getitem__)
    for path in _snapshots(cell):
        if load_header(path)["kimg"] == best:
            return path
    raise GanError(f"{cell / 'snapshots'}: has no snapshot at {best:g} kimg, which curve.json names; score it again")


def _as_published(cell: Path, kimg: float) -> list[dict[str, Any]]:
    """What ``curve.json`` says of the snapshot at ``kimg`` against the training images, where the curve has such rows.

    The test split has no part in them.
    """
    if not (cell / "curve.json").exists():  # the last snapshot can be scored without a curve
        return []
    rows = [row for row in read_json(cell / "curve.json")["rows"] if row["kimg"] == kimg and training(row["metric"])]
    unknown = {"low": None, "high": None, "replicates": []}
    return [{key: value for key, value in row.items() if key != "kimg"} | unknown for row in rows]


def _write_grid(cell: Path, generator: Snapshot, protocol: Protocol) -> None:
    """The picture of the chosen snapshot; of a translation it was made with the snapshot."""
    if generator.task:
        path = next(path for path in _snapshots(cell) if load_header(path)["kimg"] == generator.kimg)
        publish(path.with_suffix(".png"), cell / "fake.png")
        return
    rows, columns = layout(generator.shape.shown, generator.shape.size)
    limit, number, truncation = available(generator), rows * columns, protocol.truncation
    if limit is not None:
        number, truncation = min(number, limit), 1.0
    images = sample(generator, number, protocol.seed, truncation=truncation)
    text = Mark.of(generator, protocol.seed).text(first(number))
    write_grid(cell / "fake.png", images.numpy(), columns, generator.mask_labels, text)


def _snapshots(cell: Path) -> list[Path]:
    found = sorted((cell / "snapshots").glob("kimg*.pt"), key=lambda path: float(path.stem.removeprefix("kimg")))
    if not found:
        raise GanError(f"{cell / 'snapshots'}: no snapshots (kimg*.pt); train the cell first")
    return found
