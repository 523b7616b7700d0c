"""Reduced precision: what is reduced and what is not, how near it stays to float32, and who may not have it."""

import copy

import pytest
import torch
from conftest import SCHEMA
from golden import CASES
from test_variants import BATCH, _batch, _make
from tiny import TinyData, paths, recipe, sources

from gan.cells import stats as read_stats
from gan.errors import GanError
from gan.families.registry import defaults
from gan.nn import Discriminator, Generator
from gan.nn.synthesis import StyledConv
from gan.ops.precision import computing, reduced
from gan.study import load
from gan.train.loop import train
from gan.train.trainer import Trainer

CPU = torch.device("cpu")
LOWER = {"bf16": torch.bfloat16, "fp16": torch.float16}
SMALL = {"channel_base": 128, "channel_max": 8, "mapping_layers": 2}


def _recipe(case, precision="bf16"):
    family, options = CASES[case]
    given = recipe(precision=precision, batch=BATCH)
    given["variant"] = {"name": case, "family": family, "revision": 1, "options": options}
    return given


def _trainer(case, precision):
    data = TinyData(size=32, channels=2, labels=2, sources=sources(CASES[case][0]))
    return Trainer(_recipe(case, precision), data, CPU)


def _dtypes(network, call):
    """The result of a call, and the dtypes of what each module gave in it."""
    found = {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda *hook, name=name: found.update({name: hook[-1].dtype}))
    return call(), found


@pytest.mark.parametrize(("precision", "levels"), [("bf16", 5), ("fp16", 4)])
def test_the_highest_resolutions_are_reduced_and_nothing_else(precision, levels):
    torch.manual_seed(0)
    lower, wide = LOWER[precision], torch.float32
    generator = Generator((64, 64), 3, 2, z_dim=8, w_dim=8, **SMALL)
    discriminator = Discriminator((64, 64), 3, 2, **SMALL)
    labels = torch.eye(2).repeat(2, 1)
    with computing(precision):
        images, made = _dtypes(generator, lambda: generator(torch.randn(4, 8), labels))
        _, judged = _dtypes(discriminator, lambda: discriminator(images, labels))
    kept = 9 - 2 * levels if levels < 5 else 0
    assert [made[f"synthesis.convs.{index}"] for index in range(9)] == [wide] * kept + [lower] * (9 - kept)
    assert made["mapping"] == made["synthesis"] == judged[""] == wide
    assert {dtype for name, dtype in made.items() if "affine" in name} == {wide}
    assert {judged[name] for name in ("from_image", *(f"blocks.{level}" for level in range(1, 5)))} == {lower}
    assert {judged[name] for name in ("conv", "hidden", "logits", "mapping")} == {wide}


PHASES = [(case, phase) for case in CASES for phase in [p.name for p in _make(case).phases()]]


@pytest.mark.parametrize(("case", "phase"), PHASES)
def test_gradients_point_where_those_of_float32_do(case, phase):
    """In bfloat16, 8 bits: weights, gradients and losses stay float32, and the direction is that of float32.

    In networks of a few channels a single kink can turn the gradient; here are 16 or more.
    """
    known = defaults(CASES[case][0])
    wide = {"channel_base": 1024, "channel_max": 32, "channels": 16}
    width = {name: value for name, value in wide.items() if name in known}
    variant, gradients = _make(case, **width), {}
    trains = next(p.trains for p in variant.phases() if p.name == phase)
    for precision in ("fp32", "bf16"):
        own = copy.deepcopy(variant)
        network = own.networks()[trains]
        own.begin_step(3 * BATCH, own.optimizers())
        for name, other in own.networks().items():
            other.requires_grad_(name == trains)
        torch.manual_seed(5)
        with computing(precision):
            loss, scalars = own.loss(phase, _batch(own.shape))
        loss.backward()
        assert all(value.dtype in (torch.float32, torch.float64) for value in (loss, *scalars.values()))
        found = [p.grad for p in network.parameters() if p.grad is not None]
        assert all(gradient.dtype == torch.float32 for gradient in found)
        gradients[precision] = torch.cat([gradient.flatten() for gradient in found])
    cosine = torch.cosine_similarity(gradients["fp32"], gradients["bf16"], dim=0).item()
    assert not torch.equal(gradients["fp32"], gradients["bf16"])
    assert cosine > 0.93, cosine


@pytest.mark.parametrize("case", ["stylegan2_ada", "dcgan"])
def test_losses_stay_near_those_of_float32(case):
    """Means over 20 steps from the same start, within 5 %; path lengths, squares of differences, within 20 %."""
    means = {}
    for precision in ("fp32", "bf16"):
        trainer = _trainer(case, precision)
        for _ in range(20):
            trainer.advance(measure=False)
        means[precision] = trainer.meter.read()
        assert {p.dtype for p in trainer.variant.parameters()} == {torch.float32}
    for name in ("loss/G", "loss/D"):
        assert means["bf16"][name] == pytest.approx(means["fp32"][name], rel=0.05)
    if "loss/pl" in means["fp32"]:
        assert means["bf16"]["loss/pl"] == pytest.approx(means["fp32"]["loss/pl"], rel=0.2)
    assert means["bf16"] != means["fp32"]


@pytest.mark.parametrize("case", ["stylegan2_ada", "dcgan"])
def test_a_resumed_run_in_bf16_is_the_same_to_the_bit(case):
    whole, other = _trainer(case, "bf16"), _trainer(case, "bf16")
    for _ in range(5):
        whole.advance(measure=False)
    state = copy.deepcopy(whole.state_dict())
    for _ in range(4):
        whole.advance(measure=False)
    other.load_state_dict(state)
    for _ in range(4):
        other.advance(measure=False)
    pairs = zip(whole.state_dict()["variant"].values(), other.state_dict()["variant"].values(), strict=True)
    assert all(torch.equal(mine, its) for mine, its in pairs)


def test_styled_convolution_does_not_overflow_in_float16():
    """Inputs at the clamp and large styles: the plain sums would be beyond 65504."""
    torch.manual_seed(0)
    layer = StyledConv(256, 4, 8, (8, 8))
    x, w = torch.full((2, 256, 8, 8), 256.0), torch.randn(2, 8) * 30
    with torch.no_grad():
        layer.weight.abs_()
        expected, found = layer(x, w, "none"), layer(x.half(), w, "none")
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), expected.clamp(-256, 256), rtol=2e-2, atol=1.0)


def test_gradients_of_fp16_are_cleaned():
    trainer = Trainer(recipe(), TinyData(), CPU)
    trainer.precision = "fp16"
    weight = trainer.variant.generator.out.weight
    weight.requires_grad_().register_hook(lambda gradient: gradient * float("inf"))
    trainer.advance(measure=False)
    assert torch.isfinite(weight).all() and weight.grad.abs().max() <= 1e5


def test_precision_ends_with_its_context():
    x = torch.ones(1)
    with pytest.raises(KeyError), computing("bf16"):
        assert reduced(x, 9).dtype == torch.bfloat16
        raise KeyError
    assert reduced(x, 0) is x
    with computing("fp16"):
        assert [reduced(x, depth).dtype for depth in (3, 4)] == [torch.float16, torch.float32]
    with computing("tf32"):
        assert reduced(x, 0) is x and torch.backends.cudnn.allow_tf32 and torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize(
    ("case", "precision", "message"),
    [
        ("stylegan2", "fp16", "training.precision is fp16, which is for a GPU; take bf16 or fp32 on a CPU"),
        ("dcgan", "fp16", "training.precision is fp16; family dcgan computes in fp32, tf32, bf16"),
        ("dcgan", "fp8", "training.precision is 'fp8'; allowed: fp32, tf32, bf16, fp16"),
    ],
)
def test_refused(case, precision, message):
    with pytest.raises(GanError, match=message):
        _trainer(case, precision)


def test_a_config_with_a_precision_that_a_family_has_not_is_refused(config):
    config["training"] = {"precision": "fp16"}
    family = {row["family"] for row in config["variants"].values()}
    assert "dcgan" in family
    with pytest.raises(
        GanError, match=r"training\.precision is fp16, but the family dcgan of variants\.\w+ computes in"
    ):
        load(config, SCHEMA)


def test_tf32_on_a_cpu_is_said(tmp_path):
    rows = {}
    for precision in ("fp32", "tf32"):
        base = tmp_path / precision
        train(recipe(precision=precision), TinyData(), paths(base))
        rows[precision] = read_stats(base / "cell/stats.jsonl")
    assert [row["event"] for row in rows["tf32"] if "event" in row] == ["precision"]
    losses = [[row["loss/D"] for row in each if "loss/D" in row] for each in rows.values()]
    assert losses[0] == losses[1]
