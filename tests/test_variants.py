"""The contract of variants, over every family and the cases of its golden file."""

import copy
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import BATCH, BUDGET, CASES
from tiny import TinyData, assert_equal, recipe, request, sources

from gan.errors import GanError
from gan.families.contract import Batch, ImageShape, Latents, half_life_beta, mirrored
from gan.families.options import TASKS
from gan.families.registry import build, defaults, families, options_of
from gan.sampling.snapshot import Snapshot, load_generator, save_generator
from gan.train.trainer import Trainer

DOCS = Path(__file__).parent.parent / "docs" / "variants.md"
FIRST = {family: name for name, (family, _) in reversed(CASES.items())}  # a case of each family
SHAPES = [ImageShape(1, (16, 16)), ImageShape(3, (32, 32), 2), ImageShape(4, (24, 32), 3, masks=1)]


def _fits(case, shape):
    return shape.labels or not CASES[case][1].get("conditional")


PAIRS = [pytest.param(c, s, id=f"{c}-{s.channels}x{s.size[0]}") for c in CASES for s in SHAPES if _fits(c, s)]


def _make(case, shape=SHAPES[1], seed=0, **options):
    torch.manual_seed(seed)
    family, base = CASES[case]
    shape = dataclasses.replace(shape, sources=shape.channels if base.get("identity") else sources(family))
    variant = build(family, base | options, shape, BATCH)
    variant.epoch, variant.budget = 2 * BATCH, BUDGET
    return variant


def _batch(shape, seed=1):
    random = torch.Generator().manual_seed(seed)
    real, source = (
        torch.rand(BATCH, channels, *shape.size, generator=random) * 2 - 1
        for channels in (shape.channels, shape.sources)
    )
    classes = torch.arange(BATCH) % max(1, shape.labels)
    return Batch(real, torch.eye(shape.labels)[classes] if shape.labels else real.new_zeros(BATCH, 0), source)


def _step(variant, optimizers, phase, batch):
    """One backward pass and step as the training loop does it."""
    for name, network in variant.networks().items():
        network.requires_grad_(name == phase.trains)
    loss, scalars = variant.loss(phase.name, batch)
    loss.backward()
    optimizers[phase.trains].step()
    optimizers[phase.trains].zero_grad(set_to_none=True)
    return loss, scalars


@pytest.mark.parametrize("case", [*FIRST.values(), "stylegan2_adain"])
def test_every_phase_takes_a_step_on_volumes(case):
    variant = _make(case, ImageShape(1, (16, 12, 16)))
    optimizers, batch = variant.optimizers(), _batch(variant.shape)
    variant.begin_step(BATCH * 3, optimizers)
    for phase in variant.phases():
        before = [parameter.clone() for parameter in variant.networks()[phase.trains].parameters()]
        assert torch.isfinite(_step(variant, optimizers, phase, batch)[0])
        after = list(variant.networks()[phase.trains].parameters())
        assert all(parameter.isfinite().all() for parameter in after)
        assert not all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize(("case", "shape"), PAIRS)
def test_each_phase_trains_its_network_and_no_other(case, shape):
    variant = _make(case, shape)
    optimizers, batch = variant.optimizers(), _batch(variant.shape)
    assert set(optimizers) == set(variant.networks())
    variant.begin_step(BATCH * 3, optimizers)
    assert {phase.trains for phase in variant.phases()} == set(variant.networks())
    for phase in variant.phases():
        before = copy.deepcopy({name: list(network.parameters()) for name, network in variant.networks().items()})
        loss, scalars = _step(variant, optimizers, phase, batch)
        assert loss.ndim == 0 and torch.isfinite(loss)
        assert scalars and all(v.ndim == 0 and not v.requires_grad and math.isfinite(v) for v in scalars.values())
        for name, network in variant.networks().items():
            pairs = zip(before[name], network.parameters(), strict=True)
            changed = any(not torch.equal(old, new) for old, new in pairs)
            assert changed == (name == phase.trains), f"phase {phase.name}, network {name}"


@pytest.mark.parametrize(("case", "shape"), PAIRS)
def test_samples_have_the_shape_of_the_data_and_depend_on_the_seed_alone(case, shape):
    variant = _make(case, shape).eval()
    labels = _batch(shape).labels[:3]
    given = request(variant, labels)

    def sample(of):
        torch.manual_seed(0)
        with torch.no_grad():
            return variant.draw(variant.kept(), of)

    assert sample(given).shape == (3, shape.channels, *shape.size)
    assert sample(given).dtype == torch.float32
    assert torch.equal(sample(given), sample(given))
    assert not torch.equal(sample(given), sample(request(variant, labels, seed=1)))
    if isinstance(given, Latents):
        assert not torch.equal(sample(given), sample(given._replace(truncation=0.5)))
        one = sample(given._replace(truncation=0.0))
        assert variant.labels or torch.allclose(one[0], one[1]), "truncation 0 is one image"


@pytest.mark.parametrize("case", CASES)
def test_state_dict_is_the_whole_state(case):
    """A variant that loads the state of another goes on exactly as the other does, controllers and averages too."""
    one, other = _make(case), _make(case, seed=9)
    batch = _batch(one.shape)
    mine = one.optimizers()
    for step in range(8):
        one.begin_step(step * BATCH, mine)
        for phase in one.phases():
            _step(one, mine, phase, batch)
        one.end_step(step)
    other.load_state_dict(one.state_dict())
    for variant in (one, other):
        variant.begin_step(8 * BATCH, variant.optimizers())
    for phase in one.phases():
        losses = []
        for variant in (one, other):
            torch.manual_seed(5)
            losses.append(variant.loss(phase.name, batch)[0])
        assert torch.equal(*losses), phase.name
        _step(one, mine, phase, batch)
        other.load_state_dict(one.state_dict())


def _drawn(snapshot, asked):
    with torch.no_grad(), snapshot.noise(0, 0):
        return families()[snapshot.family].model.draw(snapshot.network, asked)


@pytest.mark.parametrize(("channels", "labels"), [(1, 0), (3, 2), (4, 3)])
@pytest.mark.parametrize("family", FIRST)
def test_a_training_goes_on_bit_for_bit_and_its_generator_is_a_file(family, channels, labels, tmp_path, monkeypatch):
    """Two steps before and after the checkpoint; its file makes the generator alone, with the same images."""
    options = CASES[FIRST[family]][1] | {"conditional": labels > 0}
    given = recipe(batch=BATCH, kimg=BUDGET / 1000)
    given["variant"] = {"name": family, "family": family, "options": defaults(family) | options}
    images = TinyData(12, channels, 16, labels, sources(family))
    whole, resumed = (Trainer(given, images, torch.device("cpu")) for _ in range(2))
    for step in range(4):
        if step == 2:
            torch.save(whole.state_dict(), tmp_path / "state.pt")
        whole.advance(measure=True)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(2):
        resumed.advance(measure=True)
    assert_equal(resumed.state_dict(), whole.state_dict())
    options, data = dataclasses.asdict(whole.variant.options), whole.dataset
    snapshot = Snapshot(whole.ema, family, options, data.shape, BATCH, data=data.meta)
    asked = request(whole.variant, data.batch(np.arange(3)).labels)
    images = _drawn(snapshot, asked)
    assert images.shape == (3, channels, 16, 16) and images.std() > 0
    save_generator(tmp_path / "generator.pt", snapshot)
    monkeypatch.setattr(families()[family].model, "__init__", None)  # a discriminator is not made
    assert torch.equal(_drawn(load_generator(tmp_path / "generator.pt"), asked), images)


@pytest.mark.parametrize("case", CASES)
def test_equal_seeds_give_equal_variants(case):
    one, other = _make(case).state_dict(), _make(case).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("case", FIRST.values())
def test_the_label_changes_the_image(case):
    variant = _make(case, conditional=True).eval()
    torch.manual_seed(0)
    images = variant.draw(variant.kept(), request(variant, torch.eye(2), alike=True))
    assert not torch.allclose(images[0], images[1])


@pytest.mark.parametrize("case", FIRST.values())
def test_labels_of_the_data_are_ignored_unless_asked_for(case):
    variant = _make(case, SHAPES[1]).eval()
    images = variant.draw(variant.kept(), request(variant, torch.eye(2), alike=True))
    torch.testing.assert_close(images[0], images[1])


@pytest.mark.parametrize("family", FIRST)
def test_conditioning_needs_labels(family):
    with pytest.raises(GanError, match="the data set has no labels"):
        build(family, {"conditional": True}, ImageShape(1, (16, 16), sources=sources(family)), BATCH)


@pytest.mark.parametrize("family", [family for family in FIRST if not sources(family)])
def test_sizes_that_no_doubling_reaches_are_refused(family):
    with pytest.raises(GanError, match=r"image size \[100, 100\]"):
        build(family, {}, ImageShape(1, (100, 100)), BATCH)


@pytest.mark.parametrize("family", FIRST)
def test_options_are_frozen_described_and_within_their_own_bounds(family):
    options = options_of(family)()
    assert options.TASK in TASKS and options.REVISION > 0
    assert all(item.metadata["doc"] for item in dataclasses.fields(options))
    assert defaults(family) == dataclasses.asdict(options)
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.lr = 1.0


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        (
            "stylegan2",
            {"augment": "rgb"},
            "option augment is 'rgb'; allowed: none, mri, bg, bgc, bgcf, bgcfn, bgcfnc, diff",
        ),
        ("stylegan2", {"diffaugment": ["colour", "hue"]}, "; allowed: colour, translation, cutout"),
        ("stylegan2", {"style_mixing": 1.5}, "option style_mixing is 1.5; it must be at most 1"),
        ("stylegan2", {"z_dim": 0}, "option z_dim is 0; it must be at least 1"),
        ("stylegan2", {"lr": math.nan}, "option lr is nan; it must be at least 0"),
        ("stylegan2", {"mbstd_group": 3}, "mbstd_group is 3"),
        ("stylegan2", {"lr_phases": [[5, 0.1], [5, 0.01]]}, "each pair must begin at more kimg than the last"),
        ("stylegan2", {"lr_phases": [[5, -0.1]]}, "; it must be at least 0"),
        ("stylegan2", {"attention": "sagan", "attention_at": []}, "option attention_at is empty; name a resolution"),
        ("stylegan2", {"quantize": "replace", "quantize_at": []}, "option quantize_at is empty; name a resolution"),
        ("stylegan2", {"augment": "diffaugment", "diffaugment": []}, "option diffaugment is empty; name a policy"),
        ("stylegan2", {"quantize": "loss_only", "quantize_at": [32]}, "quantize_at has 32; images of size .16, 16."),
        ("stylegan2", {"depth": 3}, "family stylegan2 has no option 'depth'; it has: z_dim"),
        ("dcgan", {"beta1": -0.1}, "option beta1 is -0.1; it must be at least 0"),
        ("dcgan", {"layers": 4}, "option layers is 4; images of this size double 2 times, so take at most 3, or null"),
        ("vae", {}, "unknown family 'vae'; known: "),
    ],
)
def test_bad_options_are_named(family, options, message):
    with pytest.raises(GanError, match=message.replace(";", ".")):
        build(family, options, ImageShape(1, (16, 16)), BATCH)


def test_mirrored_flips_about_half():
    images = torch.arange(3.0).expand(400, 1, 2, 3)
    flipped = mirrored(images)
    turned = (flipped[:, 0, 0, 0] == 2).sum().item()
    assert 150 < turned < 250
    assert ((flipped == images) | (flipped == images.flip(-1))).all()


def test_half_life():
    assert half_life_beta(32, 32) == 0.5
    assert half_life_beta(1, 1000) ** 1000 == pytest.approx(0.5)
    assert half_life_beta(32, 0.0) == 0
