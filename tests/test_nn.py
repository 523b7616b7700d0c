"""Layers against naive formulas, networks by their shapes and counts."""

import math

import pytest
import torch
from torch.nn import functional

from gan.errors import GanError
from gan.nn import Conv, Discriminator, Generator, Linear, Mapping, Pyramid, layers, minibatch_stddev, pixel_norm
from gan.nn.layers import in_pieces
from gan.nn.synthesis import StyledConv, ToImage

SMALL = {"channel_base": 64, "channel_max": 8}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("size", "grid", "doublings"),
    [
        ((16, 16), (4, 4), 2),
        ((256, 256), (4, 4), 6),
        ((192, 256), (3, 4), 6),
        ((256, 192), (4, 3), 6),
        ((96, 96), (3, 3), 5),
        ((160, 224), (5, 7), 5),
        ((32, 32, 32), (4, 4, 4), 3),
        ((12, 16, 16), (3, 4, 4), 2),
    ],
)
def test_pyramid(size, grid, doublings):
    pyramid = Pyramid.of(size)
    assert (pyramid.grid, pyramid.doublings) == (grid, doublings)
    assert pyramid.size(doublings) == size


@pytest.mark.parametrize("size", [(8, 8), (100, 100), (64, 256), (65, 64), (0, 0), (240, 16)])
def test_pyramid_refuses_what_no_grid_reaches(size):
    with pytest.raises(GanError, match="image size"):
        Pyramid.of(size)


def test_widths_follow_the_published_rule():
    pyramid = Pyramid.of((256, 256))
    assert [pyramid.width(level, 16384, 512) for level in range(7)] == [512, 512, 512, 512, 256, 128, 64]


@pytest.mark.parametrize("multiplier", [1.0, 0.01])
def test_equalised_linear_keeps_variance_and_scales_the_step(multiplier):
    layer = Linear(256, 512, lr_multiplier=multiplier)
    assert layer(torch.randn(512, 256)).std().item() == pytest.approx(1, rel=0.05)
    x = torch.randn(8, 256)
    before = layer(x)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(1.0)
    expected = (x.sum(1, keepdim=True) / 16 + 1) * multiplier
    torch.testing.assert_close(layer(x) - before, expected.expand(-1, 512), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("kernel", "down"), [(1, 1), (3, 1), (1, 2), (3, 2)])
def test_equalised_conv_is_the_convolution_with_scaled_weights(dims, kernel, down):
    layer = Conv(4, 6, kernel, down=down, spatial_dims=dims)
    x = torch.randn(2, 4, *[8] * dims)
    y = layer(x)
    assert y.shape == (2, 6, *[8 // down] * dims)
    if down == 1:
        convolve = {2: functional.conv2d, 3: functional.conv3d}[dims]
        weight = layer.weight / math.sqrt(4 * kernel**dims)
        torch.testing.assert_close(y, convolve(x, weight, padding=kernel // 2), atol=1e-5, rtol=1e-5)


def test_halving_convolution_of_a_constant_keeps_it():
    """The blur has a gain of one: inside, a constant image stays the constant that the weights make of it."""
    layer = Conv(1, 1, 1, down=2, bias=False)
    y = layer(torch.ones(1, 1, 16, 16))
    torch.testing.assert_close(y[0, 0, 2:-2, 2:-2], layer.weight[0, 0].detach().expand(4, 4))


@pytest.mark.parametrize("gain", [1.0, math.sqrt(0.5)])
def test_conv_applies_gain_after_the_activation(gain):
    layer = Conv(4, 4, 3, act="lrelu", gain=gain)
    with torch.no_grad():
        layer.bias.normal_()
    x = torch.randn(2, 4, 8, 8)
    y = functional.conv2d(x, layer.weight / 6, layer.bias, padding=1)
    torch.testing.assert_close(layer(x), functional.leaky_relu(y, 0.2) * math.sqrt(2) * gain, atol=1e-5, rtol=1e-5)


def test_pixel_norm_gives_unit_second_moment():
    y = pixel_norm(torch.randn(5, 64) * 7)
    torch.testing.assert_close(y.square().mean(1), torch.ones(5))


@pytest.mark.parametrize(("group", "size"), [(4, (3, 5)), (2, (4, 4)), (8, (2, 2, 2)), (16, (2, 2))])
def test_minibatch_stddev_is_the_naive_formula(group, size):
    x = torch.randn(8, 4, *size, dtype=torch.float64)
    y = minibatch_stddev(x, group)
    assert y.shape == (8, 5, *size)
    torch.testing.assert_close(y[:, :4], x)
    size_of_group = min(group, 8)
    for sample in range(8):
        first = sample // size_of_group * size_of_group
        part = x[first : first + size_of_group]
        spread = ((part - part.mean(0)).square().mean(0) + 1e-8).sqrt().mean()
        torch.testing.assert_close(y[sample, 4], spread.expand(*size))


def test_minibatch_stddev_refuses_a_group_that_does_not_fit():
    with pytest.raises(GanError, match="mbstd_group is 4"):
        minibatch_stddev(torch.zeros(6, 2, 4, 4), 4)


def _explicit(x, weight, styles, demodulate=True):
    """Modulated convolution as the paper writes it: one set of weights [O, I, k, k] for every sample."""
    own = weight[None] * styles[:, None, :, None, None]
    if demodulate:
        own = own * (own.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    return torch.cat([functional.conv2d(x[n : n + 1], own[n], padding=weight.shape[-1] // 2) for n in range(len(x))])


def test_styled_conv_equals_explicit_weights_up_to_the_second_derivative():
    layer = StyledConv(3, 5, 7, (6, 4)).double()
    with torch.no_grad():
        layer.bias.normal_()
        layer.noise_strength.fill_(0.3)
    x, w = torch.randn(2, 3, 6, 4).double().requires_grad_(), torch.randn(2, 7).double().requires_grad_()

    def expected(x, w):
        y = _explicit(x, layer.weight, layer.affine(w)) + layer.noise * 0.3 + layer.bias[:, None, None]
        return functional.leaky_relu(y, 0.2) * math.sqrt(2)

    ours = _with_derivatives(lambda: layer(x, w, "constant"), (x, w, layer.weight))
    for mine, its in zip(ours, _with_derivatives(lambda: expected(x, w), (x, w, layer.weight)), strict=True):
        torch.testing.assert_close(mine, its)


def test_to_image_equals_explicit_weights_without_demodulation():
    layer = ToImage(4, 3, 6, 2)
    x, w = torch.randn(2, 4, 5, 5), torch.randn(2, 6)
    expected = _explicit(x, layer.weight / 2, layer.affine(w), demodulate=False)
    torch.testing.assert_close(layer(x, w), expected, atol=1e-5, rtol=1e-5)


def _with_derivatives(function, inputs):
    """The value, its gradients, and the gradients of the squared gradients, in that order."""
    y = function()
    torch.manual_seed(3)
    first = torch.autograd.grad((y * torch.randn_like(y)).sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(gradient.square().sum() for gradient in first), inputs)
    return [y, *first, *second]


def test_styled_conv_keeps_the_variance_of_its_input():
    layer = StyledConv(64, 64, 16, (32, 32))
    with torch.no_grad():
        layer.affine.weight.mul_(3)
    y = layer(torch.randn(4, 64, 32, 32), torch.randn(4, 16), "none")
    assert y.square().mean().sqrt().item() == pytest.approx(1, rel=0.1)


def test_noise_is_random_constant_or_absent():
    generator = Generator((16, 16), 1, z_dim=8, w_dim=8, **SMALL)
    with torch.no_grad():
        for conv in generator.synthesis.convs:
            conv.noise_strength.fill_(1.0)
    ws = generator.broadcast(torch.randn(2, 8))
    synthesis = generator.synthesis
    assert not torch.equal(synthesis(ws, "random"), synthesis(ws, "random"))
    assert torch.equal(synthesis(ws, "constant"), synthesis(ws, "constant"))
    assert not torch.equal(synthesis(ws, "constant"), synthesis(ws, "none"))
    with pytest.raises(ValueError, match="allowed: random, constant, none"):
        synthesis(ws, "fixed")


def test_w_avg_moves_by_half_a_per_cent_and_is_the_centre_of_truncation():
    mapping = Mapping(8, 0, 6, 2)
    none = torch.zeros(32, 0)
    w = mapping(torch.randn(32, 8), none)
    mapping.track(w)
    mapping.track(w)
    torch.testing.assert_close(mapping.w_avg, w.mean(0).detach() * (1 - 0.995**2))
    z = torch.randn(32, 8)
    w, centre = mapping(z, none), mapping.w_avg
    torch.testing.assert_close(mapping(z, none, truncation=0.7), centre + 0.7 * (w - centre))
    torch.testing.assert_close(mapping(z, none, truncation=0.0), centre.expand(32, -1))


def test_mapping_depends_on_the_label_and_not_on_the_scale_of_z():
    mapping = Mapping(8, 3, 6, 2)
    z, one_hot = torch.randn(4, 8), torch.eye(3)
    labelled = [mapping(z, one_hot[k].expand(4, -1)) for k in range(3)]
    assert not torch.allclose(labelled[0], labelled[1], rtol=1e-3)
    torch.testing.assert_close(mapping(z * 5, one_hot[0].expand(4, -1)), labelled[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_style_mixing_takes_the_other_w_from_a_layer_on(probability):
    generator = Generator((32, 32), 1, z_dim=8, w_dim=8, **SMALL)
    layers = generator.synthesis.layers
    ws = generator.mix(torch.zeros(64, 8), torch.ones(64, 8), probability)
    assert ws.shape == (64, layers, 8)
    other = ws[:, :, 0].sum(1)
    assert torch.equal(ws, ws.sort(dim=1).values), "the first w comes first"
    if probability:
        assert other.min() >= 1 and other.max() <= layers - 1 and len(other.unique()) > 3
    else:
        assert not other.any()


SHAPES = [((16, 16), 1, 0), ((32, 32), 3, 2), ((24, 32), 4, 0), ((16, 16, 16), 1, 2), ((12, 16, 16), 2, 0)]


@pytest.mark.parametrize(("size", "channels", "labels"), SHAPES)
def test_networks_fit_each_other(size, channels, labels):
    generator = Generator(size, channels, labels, z_dim=8, w_dim=8, mapping_layers=2, **SMALL)
    discriminator = Discriminator(size, channels, labels, mapping_layers=2, **SMALL)
    one_hot = torch.eye(2)[:, :labels].repeat(2, 1)
    images = generator(torch.randn(4, 8), one_hot)
    assert images.shape == (4, channels, *size)
    logits = discriminator(images, one_hot)
    assert logits.shape == (4, 1)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in generator.parameters())


@pytest.mark.parametrize(
    ("size", "channels", "labels", "w_dim", "base", "depth", "generator", "discriminator"),
    [
        (256, 3, 0, 512, 16384, 8, 24_767_458, 24_001_089),
        (64, 1, 0, 512, 16384, 2, 22_238_990, 23_406_849),
        (32, 1, 3, 64, 512, 2, 353_691, 617_328),
    ],
)
def test_parameters_are_as_many_as_in_the_published_program(
    size, channels, labels, w_dim, base, depth, generator, discriminator
):
    """Counts of the official PyTorch program of Karras et al. (2020a) with the same settings."""
    with torch.device("meta"):
        shared = {"mapping_layers": depth, "channel_base": base}
        ours = Generator((size, size), channels, labels, z_dim=w_dim, w_dim=w_dim, **shared)
        judge = Discriminator((size, size), channels, labels, **shared)
    assert sum(parameter.numel() for parameter in ours.parameters()) == generator
    assert sum(parameter.numel() for parameter in judge.parameters()) == discriminator


def test_the_label_decides_the_logits():
    discriminator = Discriminator((16, 16), 1, 2, **SMALL)
    image = torch.randn(2, 1, 16, 16)
    one, other = (discriminator(image, torch.eye(2)[k].expand(2, -1)) for k in range(2))
    assert not torch.allclose(one, other)


def test_activations_are_clamped_in_float16_alone():
    conv, high = Conv(1, 1, 1, act="lrelu"), torch.full([1, 1, 4, 4], 1e4)
    with torch.no_grad():
        conv.weight.fill_(1.0)
    assert conv(high.half()).abs().max() == 256
    assert conv(high.bfloat16()).abs().max() > 256 and conv(high).abs().max() > 256


@pytest.mark.parametrize(("rows", "most"), [(8, 2), (12, 5), (7, 3), (4, 9)])
def test_a_product_in_pieces_is_the_product_to_the_second_derivative(rows, most):
    x = torch.randn(2, rows, 5, dtype=torch.float64, requires_grad=True)
    matrices = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(in_pieces(x, matrices, most), torch.bmm(x, matrices))
    assert torch.autograd.gradgradcheck(lambda *args: in_pieces(*args, most), (x, matrices))


@pytest.mark.parametrize("size", [(4, 6), (3, 4, 2)], ids=["image", "volume"])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 12), (3, 12), (12, 1), (12, 3), (12, 10)])
@pytest.mark.parametrize("each", [False, True], ids=["shared", "each"])
@pytest.mark.parametrize("pointwise", [layers.pointwise, layers._pointwise_on_a_gpu])
def test_pointwise_is_a_convolution_to_the_second_derivative(pointwise, size, inputs, outputs, each):
    x = torch.randn(2, inputs, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(*[2] * each, outputs, inputs, dtype=torch.float64, requires_grad=True)
    y, expected = pointwise(x, weight), torch.einsum("ni...,noi->no...", x, weight.expand(2, -1, -1))
    torch.testing.assert_close(y, expected)
    assert y.movedim(1, -1).is_contiguous()
    for found, other in zip(_derivatives(y, x, weight), _derivatives(expected, x, weight), strict=True):
        torch.testing.assert_close(found, other)


def test_weights_that_are_moved_to_another_format_are_the_same():
    network = Discriminator((16, 16), 3, channel_base=64, channel_max=8)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert layers.channels_last(network) is network
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    weight = network.blocks["2"].first.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()


def _derivatives(y, x, weight):
    first = torch.autograd.grad(y.sin().sum(), (x, weight), create_graph=True)
    return *first, *torch.autograd.grad(sum(g.square().sum() for g in first), (x, weight))
