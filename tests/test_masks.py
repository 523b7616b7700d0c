"""Masks of several labels: planes for networks, one channel of labels everywhere else."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from golden import CASES
from PIL import Image
from tiny import TinyData, paths, recipe
from torch import nn

from gan.data.planes import as_slices, upright
from gan.data.store import Store, writing
from gan.families.contract import ImageShape
from gan.families.registry import build
from gan.generate import main as generate
from gan.grids import MOST_COLUMNS, tile
from gan.masks import MOST, collapse, spread
from gan.run import main as run
from gan.sampling.between import interpolation_grid, mixing_grid
from gan.sampling.grid import Grid
from gan.sampling.snapshot import Snapshot, load_generator, save_generator
from gan.sampling.tasks import sample
from gan.scales import generated_to_labels
from gan.scoring.contrasts import Scored
from gan.scoring.samples import generated
from gan.train.images import StoreDataset
from gan.train.loop import train
from gan.train.trainer import Trainer
from gan.utility.images import as_stored

__all__ = ["TinyData"]  # makes the tiny family known (conftest)
CPU, SIDE = torch.device("cpu"), 16
SIZES = {2: (5, 6), 3: (3, 5, 6)}


def store(folder: Path, largest: int, size=(SIDE, SIDE), contrasts: int = 1) -> Store:
    """12 images of noise with a mask of the labels 0 to ``largest``."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 65536, (12, contrasts + 1, *size)).astype(np.uint16)
    images[:, -1] %= largest + 1
    rows = {"subject": [f"s{row}" for row in range(12)], "slice": range(12), "row": range(12), "label": ""}
    index = pd.DataFrame(rows).assign(position=0.5, fraction=0.5, kept=True, reason="", split="train")
    meta = {"channels": [*[f"t{place + 1}" for place in range(contrasts)], "seg"], "mask": "seg", "labels": []}
    with writing(folder, images.shape[1:]) as writer:
        writer.append(images)
        about = {
            "spacing": [2.0, 1.5][: len(size)],
            "axis": "axial",
            "filter": {"every": 1},
            "intensity": {"map": "percentiles"},
        }
        writer.finish(index, index[["subject", "split"]], meta | about)
    return Store.open(folder)


def labels_in(images: torch.Tensor, largest: int) -> np.ndarray:
    """The labels of a mask in [-1, 1], which has no values between theirs."""
    exact = (images.double() + 1) / 2 * largest
    torch.testing.assert_close(exact, exact.round(), atol=1e-4, rtol=0)
    return generated_to_labels(images.numpy(), largest)


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("largest", [1, 2, 3, 7])
def test_labels_come_back_from_their_planes(axes, largest):
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, largest + 1, (4, *SIZES[axes])))
    contrasts = torch.rand(4, 2, *SIZES[axes])
    planes = spread(labels.float(), largest)
    assert planes.shape == (4, largest, *SIZES[axes]) and planes.dtype == torch.float32
    for label in range(1, largest + 1):
        assert torch.equal(planes[:, label - 1], torch.where(labels == label, 1.0, -1.0))
    images = collapse(torch.cat([contrasts, planes], 1), largest)
    assert images.shape == (4, 3, *SIZES[axes]) and torch.equal(images[:, :2], contrasts)
    assert (labels_in(images[:, 2], largest) == labels.numpy()).all()


def test_the_largest_plane_above_zero_decides():
    planes = torch.tensor([[0.1, 0.2, -1.0], [-0.1, 0.0, -0.2], [3.0, 2.0, 1.0], [-2.0, -1.0, 0.01]])[:, :, None, None]
    torch.testing.assert_close(collapse(planes, 3).flatten(), torch.tensor([4 / 3 - 1, -1.0, 2 / 3 - 1, 1.0]))


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_stay_so(broken):
    planes = torch.zeros(1, 2, 1, 2)
    planes[0, 1, 0, 1] = broken
    assert collapse(planes, 2).isnan().flatten().tolist() == [False, True]


@pytest.mark.parametrize("masks", [0, 1])
def test_one_channel_is_left_as_it_is(masks):
    images = torch.randn(2, 3, 4, 4)
    assert collapse(images, masks) is images


# ---------------------------------------------------------------- from a store


@pytest.mark.parametrize("size", [(SIDE, SIDE), (8, 8, 8)])
def test_two_labels_are_two_planes(tmp_path, size):
    opened = store(tmp_path / "store", 2, size)
    data = StoreDataset(opened, CPU, False)
    assert data.shape == ImageShape(3, size, masks=2) and data.shape.shown == 2
    assert (data.meta["channels"], data.meta["full_scale"]) == (["t1", "seg"], [65535, 2])
    stored = opened.images[[3, 0]]
    real = data.batch(np.array([3, 0])).real
    assert real.is_contiguous()
    assert torch.equal(real[:, 1:], spread(torch.from_numpy(stored[:, 1].astype(np.float32)), 2))
    together = StoreDataset(opened, CPU, False, planes=False)
    assert together.shape == ImageShape(2, size, masks=1)
    assert torch.equal(collapse(real, 2), together.batch(np.array([3, 0])).real)


@pytest.mark.parametrize("largest", [1, MOST + 1])
def test_one_label_and_very_many_are_one_channel(tmp_path, largest):
    opened = store(tmp_path / "store", largest)
    data = StoreDataset(opened, CPU, False)
    assert data.shape == ImageShape(2, (SIDE, SIDE), masks=1)
    full = torch.tensor([65535.0, largest]).reshape(2, 1, 1)
    expected = torch.from_numpy(opened.images[:5].astype(np.float32)) * (2 / full) - 1
    assert torch.equal(data.batch(np.arange(5)).real, expected)


def test_a_mask_is_no_plane_of_a_translation(tmp_path):
    task = {"source": ["t1", "seg"], "target": ["t2"], "neighbours": 0}
    opened = store(tmp_path / "store", 2, contrasts=2)
    opened.index["has_t2"] = True
    data = StoreDataset(opened, CPU, False, task)
    assert data.shape == ImageShape(1, (SIDE, SIDE), sources=2)
    assert (labels_in(data.batch(np.arange(12)).source[:, 1], 2) == opened.images[:, 2]).all()


# ---------------------------------------------------------------- what comes out


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A cell of the tiny family, two labels, and its store."""
    folder = tmp_path_factory.mktemp("masks")
    train(recipe(kimg=0.016), StoreDataset(store(folder / "store", 2), CPU, False), paths(folder))
    return folder


def test_samples_have_one_mask_of_the_labels(trained):
    snapshot = load_generator(trained / "cell/generator.pt")
    assert (snapshot.shape.channels, snapshot.shape.masks, snapshot.mask_labels) == (3, 2, 2)
    images = sample(snapshot, 20, seed=0)
    assert images.shape == (20, 2, SIDE, SIDE)
    assert set(np.unique(labels_in(images[:, 1], 2))) == {0, 1, 2}
    (first, *_), (pixels, masks) = (
        generated(snapshot, [Scored("t1", 0, None)], 4, 0, 1.0),
        as_stored(images.numpy(), snapshot),
    )
    assert (first.masks == masks[:4]).all() and (first.grey["t1"] == pixels[:4, 0]).all() and pixels.shape[1] == 1


@pytest.mark.parametrize("form", ["png", "nifti", "npy", "grid"])
def test_files_have_the_mask_of_the_samples(trained, tmp_path, form):
    path = trained / "cell/generator.pt"
    images = sample(load_generator(path), 3, seed=0)
    given = ["--generator", str(path), "--out", str(tmp_path), "--n", "3", "--device", "cpu", "--format", form]
    assert generate(given) == 0
    if form == "npy":
        assert (np.load(tmp_path / "images.npy") == images.numpy()).all()
        return
    if form == "grid":
        assert (np.asarray(Image.open(tmp_path / "grid.png")) == tile(images.numpy(), 3, 2)).all()
        return
    assert len(list(tmp_path.glob("0000?_*"))) == 6
    for place, expected in enumerate(labels_in(images[:, 1], 2)):
        if form == "png":
            found = np.asarray(Image.open(tmp_path / f"{place:05d}_seg.png"))
        else:
            nifti = np.asarray(nib.load(tmp_path / f"{place:05d}_seg.nii.gz").dataobj)
            found = upright(as_slices(nifti, "axial"))[0]
        assert found.dtype == np.uint8 and (found == expected).all()


def test_pictures_of_a_training_show_labels_in_colours(trained):
    opened = Store.open(trained / "store")
    planes, together = (Grid(StoreDataset(opened, CPU, False, planes=each), seed=0) for each in (True, False))
    assert planes.columns == together.columns and torch.equal(planes.real, together.real)
    assert planes.similarity_real == together.similarity_real
    for name in ("real.png", "snapshots/kimg00000.png"):
        with Image.open(trained / "cell" / name) as picture:
            assert (picture.mode, picture.width) == ("RGB", MOST_COLUMNS * (2 * SIDE + 2) - 2)
            assert picture.info["Grid"] and json.loads(picture.info["Grid"])["panels"] == 2
    assert (np.asarray(Image.open(trained / "cell/real.png")) == tile(together.real.numpy(), planes.columns, 2)).all()


class Disc(nn.Module):
    """Draws, smoothly, a disc of label 2 in label 0: as planes, or as one channel."""

    def __init__(self, planes: bool):
        super().__init__()
        self.planes = planes
        self.register_buffer("steep", torch.tensor(2.0))

    def forward(self, z, labels):
        line = torch.arange(SIDE) - SIDE / 2
        height = torch.tanh(self.steep * (5 - (line[:, None] ** 2 + line**2).sqrt()) / 3).expand(len(z), 1, SIDE, SIDE)
        return torch.cat([height, torch.full_like(height, -1), height] if self.planes else [height, height], 1)


@pytest.mark.parametrize("planes", [True, False])
def test_a_region_of_label_two_has_no_rim_of_label_one(planes):
    shape = ImageShape(3, (SIDE, SIDE), masks=2) if planes else ImageShape(2, (SIDE, SIDE), masks=1)
    data = {"channels": ["t1", "seg"], "mask": "seg", "full_scale": [65535, 2]}
    snapshot = Snapshot(Disc(planes), "tiny", {"z_dim": 4}, shape, 4, data=data)
    found = generated_to_labels(sample(snapshot, 2, seed=0)[:, 1].numpy(), 2)
    assert set(np.unique(found)) == ({0, 2} if planes else {0, 1, 2})


def test_a_file_of_before_planes_draws_what_it_drew(tmp_path):
    shape, data = ImageShape(2, (8, 8), masks=1), {"channels": ["t1", "seg"], "mask": "seg", "full_scale": [65535, 2]}
    network = build("tiny", {"z_dim": 4}, shape, batch=4).generator.eval()
    options = recipe()["variant"]["options"] | {"z_dim": 4}
    save_generator(tmp_path / "g.pt", Snapshot(network, "tiny", options, shape, 4, data=data))
    snapshot = load_generator(tmp_path / "g.pt")
    images, seen = sample(snapshot, 16, seed=0), []
    snapshot.network.register_forward_hook(lambda _, given, drawn: seen.append(drawn))
    assert torch.equal(sample(snapshot, 16, seed=0), images) and torch.equal(seen[0], images)
    assert len(images[:, 1].unique()) > 3


@pytest.mark.parametrize("augment", ["bgc", "diffaugment"])
def test_a_step_of_stylegan2_and_its_mixed_styles(tmp_path, augment):
    """Three planes behind one contrast, so that the hue of three contrasts is none of theirs."""
    given = recipe(batch=4, kimg=0.004)
    options = CASES["stylegan2"][1] | {"augment": augment}
    given["variant"] = {"name": "planes", "family": "stylegan2", "options": options}
    data = StoreDataset(store(tmp_path / "store", 3), CPU, False)
    trainer = Trainer(given, data, CPU)
    trainer.advance(measure=False)
    snapshot = Snapshot.of(given, trainer.ema, data, 0.004)
    classes = torch.zeros(4, dtype=torch.int64)
    mixed, between = (
        mixing_grid(snapshot, 4, 0, classes, 1.0, None),
        interpolation_grid(snapshot, 2, 0, classes, 1.0, 1),
    )
    assert (mixed.shape, between.shape) == ((9, 2, SIDE, SIDE), (3, 2, SIDE, SIDE))
    for images in (mixed, between):
        assert set(np.unique(labels_in(images[:, 1], 3))) <= {0, 1, 2, 3}


def test_volumes_are_moved_with_their_planes(tmp_path):
    given = recipe(batch=4, kimg=0.004)
    options = CASES["stylegan2"][1] | {"augment_real": "all", "modulation": "adain", "pl_weight": 0.0}
    given["variant"] = {"name": "planes", "family": "stylegan2", "options": options}
    opened = store(tmp_path / "store", 2, (16, 16, 16))
    opened.meta["spacing"] = [2.0] * 3
    real = Trainer(given, StoreDataset(opened, CPU, False), CPU)._batch().real
    assert real.shape[1] == 3 and set(real[:, 1:].unique().tolist()) == {-1.0, 1.0}
    assert (real[:, 1:].amax(1) == -1).float().mean() > 1 / 3, "label 0 is outside, too"


# ---------------------------------------------------------------- made rows


def test_images_of_other_programs_have_one_mask(tmp_path):
    opened = store(tmp_path / "store", 2)
    for place, (grey, mask) in enumerate(opened.images[:4]):
        for name, pixels in (("t1", grey // 257), ("seg", mask)):
            (tmp_path / "images").mkdir(exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"images/{place}_{name}.png")
    given = recipe(kimg=0, batch=1, snapshot_kimg=1)
    given["variant"] = {"name": "other", "family": "external", "options": {"path": ""}}
    given["data"] = {"contrasts": ["t1"], "mask": "seg"}
    (tmp_path / "recipe.json").write_text(json.dumps(given))
    words = {"recipe": "recipe.json", "store": "store", "folder": "cell", "checkpoints": "cell", "images": "images"}
    assert run([*(f"--{name}={tmp_path / place}" for name, place in words.items()), "--runtime", "device=cpu"]) == 0
    snapshot = load_generator(tmp_path / "cell/generator.pt")
    assert (snapshot.shape.channels, snapshot.shape.masks) == (2, 1)
    found = labels_in(sample(snapshot, 4, seed=0)[:, 1], 2)
    assert {one.tobytes() for one in found} == {one.astype(np.uint8).tobytes() for one in opened.images[:4, 1]}
