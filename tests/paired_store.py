"""A small store of three contrasts and a mask, whose second contrast is a function of the first."""

from pathlib import Path

import numpy as np
import pandas as pd

from gan.data.store import writing

SIDE, EVERY = 24, 2
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
                mask = np.full((SIDE, SIDE), subject % 2)
                has = subject not in lacking
                images.append(np.stack([t1, (65535 - t1 / 2) * has, flair, mask]).astype(np.uint16))
                rows.append({"subject": f"s{subject:02}", "slice": EVERY * number, "split": split, "has_t2": has})
    index = pd.DataFrame(rows).assign(position=0.5, fraction=0.5, kept=True, reason="", label="", row=range(len(rows)))
    with writing(folder, images[0].shape) as writer:
        writer.append(np.stack(images))
        meta = {"channels": ["t1", "t2", "flair", "seg"], "mask": "seg", "labels": [], "dataset": "pairs"}
        meta |= {"filter": {"every": EVERY}, "axis": "axial", "spacing": [1.0, 1.0]}
        writer.finish(index, index[["subject", "split"]].drop_duplicates(), meta)
    return folder
