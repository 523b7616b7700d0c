"""The data stage on real scans: DICOM, aligned contrasts with a mask, volumes of many shapes, heads stored as PSR."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gan.data.store import Store

REPOSITORY = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def stores(real_data, tmp_path_factory):
    """Stores of the rows in docs/examples, by name."""
    folder = tmp_path_factory.mktemp("realdata")
    shutil.copytree(REPOSITORY / "workflow", folder / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml", *(f"docs/examples/{one}.yaml" for one in ("scans", "ixi", "volumes"))):
        shutil.copy(REPOSITORY / name, folder)
    made = {}
    for study, overlay, names in (
        ("scans", "scans.yaml", ("dicom_head", "lesions", "hippocampus")),
        ("ixi_small", "ixi.yaml", ("ixi_small",)),
        ("volumes", "volumes.yaml", ("heads", "crops")),
    ):
        targets = [f"results/{study}/data/{name}/store" for name in names]
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "2", *targets, "--configfile", overlay],
            cwd=folder,
            env=os.environ | {"GAN_REAL_DATA": str(real_data)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        made |= {name: Store.open(folder / target) for name, target in zip(names, targets, strict=True)}
    return made


@pytest.mark.parametrize(
    ("name", "channels", "subjects"),
    [
        ("dicom_head", ["t1"], 1),
        ("lesions", ["t1", "t2", "flair", "lesion"], 2),
        ("hippocampus", ["t1", "hippocampus"], 160),
        ("ixi_small", ["t1"], 75),
    ],
)
def test_stores_hold_what_the_scans_hold(stores, name, channels, subjects):
    store = stores[name]
    assert store.meta["channels"] == channels
    assert store.index.subject.nunique() == subjects
    assert store.index.groupby("subject").split.nunique().max() == 1
    kept = store.index[store.index.kept]
    assert len(kept) == len(store.images) > 50 and (kept.fraction > 0.25).all()
    assert (store.folder / "contact_sheet.png").stat().st_size > 10_000


def test_masks_keep_their_label_numbers(stores):
    hippocampus, lesions = stores["hippocampus"], stores["lesions"]
    assert set(np.unique(hippocampus.images[:, 1])) == {0, 1, 2}
    assert set(np.unique(lesions.images[:, 3])) == {0, 1}


def test_heads_stand_upright(stores):
    """In an axial slice of a head the skull is symmetric left to right and longer from front to back."""
    images = stores["ixi_small"].images
    index = stores["ixi_small"].index
    middle = index[index.kept & index.position.between(0.65, 0.7)].row.to_numpy()
    heads = np.asarray(images[np.sort(middle), 0]) > 0.25 * 65535
    height = heads.any(2).sum(1).mean()
    width = heads.any(1).sum(1).mean()
    assert height > 1.1 * width
    mirrored = (heads == heads[:, :, ::-1]).mean()
    upside_down = (heads == heads[:, ::-1]).mean()
    assert mirrored > upside_down


def test_summary_names_every_subject_once(stores):
    table = pd.read_csv(stores["ixi_small"].folder / "subjects.csv")
    assert table.subject.is_unique and (table.kept <= table.candidates).all() and table.kept.gt(0).all()


def test_whole_volumes_are_upright_and_keep_their_labels(stores):
    """A head is round at its top and not symmetric from front to back; each voxel of a label is stored."""
    heads = stores["heads"].images[:, 0] > 0.25 * 65535
    assert len(heads) == 75 and heads[:, -3:].mean() < 0.03 < heads[:, :3].mean() < heads[:, 8:16].mean()
    assert (heads == heads[..., ::-1]).mean() > (heads == heads[:, :, ::-1]).mean()
    crops = stores["crops"]
    assert len(crops.images) == 160 and set(np.unique(crops.images[:, 1])) == {0, 1, 2}
    table = pd.read_csv(crops.folder / "subjects.csv")
    assert (table.share_cut == 0).all() and "labels_lost" not in table and crops.meta["spacing"] == [1.9, 1.9, 1.9]
