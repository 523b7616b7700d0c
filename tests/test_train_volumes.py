"""A store of volumes through a whole training: what it leaves, and that a stopped one resumes as if it had not been."""

import numpy as np
import pandas as pd
import pytest
import torch
from golden import CASES
from PIL import Image
from tiny import outcome, paths, recipe

from gan.cells import stats
from gan.data.store import Store, writing
from gan.grids import layout
from gan.sampling.snapshot import load_generator
from gan.sampling.tasks import sample
from gan.train.images import StoreDataset
from gan.train.loop import train

SIZE = (12, 16, 16)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """8 volumes of noise in two classes, with a mask of the labels 0 to 2."""
    folder, rng = tmp_path_factory.mktemp("volumes") / "store", np.random.default_rng(0)
    images = rng.integers(0, 65536, (8, 2, *SIZE)).astype(np.uint16)
    images[:, 1] %= 3
    rows = {"subject": [f"s{place}" for place in range(8)], "row": range(8), "label": ["a", "b"] * 4}
    index = pd.DataFrame(rows).assign(slice=0, position=0.0, fraction=0.5, kept=True, reason="", split="train")
    meta = {"channels": ["t1", "seg"], "mask": "seg", "labels": ["a", "b"], "spacing": [3.0, 2.0, 2.0]}
    with writing(folder, images.shape[1:]) as writer:
        writer.append(images)
        writer.finish(index, index[["subject", "split"]], meta | {"intensity": {"map": "percentile"}})
    return Store.open(folder)


def test_a_training_from_a_store_of_volumes(store, tmp_path):
    given = recipe(batch=2, kimg=0.004, snapshot_kimg=0.002)
    options = CASES["stylegan2_labels"][1] | {"modulation": "adain", "augment_real": "all", "pl_weight": 0.0}
    given["variant"] = {"name": "volumes", "family": "stylegan2", "options": options | {"mbstd_group": 2}}
    data = StoreDataset(store, torch.device("cpu"), conditional=True)

    class Enough(Exception):
        pass

    def stop(kimg, path):
        if kimg > 0:
            raise Enough

    train(given, data, paths(tmp_path / "whole"))
    with pytest.raises(Enough):
        train(given, data, paths(tmp_path / "parts"), on_snapshot=stop)
    train(given, data, paths(tmp_path / "parts"))
    whole, parts = (outcome(tmp_path / name / "cell") for name in ("whole", "parts"))
    assert whole == parts
    rows, _ = layout(2, SIZE)
    height = rows * (SIZE[1] + 2 * SIZE[0])
    with Image.open(tmp_path / "whole/cell/real.png") as picture:
        assert picture.height % height == 0 and picture.height > height and picture.mode == "RGB"
    rows = stats(tmp_path / "whole/cell/stats.jsonl")
    assert any("samples/ms_ssim" in row for row in rows) and any("loss/r1" in row for row in rows)
    snapshot = load_generator(tmp_path / "whole/cell/generator.pt")
    images = sample(snapshot, 3, seed=0, labels=1)
    assert images.shape == (3, 2, *SIZE) and images.isfinite().all()
