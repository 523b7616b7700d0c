"""Whole volumes: the box and how it is stored, against the store of slices; refusals; and the way out as NIfTI."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SCHEMA
from nibabel.orientations import aff2axcodes
from PIL import Image
from test_slices import THIRDS, row, volumes
from torch import nn

from gan import study
from gan.data.cut.frames import Frame, centred, covered, frame, place, place_labels, unplace
from gan.data.nifti import canonical, read_nifti
from gan.data.slices import build_store
from gan.data.store import Store
from gan.errors import GanError
from gan.families.contract import Given, ImageShape, mirrored
from gan.families.external.model import External
from gan.families.registry import make_options
from gan.inspect.dataset import survey
from gan.inspect.show_dataset import render
from gan.sampling.snapshot import Snapshot
from gan.sampling.write import write_images
from gan.train.images import StoreDataset


def whole(size=(12, 16, 12), fit="resize", spacing=None, centre="grid", **changes) -> dict:
    spec = {"size": size if isinstance(size, int) else list(size), "spacing": spacing, "centre": centre, "fit": fit}
    found = row(**changes) | {"volumes": spec}
    del found["slices"]
    return found


def stored(tmp_path, subjects, wanted, name="store", **more) -> Store:
    if not (tmp_path / "volumes").exists():
        volumes(tmp_path / "volumes", subjects, **more)
    build_store(wanted, tmp_path / "volumes", tmp_path / name)
    return Store.open(tmp_path / name)


def noise(shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(100, 256, shape).astype(np.uint8)


def ball(side: int, radius: float, centre=(0.0, 0.0, 0.0)) -> np.ndarray:
    """A ball with soft edges in a cube, uint8; centre: off that of the cube."""
    axes = np.meshgrid(*[np.arange(side) + 0.5 - side / 2 - off for off in centre], indexing="ij")
    distance = np.sqrt(sum(axis**2 for axis in axes))
    return (np.clip(radius + 0.5 - distance, 0, 1) * 255).astype(np.uint8)


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize("source", [(5, 9, 6), (12, 4, 7)])
def test_a_padded_or_cropped_frame_of_three_axes_is_undone_exactly(source):
    data = noise(source).astype(np.float32)
    to = frame(source, (1.0, 1.0, 1.0), (8, 8, 8), "pad")
    back = unplace(place(data, to), to)
    np.testing.assert_array_equal(back[covered(to)], data[covered(to)])
    assert not back[~covered(to)].any() and covered(to).sum() == np.prod(np.minimum(source, 8))


def test_a_box_cut_out_of_a_volume_is_resampled_as_if_it_were_the_whole():
    data = noise((20, 18, 22)).astype(np.float32)
    inner = Frame((16, 12, 18), (16, 12, 18), (8, 8, 9), (1, 1, 1), (0, 0, 0))
    outer = inner._replace(source=data.shape, before=(-2, -3, -4))
    box = data[2:18, 3:15, 4:22]
    np.testing.assert_array_equal(place(data, outer), place(box, inner))
    np.testing.assert_array_equal(place_labels(data, outer), place_labels(box, inner))
    back = unplace(place(data, outer), outer)
    np.testing.assert_array_equal(back[2:18, 3:15, 4:22], unplace(place(box, inner), inner))
    assert not back[~covered(outer)].any()


@pytest.mark.parametrize(("mm", "size"), [(3.0, 24), (2.5, 28), (1.7, 40)])
def test_a_ball_keeps_its_volume(mm, size):
    """From 1 mm to voxels of a fractional size, with the box not at the centre: ml within 1 %, of labels 5 %."""
    data = ball(64, 15, (1.3, 2.2, -0.7)).astype(np.float32)
    canvas = (size * mm,) * 3
    to = Frame(data.shape, canvas, (size,) * 3, (mm,) * 3, tuple(n + 1 for n in centred(data.shape, canvas)))
    assert place(data, to).sum() * mm**3 == pytest.approx(data.sum(), rel=0.01)
    assert place_labels(data > 127, to).sum() * mm**3 == pytest.approx((data > 127).sum(), rel=0.05)


def test_a_chequer_shrinks_to_grey():
    board = (np.indices((32, 32, 32)) // 2).sum(0) % 2 * 255.0
    grey = place(board.astype(np.float32), Frame((32,) * 3, (32,) * 3, (8,) * 3, (4,) * 3, (0,) * 3))
    assert np.abs(grey[1:-1, 1:-1, 1:-1] - 127.5).max() < 1


# ---------------------------------------------------------------- the store


def test_the_left_of_a_patient_is_last_and_a_mirror_image_stays_upright(tmp_path):
    data = noise((12, 16, 12)) // 2
    data[0, -1, -1] = 255  # left, anterior, superior
    store = stored(tmp_path, {"a": {"t1": data}}, whole(fit="pad"))
    assert store.images.shape == (1, 1, 12, 16, 12) and store.images[0, 0, -1, 0, -1] == 65535
    batch = StoreDataset(store, torch.device("cpu"), False).batch(np.array([0])).real
    torch.manual_seed(0)
    mirror = mirrored(batch.expand(32, *batch.shape[1:]))
    assert torch.equal((mirror[:, 0, -1, 0, 0] == 1) | (mirror[:, 0, -1, 0, -1] == 1), torch.ones(32, dtype=torch.bool))
    assert (mirror == 1).sum() == 32 and 0 < (mirror[:, 0, -1, 0, 0] == 1).sum() < 32


def test_a_plane_of_a_volume_is_the_stored_slice(tmp_path):
    """Of 1 x 1 x 2 mm, on voxels of 2 mm: shrunk within slices, and none is mixed with the next."""
    masks = np.random.default_rng(1).integers(0, 4, (24, 32, 12)).astype(np.uint8)
    subjects = {"a": {"t1": noise((24, 32, 12)), "seg": masks}}
    volumes(tmp_path / "volumes", subjects, spacing=(1.0, 1.0, 2.0))
    store = stored(tmp_path, {}, whole(spacing=2.0, mask="seg"))
    flat = row(mask="seg", slices={"size": [16, 12], "fit": "resize", "fraction": 0})
    build_store(flat, tmp_path / "volumes", tmp_path / "flat")
    slices = Store.open(tmp_path / "flat").images
    np.testing.assert_array_equal(store.images[0].swapaxes(0, 1), slices)
    assert store.meta["spacing"] == [2, 2, 2]


def test_voxels_of_the_wanted_size_are_stored_as_they_are(tmp_path):
    data = noise((12, 16, 12))
    store = stored(tmp_path, {"a": {"t1": data}}, whole(spacing=1.0))
    np.testing.assert_array_equal(store.images[0, 0, :, ::-1, ::-1].T, data.astype(np.uint16) * 257)


def test_index_and_tables_have_a_row_a_subject(tmp_path):
    subjects = {name: {"t1": ball(16, 5 + place)} for place, name in enumerate("abcdef")}
    store = stored(
        tmp_path, subjects, whole(8, spacing=2.0, split=THIRDS, labels="folder"), labels=dict.fromkeys("abcdef", "x")
    )
    index = store.index
    assert index["subject"].tolist() == list("abcdef") and index["row"].tolist() == list(range(6))
    assert (index["slice"] == 0).all() and (index["position"] == 0).all() and index["kept"].all()
    assert index["fraction"].tolist() == sorted(index["fraction"]) and set(index["split"]) == {"train", "val", "test"}
    table = pd.read_csv(store.folder / "subjects.csv")
    assert (table["share_cut"] == 0).all() and (table["offset_x"] == 0).all()
    assert set(table["volume_shape"]) == {"16x16x16"} and set(table["voxel_spacing"]) == {"2x2x2"}
    assert Image.open(store.folder / "contact_sheet.png").width > 3 * 48
    assert Image.open(store.folder / "previews/a_000_t1.png").size == (24, 8)
    shape = StoreDataset(store, torch.device("cpu"), True).shape
    assert shape == ImageShape(1, (8, 8, 8), 1)


def test_contrasts_apart_are_volumes_of_their_own(tmp_path):
    subjects = {name: {"t1": ball(16, 5 + place), "t2": ball(16, 4 + place)} for place, name in enumerate("ab")}
    wanted = whole(8, spacing=2.0, labels="contrast", contrasts=["t1", "t2"])
    store = stored(tmp_path, subjects, wanted)
    assert store.images.shape == (4, 1, 8, 8, 8) and store.index["label"].tolist() == ["t1", "t2"] * 2


@pytest.mark.parametrize(("centre", "expected"), [("grid", (0, 0, 0)), ("body", (3, -4, 2)), ("top", (3, -4, 2))])
def test_where_the_box_lies(tmp_path, centre, expected):
    """A ball of 6 voxels off the centre: the box of 20 voxels is about it, or hangs one voxel above it."""
    data = ball(40, 6, (3, -4, 2))
    store = stored(tmp_path, {"a": {"t1": data}}, whole(20, spacing=1.0, centre=centre))
    table = pd.read_csv(store.folder / "subjects.csv").iloc[0]
    x, y, z = expected
    # Top of the ball 28, one voxel of air, so that the box ends at 29 and its centre is at 19, one below the scan's.
    z = -1 if centre == "top" else z
    assert [table[f"offset_{axis}"] for axis in "xyz"] == [x, y, z]
    places = np.argwhere(store.images[0, 0] > 65535 * 0.6)
    middle = (places.min(0) + places.max(0) + 1) / 2 - 10
    np.testing.assert_array_equal(middle, [2 - z, 4 + y, x - 3])


def test_a_neck_below_the_box_is_meant_to_be_cut_off(tmp_path):
    data = ball(40, 8, (0, 0, 8))
    data[16:24, 16:24, :20] = 255
    wanted = whole(20, spacing=1.0, centre="top")
    assert pd.read_csv(stored(tmp_path, {"a": {"t1": data}}, wanted).folder / "subjects.csv")["share_cut"][0] < 0.001
    with pytest.raises(GanError, match=r"subject a: \d+\.\d\d% of the body is outside of the box of 20 x 20 x 20 mm"):
        stored(tmp_path, {}, whole(20, spacing=1.0, centre="body"), "other")


def test_without_a_spacing_the_largest_subject_fits(tmp_path):
    subjects = {name: {"t1": ball(40, radius, (1, 2, 3))} for name, radius in (("a", 6), ("b", 12))}
    grid = stored(tmp_path, subjects, whole(16))
    body = stored(tmp_path, {}, whole(16, centre="body"), "body")
    assert grid.meta["spacing"] == [2.5] * 3
    assert body.meta["spacing"][0] == pytest.approx(25 / 16, rel=0.05)
    assert (pd.read_csv(body.folder / "subjects.csv")["share_cut"] == 0).all()


def test_masks_keep_their_labels_and_lost_ones_are_reported(tmp_path, capsys):
    mask = (ball(32, 9) > 127).astype(np.uint8) + (ball(32, 5) > 127)
    speck = mask.copy()
    speck[2, 2, 2] = 7
    subjects = {
        name: {"t1": ball(32, 14 + place), "seg": of} for place, (name, of) in enumerate((("a", mask), ("b", speck)))
    }
    store = stored(tmp_path, subjects, whole(16, spacing=2.0, mask="seg"))
    assert store.meta["channels"] == ["t1", "seg"] and np.unique(store.images[:, 1]).tolist() == [0, 1, 2]
    for label in (1, 2):
        ml = (store.images[0, 1] == label).sum() * 8
        assert ml == pytest.approx((mask == label).sum(), rel=0.05)
    assert pd.read_csv(store.folder / "subjects.csv")["labels_lost"].fillna(0).tolist() == [0, 7]
    assert "1 of 2 subjects lose labels of the mask" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wanted", "spacing", "message"),
    [
        (whole(16, spacing=1.0), (1.0, 1.0, 3.0), "voxels of 1 x 1 x 3 mm are too thick for volumes of 1 mm; set vol"),
        (whole(16, fit="pad"), (1.0, 1.0, 3.0), "too thick for volumes of 1 mm; use slices instead of volumes"),
        (whole(8, spacing=1.0), (1.0, 1.0, 1.0), "of the body is outside of the box of 8 x 8 x 8 mm"),
        (whole(16, spacing=1.0, intensity={"low": 300, "high": 900}), (1.0, 1.0, 1.0), "no voxel is above 10 %"),
    ],
)  # fmt: skip
def test_volumes_that_do_not_suit_are_refused(tmp_path, wanted, spacing, message):
    with pytest.raises(GanError, match="subject a.*" + message):
        stored(tmp_path, {"a": {"t1": ball(16, 7)}}, wanted, spacing=spacing)
    assert not (tmp_path / "store").exists()


def test_unequal_voxels_are_refused_where_they_are_kept(tmp_path):
    volumes(tmp_path / "volumes", {"a": {"t1": ball(16, 6)}})
    other = nib.Nifti1Image(ball(16, 7), np.diag([1.5, 1.5, 1.5, 1.0]))
    other.to_filename(tmp_path / "volumes/b_t1.nii")
    table = pd.read_csv(tmp_path / "volumes/volumes.csv", keep_default_na=False)
    pd.concat([table, table.assign(subject="b", file="b_t1.nii")]).to_csv(tmp_path / "volumes/volumes.csv", index=False)
    with pytest.raises(GanError, match=r"subject b: voxels of 1\.5 x 1\.5 x 1\.5 mm, of a 1 x 1 x 1 mm"):
        stored(tmp_path, {}, whole(16, fit="pad"))


# ---------------------------------------------------------------- the config

VOLUMES = {"volumes": {"size": 32, "spacing": 6.0}}


def load(changes, name="mine"):
    grid = {
        "study": {"name": "s", "datasets": [name], "variants": ["dcgan"]},
        "variants": {"dcgan": {"family": "dcgan"}},
    }
    return study.load(grid | {"datasets": {name: PHANTOM | changes}}, SCHEMA)


PHANTOM = {"source": {"phantom": {"subjects": 6}}, "layout": "brats", "contrasts": ["t1n", "t2w"]}


def test_the_recipe_has_either_slices_or_volumes():
    spec = load(VOLUMES).store_spec("mine")
    assert spec["volumes"] == {"size": 32, "spacing": 6.0, "centre": "grid", "fit": "resize"} and "slices" not in spec
    spec = load({"slices": {"size": 32}}).store_spec("mine")
    assert spec["slices"]["size"] == 32 and "volumes" not in spec
    assert load({}).scored("mine") and load(VOLUMES).scored("mine")
    assert load({"volumes": None}).store_spec("mine")["slices"]["fraction"] == 0.25


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slices": {"size": 32}}, "has slices, too"),
        ({"layout": "images"}, "pictures, which are no volumes"),
        ({"labels": {"slice": 3}}, "of slices; give labels of subjects"),
        ({"intensity": {"map": "slice_minmax"}}, "slice_minmax, of slices"),
        ({"translate": {"source": ["t1n"], "target": ["t2w"], "neighbours": 1}}, "have no neighbouring slices"),
        ({"volumes": {"fit": "pad", "spacing": 2.0}}, "set spacing to null, or fit to resize"),
        ({"volumes": {"size": [24, 256, 256]}}, r"image size \[24, 256, 256\] is no doubling of a small grid"),
        ({"volumes": {"size": [32, 32]}}, "datasets.mine.volumes.size"),
    ],
)  # fmt: skip
def test_keys_of_slices_are_refused_next_to_volumes(changes, message):
    with pytest.raises(GanError, match=message) as error:
        load(VOLUMES | changes)
    assert "\n" not in str(error.value) and "mine" in str(error.value)


def test_a_report_of_a_data_set_of_volumes(tmp_path):
    """From volumes, with a spacing that is measured first, and from the store."""
    changes = {
        "contrasts": ["t1"],
        "mask": "seg",
        "volumes": {"size": 16},
        "split": {"train": 0.5, "val": 0.25, "test": 0.25},
    }
    mine, place = load(changes | {"layout": "nifti", "pattern": "{subject}_{contrast}.nii"}), tmp_path / "s/data/mine"
    place.mkdir(parents=True)
    speck = np.zeros((24, 24, 24), np.uint8)
    speck[1, 1, 1] = 5
    volumes(place / "volumes", {name: {"t1": ball(24, 6 + number), "seg": speck} for number, name in enumerate("abcd")})
    first = survey(mine, "mine", tmp_path, scratch=tmp_path)
    build_store(mine.store_spec("mine"), place / "volumes", place / "store", name="mine")
    second = survey(mine, "mine", tmp_path, scratch=tmp_path)
    assert first.look and second.store and not first.refused
    assert "4 subjects lose labels of the mask: a (5), b (5)" in render(first)
    for report in (first, second):
        text = render(report)
        assert "whole volumes of 16 x 16 x 16 voxels of 1.5 x 1.5 x 1.5 mm, box about the grid" in text
        assert "with volumes" in text and "no scores: " in text and "have 7 subjects" in text


# ---------------------------------------------------------------- the way out


def snapshot_of(store: Store, **data) -> Snapshot:
    dataset = StoreDataset(store, torch.device("cpu"), False, planes=False)
    return Snapshot(nn.Identity(), "dcgan", {}, dataset.shape, 4, run_key="abc", data=dataset.meta | data)


def test_a_stored_volume_written_as_nifti_is_the_scan(tmp_path):
    """The way of a real volume through the store and out again: voxels, spacing, axes, and left stays left."""
    data, mask = noise((12, 16, 12)), np.random.default_rng(2).integers(0, 3, (12, 16, 12)).astype(np.uint8)
    data[:3] = 250  # the patient's left, x < 0
    volumes(tmp_path / "volumes", {"a": {"t1": data, "seg": mask}}, spacing=(1.5, 1.5, 2.0))
    store = stored(tmp_path, {}, whole(fit="pad", mask="seg"))
    images = StoreDataset(store, torch.device("cpu"), False, planes=False).batch(np.array([0])).real
    write_images(snapshot_of(store), iter([images]), 1, tmp_path / "out", "nifti", seed=3)
    image = nib.load(tmp_path / "out/00000_t1.nii.gz")
    assert "".join(aff2axcodes(image.affine)) == "RAS" and image.header.get_xyzt_units()[0] == "mm"
    assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 2
    np.testing.assert_array_equal(image.get_sform(), image.get_qform())
    np.testing.assert_allclose(image.header.get_zooms(), (1.5, 1.5, 2.0))
    np.testing.assert_allclose(image.affine @ [5.5, 7.5, 5.5, 1], [0, 0, 0, 1])
    assert "synthetic" in str(image.header["descrip"]) and len(image.header.extensions) == 1
    found = canonical(read_nifti(tmp_path / "out/00000_t1.nii.gz"))
    np.testing.assert_allclose(found.values(), data, atol=1e-3)
    assert found.values()[0].mean() > 249 and (found.affine @ [0, 0, 0, 1])[0] < 0
    labels = nib.load(tmp_path / "out/00000_seg.nii.gz")
    assert labels.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(labels.dataobj), mask)


def test_a_picture_of_a_volume_has_three_planes(tmp_path):
    data = noise((12, 16, 8)) // 2
    data[0, -1, -1] = 255
    store = stored(tmp_path, {"a": {"t1": data}}, whole((8, 16, 12), fit="pad"), spacing=(1.0, 1.0, 2.0))
    images = StoreDataset(store, torch.device("cpu"), False).batch(np.array([0])).real
    write_images(snapshot_of(store), iter([images]), 1, tmp_path / "out", "png", seed=0)
    picture = np.asarray(Image.open(tmp_path / "out/00000_t1.png"))
    assert picture.shape == (16, 48)
    # Voxels are 2 mm high: each is two pixels in the coronal and the sagittal plane, which are upright.
    coronal = data[::-1, 7, ::-1].T.repeat(2, axis=0)
    np.testing.assert_array_equal(picture[:, 18:30], coronal)
    np.testing.assert_array_equal(picture[:, 32:], data[5, ::-1, ::-1].T.repeat(2, axis=0))
    np.testing.assert_array_equal(picture[:, 2:14], data[::-1, ::-1, 4].T)


@pytest.mark.parametrize("form", ["nifti", "png"])
def test_a_volume_without_spacing_has_no_geometry(tmp_path, form):
    store = stored(tmp_path, {"a": {"t1": noise((12, 16, 12))}}, whole(fit="pad"))
    with pytest.raises(GanError, match="no spacing of its voxels"):
        write_images(snapshot_of(store, spacing=None), iter([torch.zeros(1, 1, 12, 16, 12)]), 1, tmp_path, form, seed=0)


def test_rows_of_images_of_other_programs_take_volumes(tmp_path):
    masks = np.random.default_rng(2).integers(0, 3, (2, 12, 16, 12)).astype(np.uint8)
    subjects = {name: {"t1": noise((12, 16, 12), number), "seg": masks[number]} for number, name in enumerate("ab")}
    opened = stored(tmp_path, subjects, whole(fit="pad", mask="seg"))
    dataset = StoreDataset(opened, torch.device("cpu"), False, planes=False)
    images = dataset.batch(np.arange(2)).real
    mine = Snapshot(nn.Identity(), "external", {}, dataset.shape, 1, data=dataset.meta)
    write_images(mine, iter([images]), 2, tmp_path / "out", "nifti", seed=0)
    album = External.make(make_options("external", {"low": 0, "high": 255}), dataset, Given(folder=tmp_path / "out"))
    torch.testing.assert_close(album(torch.arange(2)), images, atol=1e-4, rtol=0)
