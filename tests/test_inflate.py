"""Networks of volumes that start from coarser ones, or from networks of images: what every slice is then."""

import pytest
import torch
from golden import CASES
from test_transfer import left_by, states, trainer
from test_variants import FIRST
from tiny import TinyData, request, sources

from gan.sampling.snapshot import Snapshot
from gan.train.transfer import load_weights, transfer

GENERATE = [case for family, case in FIRST.items() if not sources(family)]
SMALL = {"conditional": False}


def started(case, path, size, **options):
    """A training on volumes of ``size``, the one of images that it starts from, and what was said."""
    family, base = CASES[case]
    base = base | SMALL | options
    source, given = left_by(path / "weights.pt", family, base, TinyData(8, 1, size[1:]), steps=1)
    target, _ = trainer(family, base, TinyData(8, 1, size), seed=1)
    loaded = load_weights(given, path / "weights.pt")
    assert loaded is not None
    return target, source, transfer(target, loaded)


def slices(volumes):
    """Those in the middle: zeros outside of the ends reach no farther."""
    quarter = volumes.shape[2] // 4
    return volumes[:, :, quarter:-quarter]


@pytest.mark.parametrize("case", GENERATE)
def test_every_slice_is_the_image(case, tmp_path):
    """Of a generator that has taken a step; constant noise is repeated, so its slices are the same."""
    target, source, said = started(case, tmp_path, (12, 16, 16))
    assert "inflated from images of 16 x 16" in said and "new are" not in said
    source.variant.begin_step(10**5, source.optimizers)
    asked = request(source.variant, torch.zeros(2, 0))
    made = []
    for network, data in ((source.ema, source.dataset), (target.ema, target.dataset)):
        if hasattr(network, "level"):
            network.level.fill_(2)  # of ProGAN: the full size
        for name, parameter in network.named_parameters():
            if "noise_strength" in name:
                parameter.data.zero_()
        snapshot = Snapshot(network.eval(), CASES[case][0], {}, data.shape, 4)
        made.append(snapshot.render(asked, 0, 0))
    image, volume = made
    torch.testing.assert_close(slices(volume), image[:, :, None].expand_as(slices(volume)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["dcgan", "progan"])
def test_the_discriminator_thinks_of_a_volume_as_of_its_slice(case, tmp_path):
    """Nothing here blurs along the new axis, so it holds for all of it."""
    target, source, _ = started(case, tmp_path, (12, 16, 16))
    logits = []
    images = torch.rand(4, 1, 16, 16) * 2 - 1
    for trained, given in ((source, images), (target, images[:, :, None].expand(-1, -1, 12, -1, -1))):
        variant = trained.variant
        variant.begin_step(10**5, trained.optimizers)
        more = (torch.zeros(4, 0), variant.stage) if case == "progan" else ()
        logits.append(variant.discriminator(given, *more))
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-5)


def test_blocks_of_the_residual_discriminator(tmp_path):
    target, source, _ = started("stylegan2", tmp_path, (16, 16, 16))
    image = torch.randn(1, 1, 16, 16)
    found, x = target.variant.discriminator, image[:, :, None].expand(-1, -1, 16, -1, -1)
    expected, y = source.variant.discriminator, image
    layers = [[network.from_image, *network.blocks.values()] for network in (found, expected)]
    for one, other in zip(*layers, strict=True):
        x, y = one(x), other(y)
    torch.testing.assert_close(x[:, :, 1:-1], y[:, :, None].expand_as(x)[:, :, 1:-1], rtol=1e-4, atol=1e-5)


def test_adain_takes_all_that_it_has_and_trains(tmp_path):
    """Its moments are over the ends too, so that its slices are near the image and not the same."""
    target, _, said = started("stylegan2_adain", tmp_path, (16, 16, 16))
    assert "new are" not in said
    target.advance(measure=False)


def test_volumes_of_twice_the_side_start_from_coarse_ones(tmp_path):
    """All of the generator but its last resolution, and the discriminator but its first block."""
    family, base = CASES["stylegan2"]
    source, given = left_by(tmp_path / "weights.pt", family, base, TinyData(4, 1, (16,) * 3), steps=1)
    target, _ = trainer(family, base, TinyData(4, 1, (32,) * 3), seed=1)
    loaded = load_weights(given, tmp_path / "weights.pt")
    assert loaded is not None
    said, names = transfer(target, loaded).split("; new are ")
    assert "inflated" not in said
    assert {name.split(".weight")[0] for name in names.split(", ") if "weight" in name} <= {
        *(f"G.synthesis.convs.{layer}{part}" for layer in (5, 6) for part in ("", ".affine")),
        *("G.synthesis.images.3", "G.synthesis.images.3.affine", "D.from_image"),
        *(f"D.blocks.3.{layer}" for layer in ("first", "second", "skip")),
    }
    for network, state in states(source).items():
        for key, tensor in state.items():
            if f"{network}.{key}" not in names.split(", ") and "from_image" not in key:
                assert torch.equal(states(target)[network][key], tensor), key
    target.advance(measure=False)
