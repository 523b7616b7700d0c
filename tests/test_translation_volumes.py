"""Translation of whole volumes: the families, their scores and pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import SMALL
from paired_store import SPLITS, TASK, WHOLE_SIZE, make_volumes
from PIL import Image
from tiny import recipe

from gan.cells import WHOLE
from gan.data.store import Store
from gan.families.registry import options_of, trained
from gan.grids import layout
from gan.metrics.paired import score
from gan.run import main as run
from gan.scoring.cell import score_cell, score_snapshots
from gan.scoring.floors import lookup_floors
from gan.scoring.judge import Judge, Protocol
from gan.scoring.reference import image_facts, prepare_extractor, real_features
from gan.train.images import StoreDataset
from gan.train.trainer import Trainer

TRANSLATORS = [name for name in trained() if options_of(name).TASK == "translate"]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return make_volumes(tmp_path_factory.mktemp("volumes") / "store")


@pytest.mark.parametrize("family", TRANSLATORS)
def test_every_family_that_translates_learns_from_volumes(store, family):
    """The same classes as for slices; source and target are of one volume where the family learns from pairs."""
    dataset = StoreDataset(Store.open(store), torch.device("cpu"), False, TASK)
    assert dataset.shape.size == WHOLE_SIZE and dataset.shape.sources == 1
    batch = dataset.batch(np.array([3, 0]))
    torch.testing.assert_close((batch.real + 1) / 2, 1 - (batch.source + 1) / 4, atol=2e-5, rtol=0)
    given = recipe(batch=2)
    small = SMALL[family] | {"conditional": False}
    given["variant"] = {
        "name": family,
        "family": family,
        "options": small | {"d_scales": 1} if family == "unit" else small,
    }
    trainer = Trainer(given, dataset, torch.device("cpu"))
    before = [weight.detach().clone() for weight in trainer.variant.kept().parameters()]
    for _ in range(2):
        trainer.advance(measure=False)
    moved = [
        not torch.equal(one, other) for one, other in zip(before, trainer.variant.kept().parameters(), strict=True)
    ]
    assert np.mean(moved) > 0.9 and all(np.isfinite(value) for value in trainer.meter.read().values())


@pytest.fixture(scope="module")
def cells(store, tmp_path_factory) -> Path:
    """The cells copy and lookup with their scores."""
    folder = tmp_path_factory.mktemp("cells")
    prepare_extractor("indomain", {"steps": 2, "dim": 8, "seed": 0}, store, folder / "extractor.pt", "cpu")
    real_features(folder / "extractor.pt", store, folder / "real.npz", "cpu")
    image_facts(store, folder / "images.npz", lookup_floors(store, TASK))
    judge = Judge([folder / "extractor.pt"], [folder / "real.npz"], folder / "images.npz", "cpu", store)
    for name in ("copy", "lookup"):
        given = recipe(kimg=0, batch=1)
        given["data"] |= {"translate": TASK}
        given["variant"] = {"name": name, "family": name, "options": {}}
        (folder / f"{name}.json").write_text(json.dumps(given))
        words = ["--recipe", folder / f"{name}.json", "--store", store, "--folder", folder / name]
        assert run([*map(str, words), "--checkpoints", str(folder / "states"), "--runtime", "device=cpu"]) == 0
        score_snapshots(folder / name, judge, Protocol(bootstrap=0))
        score_cell(folder / name, judge, Protocol(bootstrap=20))
    return folder


def rows_of(cells: Path, name: str) -> dict:
    rows = json.loads((cells / name / "scores.json").read_text())["scores"]
    return {(row["metric"], row["contrast"]): row for row in rows}


def test_paired_scores_are_of_volumes_and_of_patients(cells, store):
    copy, lookup = rows_of(cells, "copy"), rows_of(cells, "lookup")
    row = copy["mae_fg", "t1>t2"]
    assert row["n_real"] == row["n_fake"] == row["n_subjects"] == len(SPLITS["test"])
    assert not any(metric == "flicker" for metric, _ in copy), "a volume has no neighbouring slices"
    images = Store.open(store).images[11:, :2].astype(np.float64) / 257
    for name in ("mae", "psnr", "nmse", "ssim"):
        wanted = score(name, images[:, 0], images[:, 1], np.ones(images[:, 0].shape, bool), np.arange(4))
        assert copy[f"{name}_whole", "t1>t2"]["value"] == pytest.approx(wanted, rel=1e-3)
    assert copy["mae_tumour", "t1>t2"]["n_subjects"] == 2
    assert lookup["mae_fg", "t1>t2"]["value"] < 1 < row["value"] and row["floor"] < 1
    chosen = json.loads((cells / "copy/scores.json").read_text())["snapshot"]
    assert chosen == {"kimg": None, "chosen": "best", "metric": "mae_fg"}
    assert json.loads((cells / "lookup/curve.json").read_text())["rows"][0]["metric"] == "mae_fg"


def test_planes_of_a_translation_are_those_of_its_patient(cells):
    """Slices on three planes, each called as the translation; the slices of a patient are one unit."""
    rows = rows_of(cells, "lookup")
    seen = {contrast for metric, contrast in rows if metric == "kd_indomain"}
    assert seen >= {WHOLE, "t1>t2 axial", "t1>t2 coronal", "t1>t2 sagittal"}
    row = rows["kd_indomain", "t1>t2 axial"]
    assert row["n_fake"] == row["n_real"] == 8 * len(SPLITS["test"]) and row["n_subjects"] == len(SPLITS["test"])
    assert row["value"] < rows_of(cells, "copy")["kd_indomain", "t1>t2 axial"]["value"]


def test_pictures_show_three_planes_of_source_translation_target_and_difference(cells):
    number, columns = layout(4, WHOLE_SIZE)
    with Image.open(cells / "lookup/fake.png") as picture:
        height, width = number * (WHOLE_SIZE[1] + 2 * WHOLE_SIZE[0]), columns * (4 * WHOLE_SIZE[2] + 2) - 2
        assert picture.height % height == 0 and picture.width % width == 0 and picture.height // height > 0
