"""The networks of Pix2Pix: published sizes and counts, small nets by hand, gates, and what instance norm refuses."""

import pytest
import torch
from torch.nn import functional

from gan.errors import GanError
from gan.nn import PatchGAN, UNet, normal_weights
from gan.nn.norm import InstanceNorm
from gan.nn.unet import Dropout, Gate, halvings
from gan.pyramid import patch_layers


def _count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("side", "channels", "expected"), [(256, 1, 54_407_809), (256, 3, 54_413_955), (128, 1, 41_822_849)]
)
def test_weights_of_the_published_unet(side, channels, expected):
    with torch.device("meta"):
        assert _count(UNet((side, side), channels, channels, norm="batch")) == expected


def test_weights_of_the_published_discriminator():
    with torch.device("meta"):
        assert _count(PatchGAN((256, 256), 2, layers=3, norm="batch")) == 2_764_609


@pytest.mark.parametrize("layers, pixels", [(0, 1), (1, 16), (2, 34), (3, 70), (4, 142)])
def test_a_logit_sees_a_patch(layers, pixels):
    """By the gradient of one in the middle; batch norm in evaluation keeps positions apart."""
    torch.manual_seed(0)
    network = PatchGAN((192, 192), 1, layers=layers, width=2, norm="batch").eval()
    images = torch.rand(1, 1, 192, 192, requires_grad=True)
    logits = network(images)
    (gradient,) = torch.autograd.grad(logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2], images)
    rows, columns = gradient[0, 0].nonzero().unbind(1)
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (pixels, pixels)


@pytest.mark.parametrize("side, layers, logits", [(256, 3, 30), (64, 3, 6), (32, 3, 2), (16, 2, 2), (12, 2, 1)])
def test_maps_of_logits(side, layers, logits):
    with torch.device("meta"):
        network = PatchGAN((side, side), 1, layers=layers)
        assert network(torch.zeros(1, 1, side, side)).shape == (1, 1, logits, logits)


def test_patches_fit_the_size():
    assert [patch_layers(size, None) for size in [(256, 256), (128, 192), (96, 128), (64, 64, 64)]] == [3, 3, 2, 2]
    with pytest.raises(GanError, match=r"option patch_layers is 3; images of size \[16, 24\] are too small for it"):
        PatchGAN((16, 24), 1, layers=3)


SIZES = [(256, 256), (192, 256), (160, 160), (96, 80), (28, 24), (12, 12), (16, 16, 16), (24, 32, 40)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("upsample", ["transposed", "nearest"])
def test_translations_are_as_large_as_their_source(size, upsample):
    with torch.device("meta"):
        network = UNet(size, 2, 3, width=2, attention=True, upsample=upsample)
        assert network(torch.zeros(1, 2, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize("size", [(75, 61), (33, 18, 21)])
@pytest.mark.parametrize("upsample", ["transposed", "nearest"])
def test_odd_sizes_need_a_depth(size, upsample):
    with torch.device("meta"):
        with pytest.raises(GanError, match=r"cannot be halved twice without a rest; set option depth, to at most"):
            UNet(size, 1, 1)
        network = UNet(size, 1, 1, width=2, depth=4, attention=True, upsample=upsample)
        assert network(torch.zeros(1, 1, *size)).shape == (1, 1, *size)
        with pytest.raises(GanError, match=r"option depth is 7; images of size .* can be halved . times"):
            UNet(size, 1, 1, depth=7)


def test_the_depth_by_default_reaches_a_side_of_one_or_an_odd_one():
    assert [halvings(size) for size in [(256, 256), (128, 128), (192, 256), (160, 160), (28, 24), (75, 60)]] == [
        *(8, 7, 6, 5, 2, 0)
    ]


@pytest.fixture
def two_levels():
    torch.manual_seed(0)
    network = UNet((16, 16), 1, 2, width=4, depth=2, dropout=())
    network.apply(normal_weights)
    for parameter in network.parameters():
        parameter.data.mul_(10)
    return network


def test_two_levels_by_hand(two_levels):
    x = torch.rand(3, 1, 16, 16)
    first, second, inner, last = (parameter for parameter in two_levels.parameters() if parameter.ndim == 4)
    one = functional.conv2d(x, first, stride=2, padding=1)
    two = functional.conv2d(functional.leaky_relu(one, 0.2), second, stride=2, padding=1)
    back = functional.instance_norm(functional.conv_transpose2d(two.relu(), inner, stride=2, padding=1))
    expected = functional.conv_transpose2d(torch.cat([one, back], 1).relu(), last, stride=2, padding=1).tanh()
    torch.testing.assert_close(two_levels(x), expected)


def test_without_a_skip_only_the_bottleneck_is_left(two_levels):
    """Features that are all 0 there give one translation of all images."""
    x = torch.rand(2, 1, 16, 16)
    _, second, _, last = (parameter for parameter in two_levels.parameters() if parameter.ndim == 4)
    second.data.zero_()
    images = two_levels(x)
    assert not torch.allclose(images[0], images[1])
    last.data[:4] = 0
    images = two_levels(x)
    torch.testing.assert_close(images[0], images[1])


@pytest.mark.parametrize("dims", [2, 3])
def test_an_open_gate_hands_over_the_convolution_of_its_skip(dims):
    torch.manual_seed(0)
    gate = Gate(4, 6, dims, "batch")
    skip, signal = torch.randn(2, 4, *[8] * dims), torch.randn(2, 6, *[4] * dims)
    gate.psi.weight.data.zero_()
    gate.psi.bias.data.fill_(40.0)
    torch.testing.assert_close(gate(skip, signal), gate.out(skip))
    gate.psi.bias.data.fill_(-100.0)
    torch.testing.assert_close(gate(skip, signal), gate.out(torch.zeros_like(skip)))


def test_a_gate_by_hand():
    torch.manual_seed(0)
    gate, skip, signal = Gate(3, 5, 2, "instance"), torch.randn(2, 3, 8, 8), torch.randn(2, 5, 4, 4)
    inner = functional.conv2d(skip, gate.theta.weight, stride=2)
    inner = inner + functional.conv2d(signal, gate.phi.weight, gate.phi.bias)
    weight = functional.conv2d(inner.relu(), gate.psi.weight, gate.psi.bias).sigmoid()
    weight = functional.interpolate(weight, scale_factor=2.0, mode="bilinear")
    expected = functional.instance_norm(functional.conv2d(skip * weight, gate.out[0].weight))
    torch.testing.assert_close(gate(skip, signal), expected)


def test_closed_gates_leave_the_bottleneck_and_the_largest_skip():
    """Those have none (Oktay et al. 2018), so that its part of the last layer is set to 0 here."""
    torch.manual_seed(0)
    network = UNet((32, 32), 1, 1, width=4, depth=3, dropout=(), attention=True)
    assert [gate.theta.in_channels for gate in network.gates] == [8]
    network.back[-1][0].layer.weight.data[:4] = 0
    x = torch.rand(2, 1, 32, 32)
    network.down[2].weight.data.zero_()
    images = network(x)
    assert not torch.allclose(images[0], images[1])
    network.gates[0].psi.weight.data.zero_()
    network.gates[0].psi.bias.data.fill_(-100.0)
    images = network(x)
    torch.testing.assert_close(images[0], images[1])


@pytest.mark.parametrize("size", [(5, 7), (4, 3, 6)])
def test_instance_norm_takes_scale_and_offset_away(size):
    torch.manual_seed(0)
    norm, x = InstanceNorm(), torch.randn(2, 3, *size, dtype=torch.float64)
    scale, offset = torch.rand(2, 3, *[1] * len(size)) + 0.5, torch.randn(2, 3, *[1] * len(size))
    torch.testing.assert_close(norm(x * scale + offset), norm(x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(norm.eval()(x), norm.train()(x), rtol=0, atol=0)
    assert not norm.state_dict()
    with pytest.raises(GanError, match="of one position gives 0"):
        norm(torch.ones(2, 3, *[1] * len(size)))


def test_the_innermost_map_of_one_position_has_no_norm():
    torch.manual_seed(0)
    network = UNet((16, 16), 1, 1, width=2)
    assert len(network.down) == 4 and network(torch.rand(1, 1, 16, 16)).std() > 0


def test_dropout_zeroes_half_and_doubles_the_rest():
    torch.manual_seed(0)
    x = torch.ones(4, 50, 8, 8)
    layer = Dropout()
    values, counts = layer(x).unique(return_counts=True)
    assert values.tolist() == [0.0, 2.0] and abs(counts[0] / x.numel() - 0.5) < 0.02
    assert torch.equal(layer.eval()(x), x)
    assert not torch.equal(Dropout(always=True).eval()(x), x)


def test_layers_with_dropout():
    """1 is the innermost; the last layer has none, whatever is asked."""
    network = UNet((32, 32), 1, 1, width=2, depth=4, dropout=(1, 3, 4))
    found = [any(isinstance(layer, Dropout) for layer in layers) for layers in network.back]
    assert found == [True, False, True, False]
