"""MedicalNet's graph, by weights of torchvision's ResNets with kernels of volumes, and what is refused of its file."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet

from gan.errors import GanError
from gan.files import checksum
from gan.scoring.extractors import files
from gan.scoring.extractors.medicalnet.model import MedicalNet, standardised
from gan.scoring.extractors.medicalnet.options import Options


def flat_network() -> Any:
    """The ResNet of depth 10 of images, with the strides and dilations of MedicalNet."""
    torch.manual_seed(0)
    network: Any = resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1]).eval()
    network.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    for layer, dilation in ((network.layer3, 2), (network.layer4, 4)):
        block = layer[0]
        block.conv1.stride = block.downsample[0].stride = (1, 1)
        for convolution in (block.conv1, block.conv2):
            convolution.dilation = convolution.padding = (dilation, dilation)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
    network.fc = nn.Identity()
    return network


def as_file(state: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Kernels of images in the middle of those of volumes, with the keys of MedicalNet's files."""
    found = {}
    for name, value in state.items():
        if value.ndim == 4:
            depth = value.shape[-1]
            value = nn.functional.pad(value[:, :, None], (0, 0, 0, 0, depth // 2, depth // 2))
        found[f"module.{name}"] = value.clone()
    return {"state_dict": found}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path, network = tmp_path_factory.mktemp("medicalnet") / "resnet_10_23dataset.pth", flat_network()
    torch.save(as_file(network.state_dict()), path)
    return path, network


def content(path, **given) -> dict:
    spec = {"path": str(path), "sha256": checksum(path), "depth": 10} | given
    return files.make("medicalnet", spec, lambda: np.empty(0, np.uint8))


def test_a_volume_that_is_the_same_along_an_axis_has_the_features_of_its_slices(weights, tmp_path):
    """With kernels in the middle of the new axis, each slice of every map is that of the network of images."""
    path, network = weights
    image = np.random.default_rng(0).integers(0, 255, (2, 32, 40)).astype(np.uint8)
    files.save(tmp_path / "extractor.pt", "medicalnet", content(path))
    extract = files.load(tmp_path / "extractor.pt")
    found = extract(np.repeat(image[:, None], 8, 1))
    with torch.no_grad():
        expected = [network(standardised(one)[None, None]) for one in image]
    assert extract.id == f"medicalnet-10-{checksum(path)[:8]}" and extract.dim == 512
    np.testing.assert_allclose(found, torch.cat(expected).numpy(), rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize(("depth", "block", "count"), [(10, resnet.BasicBlock, 1), (50, resnet.Bottleneck, 0)])
def test_keys_are_those_of_a_resnet(depth, block, count):
    with torch.device("meta"):
        known = resnet.ResNet(block, [1, 1, 1, 1] if count else [3, 4, 6, 3]).state_dict()
        own = MedicalNet(depth)
    assert set(own.state_dict()) == {name for name in known if not name.startswith("fc.")}
    assert own.dim == (512 if count else 2048)


def test_the_body_has_mean_0_and_deviation_1():
    volume = np.zeros((4, 8, 8), np.uint8)
    volume[1:3] = np.random.default_rng(0).integers(40, 250, (2, 8, 8))
    found = standardised(volume)
    assert found[1:3].mean().abs() < 1e-5 and found[1:3].std().item() == pytest.approx(1, abs=1e-5)
    assert found[0].unique().numel() == 1 and found[0, 0, 0] < found[1:3].min()
    assert not standardised(0 * volume).any()


BROKEN = {
    "lacks": (lambda state: state.pop("module.layer2.0.bn1.weight"), "it lacks layer2.0.bn1.weight, 1 in all"),
    "surplus": (
        lambda state: state.update({"module.conv_seg.weight": torch.zeros(1)}),
        "conv_seg.weight as well, 1",
    ),
    "shape": (lambda state: state.update({"module.bn1.weight": torch.zeros(3)}), "size mismatch for bn1.weight"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_file_with_other_weights_is_refused(fault, weights, tmp_path):
    change, words = BROKEN[fault]
    state = torch.load(weights[0], weights_only=True)["state_dict"]
    change(state)
    torch.save({"state_dict": state}, tmp_path / "other.pth")
    with pytest.raises(GanError, match=f"not the weights of MedicalNet of depth 10 .*{words}"):
        content(tmp_path / "other.pth")


def test_another_file_and_none_are_refused(weights, tmp_path, monkeypatch):
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(GanError, match="not the weights of MedicalNet of depth 10"):
        content(tmp_path / "text.pth")
    with pytest.raises(GanError, match=f"sha256 is {checksum(weights[0])}, but metrics.medicalnet.sha256 says 0000"):
        content(weights[0], sha256="0" * 64)
    monkeypatch.delenv("GAN_MEDICALNET", raising=False)
    assert "names no file" in (Options().fault(True) or "")
    assert "sha256 is empty" in (Options(path="here.pth").fault(True) or "") and Options().fault(False) is None
