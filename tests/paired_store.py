"""A small store of three contrasts and a mask, whose second contrast is a function of the first: slices, or volumes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gan.data.store import writing

SIDE, EVERY = 24, 2
WHOLE_SIZE = (12, 16, 16)
SPLITS = {"train": range(0, 8), "val": range(8, 11), "test": range(11, 15)}
TASK = {"source": ["t1"], "target": ["t2"], "neighbours": 0}


def make_store(folder: Path, lacking: tuple[int, ...] = ()) -> Path:
    """6 slices of each subject, every second one; those with an odd number of the subject have a label.

    t2 is 65535 - t1 / 2, flair is noise. lacking: subjects without t2.
    """
    rng, rows, images = np.random.default_rng(0), [], []
    for split, subjects in SPLITS.items():
        for subject in subjects:
            for number in range(6):
                t1, flair = rng.uniform(5_000, 60_000, (2, 4, 4)).repeat(6, 1).repeat(6, 2)
                has = subject not in lacking
                images.append(_channels(t1, flair, subject, has))
                rows.append({"subject": f"s{subject:02}", "slice": EVERY * number, "split": split, "has_t2": has})
    meta = {"filter": {"every": EVERY}, "axis": "axial", "spacing": [1.0, 1.0]}
    return _written(folder, images, rows, meta)


def make_volumes(folder: Path) -> Path:
    """A whole volume of each subject, otherwise as `make_store`."""
    rng, rows, images = np.random.default_rng(0), [], []
    for split, subjects in SPLITS.items():
        for subject in subjects:
            t1, flair = rng.uniform(5_000, 60_000, (2, 3, 4, 4)).repeat(4, 1).repeat(4, 2).repeat(4, 3)
            images.append(_channels(t1, flair, subject))
            rows.append({"subject": f"s{subject:02}", "slice": 0, "split": split})
    meta: dict[str, Any] = {"filter": {"every": 1, "threshold": 25.5, "fraction": 0.0}, "spacing": [2.0] * 3}
    return _written(folder, images, rows, meta | {"volumes": {"spacing": 2.0, "centre": "grid", "fit": "resize"}})


def _channels(t1: np.ndarray, flair: np.ndarray, subject: int, has: bool = True) -> np.ndarray:
    return np.stack([t1, (65535 - t1 / 2) * has, flair, np.full(t1.shape, subject % 2)]).astype(np.uint16)


def _written(folder: Path, images: list[np.ndarray], rows: list[dict[str, Any]], meta: dict[str, Any]) -> Path:
    index = pd.DataFrame(rows).assign(position=0.5, fraction=0.5, kept=True, reason="", label="", row=range(len(rows)))
    with writing(folder, images[0].shape) as writer:
        writer.append(np.stack(images))
        named = {"channels": ["t1", "t2", "flair", "seg"], "mask": "seg", "labels": [], "dataset": "pairs"}
        writer.finish(index, index[["subject", "split"]].drop_duplicates(), named | meta)
    return folder
