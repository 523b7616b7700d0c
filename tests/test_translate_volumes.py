"""A scan through a translator of whole volumes, mostly one that is the identity: geometry, box, network, refusals."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from golden import SMALL
from test_slices import volumes
from test_translate import SHAPE, SPACING, affine, made, opened, ras, stored, translate, write
from test_whole import whole

from gan.data.slices import build_store
from gan.data.store import Store
from gan.families.contract import ImageShape
from gan.families.registry import families, make_options
from gan.sampling.snapshot import Snapshot, load_generator, save_generator
from gan.sampling.volumes import requests
from gan.train.images import StoreDataset

PAD = {"spacing": None, "centre": "grid", "fit": "pad"}
RESIZE = {"spacing": 1.6, "centre": "body", "fit": "resize"}
ABOUT = {"axis": None, "filter": {"every": 1, "threshold": 25.5, "fraction": 0.0}}


def whole_generator(path, size=(16, 24, 20), box=PAD, spacing=SPACING[::-1], **more):
    return made(path, size=size, volumes=box, spacing=list(spacing), **ABOUT, **more)


def smooth(shape=SHAPE) -> np.ndarray:
    return np.fromfunction(lambda x, y, z: 250 + 90 * np.sin(x / 4) + 90 * np.cos(y / 5 + z / 6), shape).astype(
        np.int16
    )


@pytest.mark.parametrize(("axes", "turn"), [("RAS", 0.0), ("LPI", 0.0), ("SAR", 0.3), ("AIL", 0.2)])
def test_a_whole_volume_comes_back_into_its_own_geometry(tmp_path, axes, turn, capsys):
    """Padded and cropped exactly; what lies outside of the box is 0 and counted."""
    data = np.random.default_rng(0).integers(60, 500, SHAPE).astype(np.int16)
    source, out = write(tmp_path / "in.nii", data, affine(turn), axes), tmp_path / "out.nii"
    assert translate(whole_generator(tmp_path / "g.pt"), out, source) == 0
    image, given = nib.load(out), nib.load(source)
    assert image.shape == given.shape
    np.testing.assert_array_equal(image.affine, given.affine)
    np.testing.assert_allclose(ras(out), stored(data), atol=0.003)
    assert translate(whole_generator(tmp_path / "small.pt", size=(8, 16, 12)), out, source) == 0
    result, mapped = ras(out), stored(data)
    there = result > 0
    np.testing.assert_allclose(result[there], mapped[there], atol=0.003)
    assert np.count_nonzero(there) == 8 * 16 * 12
    about = json.loads((tmp_path / "out.nii.json").read_text())
    assert about["cropped_voxels"] == about["cropped_voxels_of_the_head"] == data.size - 8 * 16 * 12
    assert about["box"]["size"] == [8, 16, 12] and about["box"]["spacing"] == [2.0, 1.2, 1.0]
    assert "voxels lie outside of the box and become 0" in capsys.readouterr().out


def test_a_resampled_box_loses_what_is_printed(tmp_path, capsys):
    generator = whole_generator(tmp_path / "g.pt", size=(16, 16, 12), box=RESIZE, spacing=(1.6,) * 3)
    source, out = write(tmp_path / "in.nii", smooth(), axes="PIR"), tmp_path / "out.nii"
    assert translate(generator, out, source) == 0
    loss = json.loads((tmp_path / "out.nii.json").read_text())["frame_loss"]
    said = capsys.readouterr().out
    assert "the whole volume, in a box of 16 x 16 x 12 voxels of 1.6 x 1.6 x 1.6 mm" in said
    assert f"change the input by {loss:.2f} of 255" in said
    difference, inner = np.abs(ras(out) - stored(smooth())), (slice(3, -3),) * 3
    assert difference.mean() == pytest.approx(loss, abs=0.01)
    assert difference[inner].mean() < 4 < loss, "most is lost at the border, where the head ends abruptly"


def test_the_network_sees_the_volume_that_it_saw_in_training(tmp_path):
    """Also where the box follows the body."""
    scan = {"t1": np.zeros(SHAPE, np.int16), "t2": smooth()}
    scan["t1"][2:11, 3:15, 1:9] = smooth()[2:11, 3:15, 1:9]
    built = whole([16, 16, 12], contrasts=["t1", "t2"], spacing=1.6, centre="body")
    build_store(built, volumes(tmp_path / "volumes", {"p1": scan}, spacing=SPACING), tmp_path / "store")
    task = {"source": ["t1"], "target": ["t2"], "neighbours": 0}
    dataset = StoreDataset(Store.open(tmp_path / "store"), torch.device("cpu"), False, task)
    facts = {key: value for key, value in dataset.meta.items() if key != "size"}
    snapshot = load_generator(made(tmp_path / "g.pt", "copy", size=(16, 16, 12), **facts))
    assert snapshot.shape == dataset.shape
    stack = opened(snapshot, {"t1": write(tmp_path / "in.nii", scan["t1"], axes="ILA")})
    (request,) = requests(snapshot, stack, np.zeros(1, np.int64))
    assert torch.equal(request.images, dataset.batch(np.zeros(1, np.int64)).source)


def test_a_trained_network_and_the_real_scan(tmp_path, capsys):
    """A U-Net of three axes; paired scores of the whole volume, without flicker."""
    options, shape = SMALL["pix2pix"] | {"conditional": False}, ImageShape(1, (16, 24, 20), sources=1)
    torch.manual_seed(0)
    network = families()["pix2pix"].model.build_kept(make_options("pix2pix", options), shape)
    facts = load_generator(whole_generator(tmp_path / "copy.pt")).data
    save_generator(tmp_path / "g.pt", Snapshot(network, "pix2pix", options, shape, 1, data=facts))
    real = np.pad(smooth() // 2, ((0, 4), (0, 4), (0, 4)), mode="edge")
    source = write(tmp_path / "in.nii", real + 10)
    reference = write(tmp_path / "real.nii", real, axes="ILP")
    for generator, error in (("copy.pt", 5.0), ("g.pt", None)):
        words = ["--reference", str(reference), "--force"]
        assert translate(tmp_path / generator, tmp_path / "out.nii", source, *words) == 0
        found = json.loads((tmp_path / "out.nii.json").read_text())["scores"]["t2"]
        assert {"mae_fg", "ssim_whole", "psnr_fg", "nmse_fg"} <= found.keys() and "flicker" not in found
        assert error is None or found["mae_fg"] == pytest.approx(error, abs=0.01)
    assert "t1>t2, the whole volume:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("box", "spacing", "words", "message"),
    [
        (PAD, SPACING[::-1], ["--all-slices"], "--all-slices: this generator translates whole volumes; leave it out"),
        (PAD, (0.9,) * 3, [], "pixels of 2 x 1.2 x 1 mm in the frame of training, where they were 0.9 x 0.9 x 0.9 mm"),
        (RESIZE, (0.8,) * 3, [], "--input t1: voxels of 1 x 1.2 x 2 mm are too thick for volumes of 0.8 mm"),
    ],
)
def test_scans_that_do_not_suit_a_box_are_refused(tmp_path, capsys, box, spacing, words, message):
    generator, out = whole_generator(tmp_path / "g.pt", box=box, spacing=spacing), tmp_path / "out.nii"
    assert translate(generator, out, write(tmp_path / "in.nii", smooth()), *words) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and message in said[0] and not out.exists()
