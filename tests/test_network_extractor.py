"""Declared networks: their own features under their own names, and one line for every wrong declaration."""

import json

import numpy as np
import pytest
import torch
from conftest import SCHEMA
from torchvision.models import get_model

from gan.errors import GanError
from gan.evaluate import main
from gan.files import checksum
from gan.scoring.extractors import files, registry
from gan.scoring.extractors.network.model import build, renamed
from gan.study import load

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 40, 32), np.uint8)


@pytest.fixture(scope="module")
def declared(tmp_path_factory):
    """A ResNet-50 under the keys of SwAV, with a head of its own and without classes; its spec and the network."""
    torch.manual_seed(0)
    network = get_model("resnet50", weights=None).eval()
    state = {f"module.{key}": value for key, value in network.state_dict().items() if not key.startswith("fc.")}
    path = tmp_path_factory.mktemp("weights") / "swav.pth.tar"
    torch.save(state | {"module.prototypes.weight": torch.zeros(2, 2)}, path)
    spec = {"name": "swav", "architecture": "resnet50", "path": str(path), "sha256": checksum(path), "side": 32}
    spec |= {"resampling": "bicubic", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "layer": "avgpool"}
    return spec | {"keys": {"module.": "", "module.prototypes.": None}}, network


@pytest.fixture(scope="module")
def golden(declared, tmp_path_factory):
    """The declaration with the numbers that the command prints for it."""
    spec, _ = declared
    out = tmp_path_factory.mktemp("golden") / "said.txt"
    with out.open("w") as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", file)
        assert main(["--device", "cpu", "golden", "--spec", json.dumps(spec)]) == 0
    text = out.read_text().removeprefix("golden: ")
    return spec | {"golden": json.loads(text)}


def test_features_are_those_of_the_layer_of_torchvision(declared, golden, tmp_path):
    files.save(tmp_path / "extractor.pt", "network", files.make("network", golden, lambda: IMAGES))
    extract = files.load(tmp_path / "extractor.pt")
    assert extract.name == "swav" and extract.id.startswith("network-swav-resnet50-") and extract.dim == 2048
    network, found = declared[1], []
    network.avgpool.register_forward_hook(lambda module, given, output: found.append(output.flatten(1)))
    from torchvision.transforms.functional import InterpolationMode, normalize, resize

    grey = torch.from_numpy(IMAGES).float()[:, None].expand(-1, 3, -1, -1)
    sized = resize(grey, [32, 32], InterpolationMode.BICUBIC, antialias=True).clamp(0, 255) / 255
    with torch.no_grad():
        network(normalize(sized, golden["mean"], golden["std"]))
    np.testing.assert_allclose(extract(IMAGES), found[0].numpy(), rtol=0.02, atol=0.02)
    assert np.array_equal(extract(IMAGES[1:2]), extract(IMAGES)[1:2])
    assert registry.metric_name("fd", extract.name) == "fd_swav" and not registry.published("swav")
    assert not registry.descriptive(extract.id) and "config declares" in (registry.sentence(extract.id) or "")
    assert registry.leading(["inception", "swav", "indomain"]) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": [0.5, 0.5, 0.5]}, "differ from golden by"),
        ({"resampling": "bilinear"}, "differ from golden by"),
        ({"golden": None}, "lacks golden; `gan evaluate golden` prints it"),
        ({"sha256": "0" * 64}, "sha256 says 0000"),
        ({"layer": "pool"}, "layer is 'pool', which resnet50 of torchvision does not have; its last ones are"),
        ({"architecture": "vgg"}, "architecture is 'vgg'; allowed: resnet50, densenet121, inception_v3"),
        ({"architecture": "densenet121", "layer": "relu"}, "keys that densenet121 has not, such as 'conv1.weight'"),
        ({"side": 8}, "side: 8 is less than the minimum of 32"),
        ({"keys": {"module.": ""}}, "has 1 keys that resnet50 has not, such as 'prototypes.weight'; give their prefix"),
        (
            {"keys": {"module.": "", "module.prototypes.": None, "module.layer1.": None}},
            "keys of resnet50, such as 'layer",
        ),
        ({"keys": {"module.": "", "module.prototypes.": None, "head.": None}}, "no key of the file begins so"),
    ],
)
def test_a_wrong_declaration_is_one_line(change, message, golden):
    with pytest.raises(GanError) as error:
        files.make("network", golden | change, lambda: IMAGES)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_no_state_is_refused(golden, tmp_path):
    path = tmp_path / "whole.pt"
    for content, message in ((torch.nn.Linear(1, 1), "weights_only=True"), ({"a": {"b": 1}}, "dictionary of tensors")):
        torch.save(content, path)
        with pytest.raises(GanError, match=message):
            files.make("network", golden | {"path": str(path), "sha256": checksum(path)}, lambda: IMAGES)
    with pytest.raises(GanError, match="lacks the key 'layer'"):
        files.make("network", {key: value for key, value in golden.items() if key != "layer"}, lambda: IMAGES)


@pytest.mark.parametrize(
    ("architecture", "layer", "shape"),
    [("densenet121", "relu", (2, 1024, 2, 2)), ("inception_v3", "avgpool", (2, 2048, 1, 1))],
)
def test_other_architectures_have_their_layers(architecture, layer, shape):
    _, trunk = build(architecture, layer, "metrics.network.one")
    with torch.inference_mode():
        assert trunk(torch.zeros(2, 3, 80, 80))["features"].shape == shape
    assert not [key for key in trunk.state_dict() if key.startswith(("fc.", "classifier.", "AuxLogits."))]


def test_the_longest_prefix_of_a_key_counts():
    state = {name: torch.zeros(1) for name in ("backbone.0.weight", "backbone.4.0.bias", "fc.bias")}
    keys = {"backbone.0.": "conv1.", "backbone.": "layer", "fc.": None}
    assert set(renamed(state, keys, "")) == {"conv1.weight", "layer4.0.bias"}


def test_a_config_declares_networks_by_name(golden, config):
    spec = {key: value for key, value in golden.items() if key != "name"}
    metrics = {"extractors": ["swav", "other"], "network": {"swav": spec, "other": spec | {"layer": "layer3"}}}
    study = load(config | {"metrics": metrics}, SCHEMA)
    assert study.extractors() == ["swav", "other"] and study.extractor_files()["other"] == golden["sha256"]
    assert registry.section(study.metrics, "other")["name"] == "other"
    for change, message in (
        ({"extractors": ["swag"]}, "'swag'; allowed: inception, indomain, "),
        ({"network": {"random": spec}}, "metrics.network has the name 'random'"),
        ({"network": {"swav": spec | {"golden": None}}}, "golden"),
        ({"network": {"swav": {key: spec[key] for key in spec if key != "golden"}}}, "lacks the key 'golden'"),
        ({"network": {"swav": spec | {"stdev": 1}}}, "unknown key metrics.network.swav.stdev"),
        ({"network": {"swav": spec | {"std": [1, 1, 0]}}}, "channels are divided by it"),
        ({"network": {"swav": spec | {"path": None}}}, "metrics.network.swav names no file; give its path or url"),
    ):
        with pytest.raises(GanError) as error:
            load(config | {"metrics": metrics | {"extractors": ["swav"]} | change}, SCHEMA)
        assert message in str(error.value), (change, str(error.value))
