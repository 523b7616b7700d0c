"""The generator as a file, and images from it."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TinyData, paths, recipe
from torch import nn

from gan import check, grids, scales
from gan.data.nifti import read_nifti
from gan.data.planes import as_slices, as_volume, upright
from gan.errors import GanError
from gan.families.contract import ImageShape
from gan.families.registry import build
from gan.generate import main
from gan.sampling.between import slerp
from gan.sampling.marks import SOURCE_TYPES, YES, Mark
from gan.sampling.snapshot import Snapshot, load_generator, load_header, save_generator
from gan.sampling.tasks import CHUNK, at_once, latents, sample
from gan.study import run_key
from gan.terms import Terms
from gan.train.loop import train

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
AXES = ("sagittal", "coronal", "axial")
STYLEGAN2 = {"z_dim": 8, "w_dim": 8, "channel_base": 64, "channel_max": 8}


def made(path: Path, family="tiny", options=None, channels=1, size=8, labels=(), **data) -> Path:
    """An untrained generator as a file."""
    options = {"z_dim": 4} | (options or {}) | {"conditional": bool(labels)}
    shape = ImageShape(channels, (size, size), len(labels))
    torch.manual_seed(0)
    network = build(family, options, shape, batch=4).generator.eval()
    names = ["t1", "t2", "seg"][:channels]
    meta = {"channels": names, "mask": None, "labels": list(labels), "label_counts": [3] * len(labels), **data}
    meta = {"spacing": [2.0, 1.5], "axis": "axial", "full_scale": [65535] * channels} | meta
    save_generator(path, Snapshot(network, family, options, shape, 4, kimg=1.5, run_key="abc", data=meta))
    return path


def generate(path: Path, out: Path, *more: str) -> int:
    return main(["--generator", str(path), "--out", str(out), "--device", "cpu", *more])


def test_kernels_are_asked_for_unless_told_otherwise(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(check, "choose", lambda *wanted: asked.append(wanted) or "no GPU of that kind")
    path = made(tmp_path / "generator.pt")
    for more in ([], ["--ops", "cuda"]):
        assert generate(path, tmp_path / "out", "--n", "1", *more) == 0
    assert asked == [(wanted, torch.device("cpu")) for wanted in ("auto", "cuda")]
    assert "slower than the kernels: no GPU of that kind" in capsys.readouterr().err


# ---------------------------------------------------------------- the file


def test_file_of_a_run_knows_all_that_is_needed(tmp_path):
    given = recipe()
    train(given, TinyData(channels=2, labels=3), paths(tmp_path))
    snapshot = load_generator(tmp_path / "cell/generator.pt")
    assert (snapshot.family, snapshot.kimg, snapshot.run_key) == ("tiny", 0.32, run_key(given))
    assert snapshot.options == given["variant"]["options"]
    assert snapshot.shape == ImageShape(2, (8, 8), 3)
    assert snapshot.labels == ["class0", "class1", "class2"]
    assert snapshot.data == TinyData(channels=2, labels=3).meta
    assert not snapshot.network.training


def test_grid_of_a_snapshot_comes_from_its_file(tmp_path):
    """The picture beside a snapshot shows what its file makes from the seed of the recipe."""
    train(recipe(seed=5), TinyData(), paths(tmp_path))
    stem = tmp_path / "cell/snapshots/kimg00.16"
    rows, columns = grids.layout(1, (8, 8))
    images = sample(load_generator(stem.with_name("kimg00.16.pt")), rows * columns, seed=5)
    mark = Mark("tiny", run_key(recipe(seed=5)), 0.16, 5)
    grids.write_grid(tmp_path / "again.png", images.numpy(), columns, text=mark.text(f"0-{rows * columns - 1}"))
    assert (tmp_path / "again.png").read_bytes() == stem.with_name("kimg00.16.png").read_bytes()


def test_equal_weights_give_equal_bytes(tmp_path):
    assert made(tmp_path / "a.pt").read_bytes() == made(tmp_path / "b.pt").read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "not a generator file, or a broken one"),
        (b"PK\x03\x04 broken", "not a generator file, or a broken one"),
        ({"format": "other-1"}, "format is 'other-1', expected 'gan-generator-1'"),
        ({"weights": torch.zeros(2)}, "format is None, expected"),
        (torch.zeros(2), "format is 'Tensor', expected"),
        ({"format": "gan-generator-1", "code": Path("x")}, "not a generator file, or a broken one"),
    ],
)
def test_files_that_are_no_generators(tmp_path, content, message):
    path = tmp_path / "generator.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    for load in (load_generator, load_header):
        with pytest.raises(GanError, match=message) as error:
            load(path)
        assert str(path) in str(error.value)


def test_truncated_generator(tmp_path):
    path = made(tmp_path / "generator.pt")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(GanError, match="broken"):
        load_generator(path)


def test_a_flipped_bit_of_a_generator(tmp_path):
    path = made(tmp_path / "generator.pt")
    whole = path.read_bytes()
    place = whole.index(load_generator(path).network.state_dict()["linear.weight"].numpy().tobytes()[:16])
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :])
    with pytest.raises(GanError, match="not a generator file, or a broken one"):
        load_generator(path)


def test_weights_of_another_version(tmp_path):
    path = made(tmp_path / "generator.pt")
    content = torch.load(path)
    content["state"]["extra"] = torch.zeros(1)
    torch.save(content, path)
    with pytest.raises(GanError, match=r"do not fit tiny .*train it again"):
        load_generator(path)


# ---------------------------------------------------------------- sampling


def test_volumes_are_drawn_as_many_at_a_time_as_their_size_says(tmp_path):
    sizes = [(16,) * 3, (32,) * 3, (48,) * 3, (64,) * 3, (128,) * 3, (512, 512)]
    assert [at_once(size) for size in sizes] == [16, 8, 2, 1, 1, 16]
    shape = ImageShape(1, (24, 28, 28))  # 13 at a time
    variant = build("stylegan2", STYLEGAN2, shape, 4)
    snapshot = Snapshot(variant.kept().eval(), "stylegan2", STYLEGAN2, shape, 4)
    many = sample(snapshot, 16, seed=1)
    assert all(torch.equal(sample(snapshot, n, seed=1), many[:n]) for n in (1, 14))
    assert len(torch.unique(many, dim=0)) == 16


@pytest.mark.parametrize(("family", "options", "size"), [("tiny", {}, 8), ("stylegan2", STYLEGAN2, 16)])
def test_image_i_depends_on_the_seed_and_i_alone(tmp_path, family, options, size):
    snapshot = load_generator(made(tmp_path / "g.pt", family, options, size=size))
    many = sample(snapshot, 2 * CHUNK + 3, seed=1)
    torch.manual_seed(99)
    for n in (1, 5, CHUNK, CHUNK + 1):
        assert torch.equal(sample(snapshot, n, seed=1), many[:n])
    assert many.shape == (2 * CHUNK + 3, 1, size, size) and many.dtype == torch.float32
    assert not torch.equal(sample(snapshot, 5, seed=2), many[:5])
    assert len(torch.unique(many, dim=0)) == len(many)


def test_sampling_leaves_the_random_generators_alone(tmp_path):
    snapshot = load_generator(made(tmp_path / "g.pt"))
    before = torch.get_rng_state()
    sample(snapshot, 3, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_labels(tmp_path):
    snapshot = load_generator(made(tmp_path / "g.pt", labels=("a", "b"), label_counts=[9, 1]))
    _, drawn = latents(snapshot, 400, seed=0)
    assert 0.04 < drawn.double().mean() < 0.18, "classes as often as in training"
    by_class = sample(snapshot, 4, seed=0, labels=1)
    assert torch.equal(by_class, sample(snapshot, 4, seed=0, labels=[1, 1, 1, 1]))
    assert not torch.equal(by_class, sample(snapshot, 4, seed=0, labels=0))
    with pytest.raises(GanError, match="allowed: 0 to 1"):
        sample(snapshot, 4, seed=0, labels=2)
    with pytest.raises(GanError, match="trained without labels"):
        sample(load_generator(made(tmp_path / "plain.pt")), 4, seed=0, labels=0)


# ---------------------------------------------------------------- the command


def test_png(tmp_path):
    path = made(tmp_path / "g.pt", channels=2)
    assert generate(path, tmp_path / "out", "--n", "3") == 0
    names = [f"{place:05d}_{contrast}.png" for place in range(3) for contrast in ("t1", "t2")]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted([*names, "samples.json"])
    images = sample(load_generator(path), 3, seed=0).numpy()
    with Image.open(tmp_path / "out/00002_t2.png") as image:
        assert image.mode == "L" and (np.asarray(image) == scales.generated_to_uint8(images[2, 1])).all()
    about = json.loads((tmp_path / "out/samples.json").read_text())
    assert (about["synthetic"], about["run_key"], about["kimg"], about["n"], about["seed"]) == (True, "abc", 1.5, 3, 0)


def test_nifti_has_the_spacing_of_the_data(tmp_path):
    path = made(tmp_path / "g.pt")
    assert generate(path, tmp_path / "out", "--n", "1", "--format", "nifti") == 0
    volume = nib.load(tmp_path / "out/00000_t1.nii.gz")
    assert volume.shape == (8, 8, 1) and volume.get_data_dtype() == np.float32
    assert volume.header.get_zooms() == (1.5, 2.0, 1.0) and volume.header.get_xyzt_units()[0] == "mm"
    assert nib.aff2axcodes(volume.affine) == ("R", "A", "S")
    image = sample(load_generator(path), 1, seed=0).numpy()[0, 0]
    np.testing.assert_allclose(upright(as_slices(volume.get_fdata(), "axial"))[0], (image + 1) * 127.5, atol=1e-4)


@pytest.mark.parametrize("axis", AXES)
def test_slices_go_back_where_they_were_cut(axis):
    volume = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    place = AXES.index(axis)
    back = [as_volume(pixels, axis, (1.0, 1.0))[0] for pixels in upright(as_slices(volume, axis))]
    assert (np.concatenate(back, axis=place) == volume).all()


@pytest.mark.parametrize(("axis", "zooms"), [("axial", (3, 2, 1)), ("coronal", (3, 1, 2)), ("sagittal", (1, 3, 2))])
def test_spacing_of_rows_and_columns(axis, zooms):
    _, affine = as_volume(np.zeros((4, 5)), axis, (2.0, 3.0))
    assert tuple(np.diag(affine)[:3]) == zooms


def test_mask_is_written_as_label_numbers(tmp_path):
    path = made(tmp_path / "g.pt", channels=3, mask="seg", full_scale=[65535, 65535, 4])
    for form in ("png", "nifti"):
        assert generate(path, tmp_path / form, "--n", "2", "--format", form) == 0
    with Image.open(tmp_path / "png/00001_seg.png") as image:
        png = np.asarray(image)
    nifti = np.asarray(nib.load(tmp_path / "nifti/00001_seg.nii.gz").dataobj)
    expected = np.rint((sample(load_generator(path), 2, seed=0).numpy()[1, 2] + 1) * 2)
    assert set(np.unique(expected)) <= {0, 1, 2, 3, 4} and nifti.dtype == np.uint8
    assert (png == expected).all() and (upright(as_slices(nifti, "axial"))[0] == expected).all()


def test_npy_and_grid(tmp_path):
    path = made(tmp_path / "g.pt", channels=2)
    assert generate(path, tmp_path / "out", "--n", "20", "--format", "npy") == 0
    images = sample(load_generator(path), 20, seed=0).numpy()
    assert (np.load(tmp_path / "out/images.npy") == images).all()
    assert generate(path, tmp_path / "out", "--n", "20", "--format", "grid") == 0
    with Image.open(tmp_path / "out/grid.png") as image:
        assert (np.asarray(image) == grids.tile(images, 12)).all()


@pytest.mark.parametrize(("form", "files"), [("png", 2), ("nifti", 2), ("npy", 1), ("grid", 1)])
def test_same_arguments_same_bytes_and_what_was_written_is_said(tmp_path, form, files, capsys):
    path = made(tmp_path / "g.pt")
    for name in ("a", "b"):
        assert generate(path, tmp_path / name, "--n", "2", "--format", form) == 0
    said = re.findall(rf"{tmp_path}/\S+", capsys.readouterr().out)
    assert len(said) == 2 * (files + 1) and all(Path(one).is_file() for one in said)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_images_of_another_call_are_not_mixed_with(tmp_path, capfd):
    path, out = made(tmp_path / "g.pt"), tmp_path / "out"
    assert generate(path, out, "--n", "3") == generate(path, out, "--n", "3", "--format", "nifti") == 0
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    assert generate(path, out, "--n", "2", "--seed", "1") == 1
    assert "samples.json: this folder holds images of a different call (n differs); " in capfd.readouterr().err
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


MARK = {"synthetic": True, "family": "tiny", "run_key": "abc", "kimg": 1.5, "seed": 3, "terms": Terms().record()}


@pytest.mark.parametrize(
    ("name", "index", "more"),
    [
        ("00001_t2.png", "1", []),
        ("00001_seg.png", "1", []),
        ("grid.png", "0-1", ["--format", "grid"]),
        ("interpolation.png", "0-1", ["--interpolate", "1"]),
    ],
)
def test_every_png_says_that_it_is_synthetic_and_what_made_it(tmp_path, name, index, more):
    path = made(tmp_path / "g.pt", channels=3, mask="seg", full_scale=[65535, 65535, 4])
    assert generate(path, tmp_path / "out", "--n", "2", "--seed", "3", *more) == 0
    with Image.open(tmp_path / "out" / name) as image:
        image.load()
        info = image.info
    assert {key: info[key] for key in ("Synthetic", "Family", "Run key", "Kimg", "Seed", "Index")} == {
        **{"Synthetic": "yes", "Family": "tiny", "Run key": "abc", "Kimg": "1.5", "Seed": "3", "Index": index}
    }
    (described,) = ElementTree.fromstring(info["XML:com.adobe.xmp"]).iter(f"{{{RDF}}}Description")
    assert described.attrib[f"{{{IPTC}}}DigitalSourceType"] == SOURCE_TYPES[YES]


def test_a_grid_of_mixed_styles_is_marked_too(tmp_path):
    path = made(tmp_path / "g.pt", "stylegan2", STYLEGAN2, size=16)
    assert generate(path, tmp_path / "out", "--mix", "--n", "4") == 0
    with Image.open(tmp_path / "out/mix.png") as image:
        assert (image.info["Synthetic"], image.info["Index"]) == ("yes", "0-3")


def test_the_header_of_a_nifti_image_says_so_too(tmp_path):
    path = made(tmp_path / "g.pt", channels=2, mask="t2", full_scale=[65535, 4])
    assert generate(path, tmp_path / "out", "--n", "2", "--seed", "3", "--format", "nifti") == 0
    for file in (tmp_path / "out/00001_t1.nii.gz", tmp_path / "out/00001_t2.nii.gz"):
        header = nib.load(file).header
        assert header["descrip"].item().decode() == "synthetic, run abc, seed 3, image 1, 1.5 kimg, tiny"
        (extension,) = header.extensions
        assert extension.get_code() == 6, "a comment"
        said = json.loads(extension.get_content())
        assert said == {**MARK, "index": 1, "digital_source_type": SOURCE_TYPES[YES]}
    assert read_nifti(tmp_path / "out/00001_t1.nii.gz").spacing == (1.5, 2.0, 1.0)


def test_an_array_has_its_mark_next_to_it(tmp_path):
    path = made(tmp_path / "g.pt")
    assert generate(path, tmp_path / "out", "--n", "5", "--seed", "3", "--format", "npy") == 0
    said = json.loads((tmp_path / "out/images.json").read_text())
    assert said == {**MARK, "index": "0-4", "digital_source_type": SOURCE_TYPES[YES]}


def test_a_mark_fits_the_header():
    line = Mark("a-family-of-a-package-ü-" * 9, "0123456789ab", 12345.678, 2**63).line(99999)
    assert len(line.encode()) == 79
    assert line.startswith("synthetic, run 0123456789ab, seed 9223372036854775808, image 99999, 12345.7 kim")


def test_real_images_are_never_called_synthetic(tmp_path):
    copy = Snapshot(nn.Identity(), "copy", {}, ImageShape(1, (8, 8), 0, sources=1), 0, 0.0, "abc", {})
    mark = Mark.of(copy, 0)
    assert mark.text(0)["Synthetic"] == "no" and "XML:com.adobe.xmp" not in mark.text(0)
    assert mark.line(0).startswith("copy of a real image, run abc") and mark.record(0)["synthetic"] is False
    picture = Mark.of(load_generator(made(tmp_path / "g.pt")), 0, next_to_real=True).text("0-3")
    assert picture["Synthetic"] == "in part" and "compositeWithTrained" in picture["XML:com.adobe.xmp"]


def test_truncation_brings_images_together(tmp_path):
    snapshot = load_generator(made(tmp_path / "g.pt", "stylegan2", STYLEGAN2, size=16))
    wide, narrow, none = (sample(snapshot, CHUNK, 0, truncation=psi).std(dim=0).mean() for psi in (1.0, 0.5, 0.0))
    assert wide > narrow > none


def test_style_mixing_grid(tmp_path):
    path = made(tmp_path / "g.pt", "stylegan2", STYLEGAN2, size=16)
    assert generate(path, tmp_path / "out", "--mix", "--n", "5", "--crossover", "1") == 0
    with Image.open(tmp_path / "out/mix.png") as image:
        pixels = np.asarray(image)
    assert pixels.shape == (3 * 16, 4 * 16)
    cells = pixels.reshape(3, 16, 4, 16).swapaxes(1, 2)
    assert (cells[0, 0] == 0).all()
    assert len({cell.tobytes() for cell in cells.reshape(-1, 256)}) == 12, "every cell is a mixture of its own"


def test_interpolation_ends_at_the_samples(tmp_path):
    path = made(tmp_path / "g.pt", "dcgan", {"z_dim": 8, "channels": 4}, size=16)
    assert generate(path, tmp_path / "out", "--interpolate", "3", "--n", "3") == 0
    with Image.open(tmp_path / "out/interpolation.png") as image:
        cells = np.asarray(image).reshape(2, 16, 5, 16).swapaxes(1, 2)
    assert (cells[0, -1] == cells[1, 0]).all() and not (cells[0, 0] == cells[0, 2]).all()


def test_slerp_keeps_the_length_and_the_ends():
    start, end = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    torch.testing.assert_close(slerp(start, end, 0.5), torch.tensor([1.0, 1.0, 0.0]) / 2**0.5)
    torch.testing.assert_close(slerp(start, end, 0.0), start)
    torch.testing.assert_close(slerp(start, start, 0.3), start)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--label", "a"], "--label a: this generator was trained without labels; leave --label out"),
        (["--truncation", "1.5"], "--truncation is 1.5; allowed: 0 to 1"),
        (["--n", "0"], "--n is 0"),
        (["--seed", "-1"], "--seed is -1"),
        (["--mix"], "--mix: a generator of the family tiny has no styles; use one of stylegan2"),
        (["--interpolate", "0"], "--interpolate needs at least 2 samples and 1 step"),
        (["--interpolate", "2", "--n", "1"], "--interpolate needs at least 2 samples and 1 step"),
    ],
)
def test_bad_arguments(tmp_path, capfd, more, message):
    assert generate(made(tmp_path / "g.pt"), tmp_path / "out", *more) == 1
    error = capfd.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["png", "nifti"])
@pytest.mark.parametrize("name", ["/../../escaped", "..", "a/b", "", "a" * 300, 3])
def test_a_name_of_the_file_never_becomes_a_path(tmp_path, capfd, name, form):
    path = made(tmp_path / "generator.pt")
    snapshot = load_generator(path)
    snapshot.data["channels"] = [name]
    save_generator(path, snapshot)
    assert generate(path, tmp_path / "deep/out", "--n", "1", "--format", form) == 1
    assert "is no name of a contrast" in capfd.readouterr().err
    assert not [found for found in tmp_path.rglob("*") if found.is_file() and found != path]


@pytest.mark.parametrize(
    "more", [["--format", form] for form in ("png", "nifti", "npy", "grid")] + [["--interpolate", "1"]]
)
def test_values_that_are_not_finite_are_refused(tmp_path, capfd, more):
    path = made(tmp_path / "generator.pt")
    snapshot = load_generator(path)
    with torch.no_grad():
        for parameter in snapshot.network.parameters():
            parameter.fill_(torch.nan)
    save_generator(path, snapshot)
    assert generate(path, tmp_path / "out", "--n", "2", *more) == 1
    assert "makes NaN or infinite values" in capfd.readouterr().err
    assert not [found for found in tmp_path.rglob("*") if found.is_file() and found != path]


def test_unknown_label_lists_the_allowed_ones(tmp_path, capfd):
    path = made(tmp_path / "g.pt", labels=("glioma", "meningioma"))
    assert generate(path, tmp_path / "out", "--label", "gloima") == 1
    assert "--label gloima: not known to this generator; allowed: glioma, meningioma" in capfd.readouterr().err
    assert generate(path, tmp_path / "out", "--label", "glioma", "--n", "2") == 0
    assert json.loads((tmp_path / "out/samples.json").read_text())["labels"] == ["glioma", "glioma"]


def test_crossover_beyond_the_layers(tmp_path, capfd):
    path = made(tmp_path / "g.pt", "stylegan2", STYLEGAN2, size=16)
    assert generate(path, tmp_path / "out", "--mix", "--crossover", "40") == 1
    assert "allowed: 1 to" in capfd.readouterr().err
