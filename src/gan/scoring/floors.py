"""What translation without anything spatial reaches: the floor of paired scores."""

import os
from collections.abc import Sequence
from typing import Any

import torch

from gan.cells import WHOLE
from gan.data.store import Store
from gan.families.contract import Given
from gan.families.lookup.model import Lookup
from gan.families.lookup.options import LookupOptions
from gan.scoring.paired import PairedProbe
from gan.scoring.samples import Translations, way_back
from gan.train.images import StoreDataset

SPLITS = ("val", "test")


def lookup_floors(store: str | os.PathLike, task: dict[str, Any] | None) -> dict[str, dict[tuple[str, str], float]]:
    """By split, metric and direction the score of the family ``lookup``, made of the training images of ``store``.

    task: ``translate`` of the data set's row; empty without. Its way back is scored in the test split alone.
    """
    if task is None:
        return {}
    opened = Store.open(store)
    floors = _floors(opened, task, SPLITS)
    if back := way_back(task, opened.meta["mask"]):
        found = _floors(opened, back, ("test",))["test"]
        floors["test"] |= {key: value for key, value in found.items() if key[1] != WHOLE}
    return floors


def _floors(opened: Store, task: dict[str, Any], splits: Sequence[str]) -> dict[str, dict[tuple[str, str], float]]:
    device, floors = torch.device("cpu"), {}
    kept = Lookup.make(LookupOptions(), StoreDataset(opened, device, False, task), Given())
    for split in splits:
        slices = Translations(opened, task, False, split, device)
        probe = PairedProbe(slices.directions, split, 0, 0, every=slices.every, labels=slices.labels)
        for batch in slices.samples(lambda source: Lookup.draw(kept, source)):
            probe.add(batch)
        floors[split] = {(row["metric"], row["contrast"]): row["value"] for row in probe.rows()}
    return floors
