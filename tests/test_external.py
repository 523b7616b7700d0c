"""Rows of images that another program made: what is read, what is refused, and that the judge treats them like any."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from paired_store import SIDE, make_store
from PIL import Image

from gan.cells import WHOLE
from gan.data.store import Store
from gan.errors import GanError
from gan.families.contract import Given
from gan.families.external.model import External
from gan.families.external.options import ExternalOptions
from gan.families.registry import make_options
from gan.generate import main as generate
from gan.run import main as run
from gan.sampling.snapshot import load_generator
from gan.sampling.tasks import CHUNK, available, sample
from gan.scales import generated_to_uint8, stored_to_uint8
from gan.scoring.cell import score_cell, score_snapshots
from gan.scoring.judge import Judge, Protocol
from gan.scoring.reference import image_facts, prepare_extractor, real_features
from gan.study import Cell, load, run_key
from gan.train.images import StoreDataset

SCHEMA = Path(__file__).parent.parent / "workflow/schemas/config.schema.yaml"
CONTRASTS = ("t1", "t2", "flair")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return make_store(tmp_path_factory.mktemp("external") / "store")


class Plain:
    """A data set of one contrast without masks, as far as reading asks."""

    def __init__(self, channels=("t1",), classes=()):
        from gan.families.contract import ImageShape

        self.shape = ImageShape(len(channels), (4, 6))
        self.meta = {"channels": list(channels), "mask": None, "labels": list(classes), "full_scale": [65535]}


def album(folder, dataset=None, **options):
    return External.make(make_options("external", options), dataset or Plain(), Given(folder=folder))


def png(path: Path, values) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values)).save(path)
    return path


def grey(value, kind=np.uint8):
    return np.full((4, 6), value, kind)


# reading


def test_pictures_of_8_bit_need_no_window(tmp_path):
    for value in (0, 51, 255):
        png(tmp_path / f"{value:03}.png", grey(value))
    images = album(tmp_path)(torch.arange(3))
    torch.testing.assert_close(images[:, 0, 0, 0], torch.tensor([-1.0, -0.6, 1.0]), atol=1e-4, rtol=0)


def test_other_numbers_need_one(tmp_path):
    png(tmp_path / "a.png", grey(1000, np.uint16))
    with pytest.raises(GanError, match=r"a\.png: values of the type uint16, .* set the options low and high"):
        album(tmp_path)
    images = album(tmp_path, low=0, high=4000)(torch.tensor([0]))
    torch.testing.assert_close(images.mean(), torch.tensor(-0.5), atol=1e-4, rtol=0)


def test_arrays_hold_many_images(tmp_path):
    np.save(tmp_path / "a.npy", np.stack([grey(0, np.float32), grey(1, np.float32)]))
    np.save(tmp_path / "b.npy", grey(0.5, np.float32)[None, None])
    images = album(tmp_path, low=0, high=1)(torch.arange(3))
    torch.testing.assert_close(images[:, 0, 0, 0], torch.tensor([-1.0, 1.0, 0.0]), atol=1e-4, rtol=0)


def test_images_of_several_contrasts_are_files_of_one_name(tmp_path):
    for place, name in enumerate(("t1", "t2")):
        png(tmp_path / f"x_{name}.png", grey(255 * place))
        png(tmp_path / f"y_{name}.png", grey(255 - 255 * place))
    images = album(tmp_path, Plain(("t1", "t2")))(torch.arange(2))
    assert images[:, :, 0, 0].tolist() == [[-1, 1], [1, -1]]


def test_folders_are_classes(tmp_path):
    for name, value in (("sick", 0), ("well", 255)):
        png(tmp_path / f"{name}/1.png", grey(value))
    kept = album(tmp_path, Plain(classes=("sick", "well")), conditional=True)
    assert kept.classes.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        ({}, {}, "no images"),
        ({"a.txt": b"x"}, {}, "a.txt: no image of this row"),
        ({"a.png": b"broken"}, {}, "a.png: not an image"),
        ({"a.npy": b"broken"}, {}, "a.npy: no array of numbers"),
        ({"a.png": np.zeros((4, 4), np.uint8)}, {}, "a.png: 4 x 4 pixels, the data set has 4 x 6"),
        ({"a.npy": np.zeros((2, 4, 4, 6))}, {}, "a.npy: an array of shape [2, 4, 4, 6]; the data set needs [n, 1, 4"),
        ({"a.npy": np.full((1, 4, 6), np.nan)}, {"low": 0, "high": 1}, "a.npy: NaN or infinite"),
        ({"a.png": grey(0), "a.tif": grey(0)}, {}, "is the same image of the same contrast"),
        ({"a.png": grey(0)}, {"conditional": True}, "a.png: not in a folder of a class; the classes are sick"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(files, options, said, tmp_path):
    for name, content in files.items():
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        elif name.endswith(".npy"):
            np.save(tmp_path / name, content)
        else:
            png(tmp_path / name, content)
    with pytest.raises(GanError) as error:
        album(tmp_path, Plain(classes=("sick",)), **options)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_contrast_that_is_missing_is_named(tmp_path):
    png(tmp_path / "x_t1.png", grey(0))
    with pytest.raises(GanError, match="x has no t2"):
        album(tmp_path, Plain(("t1", "t2")))
    png(tmp_path / "y.png", grey(0))
    with pytest.raises(GanError, match=r"y\.png: its name does not end in _<contrast>"):
        album(tmp_path, Plain(("t1", "t2")))


@pytest.mark.parametrize(
    ("given", "said"), [({"low": 1.0}, "give both"), ({"low": 2.0, "high": 2.0}, "low is 2; it must be below high")]
)
def test_windows_are_checked(given, said):
    with pytest.raises(GanError, match=said):
        ExternalOptions(**given)


# cells


def made(store, images, folder, **options) -> Path:
    """The cell of ``images``."""
    content = make_options("external", options).stated(0) if options.get("path") else {"path": ""} | options
    recipe = {
        "data": {"dataset": "pairs"},
        "variant": {"name": "other", "family": "external", "options": content},
        "training": {"kimg": 0, "batch": 1, "snapshot_kimg": 1, "precision": "fp32"},
        "seed": 0,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "given.json").write_text(json.dumps(recipe))
    given = ["--recipe", folder / "given.json", "--store", store, "--folder", folder, "--images", images]
    assert run([*map(str, given), "--checkpoints", str(folder), "--runtime", "device=cpu"]) == 0
    return folder


@pytest.fixture(scope="module")
def copies(store, tmp_path_factory) -> Path:
    """A cell of pictures that are training images, each contrast and the mask a file."""
    folder = tmp_path_factory.mktemp("copies")
    stored = Store.open(store).images[:48]
    for number, image in enumerate(stored):
        for name, channel in zip(CONTRASTS, stored_to_uint8(image[:3]), strict=True):
            png(folder / f"images/{number:03}_{name}.png", channel)
        png(folder / f"images/{number:03}_seg.png", image[3].astype(np.uint8))
    return made(store, folder / "images", folder / "cell")


def test_each_image_comes_back_once_in_an_order_of_the_seed(copies, store):
    snapshot = load_generator(copies / "generator.pt")
    assert available(snapshot) == 48
    images = sample(snapshot, 48, seed=3)
    assert torch.equal(sample(snapshot, CHUNK + 3, seed=3), images[: CHUNK + 3])
    assert not torch.equal(sample(snapshot, 48, seed=4), images)
    stored = stored_to_uint8(Store.open(store).images[:48, :3])
    back = generated_to_uint8(images[:, :3].numpy())
    assert {one.tobytes() for one in back} == {one.tobytes() for one in stored}
    with pytest.raises(GanError, match="49 images requested, but there are 48"):
        sample(snapshot, 49, seed=3)


def test_copies_of_training_images_are_found_out(copies, store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("judge")
    prepare_extractor("indomain", {"steps": 4, "dim": 16, "seed": 0}, store, folder / "extractor.pt", "cpu")
    real_features(folder / "extractor.pt", store, folder / "real.npz", "cpu")
    image_facts(store, folder / "images.npz")
    judge = Judge([folder / "extractor.pt"], [folder / "real.npz"], folder / "images.npz", "cpu", store)
    score_snapshots(copies, judge, Protocol(bootstrap=0))
    score_cell(copies, judge, Protocol(bootstrap=20, truncation=0.7))
    content = json.loads((copies / "scores.json").read_text())
    rows = {row["metric"]: row for row in content["scores"] if row["contrast"] == WHOLE}
    assert content["snapshot"]["kimg"] is None
    assert rows["copies_indomain"]["low"] > 0.9
    found = json.loads((copies / "copies.json").read_text())
    assert found["patients_near"] == found["patients"] and found["power"]["either"]["unchanged"] == 1
    assert "This page shows patients" in (copies / "pairs.html").read_text()
    assert rows["kd_indomain"]["n_fake"] == 48
    assert rows["kd_indomain"]["truncation"] == 1, "the truncation of the study is of generators"


def test_what_generate_writes_can_be_judged(copies, store, tmp_path):
    """As NIfTI, on the scale 0..255: orientation, scale and mask come back."""
    source = ["--generator", str(copies / "generator.pt"), "--n", "3"]
    generate([*source, "--out", str(tmp_path / "nifti"), "--format", "nifti"])
    again = made(store, tmp_path / "nifti", tmp_path / "cell", low=0.0, high=255.0)
    first = sample(load_generator(copies / "generator.pt"), 3, seed=0)
    images = load_generator(again / "generator.pt").network(torch.arange(3))
    torch.testing.assert_close(images, first, atol=1e-4, rtol=0)


# rows of the config


def config(path, seeds=(0, 1)) -> dict:
    row = {"source": {"phantom": {}}, "layout": "brats", "contrasts": ["t1n"]}
    return {
        "study": {"name": "s", "datasets": ["d"], "variants": ["v"], "seeds": list(seeds)},
        "datasets": {"d": row},
        "variants": {"v": {"family": "external", "options": {"path": str(path)}}},
    }


def test_the_key_is_of_the_files_and_not_of_their_place(tmp_path):
    for place in ("one", "two", "three"):
        png(tmp_path / place / "a.png", grey(3 if place == "three" else 0))
    studies = [load(config(tmp_path / place), SCHEMA) for place in ("one", "two", "three")]
    recipes = [study.recipe(Cell("d", "v", 0)) for study in studies]
    assert run_key(recipes[0]) == run_key(recipes[1]) != run_key(recipes[2])
    assert str(tmp_path) not in json.dumps(recipes)
    assert studies[0].place(Cell("d", "v", 0)) == str(tmp_path / "one")


def test_a_folder_for_each_seed_or_one_cell(tmp_path):
    for seed in (0, 1):
        png(tmp_path / f"s{seed}/a.png", grey(seed))
    study = load(config(tmp_path / "s{seed}"), SCHEMA)
    assert [study.place(cell) for cell in study.cells()] == [str(tmp_path / "s0"), str(tmp_path / "s1")]
    assert [cell.seed for cell in load(config(tmp_path / "s1"), SCHEMA).cells()] == [0]
    with pytest.raises(GanError, match=r"option path is .*s2.*no folder"):
        load(config(tmp_path / "s{seed}", seeds=(0, 2)), SCHEMA)


def test_data_of_the_store_is_read_like_the_store(copies, store):
    """The album of a cell has the classes and the shape that training would see."""
    dataset = StoreDataset(Store.open(store), torch.device("cpu"), False)
    assert load_generator(copies / "generator.pt").shape == dataset.shape
    assert dataset.shape.size == (SIDE, SIDE)
