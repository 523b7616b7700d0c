"""A scan through a translator, with a generator that is the identity: geometry, slices, frame, header, refusals."""

import itertools
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform
from test_dicom import write_stack
from test_slices import row, volumes

from gan.data.cut.frames import covered, frame, place, unplace
from gan.data.dicom import read_series
from gan.data.nifti import Volume, canonical
from gan.data.slices import build_store
from gan.data.store import Store
from gan.families.contract import ImageShape
from gan.families.registry import families, make_options
from gan.sampling.snapshot import Snapshot, load_generator, save_generator
from gan.sampling.volumes import around, requests
from gan.sampling.volumes import translate as translate_stack
from gan.train.images import StoreDataset
from gan.translate.asked import Task
from gan.translate.command import main
from gan.translate.inputs import open_inputs, stack_of

SHAPE, SPACING = (13, 18, 10), (1.0, 1.2, 2.0)  # RAS
WINDOW = {"map": "window", "low": 0, "high": 510}
NAME = "Doe^Jane 4711"


def made(path: Path, family="copy", sources=("t1",), targets=("t2",), neighbours=0, size=(20, 16), **data) -> Path:
    """A generator whose translation is its first source, as a file."""
    shape = ImageShape(len(targets), size, sources=len(sources) * (2 * neighbours + 1), neighbours=neighbours)
    options = make_options(family, {})
    network = families()[family].model.build_kept(options, shape).eval()
    facts = {"channels": list(targets), "mask": None, "labels": [], "size": list(size), "reference": "t1"}
    facts |= {"translate": {"source": list(sources), "target": list(targets), "neighbours": neighbours}}
    facts |= {"axis": "axial", "fit": "pad", "spacing": [1.2, 1.0], "intensity": WINDOW}
    facts |= {"filter": {"every": 1, "threshold": 50, "fraction": 0.25}}
    facts |= {"full_scale": [65535] * len(targets), "source_full_scale": [65535] * len(sources)}
    save_generator(path, Snapshot(network, family, {}, shape, 1, kimg=0, run_key="abc", data=facts | data))
    return path


@pytest.fixture(scope="module")
def copying(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("copy") / "generator.pt")


def head(seed=0, shape=SHAPE) -> np.ndarray:
    """RAS voxels 60..500, whose two upper slices are dark."""
    data = np.random.default_rng(seed).integers(60, 500, shape).astype(np.int16)
    data[..., 8:] = 3
    return data


def affine(turn=0.0) -> np.ndarray:
    """RAS, turned about x and y by ``turn`` rad."""
    c, s = np.cos(turn), np.sin(turn)
    rotation = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = rotation * SPACING, (-7.0, 11.0, 3.5)
    return result


def write(path: Path, data: np.ndarray, to_ras=None, axes="RAS", **header) -> Path:
    """RAS ``data`` as a file with ``axes``, whose header names a patient."""
    to_ras = affine() if to_ras is None else to_ras
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(axes))
    image = nib.Nifti1Image(apply_orientation(data, turn), to_ras @ inv_ornt_aff(turn, data.shape))
    for name in ("descrip", "aux_file", "intent_name", "db_name"):
        image.header[name] = NAME[:16]
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", NAME.encode()))
    for name, value in header.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def stored(data: np.ndarray) -> np.ndarray:
    """On the scale 0..255, in the 16 bits of a store."""
    return np.floor(data / 510 * 65535 + 0.5) / 257


def expected(data: np.ndarray) -> np.ndarray:
    """What the identity makes of RAS ``data``: mapped, of the slices that pass the filter."""
    mapped = stored(data)
    mapped[..., 8:] = 0
    return mapped


def translate(generator: Path, out: Path, source: Path, *more: str) -> int:
    return main(["--generator", str(generator), "--input", f"t1={source}", "--out", str(out), "--device", "cpu", *more])


def ras(path: Path) -> np.ndarray:
    image = nib.load(path)
    return canonical(Volume(np.asarray(image.dataobj), image.affine)).data


# geometry

AXES = ["".join(axes) for sides in itertools.permutations(["RL", "AP", "SI"]) for axes in itertools.product(*sides)]


@pytest.mark.parametrize("turn", [0.0, 0.3])
def test_each_orientation_gets_its_own_geometry_back(copying, tmp_path, turn):
    assert len(AXES) == 48
    data = head()
    for axes in AXES if turn else AXES[::7]:
        source, out = write(tmp_path / "in.nii", data, affine(turn), axes), tmp_path / f"{axes}.nii"
        assert translate(copying, out, source) == 0
        image, given = nib.load(out), nib.load(source)
        assert image.shape == given.shape and image.get_data_dtype() == np.float32, axes
        np.testing.assert_array_equal(image.affine, given.affine, err_msg=axes)
        assert image.header.get_zooms() == given.header.get_zooms()
        np.testing.assert_allclose(ras(out), expected(data), atol=0.003, err_msg=axes)


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("size", [(32, 33), (9, 11), (64, 7)])
def test_padding_is_undone_exactly_and_cropped_pixels_are_zero(tmp_path, axis, size, capsys):
    filter_ = {"every": 1, "threshold": 1, "fraction": 0.0}
    generator = made(tmp_path / "g.pt", size=size, axis=axis, filter=filter_)
    data = head()
    source, out = write(tmp_path / "in.nii.gz", data, axes="LSA"), tmp_path / "out.nii.gz"
    assert translate(generator, out, source, "--force") == 0
    result, mapped = ras(out), stored(data)
    there = result > 0
    np.testing.assert_allclose(result[there], mapped[there], atol=0.003)
    plane = {"axial": (1, 0), "coronal": (2, 0), "sagittal": (2, 1)}[axis]
    kept = np.prod([min(SHAPE[of], most) for of, most in zip(plane, size, strict=True)])
    sides = np.prod([SHAPE[of] for of in plane])
    assert np.count_nonzero(there) == data.size // sides * kept
    about = json.loads((tmp_path / "out.nii.gz.json").read_text())
    cropped = about["cropped_pixels_of_a_slice"]
    assert cropped == sides - kept and about["cropped_voxels_of_the_head"] == (~there & (mapped > 25.5)).sum()
    assert (f"{cropped} of {sides} pixels" in capsys.readouterr().out) == bool(cropped)


def test_a_resampled_frame_loses_what_is_printed(tmp_path, capsys):
    generator = made(tmp_path / "g.pt", size=(40, 44), fit="resize", spacing=[0.54, 0.54])
    smooth = np.fromfunction(lambda x, y, z: 250 + 100 * np.sin(x / 4) + 100 * np.cos(y / 5), SHAPE).astype(np.int16)
    source, out = write(tmp_path / "in.nii", smooth, axes="PIR"), tmp_path / "out.nii"
    assert translate(generator, out, source) == 0
    mapped = stored(smooth)
    difference = np.abs(ras(out) - mapped)
    loss = json.loads((tmp_path / "out.nii.json").read_text())["frame_loss"]
    assert f"change the input by {loss:.2f} of 255" in capsys.readouterr().out
    assert 0 < loss < 5  # most of it at the border, where the head ends abruptly
    np.testing.assert_allclose(difference[mapped > 25.5].mean(), loss, atol=0.01)


@pytest.mark.parametrize("size", [(16, 20), (31, 9), (12, 12)])
@pytest.mark.parametrize("fit", ["pad", "resize"])
def test_a_constant_slice_comes_back_from_its_frame(size, fit):
    to = frame((15, 11), (1.0, 1.3), size, fit)
    stack = np.full((2, 15, 11), 7.0, np.float32)
    back = unplace(place(stack, to), to)
    assert back.shape == stack.shape and covered(to).shape == (15, 11)
    if fit == "pad":
        np.testing.assert_array_equal(back, stack * covered(to))
    else:
        np.testing.assert_allclose(back[:, 4:-4, 4:-4], 7.0, rtol=1e-5)


def test_codes_of_the_header_are_kept_and_no_text_of_it(copying, tmp_path):
    source = write(tmp_path / "Jane_Doe.nii", head(), affine(0.2), "LIP", qform_code=2, sform_code=4, xyzt_units=10)
    out = tmp_path / "out.nii"
    assert translate(copying, out, source) == 0
    before, after = nib.load(source).header, nib.load(out).header
    for name in ("qform_code", "sform_code", "quatern_b", "qoffset_y", "srow_x", "srow_z"):
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)
    assert after["xyzt_units"] == 2
    written = out.read_bytes() + (tmp_path / "out.nii.json").read_bytes()
    assert b"Doe" not in written and b"Jane" not in written and b"4711" not in written
    assert str(after["descrip"].astype(str)).startswith("copy of a real image, run abc, translated from t1")
    comment = json.loads(after.extensions[0].get_content())
    assert comment["translated_from"] == ["t1"] and comment["synthetic"] is False


@pytest.mark.parametrize("kind", ["qform alone", "NIfTI-2", "big endian", "one time point", "metres", "MGH"])
def test_geometry_of_other_headers_and_formats(copying, tmp_path, kind):
    data, to_ras = head(), affine(0.2)
    source = tmp_path / ("in.mgz" if kind == "MGH" else "in.nii")
    if kind == "NIfTI-2":
        nib.save(nib.Nifti2Image(data, to_ras), source)
    elif kind == "MGH":
        nib.save(nib.MGHImage(data, to_ras.astype(np.float32)), source)
    elif kind == "metres":
        nib.save(nib.Nifti1Image(data, np.diag([1e-3, 1e-3, 1e-3, 1]) @ to_ras), source)
        content = bytearray(source.read_bytes())
        content[123] = 1  # xyzt_units
        source.write_bytes(content)
    else:
        image = nib.Nifti1Image(data[..., None] if kind == "one time point" else data, to_ras)
        image.header["sform_code"] = kind != "qform alone"
        image.header["qform_code"] = 1
        header = image.header.as_byteswapped(">") if kind == "big endian" else image.header
        nib.save(nib.Nifti1Image(image.dataobj, None, header), source)
    out = tmp_path / "out.nii"
    assert translate(copying, out, source) == 0
    given, result = nib.load(source), nib.load(out)
    assert result.shape == SHAPE
    np.testing.assert_allclose(result.affine, given.affine, atol=1e-5)
    np.testing.assert_allclose(result.get_fdata(), expected(data), atol=0.003)


def test_the_same_call_gives_the_same_bytes(copying, tmp_path):
    source, out = write(tmp_path / "in.nii.gz", head()), tmp_path / "a.nii.gz"
    assert translate(copying, out, source) == 0
    first = out.read_bytes(), (tmp_path / "a.nii.gz.json").read_bytes()
    assert translate(copying, out, source) == 0  # its own file may be written again
    assert (out.read_bytes(), (tmp_path / "a.nii.gz.json").read_bytes()) == first
    about = json.loads(first[1])
    assert about["translated_slices"] == 8 and about["limits"] == {"t1": [0, 510]} and about["run_key"] == "abc"
    assert about["contrast"] == "t2" and len(about["inputs_sha256"]["t1"]) == 64


# slices and networks


def opened(snapshot: Snapshot, inputs: dict[str, Path]):
    """The stack of slices that the command makes of ``inputs``."""
    task = Task(snapshot.data["translate"]["source"], snapshot.data["channels"], [0] * len(inputs))
    return stack_of(open_inputs(inputs, task, snapshot.data), task, snapshot.data, False)


def test_the_network_sees_what_it_saw_in_training(tmp_path, capsys):
    """A scan becomes the same sources as in a store that was built of it, with the same limits."""
    scan = {name: head(seed) for seed, name in enumerate(("t1", "t1c", "t2"))}
    scan["t1"][..., 4] = 3  # a gap: the slices around it have one neighbour
    spec = {"map": "percentile", "low": None, "high": 99.0}
    built = row(contrasts=["t1", "t1c", "t2"], slices={"size": [12, 20], "fit": "resize"}) | {"intensity": spec}
    build_store(built, volumes(tmp_path / "volumes", {"p1": scan}, spacing=SPACING), tmp_path / "store")
    task = {"source": ["t1", "t1c"], "target": ["t2"], "neighbours": 1}
    dataset = StoreDataset(Store.open(tmp_path / "store"), torch.device("cpu"), False, task)
    facts = {key: value for key, value in dataset.meta.items() if key != "size"}
    snapshot = load_generator(made(tmp_path / "g.pt", "copy", ("t1", "t1c"), neighbours=1, size=(12, 20), **facts))
    assert snapshot.shape == dataset.shape
    images = np.load(tmp_path / "store/images.npy")
    assert snapshot.data["filled"] == {
        name: pytest.approx((images[:, place] > 0).mean(), rel=1e-3) for place, name in enumerate(scan)
    }

    inputs = {name: write(tmp_path / f"{name}.nii", scan[name], axes="ILA") for name in ("t1c", "t1")}
    stack = opened(snapshot, inputs)
    chosen = np.flatnonzero(stack.passing)
    assert chosen.tolist() == [0, 1, 2, 3, 5, 6, 7]
    source = torch.cat([request.images for request in requests(snapshot, stack, chosen)])
    assert torch.equal(source, dataset.batch(np.arange(7)).source)
    header, values = (tmp_path / "store" / "subjects.csv").read_text().splitlines()
    limits = dict(zip(header.split(","), values.split(","), strict=True))
    assert f"t1: intensity map percentile, limits {limits['low_t1']} to {limits['high_t1']}" in capsys.readouterr().out
    ends = {name: [float(limits[f"{end}_{name}"]) for end in ("low", "high")] for name in scan}
    assert snapshot.data["limits"] == ends, "of one training subject"


def test_neighbours_are_at_the_distance_of_training(tmp_path):
    snapshot = load_generator(
        made(tmp_path / "g.pt", neighbours=1, filter={"every": 2, "threshold": 50, "fraction": 0.25})
    )
    stack = opened(snapshot, {"t1": write(tmp_path / "in.nii", head())})
    found = around(stack, np.array([0, 3, 7, 9]), 1)
    assert found.tolist() == [[0, 0, 2], [1, 3, 5], [5, 7, 7], [7, 9, 9]]


@pytest.mark.parametrize("neighbours", [0, 2])
def test_a_slice_alone_is_as_within_its_volume(tmp_path, neighbours):
    """With the batch statistics of training it would not be: generators are in evaluation mode."""
    family, options = "pix2pix", {"channels": 2, "norm": "batch", "depth": 2}
    shape = ImageShape(1, (20, 16), sources=2 * neighbours + 1, neighbours=neighbours)
    torch.manual_seed(0)
    network = families()[family].model.build_kept(make_options(family, options), shape)
    facts = load_generator(made(tmp_path / "copy.pt", neighbours=neighbours)).data
    save_generator(tmp_path / "g.pt", Snapshot(network, family, options, shape, 1, data=facts))
    snapshot = load_generator(tmp_path / "g.pt")
    data = head(shape=(13, 18, 24))
    data[..., 8:] = head(1, (13, 18, 16))
    stack = opened(snapshot, {"t1": write(tmp_path / "in.nii", data)})
    chosen = np.arange(20), np.array([17])
    made_of = [np.concatenate([images for _, images in translate_stack(snapshot, stack, of, 0)]) for of in chosen]
    np.testing.assert_allclose(made_of[0][17:18], made_of[1], atol=1e-4)
    assert made_of[0].std() > 1e-3


def test_several_inputs_lie_on_the_grid_of_the_first(tmp_path, capsys):
    generator = made(tmp_path / "g.pt", sources=("t1", "t1c"), targets=("t2", "flair"))
    t1, t1c = head(), np.fromfunction(lambda x, y, z: 100 + 10 * x + 5 * y + 8 * z, SHAPE)
    shifted = affine()
    shifted[:3, 3] += (0.5, 0, 0)  # half a voxel: linear interpolation of a ramp is exact
    paths = write(tmp_path / "t1.nii", t1, axes="RPI"), write(tmp_path / "t1c.nii", t1c.astype(np.float32), shifted)
    words = ["--input", f"t1={paths[0]}", "--input", f"t1c={paths[1]}", "--out", str(tmp_path / "out_{contrast}.nii")]
    assert main(["--generator", str(generator), "--device", "cpu", *words]) == 0
    assert "t1c: on another grid than t1, resampled to it" in capsys.readouterr().out
    np.testing.assert_allclose(ras(tmp_path / "out_t2.nii"), expected(t1), atol=0.003)
    inner = (slice(1, -1), slice(1, -1), slice(1, 7))
    np.testing.assert_allclose(ras(tmp_path / "out_flair.nii")[inner], stored(t1c - 5)[inner], atol=0.01)
    assert nib.load(tmp_path / "out_flair.nii").affine.tolist() == nib.load(paths[0]).affine.tolist()


def test_slices_that_do_not_pass_are_zero_unless_all_are_asked_for(copying, tmp_path):
    source, out = write(tmp_path / "in.nii", head()), tmp_path / "out.nii"
    assert translate(copying, out, source, "--all-slices") == 0
    np.testing.assert_allclose(ras(out), stored(head()), atol=0.003)


def test_the_background_is_made_zero_where_it_is_asked_for(copying, tmp_path):
    data = head()
    data[:3] = 20  # air: 10 on the scale 0..255
    source, out = write(tmp_path / "in.nii", data), tmp_path / "out.nii"
    for background, air in (("keep", 10), ("zero", 0)):
        assert translate(copying, out, source, "--background", background) == 0
        np.testing.assert_allclose(ras(out)[:3, :, :8], air, atol=0.01)
        np.testing.assert_allclose(ras(out)[3:], expected(data)[3:], atol=0.003)


def test_a_dicom_series_gives_what_its_nifti_gives(tmp_path):
    write_stack(tmp_path / "series", count=4)
    generator = made(
        tmp_path / "g.pt", size=(8, 8), spacing=[0.8, 0.6], intensity={"map": "minmax", "low": None, "high": None}
    )

    series = read_series(tmp_path / "series")
    nib.save(nib.Nifti1Image(series.data.astype(np.int16), series.affine), tmp_path / "same.nii")
    for name in ("series", "same.nii"):
        assert translate(generator, tmp_path / f"of_{name}.nii", tmp_path / name) == 0
    images = [nib.load(tmp_path / f"of_{name}.nii") for name in ("series", "same.nii")]
    np.testing.assert_array_equal(*(np.asarray(image.dataobj) for image in images))
    np.testing.assert_allclose(*(image.affine for image in images), atol=1e-5)
    assert images[0].shape == series.data.shape and images[0].get_fdata().max() == 255
    assert b"Jane" not in (tmp_path / "of_series.nii").read_bytes()


def test_the_way_back_of_a_generator_of_both_ways(tmp_path, capsys):
    family, options = "cyclegan", {"channels": 2, "blocks": 1}
    shape = ImageShape(1, (20, 16), sources=1)
    torch.manual_seed(0)
    network = families()[family].model.build_kept(make_options(family, options), shape)
    facts = load_generator(made(tmp_path / "copy.pt")).data
    save_generator(tmp_path / "g.pt", Snapshot(network, family, options, shape, 1, data=facts))
    source = write(tmp_path / "in.nii", head())
    words = ["--generator", str(tmp_path / "g.pt"), "--device", "cpu", "--out", str(tmp_path / "{contrast}.nii")]
    assert main([*words, "--input", f"t1={source}"]) == 0
    assert main([*words, "--input", f"t2={source}", "--reverse"]) == 0
    assert np.abs(ras(tmp_path / "t1.nii") - ras(tmp_path / "t2.nii")).max() > 1
    about = json.loads((tmp_path / "t1.nii.json").read_text())
    assert about["translated"] == {"source": ["t2"], "target": ["t1"]} and about["synthetic"] is True
    capsys.readouterr()
    assert translate(tmp_path / "copy.pt", tmp_path / "x.nii", source, "--reverse") == 1
    assert "copy translates in one direction" in capsys.readouterr().err


def test_a_contrast_may_be_missing_where_training_dropped_some(tmp_path, capsys):
    family, options = "pix2pix", {"channels": 2, "depth": 2, "drop_inputs": 0.5, "conditional": True}
    shape = ImageShape(1, (20, 16), labels=2, sources=2)
    torch.manual_seed(0)
    network = families()[family].model.build_kept(make_options(family, options), shape)
    facts = load_generator(made(tmp_path / "copy.pt", sources=("t1", "t1c"))).data | {"labels": ["f", "m"]}
    save_generator(tmp_path / "g.pt", Snapshot(network, family, options, shape, 1, data=facts))
    source, out = write(tmp_path / "in.nii", head()), tmp_path / "out.nii"
    assert translate(tmp_path / "g.pt", out, source) == 1
    assert "--label f|m" in capsys.readouterr().err
    volumes_ = {}
    for label in "fm":
        assert translate(tmp_path / "g.pt", out, source, "--label", label) == 0
        assert "t1c: not given, translated without" in capsys.readouterr().out
        volumes_[label] = ras(out)
    assert np.abs(volumes_["f"] - volumes_["m"]).max() > 1e-3
    assert json.loads(Path(f"{out}.json").read_text())["limits"] == {"t1": [0, 510]}


def test_a_mask_is_an_input_by_its_labels(tmp_path, capsys):
    """Its labels are placed, not averaged, and 0 to the largest of training become the range of the network."""
    generator = made(tmp_path / "g.pt", sources=("seg", "t1"), source_full_scale=[2, 65535])
    labels = np.random.default_rng(5).integers(0, 3, SHAPE).astype(np.uint8)
    paths = {"t1": write(tmp_path / "t1.nii", head()), "seg": write(tmp_path / "seg.nii", labels, axes="AIR")}
    words = ["--generator", str(generator), "--device", "cpu", "--out", str(tmp_path / "out.nii")]
    assert main([*words, *(word for name, path in paths.items() for word in ("--input", f"{name}={path}"))]) == 0
    np.testing.assert_allclose(ras(tmp_path / "out.nii")[..., :8], labels[..., :8] * 127.5, atol=0.001)
    write(paths["seg"], labels * 2)
    assert main([*words, *(word for name, path in paths.items() for word in ("--input", f"{name}={path}"))]) == 1
    assert "label 4, in training 2 was the largest one" in capsys.readouterr().err


def test_scores_against_the_real_scan(tmp_path, capsys):
    """A target that is the source less 10 of 255, with an axis order of its own."""
    shape = (24, 26, 10)
    source = write(tmp_path / "in.nii", head(shape=shape) // 2 + 100)
    real = write(tmp_path / "real.nii", head(shape=shape) // 2 + 80, axes="ILP")
    generator = made(tmp_path / "g.pt", size=(26, 24))
    assert translate(generator, tmp_path / "out.nii", source, "--reference", str(real)) == 0
    scores = json.loads((tmp_path / "out.nii.json").read_text())["scores"]["t2"]
    assert scores["mae_fg"] == pytest.approx(10, abs=0.01) and scores["psnr_whole"] == pytest.approx(28.13, abs=0.01)
    assert "mae_fg" in capsys.readouterr().out


def test_values_between_the_limits_of_training(copying, tmp_path, capsys):
    generator = made(tmp_path / "g.pt", limits={"t2": [30.0, 540.0]})
    source, out = write(tmp_path / "in.nii", head()), tmp_path / "out.nii"
    assert translate(generator, out, source, "--units", "training") == 0
    np.testing.assert_allclose(ras(out), expected(head()) * 2 + 30, atol=0.01)
    said = "in units of training: 0..255 is 30 to 540, medians of its subjects"
    assert f"out.nii: t2, translated, {said}" in capsys.readouterr().out
    assert json.loads(Path(f"{out}.json").read_text())["scale"] == said
    assert translate(copying, out, source, "--units", "training") == 1
    assert "--units training: the file has no limits of t2" in capsys.readouterr().err


def test_mean_and_deviation_of_several_translations(copying, tmp_path, capsys):
    family, options = "pix2pix", {"channels": 2, "depth": 3, "dropout_layers": (1,), "dropout_at_test": True}
    shape = ImageShape(1, (24, 24), sources=1)
    torch.manual_seed(0)
    network = families()[family].model.build_kept(make_options(family, options), shape)
    facts = load_generator(made(tmp_path / "copy.pt", size=(24, 24))).data | {"limits": {"t2": [30.0, 540.0]}}
    save_generator(tmp_path / "g.pt", Snapshot(network, family, options, shape, 1, data=facts))
    source, out = write(tmp_path / "in.nii", head()), tmp_path / "out.nii.gz"
    single = []
    for seed in (3, 4, 5):
        assert translate(tmp_path / "g.pt", tmp_path / f"{seed}.nii", source, "--seed", str(seed)) == 0
        single.append(ras(tmp_path / f"{seed}.nii"))
    words = ["--seed", "3", "--samples", "3"]
    assert translate(tmp_path / "g.pt", out, source, *words) == 0
    np.testing.assert_allclose(ras(out), np.mean(single, 0), atol=1e-3)
    deviation = np.std(single, 0, ddof=1)
    np.testing.assert_allclose(ras(tmp_path / "out_sd.nii.gz"), deviation, atol=1e-3)
    assert deviation[..., :8].max() > 0.1 and deviation[..., 8:].max() == 0
    about = json.loads((tmp_path / "out_sd.nii.gz.json").read_text())
    assert about["values"] == "standard deviation of 3 translations" and about["contrast"] == "t2"
    assert translate(tmp_path / "g.pt", out, source, *words, "--units", "training") == 0
    np.testing.assert_allclose(ras(tmp_path / "out_sd.nii.gz"), 2 * deviation, atol=2e-3)
    capsys.readouterr()
    for generator, wrong, message in (
        (copying, ["--samples", "2"], "copy makes the same translation again and again"),
        (tmp_path / "g.pt", ["--samples", "1"], "--samples is 1; allowed: from 2"),
    ):
        assert translate(generator, tmp_path / "new.nii", source, *wrong) == 1
        assert message in capsys.readouterr().err and not (tmp_path / "new.nii").exists()


@pytest.mark.parametrize(("share", "refused"), [(0.9, False), (0.5, True)])
def test_a_head_without_its_skull_is_refused_where_training_had_whole_ones(tmp_path, capsys, share, refused):
    """In a frame of the size of the scan; ``share`` of what training had at least is not black."""
    filter_ = {"every": 1, "threshold": 50, "fraction": 0.1}
    generator = made(tmp_path / "g.pt", size=(18, 13), filter=filter_, filled={"t1": 0.8})
    data, rows = head(), round(share * 0.8 * SHAPE[1])
    data[:, rows:] = 0
    source, out = write(tmp_path / "in.nii", data), tmp_path / "out.nii"
    assert translate(generator, out, source) == int(refused)
    if refused:
        assert "39% of its pixels are above 0" in (said := capsys.readouterr().err) and "80% or more" in said
        assert translate(generator, out, source, "--force") == 0


# refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--input": ["pd=IN"]}, "pd has no place there in this translation; allowed: t1, t1c"),
        ({"--input": ["t1=IN"]}, "t1c is missing, which copy was trained with; add it"),
        ({"--input": ["t1=IN", "t1=IN"]}, "t1 is there twice"),
        ({"--input": ["IN"]}, "name its contrast, as in --input t1="),
        ({"--input": ["t1=gone.nii", "t1c=IN"]}, "gone.nii: no such file or folder"),
        ({"--input": ["t1=README.md", "t1c=IN"]}, "README.md: its ending is of no format that is read"),
        ({"--out": ["IN"]}, "it is an input"),
        ({"--out": ["other.nii"]}, "a file that gan translate has not written"),
        ({"--out": ["out.png"]}, "only NIfTI is written"),
        ({"--out": ["a.nii", "b.nii"]}, "2 for the targets t2"),
        ({"--label": ["f"]}, "this generator was trained without labels"),
        ({"--reference": ["pd=IN"]}, "pd has no place there"),
        ({"--seed": ["-1"]}, "--seed is -1"),
    ],
)
def test_refused_in_one_line(tmp_path, monkeypatch, capsys, change, message):
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "g.pt", sources=("t1", "t1c"))
    write(Path("IN.nii"), head())
    Path("other.nii").write_bytes(b"another scan")
    Path("README.md").write_text("text")
    given = {
        "--generator": ["g.pt"],
        "--input": ["t1=IN", "t1c=IN"],
        "--out": ["new.nii"],
        "--device": ["cpu"],
    } | change
    words = [word for option, values in given.items() for value in values for word in (option, value)]
    before = sorted(tmp_path.iterdir())
    assert main([word.replace("IN", "IN.nii") for word in words]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and message in said[0]
    assert sorted(tmp_path.iterdir()) == before and Path("other.nii").read_bytes() == b"another scan"


@pytest.mark.parametrize(
    ("facts", "voxels", "message"),
    [
        ({"spacing": [1.2, 0.6]}, head(), "off by more than half"),
        ({"spacing": None}, head(), "trained on pictures"),
        ({"translate": None}, head(), "generates images from nothing"),
        ({"channels": ["../t2"]}, head(), "which is no name of a contrast"),
        ({}, head() // 100, "no slice passes the filter"),
        ({}, np.ones(SHAPE, np.int16), "constant, there is no image in it"),
    ],
)
def test_scans_and_generators_that_do_not_fit_are_refused(tmp_path, capsys, facts, voxels, message):
    generator = tmp_path / "g.pt"
    made(generator)
    content = torch.load(generator, weights_only=True)
    torch.save(content | {"data": content["data"] | facts}, generator)
    source, out = write(tmp_path / "in.nii", voxels), tmp_path / "out.nii"
    assert translate(generator, out, source) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and message in said[0]
    assert not out.exists()


def test_pixels_of_another_size_are_translated_by_force(tmp_path):
    generator = made(tmp_path / "g.pt", spacing=[1.2, 0.6])
    out = tmp_path / "out.nii"
    assert translate(generator, out, write(tmp_path / "in.nii", head()), "--force") == 0
    np.testing.assert_allclose(ras(out), expected(head()), atol=0.003)
