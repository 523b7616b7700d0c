"""Score one cell: its snapshots on the validation split, the chosen one on the test split. docs/protocol.md says why.

The steps of the workflow, each a function here: an extractor (`prepare_extractor`), the features of the real images
(`real_features`), the score of each snapshot (`score_snapshots`), the scores of the cell (`score_cell`).
"""

import argparse
import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gan import check
from gan.data.store import Store
from gan.errors import GanError, command
from gan.files import read_json, write_json
from gan.grids import layout, write_grid
from gan.judge import Judge, Protocol, to_score
from gan.metrics import features
from gan.metrics.areas import label_areas
from gan.metrics.real import SPLITS, RealFeatures
from gan.metrics.scores import WHOLE, score
from gan.metrics.ssim import pairs_of_subjects, similarity_of_pairs
from gan.runtime import DEVICES, OPS
from gan.train.device import pick_device
from gan.train.outputs import release
from gan.train.snapshot import Snapshot, load_generator, load_header

ROWS = 256  # images of the store read at a time


def prepare_extractor(
    kind: str, spec: dict[str, Any], store: str | os.PathLike, out: str | os.PathLike, device: str = "auto"
) -> None:
    """Write the file of the extractor ``kind`` with the settings ``spec`` (the section of that name in ``metrics``).

    ``indomain`` is trained on the training split of ``store``; of ``inception`` the weights file is checked.
    """
    opened = _open(store)

    def training_images() -> NDArray[np.uint8]:
        rows, places = opened.rows("train"), sorted({contrast.channel for contrast in to_score(opened.meta)})
        images = np.empty((len(rows), len(places), *opened.images.shape[2:]), np.uint8)
        for start in range(0, len(rows), ROWS):
            block = slice(start, start + ROWS)
            images[block] = features.stored_to_uint8(opened.images[rows[block]][:, places])
        return images.reshape(-1, *images.shape[2:])

    features.save(out, kind, features.make(kind, spec, training_images, pick_device(device)))


def real_features(
    extractor: str | os.PathLike, store: str | os.PathLike, out: str | os.PathLike, device: str = "auto"
) -> None:
    """Write the features of all real images of ``store`` by split and contrast (`RealFeatures`)."""
    opened, extract = _open(store), features.load(extractor, pick_device(device))
    contrasts = to_score(opened.meta)
    rows = {split: [_rows_of(opened, split, contrast.label) for contrast in contrasts] for split in SPLITS}
    kept = opened.index[opened.index["kept"]].set_index("row")["subject"]
    found: dict[str, dict[str, NDArray]] = {}
    total = sum(len(of_contrast) for of_split in rows.values() for of_contrast in of_split)
    with tqdm(total=total, desc=f"features of real images ({extract.name})", unit="image") as bar:
        for split in SPLITS:
            found[split] = {}
            for contrast, mine in zip(contrasts, rows[split], strict=True):
                parts = [np.empty((0, extract.dim), np.float32)]
                for start in range(0, len(mine), ROWS):
                    images = opened.images[mine[start : start + ROWS], contrast.channel]
                    parts.append(extract(features.stored_to_uint8(images)))
                    bar.update(len(images))
                found[split][contrast.name] = np.concatenate(parts)
    # images of all contrasts are of the same slices, in the same order
    subjects = {split: np.unique(kept.loc[rows[split][0]], return_inverse=True)[1] for split in SPLITS}
    pairs = pairs_of_subjects(subjects["train"]).ravel()
    similarity = {
        contrast.name: similarity_of_pairs(features.stored_to_uint8(opened.images[mine[pairs], contrast.channel]))
        for contrast, mine in zip(contrasts, rows["train"], strict=True)
    }
    RealFeatures(extract.id, found, subjects, similarity, _training_areas(opened)).save(out)


def _training_areas(store: Store) -> NDArray[np.float64]:
    """Areas of the labels of the training masks, [n, largest label]; [n, 0] without a mask."""
    rows = store.rows("train")
    if store.meta["mask"] is None:
        return np.empty((len(rows), 0))
    masks = store.images[rows, -1]
    return label_areas(masks, max(1, int(masks.max())))


def _rows_of(store: Store, split: str, label: int | None) -> NDArray[np.int64]:
    rows = store.rows(split)
    return rows if label is None else rows[store.labels(rows) == label]


def score_snapshots(cell: str | os.PathLike, judge: Judge, protocol: Protocol) -> None:
    """Write ``curve.json``: the score of every snapshot of ``cell`` on the validation split (`Judge.curve`)."""
    cell, rows = Path(cell), []
    paths = _snapshots(cell)
    for path in tqdm(paths, desc="snapshots", unit="snapshot"):
        rows += judge.curve(path, protocol)
    write_json(cell / "curve.json", {"run_key": load_header(paths[0])["run_key"], "rows": rows})


def score_cell(
    cell: str | os.PathLike, judge: Judge, protocol: Protocol, checkpoints: str | os.PathLike | None = None
) -> None:
    """Write ``scores.json``, all metrics of the chosen snapshot on the test split, with their bootstrap replicates in
    ``replicates.json``, and its grid ``fake.png``.

    Reads ``recipe.json`` and ``curve.json`` of the cell, which is complete then: what its run has kept below
    ``checkpoints`` goes (`gan.train.outputs.release`).
    """
    cell = Path(cell)
    path = _chosen(cell, judge.headline) if protocol.choose == "best" else cell / "generator.pt"
    generator = load_generator(path, judge.device)
    recipe = read_json(cell / "recipe.json")
    number = judge.number(protocol.n_fake)
    fakes, pairs, areas = judge.extract(path, generator, number, protocol.seed, protocol.truncation)
    full = functools.partial(score, bootstrap=protocol.bootstrap, seed=protocol.seed)
    rows = judge.rows(fakes, "test", protocol.seed, full) + judge.similarity(pairs, protocol.seed, protocol.bootstrap)
    if mask := generator.data["mask"]:
        rows += judge.areas(areas, mask, protocol.seed, protocol.bootstrap)
    _write_grid(cell / "fake.png", generator, protocol)
    named = ("metric", "contrast", "extractor", "n_real", "n_fake", "seed")
    drawn = [{key: row[key] for key in named} | {"values": row.pop("replicates")} for row in rows]
    write_json(cell / "replicates.json", {"run_key": generator.run_key, "rows": drawn})
    write_json(
        cell / "scores.json",
        {
            **{"dataset": recipe["data"]["dataset"], "variant": recipe["variant"]["name"], "seed": recipe["seed"]},
            "run_key": generator.run_key,
            "snapshot": {"kimg": generator.kimg, "chosen": protocol.choose, "metric": judge.headline},
            "scores": rows,
        },
    )
    if checkpoints is not None:
        release(Path(checkpoints) / generator.run_key)


def _chosen(cell: Path, headline: str) -> Path:
    """The snapshot with the lowest headline metric in ``curve.json``; the earlier one of two equals."""
    rows = read_json(cell / "curve.json")["rows"]
    values = {row["kimg"]: row["value"] for row in rows if (row["metric"], row["contrast"]) == (headline, WHOLE)}
    # an untrained generator is the zero of the curve, never a result
    trained = {kimg: value for kimg, value in values.items() if kimg > 0}
    if not trained:
        raise GanError(f"{cell / 'curve.json'}: holds no {headline} of a trained snapshot; delete it and score again")
    best = min(sorted(trained), key=trained.__getitem__)
    for path in _snapshots(cell):
        if load_header(path)["kimg"] == best:
            return path
    raise GanError(f"{cell / 'snapshots'}: has no snapshot at {best:g} kimg, which curve.json names; score it again")


def _write_grid(path: Path, generator: Snapshot, protocol: Protocol) -> None:
    rows, columns = layout(generator.shape.channels, generator.shape.size)
    images = generator.sample(rows * columns, protocol.seed, truncation=protocol.truncation)
    write_grid(path, images.numpy(), columns, generator.mask_labels)


def _open(store: str | os.PathLike) -> Store:
    opened = Store.open(store)
    if opened.images.ndim != 4:
        raise GanError(f"{store}: images of shape {list(opened.images.shape[1:])}; only 2D slices can be scored")
    for split in SPLITS:
        if not len(opened.rows(split)):
            raise GanError(
                f"{store}: no images in the split {split}, all three are needed for scores; raise its part in the "
                f"data set's split or add subjects"
            )
    return opened


def _snapshots(cell: Path) -> list[Path]:
    found = sorted((cell / "snapshots").glob("kimg*.pt"), key=lambda path: float(path.stem.removeprefix("kimg")))
    if not found:
        raise GanError(f"{cell / 'snapshots'}: no snapshots (kimg*.pt); train the cell first")
    return found


@command
def main(argv: Sequence[str] | None = None) -> None:
    """``gan evaluate extractor|features|curve|scores ...``: the steps of the workflow by hand."""
    parser = argparse.ArgumentParser(prog="gan evaluate", description=__doc__.splitlines()[0])  # type: ignore
    parser.add_argument("--device", default="auto", choices=DEVICES, help="auto takes a GPU if there is one")
    parser.add_argument("--ops", default="auto", choices=OPS, help=check.HELP)
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("extractor", help="make the file of an extractor")
    step.add_argument("kind", choices=features.KINDS)
    step.add_argument("--spec", type=json.loads, default={}, help='settings as JSON, such as {"steps": 300}')
    step.add_argument("--store", type=Path, required=True, help="folder of the packed store")
    step.add_argument("--out", type=Path, required=True, help="extractor.pt to write")
    step = steps.add_parser("features", help="features of the real images")
    step.add_argument("--extractor", type=Path, required=True, help="extractor.pt")
    step.add_argument("--store", type=Path, required=True, help="folder of the packed store")
    step.add_argument("--out", type=Path, required=True, help="real.npz to write")
    for name, doc in (("curve", "score all snapshots"), ("scores", "score the chosen snapshot")):
        step = steps.add_parser(name, help=doc)
        step.add_argument("cell", type=Path, help="folder of the cell, .../<dataset>/<variant>/seed<k>")
        step.add_argument("--extractor", type=Path, nargs="+", required=True, help="extractor.pt; the first leads")
        step.add_argument("--real", type=Path, nargs="+", required=True, help="real.npz of each, in the same order")
        step.add_argument("--protocol", type=json.loads, default={}, help='settings as JSON, such as {"n_fake": 500}')
    given = parser.parse_args(argv)
    if given.step == "extractor":
        prepare_extractor(given.kind, given.spec, given.store, given.out, given.device)
    elif given.step == "features":
        real_features(given.extractor, given.store, given.out, given.device)
    else:
        check.say(check.choose(given.ops, pick_device(given.device)))
        run = score_snapshots if given.step == "curve" else score_cell
        run(given.cell, Judge(given.extractor, given.real, given.device), Protocol.of(given.protocol))
