"""What every metric does when real images are degraded: validation images in the place of generated ones.

A metric that does not move under a fault does not see it. Since all else is as for a generator (the same probes, real
images and numbers), each value can be compared with that of the unchanged images.
"""

# pandas types a selection from a frame as a union of all that it could be.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportGeneralTypeIssues=false

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from tqdm import tqdm

from gan.cells import JOINT, WHOLE
from gan.data.store import Store
from gan.errors import GanError
from gan.files import atomic_path, read_json
from gan.metrics.facts import rank, title
from gan.report.table import number, write_csv
from gan.report.view import markdown_rows
from gan.scales import stored_to_uint8
from gan.scoring.judge import Judge, Protocol
from gan.scoring.planes import slices_of
from gan.scoring.probes import Samples
from gan.scoring.reference import (
    Scored,
    joint,
    open_store,
    prepare_extractor,
    real_features,
    rows_of,
    to_score,
)

BATCH = 256  # images at a time
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
    """A fault of the grey values, 0 to 255 as float64 [n, H, W]; masks stay."""

    def changed(samples: Samples, random: Random) -> Samples:
        found = {name: change(images.astype(np.float64), random) for name, images in samples.grey.items()}
        return samples._replace(grey={name: x.round().clip(0, 255).astype(np.uint8) for name, x in found.items()})

    return Fault(changed)


def _blur(pixels: float) -> Fault:
    return _pixels(lambda x, _: gaussian_filter(x, (0, pixels, pixels), mode="nearest"))


def _noise(percent: float) -> Fault:
    """Rician noise, as of the magnitude of a complex signal."""

    def noisy(x: NDArray, random: Random) -> NDArray:
        real, imaginary = random.normal(0, 2.55 * percent, (2, *x.shape))
        return np.hypot(x + real, imaginary)

    return _pixels(noisy)


def _flip(axis: int) -> Fault:
    """Images and masks turned over."""

    def flipped(samples: Samples, _: Random) -> Samples:
        masks = None if samples.masks is None else np.flip(samples.masks, axis).copy()
        return samples._replace(grey={name: np.flip(x, axis).copy() for name, x in samples.grey.items()}, masks=masks)

    return Fault(flipped)


def _repeat(part: int) -> Fault:
    """A set with one image of ``part``, drawn again and again."""
    return Fault(choose=lambda val, _, random: random.choice(val[: max(1, len(val) // part)], len(val)))


def _copies(val: NDArray, train: NDArray, random: Random) -> NDArray:
    return random.choice(train, len(val), replace=len(train) < len(val))


def _exchange(samples: Samples, random: Random) -> Samples:
    """The last contrast of each sample, or plane of each volume, is that of another one."""
    last = list(samples.grey)[-1]
    order = random.permutation(len(samples.grey[last]) // samples.each)
    images = samples.grey[last][_slices(order * samples.each, samples.each)]
    return samples._replace(grey=samples.grey | {last: images})


def _slices(first: NDArray, each: int) -> NDArray:
    """The rows of all slices of volumes, from those of their ``first`` ones."""
    return (first[:, None] + np.arange(each)).ravel()


UNCHANGED, EXCHANGED = "unchanged", "last contrast of another image"
FAULTS = {
    UNCHANGED: Fault(),
    **{f"blur of {pixels:g} px": _blur(pixels) for pixels in (0.5, 1, 2)},
    **{f"Rician noise of {percent:g} %": _noise(percent) for percent in (2.5, 5, 10)},
    **{f"gain {gain:g}": _pixels(lambda x, _, gain=gain: x * gain) for gain in (0.9, 1.1)},
    "mirrored left to right": _flip(-1),
    "upside down": _flip(-2),
    "one image in 3, repeated": _repeat(3),
    "one image in 20, repeated": _repeat(20),
    "copies of training images": Fault(choose=_copies),
    EXCHANGED: Fault(_exchange),
}


def with_extractors(
    judge: str | os.PathLike, more: dict[str, dict[str, Any]], store: str | os.PathLike, device: str = "auto"
) -> Judge:
    """The judge of the file ``judge`` with ``more`` extractors, made here of the images of ``store`` by their settings.

    `GanError` for one that the judge has, or whose file is not there.
    """
    given = read_json(judge)
    extractors, real = [*given["extractors"]], [*given["real"]]
    with tempfile.TemporaryDirectory() as folder:
        for kind, spec in more.items():
            made, features = Path(folder, f"{kind}.pt"), Path(folder, f"{kind}.npz")
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
    """Write ``out``: every metric of ``judge`` for each of `FAULTS` of the validation images of ``store``.

    A file ``.md`` has the means over contrasts in wide tables, one an extractor; ``.csv`` has every row, with intervals
    if there is a ``bootstrap``. `GanError` for another ending, or real images of other contrasts.
    """
    out = Path(out)
    if out.suffix not in FORMS:
        raise GanError(f"--out {out}: ends in {out.suffix!r}; allowed: {', '.join(FORMS)}")
    opened = open_store(store)
    contrasts = to_score(opened.meta)
    judge.check_contrasts(store, [contrast.name for contrast in contrasts])
    faults = {name: fault for name, fault in FAULTS.items() if name != EXCHANGED or joint(contrasts)}
    protocol, rows = Protocol(bootstrap=bootstrap, seed=seed), []
    total = len(faults) * sum(len(rows_of(opened, "val", label)) for label in {of.label for of in contrasts})
    with tqdm(total=total, desc="degradations", unit="image") as bar:
        for name, fault in faults.items():
            probes = judge.probes(protocol, opened.meta, _largest(opened))
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
    random, each = np.random.default_rng([seed, 3]), slices_of(store.meta)
    together: dict[int | None, list[Scored]] = {}
    for contrast in contrasts:
        together.setdefault(contrast.label, []).append(contrast)
    for label, members in together.items():
        rows = _mixed(store, rows_of(store, "val", label)[::each], random)
        if fault.choose:
            rows = fault.choose(rows, rows_of(store, "train", label)[::each], random)
        rows = _slices(rows, each)
        for start in range(0, len(rows), BATCH):
            block = store.images[rows[start : start + BATCH]]
            grey = {name: stored_to_uint8(block[:, channel]) for name, channel, _ in members}
            samples = Samples(grey, block[:, -1] if store.meta["mask"] else None, each=each)
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
