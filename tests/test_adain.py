"""Adaptive instance normalisation against its formula, and the synthesis that is made of it."""

import math

import pytest
import torch
from torch.nn import functional

from gan.families.contract import lay_out
from gan.nn import Generator, Pyramid
from gan.nn.adain import AdaINSynthesis, Style, StyledLayer

SMALL = {"channel_base": 64, "channel_max": 8}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("size", [(6, 4), (3, 4, 2)])
def test_moments_after_a_style_are_those_of_w(size):
    """Mean y_b and standard deviation |1 + y_s| for each channel of each image, whatever came in."""
    style = Style(5, 7, size).double()
    x, w = torch.randn(3, 5, *size, dtype=torch.float64) * 9 + 4, torch.randn(3, 7, dtype=torch.float64)
    with torch.no_grad():
        style.bias.normal_()
        style.noise_strength.normal_()
        y = style(x, w, "random").flatten(2)
        scale, bias = style.affine(w).chunk(2, dim=1)
    torch.testing.assert_close(y.mean(dim=2), bias)
    torch.testing.assert_close(y.std(dim=2, correction=0), (1 + scale).abs())


def test_a_styled_layer_is_convolution_noise_activation_normalisation():
    layer = StyledLayer(3, 5, 7, (6, 4)).double()
    with torch.no_grad():
        layer.style.bias.normal_()
        layer.style.noise_strength.normal_()
    x, w = torch.randn(2, 3, 6, 4, dtype=torch.float64), torch.randn(2, 7, dtype=torch.float64)
    y = functional.conv2d(x, layer.weight / math.sqrt(27), padding=1)
    y = y + layer.style.noise * layer.style.noise_strength + layer.style.bias[:, None, None]
    y = functional.instance_norm(functional.leaky_relu(y, 0.2) * math.sqrt(2), eps=1e-8)
    scale, bias = layer.style.affine(w)[:, :, None, None].chunk(2, dim=1)
    torch.testing.assert_close(layer(x, w, "constant"), (1 + scale) * y + bias)


def test_noise_has_a_strength_a_channel():
    style, x, w = Style(2, 4, (8, 8)), torch.randn(1, 2, 8, 8), torch.randn(1, 4)
    with torch.no_grad():
        style.noise_strength[1] = 1.0
    still, noisy = style(x, w, "none"), style(x, w, "random")
    assert torch.equal(still[:, 0], noisy[:, 0]) and not torch.allclose(still[:, 1], noisy[:, 1])


def test_second_derivatives():
    style = Style(2, 3, (3, 2)).double()
    x, w = torch.randn(2, 2, 3, 2).double().requires_grad_(), torch.randn(2, 3).double().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x, w: style(x, w, "none"), (x, w))


@pytest.mark.parametrize("size", [(32, 32), (24, 32), (16, 16, 16)])
def test_every_style_moves_the_image(size):
    """Two w a resolution and none without effect, from a constant of ones."""
    pyramid = Pyramid.of(size)
    network = AdaINSynthesis(pyramid, 2, 8, base=64, most=8, attention={})
    assert network.layers == 2 * (pyramid.doublings + 1)
    assert (network.constant == 1).all() and network.constant.shape[2:] == pyramid.grid
    ws = torch.randn(2, network.layers, 8).requires_grad_()
    images = network(ws, "none")
    assert images.shape == (2, 2, *size) and images.dtype == torch.float32
    (slope,) = torch.autograd.grad(images.square().sum(), ws)
    assert (slope.abs().amax(dim=(0, 2)) > 0).all()


def test_images_are_not_modulated():
    """The last w changes the features of the last convolution and nothing else: no layer beyond scales the image."""
    generator = Generator((16, 16), 2, z_dim=4, w_dim=4, modulation="adain", **SMALL)
    assert not any("affine" in name for name, _ in generator.synthesis.images.named_parameters())
    names = {name.split(".")[0] for name, _ in generator.synthesis.named_parameters() if "affine" in name}
    assert names == {"style", "convs"}


@pytest.mark.parametrize("size", [(16, 16), (16, 16, 16)])
def test_kernels_are_channels_last_and_the_strength_of_noise_keeps_its_shape(size):
    """[C, 1, 1, 1] of a volume has as many axes as the kernels of an image."""
    generator, dims = Generator(size, 1, z_dim=4, w_dim=4, modulation="adain", **SMALL), len(size)
    state = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    lay_out(generator, dims)
    layout = torch.channels_last if dims == 2 else torch.channels_last_3d
    for name, tensor in generator.state_dict().items():
        assert torch.equal(tensor, state[name]), name
        assert tensor.ndim != dims + 2 or tensor.is_contiguous(memory_format=layout), name
    strengths = [tensor for name, tensor in state.items() if "noise_strength" in name]
    assert strengths and all(tensor.shape[1:] == (1,) * dims for tensor in strengths)
    generator.load_state_dict(state)
