"""DCGAN with a number of layers, in 2D and 3D; latents and rates."""

import pytest
import torch
from conftest import SCHEMA
from golden import SMALL
from test_variants import BATCH, _make
from torch.distributions import Normal

from gan.errors import GanError
from gan.families.contract import Batch, ImageShape, Latents
from gan.families.registry import build
from gan.study import load

PUBLISHED = {"layers": 4, "activation": "leaky_relu", "noise": "uniform", "lr_d": 1e-4}


def _shapes(network, *inputs):
    """What each convolution gives, without the batch."""
    found = []
    for layer in network.layers:
        if hasattr(layer, "kernel_size"):
            layer.register_forward_hook(lambda module, given, result: found.append(list(result.shape[1:])))
    network(*inputs)
    return found


def test_four_layers_at_128():
    """Dense to 16 x 16, three doublings; stride 1, two halvings, one logit (Chithra and Dhivya 2024)."""
    with torch.device("meta"):
        variant = build("dcgan", PUBLISHED, ImageShape(1, (128, 128)), BATCH)
        images, z, none = torch.zeros(2, 1, 128, 128), torch.zeros(2, 100), torch.zeros(2, 0)
    generator, discriminator = variant.generator, variant.discriminator
    assert _shapes(generator, z, none) == [[256, 16, 16], [128, 32, 32], [64, 64, 64], [1, 128, 128]]
    assert _shapes(discriminator, images) == [[64, 128, 128], [128, 64, 64], [256, 32, 32], [1, 1, 1]]
    norm = {width: 2 * width for width in (64, 128, 256)}
    dense, ups = 100 * 256 * 16 * 16, 256 * 128 * 16 + 128 * 64 * 16
    counts = [sum(p.numel() for p in network.parameters()) for network in (generator, discriminator)]
    first, downs = 1 * 64 * 9 + 64, 64 * 128 * 16 + 128 * 256 * 16
    assert counts == [
        dense + ups + sum(norm.values()) + 64 * 1 * 16 + 1,
        first + downs + norm[128] + norm[256] + 256 * 32 * 32 + 1,
    ]
    names = [type(layer).__name__ for layer in generator.layers]
    assert names == ["ConvTranspose2d", "BatchNorm", "LeakyReLU"] * 3 + ["ConvTranspose2d", "Tanh"]
    names = [type(layer).__name__ for layer in discriminator.layers]
    assert names == ["Conv2d", "LeakyReLU"] + ["Conv2d", "BatchNorm", "LeakyReLU"] * 2 + ["Conv2d"]


def test_as_many_layers_as_there_are_sizes_are_the_generator_without_the_option():
    """One more than doublings: the discriminator alone differs."""
    shape = ImageShape(1, (32, 32))
    plain, counted = (build("dcgan", SMALL["dcgan"] | {"layers": layers}, shape, BATCH) for layers in (None, 4))
    mine, its = plain.generator.state_dict(), counted.generator.state_dict()
    assert {name: value.shape for name, value in mine.items()} == {name: value.shape for name, value in its.items()}
    strides = [[layer.stride for layer in v.discriminator.layers if hasattr(layer, "stride")] for v in (plain, counted)]
    assert strides == [[(2, 2), (2, 2), (2, 2), (1, 1)], [(1, 1), (2, 2), (2, 2), (1, 1)]]


@pytest.mark.parametrize("size", [(16, 24), (16, 16, 16)])
@pytest.mark.parametrize("layers", [None, 2, 3])
def test_layers_in_two_and_three_dimensions(layers, size):
    variant = build("dcgan", SMALL["dcgan"] | {"layers": layers}, ImageShape(2, size), BATCH)
    batch = Batch(torch.rand(BATCH, 2, *size), torch.zeros(BATCH, 0))
    for phase in variant.phases():
        loss, _ = variant.loss(phase.name, batch)
        loss.backward()
        assert torch.isfinite(loss)
    assert variant.draw(variant.kept(), Latents(torch.randn(3, 8), torch.zeros(3, 0))).shape == (3, 2, *size)


def test_more_layers_than_sizes_are_refused_when_the_config_is_read(config):
    config["variants"]["deep"] = {"family": "dcgan", "options": {"layers": 9}}
    config["study"]["variants"] = ["deep"]
    with pytest.raises(
        GanError, match=r"config: variants\.deep on datasets\.\w+: option layers is 9; images of this size"
    ):
        load(config, SCHEMA)


def test_uniform_latents_are_quantiles_of_normal_ones():
    share, seen = torch.linspace(0.01, 0.99, 24).reshape(3, 8), []
    z, none = Normal(0, 1).icdf(share), torch.zeros(3, 0)
    for case in ("dcgan", "dcgan_layers"):
        generator = _make(case).generator
        generator.layers[0].register_forward_hook(lambda module, given, result: seen.append(given[0].flatten(1)))
        generator(z, none)
    assert torch.equal(seen[0], z)
    torch.testing.assert_close(seen[1], 2 * share - 1)


def test_each_network_has_its_learning_rate():
    rates = {}
    for case in ("dcgan", "dcgan_layers"):
        optimizers = _make(case).optimizers()
        rates[case] = {name: (o.param_groups[0]["lr"], o.param_groups[0]["betas"]) for name, o in optimizers.items()}
    assert rates["dcgan"] == {"G": (2e-4, (0.5, 0.999)), "D": (2e-4, (0.5, 0.999))}
    assert rates["dcgan_layers"] == {"G": (1e-3, (0.4, 0.999)), "D": (1e-4, (0.4, 0.999))}


def test_dcgan_starts_as_published():
    weights = torch.cat([p.flatten() for p in _make("dcgan", channels=16).parameters() if p.ndim == 4])
    assert weights.std().item() == pytest.approx(0.02, rel=0.05)
    optimizer = _make("dcgan").optimizers()["G"].param_groups[0]
    assert (optimizer["lr"], optimizer["betas"]) == (2e-4, (0.5, 0.999))


def test_dcgan_samples_one_image_as_it_does_in_a_batch():
    """Running statistics in eval mode: an image does not depend on those sampled beside it."""
    variant = _make("dcgan").eval()
    z, none = torch.randn(4, 8), torch.zeros(4, 0)
    together = variant.draw(variant.kept(), Latents(z, none))
    torch.testing.assert_close(variant.draw(variant.kept(), Latents(z[:1], none[:1])), together[:1])
    assert together.abs().max() <= 1
