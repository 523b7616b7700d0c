"""Score one cell: its snapshots on the validation split, the chosen one on the test split. docs/protocol.md says why.

The steps of the workflow, each a function here: an extractor (`prepare_extractor`), the features of the real images
(`real_features`), the score of each snapshot (`score_snapshots`), the scores of the cell (`score_cell`).
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from gan.data.store import Store
from gan.errors import GanError, command
from gan.files import read_json, write_json
from gan.grids import layout, write_grid
from gan.metrics import features
from gan.metrics.features import Extractor
from gan.metrics.real import SPLITS, RealFeatures
from gan.metrics.scores import CURVE, WHOLE, Sets, metric_name, score, score_curve
from gan.train.device import DEVICES, pick_device
from gan.train.snapshot import Snapshot, load_generator

ROWS = 256  # images of the store read at a time


@dataclass(frozen=True)
class Protocol:
    """How cells are scored: those keys of the config's ``metrics`` that do not belong to an extractor.

    n_fake, n_fake_curve: generated images, at most (never more than there are training images, so that the floor has
    the same number); bootstrap: resamples of subjects; choose: ``best`` by the curve, or ``final``; truncation: of the
    generator; seed: of generated images and resamples.
    """

    n_fake: int = 10000
    n_fake_curve: int = 2000
    bootstrap: int = 200
    choose: str = "best"
    truncation: float = 1.0
    seed: int = 0

    @classmethod
    def of(cls, metrics: dict[str, Any]) -> "Protocol":
        """From the section ``metrics``; keys of extractors are passed over, unknown ones are a `GanError`."""
        known = {field.name for field in fields(cls)}
        unknown = set(metrics) - known - {"extractors", *features.KINDS}
        if unknown:
            raise GanError(f"metrics: unknown key {min(unknown)!r}; allowed: {', '.join(sorted(known))}")
        if metrics.get("choose", "best") not in ("best", "final"):
            raise GanError(f"metrics.choose is {metrics['choose']!r}; allowed: best, final")
        return cls(**{key: value for key, value in metrics.items() if key in known})


def use(device: str, threads: int) -> str:
    """Hold torch to the ``threads`` that the scheduler gave, and pass ``device`` on."""
    torch.set_num_threads(threads)
    return device


def prepare_extractor(
    kind: str, spec: dict[str, Any], store: str | os.PathLike, out: str | os.PathLike, device: str = "auto"
) -> None:
    """Write the file of the extractor ``kind`` with the settings ``spec`` (the section of that name in ``metrics``).

    ``indomain`` is trained on the training split of ``store``; of ``inception`` the weights file is checked.
    """
    opened = _open(store)

    def training_images() -> NDArray[np.uint8]:
        places = [place for _, place in _contrasts(opened.meta)]
        images = np.asarray(opened.images[opened.rows("train")])[:, places]
        return features.stored_to_uint8(images.reshape(-1, *images.shape[2:]))

    features.save(out, kind, features.make(kind, spec, training_images, pick_device(device)))


def real_features(
    extractor: str | os.PathLike, store: str | os.PathLike, out: str | os.PathLike, device: str = "auto"
) -> None:
    """Write the features of all real images of ``store`` by split and contrast (`RealFeatures`)."""
    opened, extract = _open(store), features.load(extractor, pick_device(device))
    contrasts = _contrasts(opened.meta)
    rows = {split: opened.rows(split) for split in SPLITS}
    kept = opened.index[opened.index["kept"]].set_index("row")["subject"]
    found: dict[str, dict[str, NDArray]] = {}
    total = sum(map(len, rows.values())) * len(contrasts)
    with tqdm(total=total, desc=f"features of real images ({extract.name})", unit="image") as bar:
        for split in SPLITS:
            found[split] = {}
            for contrast, place in contrasts:
                parts = [np.empty((0, extract.dim), np.float32)]
                for start in range(0, len(rows[split]), ROWS):
                    images = opened.images[rows[split][start : start + ROWS], place]
                    parts.append(extract(features.stored_to_uint8(images)))
                    bar.update(len(images))
                found[split][contrast] = np.concatenate(parts)
    subjects = {split: np.unique(kept.loc[rows[split]], return_inverse=True)[1] for split in SPLITS}
    RealFeatures(extract.id, found, subjects).save(out)


def score_snapshots(
    cell: str | os.PathLike,
    extractors: Sequence[str | os.PathLike],
    real: Sequence[str | os.PathLike],
    protocol: Protocol,
    device: str = "auto",
) -> None:
    """Write ``curve.json``: the metrics of `CURVE` of every snapshot of ``cell`` on the validation split.

    extractors and real: the files of `prepare_extractor` and `real_features`, in the same order; the first leads.
    """
    cell, judges = Path(cell), _judges(extractors, real, device)
    # other latents than those of the final scores, so that the choice among snapshots does not flatter the chosen one
    seed = protocol.seed + 1
    rows, run_key = [], ""
    for path in tqdm(_snapshots(cell), desc="snapshots", unit="snapshot"):
        generator = load_generator(path, pick_device(device))
        run_key = generator.run_key
        number = _number(protocol.n_fake_curve, judges)
        for (extract, known), fake in zip(
            judges, _generate(path, generator, judges, number, seed, protocol), strict=True
        ):
            for row in score_curve(_sets(known, fake, "val", seed)):
                rows.append(
                    {"kimg": generator.kimg, **row, "metric": metric_name(row["metric"], extract.name)}
                    | _conditions(extract, known, "val", number, seed)
                )
    write_json(cell / "curve.json", {"run_key": run_key, "rows": rows})


def score_cell(
    cell: str | os.PathLike,
    extractors: Sequence[str | os.PathLike],
    real: Sequence[str | os.PathLike],
    protocol: Protocol,
    device: str = "auto",
) -> None:
    """Write ``scores.json``, all metrics of the chosen snapshot on the test split, and its grid ``fake.png``.

    Reads ``recipe.json`` and ``curve.json`` of the cell; the arguments are those of `score_snapshots`.
    """
    cell, judges = Path(cell), _judges(extractors, real, device)
    headline = metric_name(CURVE[0], judges[0][0].name)
    path = _chosen(cell, headline) if protocol.choose == "best" else cell / "generator.pt"
    generator = load_generator(path, pick_device(device))
    recipe = read_json(cell / "recipe.json")
    number = _number(protocol.n_fake, judges)
    rows = []
    fakes = _generate(path, generator, judges, number, protocol.seed, protocol)
    for (extract, known), fake in zip(judges, fakes, strict=True):
        for row in score(_sets(known, fake, "test", protocol.seed), bootstrap=protocol.bootstrap, seed=protocol.seed):
            name = metric_name(row["metric"], extract.name)
            rows.append({**row, "metric": name} | _conditions(extract, known, "test", number, protocol.seed))
    _write_grid(cell / "fake.png", generator, protocol)
    write_json(
        cell / "scores.json",
        {
            **{"dataset": recipe["data"]["dataset"], "variant": recipe["variant"]["name"], "seed": recipe["seed"]},
            "run_key": generator.run_key,
            "snapshot": {"kimg": generator.kimg, "chosen": protocol.choose, "metric": headline},
            "scores": rows,
        },
    )


Judge = tuple[Extractor, RealFeatures]


def _judges(extractors: Sequence[str | os.PathLike], real: Sequence[str | os.PathLike], device: str) -> list[Judge]:
    loaded = [features.load(path, pick_device(device)) for path in extractors]
    return [(extract, RealFeatures.load(path, extract.id)) for extract, path in zip(loaded, real, strict=True)]


def _number(wanted: int, judges: Sequence[Judge]) -> int:
    """Generated images to score: as many as wanted, but no more than there are real training images for the floor."""
    return min(wanted, *(len(known.subjects["train"]) for _, known in judges))


def _conditions(extract: Extractor, known: RealFeatures, split: str, number: int, seed: int) -> dict[str, Any]:
    """What a score depends on besides the generator."""
    n_real = len(known.subjects[split])
    return {"split": split, "n_real": n_real, "n_fake": number, "extractor": extract.id, "seed": seed}


def _sets(known: RealFeatures, fake: dict[str, NDArray], split: str, seed: int) -> Sets:
    number = len(next(iter(fake.values())))
    train = known.features["train"]
    return Sets(known.features[split], fake, known.subjects[split], train, known.draw(number, seed))


def _generate(
    path: Path, generator: Snapshot, judges: Sequence[Judge], number: int, seed: int, protocol: Protocol
) -> list[dict[str, NDArray[np.float32]]]:
    """Features of ``number`` generated images for each judge and contrast; the images themselves are not kept."""
    contrasts = _contrasts(generator.data)
    names = [name for name, _ in contrasts]
    for _, known in judges:
        if names != known.contrasts:
            raise GanError(
                f"{path}: makes the contrasts {', '.join(names)}, but the real features are of "
                f"{', '.join(known.contrasts)}; score it with the features of its own data set"
            )
    parts: list[dict[str, list[NDArray]]] = [{name: [] for name in names} for _ in judges]
    with tqdm(total=number, desc=f"generate and extract, {generator.kimg:g} kimg", unit="image", leave=False) as bar:
        for images in generator.chunks(number, seed, truncation=protocol.truncation):
            if not torch.isfinite(images).all():
                raise GanError(f"{path}: generates NaN or infinite values; its training diverged, see stats.jsonl")
            for name, place in contrasts:
                grey = features.generated_to_uint8(images[:, place].numpy())
                for (extract, _), part in zip(judges, parts, strict=True):
                    part[name].append(extract(grey))
            bar.update(len(images))
    return [{name: np.concatenate(blocks) for name, blocks in part.items()} for part in parts]


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
        if load_generator(path).kimg == best:
            return path
    raise GanError(f"{cell / 'snapshots'}: has no snapshot at {best:g} kimg, which curve.json names; score it again")


def _snapshots(cell: Path) -> list[Path]:
    found = sorted((cell / "snapshots").glob("kimg*.pt"), key=lambda path: float(path.stem.removeprefix("kimg")))
    if not found:
        raise GanError(f"{cell / 'snapshots'}: no snapshots (kimg*.pt); train the cell first")
    return found


def _write_grid(path: Path, generator: Snapshot, protocol: Protocol) -> None:
    rows, columns = layout(generator.shape.channels, generator.shape.size)
    images = generator.sample(rows * columns, protocol.seed, truncation=protocol.truncation)
    write_grid(path, images.numpy(), columns)


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


def _contrasts(meta: dict[str, Any]) -> list[tuple[str, int]]:
    """Names and places of the channels to score: all but the mask."""
    return [(name, place) for place, name in enumerate(meta["channels"]) if name != meta.get("mask")]


@command
def main(argv: Sequence[str] | None = None) -> None:
    """``python -m gan.evaluate extractor|features|curve|scores ...``: the steps of the workflow by hand."""
    parser = argparse.ArgumentParser(prog="python -m gan.evaluate", description=__doc__.splitlines()[0])  # type: ignore
    parser.add_argument("--device", default="auto", choices=DEVICES, help="auto takes a GPU if there is one")
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
        run = score_snapshots if given.step == "curve" else score_cell
        run(given.cell, given.extractor, given.real, Protocol.of(given.protocol), given.device)


if __name__ == "__main__":
    sys.exit(main())
