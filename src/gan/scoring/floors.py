"""What translation without anything spatial reaches: the floor of paired scores."""

import os
from typing import Any

import torch

from gan.data.store import Store
from gan.families.lookup.model import Lookup
from gan.families.lookup.options import LookupOptions
from gan.scoring.paired import PairedProbe
from gan.scoring.samples import Translations
from gan.train.images import StoreDataset

SPLITS = ("val", "test")


def lookup_floors(store: str | os.PathLike, task: dict[str, Any] | None) -> dict[str, dict[tuple[str, str], float]]:
    """By split, metric and direction the score of the family ``lookup``, made of the training images of ``store``.

    task: ``translate`` of the data set's row; empty without.
    """
    if task is None:
        return {}
    opened, device = Store.open(store), torch.device("cpu")
    kept = Lookup.make(LookupOptions(), StoreDataset(opened, device, False, task), None)
    floors = {}
    for split in SPLITS:
        slices = Translations(opened, task, False, split, device)
        probe = PairedProbe(slices.directions, split, 0, 0, every=slices.every, labels=slices.labels)
        for batch in slices.samples(lambda source: Lookup.draw(kept, source)):
            probe.add(batch)
        floors[split] = {(row["metric"], row["contrast"]): row["value"] for row in probe.rows()}
    return floors
