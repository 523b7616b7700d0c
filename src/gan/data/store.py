"""The packed store of slices: what training and evaluation read."""

import json
import os
import tokenize
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gan.data import splits
from gan.data.folders import atomic_folder
from gan.data.found import channels
from gan.errors import GanError
from gan.files import checksum, inert, read_json

FORMAT = 1
IMAGE = "image"  # the channel of a store whose images are of one contrast each
_DAMAGED = (OSError, ValueError, LookupError, TypeError, AttributeError, tokenize.TokenError)
IMAGES, INDEX, SUBJECTS, META = "images.npy", "index.parquet", "subjects.csv", "store.json"


def stored_channels(row: dict[str, Any]) -> list[str]:
    """`channels` of a store of ``row``; with ``labels: contrast`` each is an image, whose one channel is `IMAGE`."""
    return [IMAGE] if row.get("labels") == "contrast" else channels(row)


class Store:
    """A store on disk. images: uint16 [N, C, H, W] (or [N, C, D, H, W]), memory-mapped, 0..65535 for 0..255 of the
    intensity map (a mask channel: label numbers); index: a row per candidate slice; meta: see docs/data.md."""

    def __init__(self, folder: Path, images: np.ndarray, index: pd.DataFrame, meta: dict[str, Any]):
        self.folder, self.images, self.index, self.meta = folder, images, index, meta

    @classmethod
    def open(cls, folder: str | os.PathLike) -> "Store":
        """Open the store in ``folder``; `GanError` when it is absent, damaged or of another format."""
        folder = Path(folder)
        meta = read_json(folder / META)
        if not isinstance(meta, dict) or meta.get("format") != FORMAT:
            found = meta.get("format") if isinstance(meta, dict) else None
            raise GanError(f"{folder}: store of format {found}, {FORMAT} is needed; build it again")
        try:
            images = np.load(folder / IMAGES, mmap_mode="r")
            index = pd.read_parquet(folder / INDEX)
            whole = _belong_together(images, index, meta)
        except _DAMAGED as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise GanError(f"{folder}: damaged store ({reason}); build it again") from error
        if not whole:
            raise GanError(f"{folder}: {IMAGES}, {INDEX} and {META} do not belong together; build the store again")
        return cls(folder, images, index, meta)

    def rows(self, split: str) -> np.ndarray:
        """Rows of ``images`` that belong to ``split`` (train, val, test), ascending int64."""
        return self._kept().loc[lambda kept: kept["split"] == split, "row"].to_numpy(np.int64)

    def labels(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """The class of each of ``rows`` as int64 index in ``meta["labels"]``; -1 for a store without labels."""
        names = self._kept()["label"].to_numpy()[np.asarray(rows, dtype=np.int64)]
        places = {name: place for place, name in enumerate(self.meta["labels"])}
        return np.array([places.get(name, -1) for name in names], dtype=np.int64)

    def present(self, rows: np.ndarray, contrasts: Sequence[str]) -> np.ndarray:
        """Which of ``rows`` have all of ``contrasts``, bool [n]: those of a subject that lacks one are zeros."""
        kept = self._kept().iloc[rows]
        columns = [kept[f"has_{name}"].to_numpy(bool) for name in contrasts if f"has_{name}" in kept]
        return np.logical_and.reduce([np.ones(len(rows), dtype=bool), *columns])

    def neighbours(self, rows: np.ndarray, reach: int) -> np.ndarray:
        """For each of ``rows`` of a split the slices around it, int64 [n, 2 reach + 1], as indices in ``rows``.

        They are of the same scan, ``slices.every`` apart, in order; where one is missing the slice itself stands.
        """
        kept = self._kept().iloc[rows]
        scans = kept["scan"] if "scan" in kept else [""] * len(kept)
        keys = list(zip(kept["subject"], scans, kept["slice"].astype(int), strict=True))
        places = {key: place for place, key in enumerate(keys)}
        every = self.meta["filter"]["every"]
        steps = [every * offset for offset in range(-reach, reach + 1)]
        found = [
            [places.get((subject, scan, number + step), own) for step in steps]
            for own, (subject, scan, number) in enumerate(keys)
        ]
        return np.array(found, dtype=np.int64)

    def median_limits(self, contrasts: Sequence[str]) -> dict[str, list[float]]:
        """By contrast the medians over training subjects of the limits of the intensity map, in the scanner's units.

        A contrast has none where the map is by slice.
        """
        subjects = pd.read_csv(self.folder / SUBJECTS)
        train = subjects.loc[subjects["split"] == "train"]
        known = [name for name in contrasts if f"low_{name}" in train]
        ends = {name: train[[f"low_{name}", f"high_{name}"]].to_numpy(float) for name in known}
        return {name: np.nanmedian(of, axis=0).tolist() for name, of in ends.items()}

    def check_files(self) -> None:
        """`GanError` if the images or the index are not those that were built: one wrong byte could change a result.

        It reads them whole (0.6 s per GB in memory); a job that works on all of them does it once.
        """
        for name, expected in (self.meta.get("sha256") or {}).items():
            if name in (IMAGES, INDEX) and checksum(self.folder / name) != expected:
                raise GanError(
                    f"{self.folder / name}: its content has changed since the store was built (another sha256 than in "
                    f"{META}); delete {self.folder} and run again, which builds it again"
                )

    def check_scores(self) -> None:
        """`GanError` that names the store when its val or test split has too few subjects for scores."""
        try:
            splits.check_scores(self.index, self.meta["split"])
        except GanError as error:
            raise GanError(f"data set {self.meta.get('dataset')}: {error}") from error
        except (LookupError, TypeError) as error:
            raise GanError(f"{self.folder / META}: its split is missing; build the store again") from error

    def _kept(self) -> pd.DataFrame:
        return self.index.loc[self.index["kept"]]


def _belong_together(images: np.ndarray, index: pd.DataFrame, meta: dict[str, Any]) -> bool:
    """Whether each kept row of the index has its image, and ``meta`` has the names of channels and classes."""
    kept = index.loc[index["kept"].astype(bool)]
    rows = np.array_equal(kept["row"].to_numpy(), np.arange(len(images)))
    names = [*kept["subject"], *kept["split"], *kept["label"], *meta["channels"], *meta["labels"]]
    shaped = images.dtype == np.uint16 and images.ndim > 3 and images.shape[1] == len(meta["channels"])
    return rows and shaped and all(isinstance(name, str) for name in names)


class StoreWriter:
    """Write a store image by image, in their final order; use `writing`. ``count`` is the number written so far."""

    def __init__(self, folder: Path, shape: Sequence[int]):
        """shape: (C, H, W) or (C, D, H, W) of one image."""
        self.folder, self.shape, self.count = folder, tuple(shape), 0
        self._file = open(folder / IMAGES, "wb")  # noqa: SIM115, closed by `images` or `close`
        self._header()

    def append(self, images: np.ndarray) -> None:
        """Add ``images``, uint16 [n, C, ...]."""
        if images.dtype != np.uint16 or images.shape[1:] != self.shape:
            raise ValueError(f"images {images.dtype} {images.shape}, expected uint16 [n, {self.shape}]")
        self._file.write(np.ascontiguousarray(images).data)
        self.count += len(images)

    def images(self) -> np.ndarray:
        """The images written so far, memory-mapped; no more can be added afterwards."""
        if not self._file.closed:
            self._file.seek(0)
            self._header()
            self._file.flush()
            os.fsync(self._file.fileno())
            self.close()
        return np.load(self.folder / IMAGES, mmap_mode="r")

    def finish(self, index: pd.DataFrame, subjects: pd.DataFrame, meta: dict[str, Any]) -> None:
        """Write the tables and, last, ``store.json``."""
        self.images()
        index.to_parquet(self.folder / INDEX, index=False)
        subjects.map(inert).to_csv(self.folder / SUBJECTS, index=False, float_format="%.6g")
        sums = {name: checksum(self.folder / name) for name in (IMAGES, INDEX)}
        text = (
            json.dumps({**meta, "sha256": sums, "format": FORMAT}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        )
        (self.folder / META).write_text(text, encoding="utf-8")

    def close(self) -> None:
        self._file.close()

    def _header(self) -> None:
        """The header leaves room for a longer first dimension, so it keeps its length when the count is known."""
        header = {"descr": "<u2", "fortran_order": False, "shape": (self.count, *self.shape)}
        np.lib.format.write_array_header_1_0(self._file, header)


@contextmanager
def writing(folder: Path, shape: Sequence[int]) -> Iterator[StoreWriter]:
    """A `StoreWriter` whose ``folder`` appears when the block succeeds, and not at all when it fails."""
    with atomic_folder(folder) as part:
        writer = StoreWriter(part, shape)
        try:
            yield writer
        finally:
            writer.close()
