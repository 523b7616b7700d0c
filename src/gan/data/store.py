"""The packed store of slices: what training and evaluation read."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gan.data import splits
from gan.data.folders import atomic_folder
from gan.errors import GanError
from gan.files import read_json

FORMAT = 1
STEP = 257  # 65535 / 255: steps of the store in one unit of the scale 0..255
IMAGE = "image"  # the channel of a store whose images are of one contrast each
IMAGES, INDEX, SUBJECTS, META = "images.npy", "index.parquet", "subjects.csv", "store.json"


def stored_channels(row: dict[str, Any]) -> list[str]:
    """Names of the channels that a data set's ``row`` asks for: its contrasts and last its mask.

    With ``labels: contrast`` each contrast is an image of its own, with the one channel `IMAGE`.
    """
    if row.get("labels") == "contrast":
        return [IMAGE]
    return [*row["contrasts"], *([row["mask"]] if row.get("mask") else [])]


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
        if meta.get("format") != FORMAT:
            raise GanError(f"{folder}: store of format {meta.get('format')}, {FORMAT} is needed; build it again")
        try:
            images = np.load(folder / IMAGES, mmap_mode="r")
            index = pd.read_parquet(folder / INDEX)
        except (OSError, ValueError) as error:
            raise GanError(f"{folder}: damaged store ({error}); build it again") from error
        if len(images) != index["kept"].sum() or images.shape[1] != len(meta["channels"]):
            raise GanError(f"{folder}: {IMAGES} and {INDEX} do not belong together; build the store again")
        return cls(folder, images, index, meta)

    def rows(self, split: str) -> np.ndarray:
        """Rows of ``images`` that belong to ``split`` (train, val, test), ascending int64."""
        return self._kept().loc[lambda kept: kept["split"] == split, "row"].to_numpy(np.int64)

    def labels(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """The class of each of ``rows`` as int64 place in ``meta["labels"]``; -1 for a store without labels."""
        names = self._kept()["label"].to_numpy()[np.asarray(rows, dtype=np.int64)]
        places = {name: place for place, name in enumerate(self.meta["labels"])}
        return np.array([places.get(name, -1) for name in names], dtype=np.int64)

    def check_scores(self) -> None:
        """`GanError` that names the store when its test split has too few subjects for intervals of scores."""
        try:
            splits.check_scores(self.index, self.meta["split"])
        except GanError as error:
            raise GanError(f"data set {self.meta['dataset']}: {error}") from error

    def _kept(self) -> pd.DataFrame:
        return self.index.loc[self.index["kept"]]


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
        """What has been written so far, memory-mapped; nothing can be added after."""
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
        subjects.to_csv(self.folder / SUBJECTS, index=False, float_format="%.6g")
        text = json.dumps({**meta, "format": FORMAT}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
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
