"""Extractors: equal to clean-fid's, told apart by their ids, sensitive to what they should see."""

import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from cleanfid.inception_torchscript import InceptionV3W
from cleanfid.resize import build_resizer
from PIL import Image, ImageFilter
from torch import nn

from gan.errors import GanError
from gan.files import checksum
from gan.metrics.distances import frechet_distance, kernel_distance
from gan.metrics.scores import statistics_of
from gan.scales import generated_to_uint8, stored_to_uint8
from gan.scoring.extractors import files, registry
from gan.scoring.extractors.inception import model as inception
from gan.scoring.extractors.indomain.model import IndomainFeatures, train_encoder
from gan.scoring.extractors.indomain.views import views
from gan.scoring.extractors.random.model import random_layers


def heads(n: int, side: int = 32, seed: int = 0, radius: float = 0.35, noise: float = 4.0) -> np.ndarray:
    """Discs of varied size and place with a brighter rim: uint8 [n, side, side]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side - 0.5
    images = []
    for _ in range(n):
        far = np.hypot(x - rng.normal(0, 0.02), y - rng.normal(0, 0.02))
        size = radius * rng.uniform(0.8, 1.1)
        image = 120.0 * (far < size) + 80 * (abs(far - size) < 0.04) + rng.normal(0, noise, far.shape)
        images.append(image.clip(0, 255))
    return np.stack(images).astype(np.uint8)


class SmallInception(nn.Module):
    """The interface of clean-fid's weights file (``layers``, ``return_features``) with few layers."""

    def __init__(self, width: int = 2048):
        super().__init__()
        self.layers = nn.Sequential(
            *[nn.Conv2d(3, 16, 5, stride=4, bias=False), nn.BatchNorm2d(16, eps=1e-3), nn.ReLU(), nn.MaxPool2d(4)],
            *[nn.Conv2d(16, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1)],
        )

    def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        return self.layers((x - 128) / 128)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    network = SmallInception()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    path = tmp_path_factory.mktemp("weights") / "inception-2015-12-05.pt"
    torch.jit.script(network.eval()).save(str(path))
    return path


@pytest.fixture(scope="module")
def encoder():
    return train_encoder(heads(128), seed=3, steps=60, dim=16)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 96), (299, 299), (512, 320)])
def test_resize_is_clean_fid_bit_by_bit(height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)
    expected = build_resizer("clean")(np.repeat(image[:, :, None], 3, axis=2))
    assert np.array_equal(inception.resize(image[None])[0].numpy(), expected[:, :, 0])
    assert np.array_equal(expected[:, :, 0], expected[:, :, 2])


def test_inception_features_are_those_of_clean_fid(weights, tmp_path):
    spec = {"path": str(weights), "sha256": checksum(weights)}
    files.save(tmp_path / "extractor.pt", "inception", files.make("inception", spec, lambda: heads(0)))
    extractor = files.load(tmp_path / "extractor.pt")
    images = heads(20)
    rgb = np.stack([build_resizer("clean")(np.repeat(image[:, :, None], 3, 2)) for image in images])
    with torch.no_grad():
        expected = InceptionV3W(str(weights.parent), download=False)(torch.from_numpy(rgb.transpose(0, 3, 1, 2)))
    found = extractor(images)
    assert found.shape == (20, 2048)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)
    assert extractor.id == f"inception-clean-{spec['sha256'][:8]}"


def test_the_full_architecture_keeps_its_values_when_frozen():
    layers = random_layers(0)
    inception.check_frozen(layers, "random")
    extractor = inception.InceptionFeatures("random-seed0", "random", layers)
    a, b, big = (extractor(heads(6, seed=seed, radius=radius)) for seed, radius in ((0, 0.3), (1, 0.3), (2, 0.4)))
    assert a.shape == (6, 2048)
    assert (a.std(0) > 1e-4).mean() > 0.9
    assert kernel_distance(a, big) > 5 * abs(kernel_distance(a, b))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "neither metrics.inception.path nor GAN_INCEPTION is set; download https"),
        ({"path": "absent.pt"}, "absent.pt: no such file"),
        ({"path": "weights"}, "metrics.inception.sha256 says f58cb9b6"),
        ({"path": "text"}, "not the TorchScript Inception"),
        ({"path": "narrow"}, "gives 8 features instead of 2048"),
    ],
)
def test_a_bad_weights_file_is_refused(spec, message, weights, tmp_path):
    (tmp_path / "text.pt").write_text("not a network")
    torch.jit.script(SmallInception(8).eval()).save(str(tmp_path / "narrow.pt"))
    places = {"weights": weights, "text": tmp_path / "text.pt", "narrow": tmp_path / "narrow.pt"}
    if path := places.get(spec.get("path", "")):
        spec = spec | {"path": str(path)} | ({} if path == weights else {"sha256": checksum(path)})
    with pytest.raises(GanError, match=message):
        files.make("inception", spec, lambda: heads(0))


def test_indomain_training_repeats_by_its_seed(encoder):
    random_before = torch.get_rng_state()
    again, other = (train_encoder(heads(128), seed=seed, steps=3, dim=16) for seed in (3, 4))
    assert torch.equal(torch.get_rng_state(), random_before)
    same = train_encoder(heads(128), seed=3, steps=3, dim=16)
    assert all(torch.equal(value, again["weights"][name]) for name, value in same["weights"].items())
    assert IndomainFeatures(again).id == IndomainFeatures(same).id != IndomainFeatures(other).id


def test_indomain_sees_shape_blur_and_noise(encoder):
    extractor = IndomainFeatures(encoder)
    real, held_out = extractor(heads(128)), extractor(heads(128, seed=1))
    floor = frechet_distance(real, held_out)
    blurred = heads(128, seed=1).astype(float)
    for axis in (1, 2):
        blurred = (np.roll(blurred, 1, axis) + blurred + np.roll(blurred, -1, axis)) / 3
    worse = {
        "blur": blurred.round().astype(np.uint8),
        "noise": heads(128, seed=1, noise=25),
        "shape": heads(128, seed=1, radius=0.25),
        "collapse": heads(2, seed=1).repeat(64, 0),
    }
    for name, images in worse.items():
        assert frechet_distance(real, extractor(images)) > 2 * floor, name


@pytest.mark.realdata
@pytest.mark.skipif("GAN_REAL_DATA" not in os.environ, reason="GAN_REAL_DATA names no folder of real MRI")
def test_indomain_sees_blur_and_collapse_on_real_scans():
    volumes = sorted((Path(os.environ["GAN_REAL_DATA"]) / "ixi_t1_2mm").rglob("*.nii*"))[:36]
    slices = []
    for path in volumes:
        volume = np.asarray(nibabel.load(path).dataobj, np.float32)
        volume = (volume / np.percentile(volume, 99.5) * 255).clip(0, 255).astype(np.uint8)
        slices += [Image.fromarray(volume[:, k]).resize((64, 64)) for k in range(50, 100, 5)]  # axial: axes are PSR
    train, real, further = slices[:200], slices[200:280], slices[280:]
    sets = {
        "real": further,
        "blurred": [image.filter(ImageFilter.GaussianBlur(1)) for image in further],
        "upside down": [image.transpose(Image.Transpose.FLIP_TOP_BOTTOM) for image in further],
        "collapsed": further[:8] * 10,
    }
    extractor = IndomainFeatures(train_encoder(np.stack(train), steps=60, dim=32))
    features_of = {name: extractor(np.stack(images)) for name, images in sets.items()}
    found = {name: frechet_distance(extractor(np.stack(real)), set_) for name, set_ in features_of.items()}
    for name in ("blurred", "upside down", "collapsed"):
        assert found[name] > 1.5 * found["real"], found


def test_indomain_features_are_standardised(encoder):
    found = IndomainFeatures(encoder)(heads(128))
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(found.std(0), 1, atol=1e-2)


@pytest.mark.parametrize("kind", ["indomain", "inception"])
def test_features_of_an_image_depend_on_that_image_alone(kind, encoder, weights):
    """Neither on how many others come with it nor on its place among them, to the bit, on every CPU."""
    if kind == "indomain":
        extractor, images = IndomainFeatures(encoder), heads(70)
    else:
        layers = inception.read_weights(weights, checksum(weights))
        extractor, images = inception.InceptionFeatures("small", kind, layers), heads(37)
    found = extractor(images)
    for part in (slice(0, 1), slice(5, 8), slice(20, 36), slice(3, 23)):
        assert np.array_equal(extractor(images[part]), found[part]), part
    order = np.random.default_rng(0).permutation(len(images))
    assert np.array_equal(extractor(images[order]), found[order])
    assert extractor(images[:0]).shape == (0, extractor.dim)


def test_views_share_quality_and_differ_in_pose():
    images = torch.from_numpy(heads(8)).float()[:, None] / 127.5 - 1
    first, second = views(images, torch.Generator().manual_seed(0))
    assert first.shape == images.shape
    assert first.min() >= -1 and first.max() <= 1
    assert (first - second).abs().mean() > 0.01


def test_too_few_training_images():
    with pytest.raises(GanError, match="at least 64 training images, got 10"):
        train_encoder(heads(10), steps=1)


def test_images_of_another_size_are_refused(encoder):
    with pytest.raises(GanError, match=r"made for images of \[32, 32\] pixels, got \[64, 64\]"):
        IndomainFeatures(encoder)(heads(2, side=64))


def test_a_file_is_read_as_it_was_written(encoder, tmp_path):
    for name in ("a.pt", "b.pt"):
        files.save(tmp_path / name, "indomain", encoder)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    images = heads(4)
    assert np.array_equal(files.load(tmp_path / "a.pt")(images), IndomainFeatures(encoder)(images))


@pytest.mark.parametrize("content", [b"", b"nothing", None])
def test_a_broken_extractor_file_is_refused(content, tmp_path):
    path = tmp_path / "extractor.pt"
    if content is None:
        torch.save({"format": "other"}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(GanError, match=r"extractor\.pt: not the file of an extractor"):
        files.load(path)


def test_only_inception_is_called_fid():
    names = {
        extractor: [registry.metric_name(name, extractor) for name in statistics_of(registry.published(extractor))]
        for extractor in registry.names()
    }
    own = ("precision", "recall", "density", "coverage", "vendi")
    assert names == {
        "inception": [f"{name}_inception" for name in ("kd", *own)] + ["kid", "fid"],
        **{
            one: [f"{name}_{one}" for name in ("kd", "fd", *own)]
            for one in ("indomain", "indomain3d", "medicalnet", "network", "radiomics", "random", "vgg19")
        },
    }


def test_conversion_to_8_bit_rounds_and_clips():
    assert stored_to_uint8(np.array([0, 128, 129, 257, 65406, 65407, 65535], np.uint16)).tolist() == [
        *(0, 0, 1, 1, 254, 255, 255)
    ]
    assert generated_to_uint8(np.array([-3, -1, 0.0, 1, 3], np.float32)).tolist() == [0, 0, 128, 255, 255]
    every = np.arange(0, 65536, dtype=np.uint16)
    as_trained = every.astype(np.float32) / 32767.5 - 1
    assert np.array_equal(stored_to_uint8(every), generated_to_uint8(as_trained))
