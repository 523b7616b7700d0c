"""UNIT: published sizes and receptive fields, what both directions share, its losses by hand, and refusals."""

import math

import pytest
import torch
from golden import BATCH, CASES, SMALL
from test_variants import _batch
from torch import nn
from torch.nn import functional

from gan.errors import GanError
from gan.families.contract import ImageShape, Source
from gan.families.registry import build, make_options
from gan.families.unit import networks
from gan.families.unit.model import LATENTS
from gan.families.unit.networks import OTHER, Discriminators, Generators
from gan.families.unit.options import UNITOptions
from gan.nn.norm import InstanceNorm
from gan.nn.plain import LAYERS
from gan.nn.spectral import SpectralNorm, spectral
from gan.objectives import charbonnier

SHAPE = ImageShape(2, (16, 16), sources=2)
PAIR = ImageShape(1, (16, 16), sources=1)
SEED = {"res_channels": 512, "d_layers": 5, "d_last_kernel": 2}
FIELDS = [  # layers, kernel, last kernel and the pixels that a logit sees
    pytest.param({}, 127, id="paper"),
    pytest.param(SEED, 95, id="seed"),
    pytest.param({"d_layers": 4}, 31, id="paper, scales"),
    pytest.param({"d_layers": 4, "d_kernel": 4}, 46, id="program"),
]


def _unit(shape=SHAPE, **options):
    torch.manual_seed(0)
    return build("unit", SMALL["unit"] | options, shape, BATCH)


def _count(network):
    return sum(parameter.numel() for parameter in network.parameters())


# ---------------------------------------------------------------- networks


@pytest.mark.parametrize(
    ("options", "generators", "discriminator"),
    [(SEED, 67_673_090, 6_273_537), ({"d_layers": 5, "d_last_kernel": 2}, 18_004_482, 6_273_537)],
)
def test_weights_of_both_directions(options, generators, discriminator, monkeypatch):
    """Of the seed's table with residual blocks of 512, and of the paper with 256, at one channel."""
    made = UNITOptions(**options)
    monkeypatch.setattr(networks, "_initialise", lambda *_: None)  # first weights that nobody sees
    with torch.device("meta"):
        assert _count(Generators(made, ImageShape(1, (64, 64), sources=1))) == generators
        assert _count(Discriminators((64, 64), 1, made)) == discriminator


@pytest.mark.parametrize(("options", "pixels"), FIELDS)
def test_a_logit_sees_so_many_pixels(options, pixels):
    side = 256
    network = Discriminators((side, side), 1, make_options("unit", options | {"channels": 2, "d_slope": 1.0}))
    for parameter in network.parameters():
        parameter.data.fill_(1.0 if parameter.ndim > 1 else 0.0)
    image = torch.zeros(1, 1, side, side, requires_grad=True)
    (logits,) = network(image)
    middle = logits.shape[2] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], image)
    seen = gradient[0, 0].nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [pixels, pixels]


def test_the_logits_of_the_example_of_304_by_256():
    options = UNITOptions(channels=2, d_layers=5, d_last_kernel=2)
    (logits,) = Discriminators((304, 256), 1, options)(torch.zeros(1, 1, 304, 256))
    assert logits.shape == (1, 1, 9, 7)
    assert [options.logits(side) for side in (304, 256, 64)] == [9, 7, 1]


@pytest.mark.parametrize("case", [case for case, (family, _) in CASES.items() if family == "unit"])
@pytest.mark.parametrize("size", [(16, 24), (15, 22), (8, 12, 16), (9, 8, 10)])
def test_translations_are_as_large_as_their_source(case, size):
    """Odd sizes too, but where a kernel of 4 halves them."""
    shape = ImageShape(3, size, 2, sources=2)
    options = make_options("unit", CASES[case][1])
    if options.down_kernel == 4 and any(side % 4 for side in size):
        with pytest.raises(GanError, match=r"option down_kernel is 4, which halves even sides; images of size .* pad"):
            Generators(options, shape)
        return
    network = Generators(options, shape)
    for channels, backward, made in ((2, False, 3), (3, True, 2)):
        images, labels = torch.zeros(1, channels, *size), torch.zeros(1, 2)
        assert network(images, labels, backward).shape == (1, made, *size)
        code = network.encode(network.replicated(images), labels, "targets" if backward else "sources")
        assert code.shape == (1, options.widest, *(-(-side // 4) for side in size))


@pytest.mark.parametrize(
    ("options", "size", "message"),
    [
        ({}, (7, 16), r"images of size \[7, 16\] are too small; UNIT needs 8 pixels a side"),
        (
            SEED,
            (32, 32),
            r"option d_layers is 5, d_last_kernel 2; images of size \[32, 32\] are too small for them: take",
        ),
        ({"d_kernel": 4}, (32, 32), "option d_layers is 6, d_last_kernel 1; images of size .* are too small for them:"),
        (
            {"d_layers": 4, "d_kernel": 4, "d_scales": 3},
            (32, 32),
            "too small for them, at the scale 3 of 3: take fewer",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, size, message):
    made = UNITOptions(**options)
    with pytest.raises(GanError, match=message):
        made.check_fit(size, 1, 1)
    with torch.device("meta"), pytest.raises(GanError, match=message):
        Discriminators(size, 1, made)


def test_images_of_another_scale_by_hand():
    """Every second pixel of [1, 2, 1] / 4 with the border repeated; the mean of those of 3 x 3 that are there."""
    image = torch.arange(25.0).view(1, 1, 5, 5).sin()
    shrunk = {
        kind: Discriminators((64, 64), 1, make_options("unit", {"channels": 1, "d_shrink": kind})).shrunk(image)
        for kind in ("gaussian", "mean3", "mean2")
    }
    taps = torch.tensor([0.25, 0.5, 0.25])
    blurred = functional.conv2d(functional.pad(image, [1] * 4, "replicate"), (taps[:, None] * taps)[None, None])
    torch.testing.assert_close(shrunk["gaussian"], blurred[..., ::2, ::2])
    torch.testing.assert_close(shrunk["mean3"][0, 0, 0, 0], image[0, 0, :2, :2].mean())
    torch.testing.assert_close(shrunk["mean3"][0, 0, 1, 1], image[0, 0, 1:4, 1:4].mean())
    torch.testing.assert_close(shrunk["mean2"][0, 0, 1, 0], image[0, 0, 2:4, :2].mean())


# ---------------------------------------------------------------- what both directions share


def test_shared_blocks_are_one_object():
    """A loss of one side alone reaches them, and no layer of the other side; files hold them once."""
    kept = _unit().kept()
    code = kept.encode(torch.rand(1, 2, 16, 16), torch.zeros(1, 0), "sources")
    kept.decode(code, "sources", (16, 16)).sum().backward()
    reached = {name.split(".layers")[0] for name, value in kept.named_parameters() if value.grad is not None}
    assert {name for name in reached if "shared" in name} == {"shared_encoder.0", "shared_decoder.0"}
    assert not [name for name in reached if "targets" in name]
    names = [name for name in kept.state_dict() if "shared_encoder" in name]
    assert len(names) == len(list(kept.shared_encoder.parameters())) == 4
    kept.zero_grad()
    code = kept.encode(torch.rand(1, 2, 16, 16), torch.zeros(1, 0), "targets")
    kept.decode(code, "targets", (16, 16)).sum().backward()
    assert all(value.grad is not None for value in kept.shared_decoder.parameters())


def test_without_sharing_each_side_has_its_own():
    apart, together = _unit(share=False).kept(), _unit().kept()
    block = _count(together.shared_encoder)
    assert _count(apart) == _count(together) + 2 * block and not list(apart.shared_encoder.parameters())


@pytest.mark.parametrize(("place", "layers"), [("encoder", 1), ("generator", 2)])
def test_attention_starts_as_the_identity(place, layers):
    """In the encoder it follows the last block, which is shared; gamma learns at once."""
    plain, attended = _unit(), _unit(attention=place)
    own = attended.state_dict()
    assert sum(name.endswith("gamma") for name in own) == layers
    plain.load_state_dict({name: value for name, value in own.items() if name in plain.state_dict()})
    asked = Source(torch.rand(2, 2, 16, 16), torch.zeros(2, 0))
    torch.testing.assert_close(plain.draw(plain.kept(), asked), images := attended.draw(attended.kept(), asked))
    images.sum().backward()
    gammas = [value for name, value in attended.named_parameters() if name.endswith("gamma")]
    assert any(gamma.grad is not None and gamma.grad != 0 for gamma in gammas)


# ---------------------------------------------------------------- spectral normalisation


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("transposed", [0, 1])
def test_the_largest_singular_value_is_1(spatial_dims, transposed):
    """Of the matrix [outputs, inputs k^d], after some forward passes, whatever the scale of the weight."""
    torch.manual_seed(0)
    layer = LAYERS[spatial_dims][transposed](5, 3, 3)
    layer.weight.data.mul_(10)
    network = nn.Sequential(layer)
    spectral(network)
    for _ in range(50):
        weight = layer.weight
    matrix = weight.transpose(0, 1) if transposed else weight
    assert torch.linalg.svdvals(matrix.flatten(1).detach())[0] == pytest.approx(1, abs=1e-3)


def test_power_iterations_are_state_in_training_alone():
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 6, 3)
    norm = SpectralNorm(layer.weight)
    nn.init.normal_(layer.weight)
    before = norm.u.clone()
    norm.eval()(layer.weight)
    assert torch.equal(norm.u, before)
    norm.train()(layer.weight)
    assert not torch.equal(norm.u, before)
    double = SpectralNorm(weight := torch.randn(3, 2, 2, dtype=torch.double, requires_grad=True)).eval()
    for _ in range(20):
        double.train()(weight)
    assert torch.autograd.gradcheck(double.eval(), weight)


def test_every_convolution_is_normalised():
    variant = _unit(spectral_norm=True, attention="generator")
    named = dict(variant.named_modules())
    layers = {name for name, module in named.items() if isinstance(getattr(module, "weight", None), torch.Tensor)}
    normed = {name.removesuffix(".parametrizations.weight.0") for name, one in named.items() if hasattr(one, "u")}
    assert layers == normed and len(layers) > 20
    for module in variant.eval().modules():
        if hasattr(module, "parametrizations"):
            matrix = module.weight.movedim(module.parametrizations.weight[0].dim, 0).flatten(1)  # type: ignore[union-attr]
            largest = torch.linalg.svdvals(matrix.detach())[0] * getattr(module, "weight_gain", 1)
            assert largest == pytest.approx(1, abs=0.05)


# ---------------------------------------------------------------- losses


class Same(nn.Module):
    """A network whose code is the image, and whose image is the code."""

    def __init__(self):
        super().__init__()
        self.replicate = 1

    def encode(self, images, labels, side):
        return images

    def decode(self, code, side, size):
        return code

    def replicated(self, images):
        return images


@pytest.mark.parametrize(("pixel_loss", "least"), [("l1", 0.0), ("charbonnier", 1e-3)])
def test_images_that_come_back_have_no_difference(pixel_loss, least):
    """Charbonnier is e there, not 0."""
    variant, batch = _unit(noise=False, pixel_loss=pixel_loss), _batch(SHAPE)
    variant.generators = Same()
    total, logs = variant.loss("G", batch)
    assert logs["loss/reconstruction"] == logs["loss/cycle"] == pytest.approx(least)
    square = (batch.source.square().mean() + batch.real.square().mean()).item()
    assert total.item() == pytest.approx(2 * 10 * logs["loss/G"].item() + 400 * least + 2 * 0.1 * square, rel=1e-5)


def test_charbonnier_is_a_smooth_absolute_value():
    x = torch.linspace(-1, 1, 11, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(charbonnier, x)
    (gradient,) = torch.autograd.grad(charbonnier(x).sum(), x)
    assert gradient[5].abs() < 1e-9 and gradient.abs().max() <= 1
    assert (charbonnier(x, 1e-9) - x.abs()).abs().max() < 2e-9
    small = torch.tensor(1e-5, dtype=torch.double)
    assert charbonnier(small).item() == pytest.approx((small**2 / 2e-3 + 1e-3).item(), rel=1e-8)


def test_the_divergence_of_codes():
    """Half the sum of squares of an image: that of N(mu, 1) from N(0, 1); the mean square is 2 / n of it."""
    normal, code = torch.distributions.Normal, torch.randn(3, 4, 2, 2)
    expected = torch.distributions.kl_divergence(normal(code, 1.0), normal(0.0, 1.0)).flatten(1).sum(1).mean()
    torch.testing.assert_close(LATENTS["kl"](code), expected)
    torch.testing.assert_close(LATENTS["mean_square"](code), 2 * expected / code[0].numel())
    assert LATENTS["kl"](0 * code) == 0


@pytest.mark.parametrize(("objective", "logit", "loss"), [("lsgan", 0.5, 0.25), ("bce", 0.0, math.log(2))])
def test_losses_of_undecided_discriminators(objective, logit, loss):
    """Means over positions, summed over scales and sides, with one weight for D and G."""
    variant, batch = _unit(objective=objective, adversarial=3.0, d_scales=2), _batch(SHAPE)
    for sides in variant.discriminators.values():
        for network in sides.scales:
            network[-1].weight.data.zero_()
            network[-1].bias.data.fill_(logit)
    total, logs = variant.loss("D", batch)
    assert total.item() == pytest.approx(3 * 2 * 2 * 2 * loss)
    assert [logs[name].item() for name in ("loss/D", "loss/D_1", "loss/D_2")] == pytest.approx([2 * loss] * 3)
    assert variant.loss("G", batch)[1]["loss/G_2"].item() == pytest.approx(loss)


def test_the_terms_by_hand():
    options = {"latent_weight": 0.2, "latent_cycle": 0.3, "reconstruction": 4.0, "cycle": 5.0, "noise": False}
    variant, batch = _unit(**options), _batch(SHAPE)
    kept, none, size, total = variant.kept(), batch.labels, SHAPE.size, torch.zeros([])
    for side, image in {"sources": batch.source, "targets": batch.real}.items():
        code = kept.encode(image, none, side)
        same, made = kept.decode(code, side, size), kept.decode(code, OTHER[side], size)
        again = kept.encode(made, none, OTHER[side])
        back = kept.decode(again, side, size)
        total = total + 10 * functional.softplus(-variant.discriminators[OTHER[side]](made)[0]).mean()
        total = total + 4 * (same - image).abs().mean() + 5 * (back - image).abs().mean()
        total = total + 0.2 * code.square().mean() + 0.3 * again.square().mean()
    torch.testing.assert_close(variant.loss("G", batch)[0], total)


@pytest.mark.parametrize(("phase", "other"), [("D", "G"), ("G", "D")])
def test_a_phase_leaves_no_gradient_in_the_other_networks(phase, other):
    variant = _unit(spectral_norm=True)
    trained = variant.networks()
    trained[other].requires_grad_(False)
    variant.loss(phase, _batch(SHAPE))[0].backward()
    assert all(parameter.grad is not None for parameter in trained[phase].parameters())
    assert all(parameter.grad is None for parameter in trained[other].parameters())


def test_noise_is_drawn_in_training_and_not_in_translations():
    batch, asked = _batch(SHAPE), Source(torch.rand(2, 2, 16, 16), torch.zeros(2, 0))
    for noise, stochastic, differs in ((True, False, False), (True, True, True), (False, False, False)):
        variant = _unit(noise=noise, stochastic_test=stochastic)
        losses = [variant.loss("G", batch)[0].item() for _ in range(2)]
        assert (losses[0] != losses[1]) == noise
        kept = variant.eval().kept()
        assert torch.equal(variant.draw(kept, asked), variant.draw(kept, asked)) != differs


def test_copies_of_a_channel_are_averaged_and_their_spread_is_logged():
    variant = _unit(ImageShape(2, (16, 16), sources=1), replicate=3)
    kept = variant.kept()
    assert kept.replicated(torch.rand(1, 2, 4, 4)).shape == (1, 6, 4, 4)
    pixels = torch.tensor([0.0, 0.5, 0.1, 1.0, 1.0, 1.0]).view(1, 6, 1, 1)
    torch.testing.assert_close(kept.averaged(pixels).flatten(), torch.tensor([0.2, 1.0]))
    assert kept.spread(pixels).item() == pytest.approx(0.25)
    batch = _batch(variant.shape)
    assert variant.loss("G", batch)[1]["replicate/spread"] > 0
    assert variant.draw(kept, Source(batch.source, batch.labels)).shape == (BATCH, 2, 16, 16)


def test_the_later_program_is_a_set_of_options(config):
    """Nothing shared, three scales, 46 pixels a logit; each option of the row does something."""
    options = config["variants"]["unit_program"]["options"]
    made = make_options("unit", options)
    assert not made.share and not made.without_effect().keys() & options.keys()
    assert {name: options[name] for name in ("d_layers", "d_kernel")} == {"d_layers": 4, "d_kernel": 4}
    assert [made.logits(256, scale) for scale in range(3)] == [16, 8, 4]
    small = Generators(make_options("unit", options | {"channels": 2}), ImageShape(1, (64, 64), sources=1))
    assert isinstance(small.decoders["sources"].up[0][1], networks.LayerNorm)
    assert sum(isinstance(module, InstanceNorm) for module in small.encoders["sources"].modules()) == 3 + 2 * 4


def test_the_learning_rates_are_halved():
    variant = _unit(lr=1.0, lr_d=2.0, lr_half_kimg=0.1, weight_decay=0.25)
    optimizers = variant.optimizers()
    rates = []
    for seen in (0, 99, 100, 250):
        variant.begin_step(seen, optimizers)
        rates.append([optimizers[name].param_groups[0]["lr"] for name in ("G", "D")])
    assert rates == [[1, 2], [1, 2], [0.5, 1], [0.25, 0.5]]
    assert {group["weight_decay"] for one in optimizers.values() for group in one.param_groups} == {0.25}


def test_first_weights():
    """N(0, 0.02) in all networks, or scaled by the inputs in the generators alone."""
    for init, deviation in (("normal", 0.02), ("kaiming", math.sqrt(2 / (9 * 16)))):
        torch.manual_seed(0)
        variant = build("unit", {"channels": 4, "blocks": 1, "d_layers": 4, "init": init}, PAIR, 1)
        weight = variant.generators.shared_encoder[0].layers[0].weight
        assert weight.std().item() == pytest.approx(deviation, rel=0.1)
        assert variant.discriminators["targets"].scales[0][6].weight.std().item() == pytest.approx(0.02, rel=0.1)
