"""What every metric does when real images are degraded: validation images in the place of generated ones.

A metric that does not move under a fault does not see it. Since all else is as for a generator (the same probes, real
images and numbers), each value can be compared with that of the unchanged images.
"""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportGeneralTypeIssues=false

import copy
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from gan.cells import JOINT, WHOLE
from gan.data.store import Store
from gan.errors import GanError
from gan.files import atomic_path, read_json
from gan.metrics.facts import rank, title
from gan.report.table import number, write_csv
from gan.report.view import markdown_rows
from gan.scales import stored_to_uint8
from gan.scoring import faults
from gan.scoring.contrasts import Scored, joint, rows_of, to_score
from gan.scoring.judge import Judge, Protocol
from gan.scoring.moved_probe import MovedProbe
from gan.scoring.probes import Samples
from gan.scoring.reference import at_once, open_store, prepare_extractor, real_features

BATCH_OF_VOLUMES = 16  # at least, since slices are exchanged between them
FORMS = (".md", ".csv")
Random = np.random.Generator


class Fault(NamedTuple):
    """A way to spoil a set of images.

    change: from samples to worse ones; choose: from rows of validation and of training images to as many rows of the
    store as there are validation images. Either may be left out.
    """

    change: Callable[[Samples, Random], Samples] | None = None
    choose: Callable[[NDArray, NDArray, Random], NDArray] | None = None


def _pixels(change: Callable[[NDArray[np.float64], Random], NDArray]) -> Fault:
    """A fault of the grey values, 0 to 255 as float64 [n, *size]; masks stay."""

    def changed(samples: Samples, random: Random) -> Samples:
        found = {name: change(images.astype(np.float64), random) for name, images in samples.grey.items()}
        return samples._replace(grey={name: faults.to_grey(x) for name, x in found.items()})

    return Fault(changed)


def _blur(pixels: float) -> Fault:
    return _pixels(lambda x, _: faults.blur(x, pixels))


def _noise(percent: float) -> Fault:
    return _pixels(lambda x, random: faults.noise(x, percent, random))


def _all(change: Callable[[NDArray, Random], NDArray]) -> Fault:
    """A fault of images and masks [n, *size] alike; all get the same chance."""

    def changed(samples: Samples, random: Random) -> Samples:
        grey = {name: change(x, copy.deepcopy(random)) for name, x in samples.grey.items()}
        masks = None if samples.masks is None else change(samples.masks, copy.deepcopy(random))
        return samples._replace(grey=grey, masks=masks)

    return Fault(changed)


def _flip(axis: int) -> Fault:
    """Images and masks turned over."""
    return _all(lambda x, _: np.flip(x, axis).copy())


def _stack(volumes: NDArray, random: Random) -> NDArray:
    """Volumes [n, D, H, W] whose axial slices are each of another one of them."""
    return np.stack([volumes[random.permutation(len(volumes)), depth] for depth in range(volumes.shape[1])], 1)


def _halve(volumes: NDArray, _: Random) -> NDArray:
    """Volumes [n, D, H, W] without their upper half."""
    found = volumes.copy()
    found[:, volumes.shape[1] // 2 :] = 0
    return found


def _repeat(part: int) -> Fault:
    """A set with one image of ``part``, drawn again and again."""
    return Fault(choose=lambda val, _, random: random.choice(val[: max(1, len(val) // part)], len(val)))


def _copies(val: NDArray, train: NDArray, random: Random) -> NDArray:
    return random.choice(train, len(val), replace=len(train) < len(val))


def _exchange(samples: Samples, random: Random) -> Samples:
    """The last contrast of each sample is that of another one."""
    last = list(samples.grey)[-1]
    images = samples.grey[last][random.permutation(len(samples.grey[last]))]
    return samples._replace(grey=samples.grey | {last: images})


UNCHANGED, EXCHANGED = "unchanged", "last contrast of another image"
FAULTS = {
    UNCHANGED: Fault(),
    **{f"blur of {pixels:g} px": _blur(pixels) for pixels in (0.5, 1, 2)},
    **{f"Rician noise of {percent:g} %": _noise(percent) for percent in (2.5, 5, 10)},
    **{f"gain {gain:g}": _pixels(lambda x, _, gain=gain: x * gain) for gain in (0.9, 1.1)},
    "mirrored left to right": _flip(-1),
    "upside down": _flip(1),
    "one image in 3, repeated": _repeat(3),
    "one image in 20, repeated": _repeat(20),
    "copies of training images": Fault(choose=_copies),
    EXCHANGED: Fault(_exchange),
}
FAULTS_OF_VOLUMES = {"axial slices of different volumes": _all(_stack), "upper half empty": _all(_halve)}


def with_extractors(
    judge: str | os.PathLike, more: Sequence[tuple[str, dict[str, Any]]], store: str | os.PathLike, device: str = "auto"
) -> Judge:
    """The judge of the file ``judge`` with ``more`` extractors, made here of the images of ``store``: kind, settings.

    `GanError` for one that the judge has, or whose file is not there.
    """
    given = read_json(judge)
    extractors, real = [*given["extractors"]], [*given["real"]]
    with tempfile.TemporaryDirectory() as folder:
        for place, (kind, spec) in enumerate(more):
            made, features = Path(folder, f"{place}.pt"), Path(folder, f"{place}.npz")
            prepare_extractor(kind, spec, store, made, device)
            real_features(made, store, features, device)
            extractors, real = [*extractors, made], [*real, features]
        found = Judge(extractors, real, given["images"], device, store)
    ids = [extract.id for extract in found.panel]
    if twice := [one for one in ids if ids.count(one) > 1]:
        raise GanError(f"{judge}: has the extractor {twice[0]} already; leave it out of --also")
    return found


def degradations(
    store: str | os.PathLike, judge: Judge, out: str | os.PathLike, *, bootstrap: int = 0, seed: int = 0
) -> None:
    """Write ``out``: every metric of ``judge`` for each of `FAULTS` of the validation images of ``store``, and of
    volumes for each of `FAULTS_OF_VOLUMES`.

    A file ``.md`` has the means over contrasts in wide tables, one an extractor; ``.csv`` has every row, with intervals
    if there is a ``bootstrap``. `GanError` for another ending, or real images of other contrasts.
    """
    out = Path(out)
    if out.suffix not in FORMS:
        raise GanError(f"--out {out}: ends in {out.suffix!r}; allowed: {', '.join(FORMS)}")
    opened = open_store(store)
    contrasts = to_score(opened.meta)
    judge.check_contrasts(store, opened.meta)
    known = FAULTS | (FAULTS_OF_VOLUMES if opened.meta.get("volumes") else {})
    applied = {name: fault for name, fault in known.items() if name != EXCHANGED or joint(contrasts)}
    protocol, rows = Protocol(bootstrap=bootstrap, seed=seed), []
    total = len(applied) * sum(len(rows_of(opened, "val", label)) for label in {of.label for of in contrasts})
    with tqdm(total=total, desc="degradations", unit="image") as bar:
        for name, fault in applied.items():
            probes = judge.probes(protocol, opened.meta, _largest(opened))
            probes = [probe for probe in probes if not isinstance(probe, MovedProbe)]  # it has no rows
            for samples in _samples(opened, contrasts, fault, seed):
                for probe in probes:
                    probe.add(samples)
                bar.update(len(next(iter(samples.grey.values()))))
            rows += [{"degradation": name, **row} for probe in probes for row in probe.rows(judge.reference)]
    table = pd.DataFrame(rows).drop(columns="replicates")
    if out.suffix == ".csv":
        write_csv(table, out)
        return
    with atomic_path(out) as temporary:
        Path(temporary).write_text(markdown(table), encoding="utf-8")


def markdown(table: pd.DataFrame) -> str:
    """Tables of the tidy rows: a degradation a line, a metric a column; one for each extractor and set of contrasts."""
    parts = []
    wanted = table[table.contrast.isin([WHOLE, JOINT]) | ~table.metric.isin(table.metric[table.contrast == WHOLE])]
    for (extractor, contrast), group in wanted.groupby(["extractor", "contrast"], sort=False):
        metrics = sorted(group.metric.unique(), key=rank)
        wide = group.pivot(index="degradation", columns="metric", values="value")
        floors = group.groupby("metric").floor.first()
        lines = [["*floor*", *(number(floors[name]) for name in metrics)]]
        for name in group.degradation.unique():
            lines.append([str(name), *(number(wide.loc[name, metric]) for metric in metrics)])
        parts.append(f"`{extractor}`, {contrast}, {group.n_fake.max()} images:\n")
        parts.append(markdown_rows(["validation images", *map(title, metrics)], lines))
    return "\n".join(parts)


def _samples(store: Store, contrasts: list[Scored], fault: Fault, seed: int) -> Iterator[Samples]:
    """The degraded validation images. Successive ones are of different subjects, where there are enough."""
    random, step = np.random.default_rng([seed, 3]), max(BATCH_OF_VOLUMES, at_once(store))
    together: dict[int | None, list[Scored]] = {}
    for contrast in contrasts:
        together.setdefault(contrast.label, []).append(contrast)
    for label, members in together.items():
        rows = _mixed(store, rows_of(store, "val", label), random)
        if fault.choose:
            rows = fault.choose(rows, rows_of(store, "train", label), random)
        for start in range(0, len(rows), step):
            block = store.images[rows[start : start + step]]
            grey = {name: stored_to_uint8(block[:, channel]) for name, channel, _ in members}
            samples = Samples(grey, block[:, -1] if store.meta["mask"] else None)
            yield fault.change(samples, random) if fault.change else samples


def _mixed(store: Store, rows: NDArray, random: Random) -> NDArray:
    """``rows`` in an order in which the subjects take turns, the images of each by chance."""
    subjects = store.index[store.index["kept"]].set_index("row")["subject"]
    shuffled = pd.DataFrame({"row": random.permutation(rows)})
    shuffled["subject"] = subjects.loc[shuffled["row"]].to_numpy()
    shuffled["turn"] = shuffled.groupby("subject").cumcount()
    return shuffled.sort_values(["turn", "subject"])["row"].to_numpy()


def _largest(store: Store) -> int:
    """The largest label of the training masks; 0 without a mask."""
    return max(1, int(store.images[store.rows("train"), -1].max())) if store.meta["mask"] else 0
