"""The augmentation of volumes: places and their order, what it shares with images, derivatives, exact resumption."""

import math

import pytest
import torch
import torch.nn.functional as F
from golden import CASES
from tiny import TinyData, assert_equal, recipe
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from gan.augment import BLIT, COLOUR, CORRUPTION, GEOMETRY, PRESETS, SYM6, AugmentPipe, preset
from gan.augment.geometry import Dice, affine_map
from gan.ops import affine_resample
from gan.train.trainer import Trainer

ONE, D = torch.ones(()), torch.float64
TAPS = torch.tensor(SYM6, dtype=D) / sum(SYM6)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def smooth(n: int, size: tuple[int, int, int], channels: int = 1) -> Tensor:
    coarse = torch.rand(n, channels, *[max(2, side // 6) for side in size], dtype=D)
    return F.interpolate(coarse, size, mode="trilinear", align_corners=True)


def moved(x: Tensor, linear, offset=(0.0, 0, 0), taps: Tensor | None = TAPS) -> Tensor:
    linear, offset = torch.as_tensor(linear, dtype=D), torch.as_tensor(offset, dtype=D)
    return affine_resample(x, linear.expand(len(x), 3, 3), offset.expand(len(x), 3), taps)


# Quarter turns about z, y and x in the order (x, y, z) = (W, H, D), and the axes of a tensor [N, C, D, H, W].
TURNS = {
    "z": ([[0, -1, 0], [1, 0, 0], [0, 0, 1]], (3, 4)),
    "y": ([[0, 0, -1], [0, 1, 0], [1, 0, 0]], (2, 4)),
    "x": ([[1, 0, 0], [0, 0, -1], [0, 1, 0]], (2, 3)),
}


@pytest.mark.parametrize("taps", [TAPS, None], ids=["sym6", "linear"])
@pytest.mark.parametrize("axis", TURNS)
def test_a_quarter_turn_about_each_axis(axis, taps):
    """Of a volume of three different sides the turned one is cut to its box, or continued by its reflection."""
    linear, axes = TURNS[axis]
    x = smooth(1, (10, 12, 14))
    found, turned = moved(x, linear, taps=taps), x.rot90(1, axes)
    halves = [(min(sides) - 6) // 2 for sides in zip(x.shape[2:], turned.shape[2:], strict=True)]
    found, turned = (
        whole[
            (
                ...,
                *[
                    slice(side // 2 - half, side // 2 + half)
                    for side, half in zip(whole.shape[2:], halves, strict=True)
                ],
            )
        ]
        for whole in (found, turned)
    )
    atol = 1e-12 if taps is None else 0.03
    torch.testing.assert_close(found, turned, rtol=0, atol=atol)


@pytest.mark.parametrize("taps", [TAPS, None], ids=["sym6", "linear"])
@pytest.mark.parametrize(("axis", "place"), [("x", 4), ("y", 3), ("z", 2)])
def test_a_shift_by_a_voxel_along_each_axis(axis, place, taps):
    x = torch.randn(1, 2, 20, 18, 22, dtype=D)
    offset = [float(axis == name) for name in "xyz"]
    found, expected = moved(x, torch.eye(3), offset, taps), x.roll(-1, place)
    inner = (..., *[slice(7, side - 7) for side in x.shape[2:]])
    torch.testing.assert_close(found[inner], expected[inner], rtol=0, atol=1e-9)


@pytest.mark.parametrize("taps", [TAPS, None], ids=["sym6", "linear"])
def test_an_extruded_volume_is_the_image_in_every_slice(taps):
    image = torch.randn(2, 1, 10, 12, dtype=D)
    flat = torch.tensor([[[1.1, 0.3], [-0.2, 0.9]], [[0.6, -0.8], [0.8, 0.6]]], dtype=D)
    offset = torch.tensor([[1.3, -0.7], [0.0, 2.0]], dtype=D)
    linear = torch.eye(3, dtype=D).repeat(2, 1, 1)
    linear[:, :2, :2] = flat
    found = affine_resample(image[:, :, None].expand(-1, -1, 6, -1, -1), linear, F.pad(offset, (0, 1)), taps)
    expected = affine_resample(image, flat, offset, taps)
    torch.testing.assert_close(found, expected[:, :, None].expand_as(found))


def test_a_volume_that_is_not_moved_passes_bit_for_bit():
    x = torch.randn(2, 1, 8, 8, 8)
    linear = torch.stack([torch.eye(3), 1.1 * torch.eye(3)])
    y = affine_resample(x, linear, torch.zeros(2, 3), TAPS.float())
    assert torch.equal(y[0], x[0]) and not torch.equal(y[1], x[1])
    for operations in (preset("mri", 3), preset("bgc", 3)):
        assert torch.equal(AugmentPipe(operations)(x, torch.zeros(())), x)


@pytest.mark.parametrize("taps", [TAPS, None], ids=["sym6", "linear"])
def test_two_derivatives(taps):
    x = torch.randn(2, 1, 4, 5, 4, dtype=D, requires_grad=True)
    linear, offset = torch.eye(3, dtype=D) + 0.2 * torch.randn(2, 3, 3, dtype=D), torch.randn(2, 3, dtype=D)

    def move(x: Tensor) -> Tensor:
        return affine_resample(x, linear, offset, taps)

    assert gradcheck(move, x, fast_mode=True) and gradgradcheck(move, x, fast_mode=True)


def test_of_a_map_only_its_matrix_is_kept():
    kept = []
    x = torch.randn(1, 1, 8, 8, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()), lambda t: t):
        affine_resample(x, 1.1 * torch.eye(3)[None], torch.zeros(1, 3), TAPS.float())
    assert sum(sorted(kept)[:-1]) < 200  # the largest is the choice between moved and unmoved, in whole
    assert max(kept) <= x.numel()


@pytest.mark.parametrize("name", [*(name for name in PRESETS if "f" not in name), "everything"])
def test_operations_change_volumes_and_p_0_does_not(name):
    everything = (*BLIT, *GEOMETRY, *COLOUR, *CORRUPTION)
    operations = everything if name == "everything" else preset(name, 3)
    x = torch.randn(2, 2, 8, 8, 8) if name != "everything" else torch.randn(2, 2, 22, 22, 22)
    pipe = AugmentPipe(operations)
    first, second = ((torch.manual_seed(1), pipe(x, ONE))[1] for _ in range(2))
    assert first.shape == x.shape and first.isfinite().all() and torch.equal(first, second)
    assert bool(operations) != torch.equal(first, x)
    torch.testing.assert_close(pipe(x, torch.zeros(())), x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["mri", "bgc"])
def test_nothing_waits_for_the_device(name):
    """On the meta device, which has no values, reading one is an error."""
    with torch.device("meta"):
        pipe, x, p = AugmentPipe(preset(name, 3)), torch.zeros(2, 1, 8, 8, 12), torch.zeros(())
    assert pipe(x, p).shape == x.shape


def test_the_preset_of_heads_shows_none_upside_down():
    operations = preset("mri", 3)
    assert "rotate90" not in operations and "rotate" not in operations and preset("mri", 2) == PRESETS["mri"]
    linear, _ = affine_map(torch.zeros(2000, 1, 8, 8, 8), Dice(frozenset(operations), torch.zeros(2000, 1), ONE))
    assert (linear.diagonal(dim1=1, dim2=2) > 0).float().mean() > 0.999


def test_mirroring_and_quarter_turns_keep_the_depth():
    x = torch.arange(4.0).view(1, 1, 4, 1, 1) + torch.rand(200, 1, 1, 4, 4) / 2
    y = AugmentPipe(["xflip", "rotate90"])(x, ONE)
    assert torch.equal(y.floor(), x.floor()) and not torch.equal(y, x)


def _maps(*operations: str, count: int = 4000, p: float = 1.0) -> Tensor:
    x = torch.zeros(count, 1, 4, 4, 4, dtype=D)
    return affine_map(x, Dice(frozenset(operations), x, p))[0]


def test_rotations_are_rotations_as_often_and_as_far_as_said():
    for name in ("rotate", "tilt"):
        found = _maps(name, p=0.64)
        torch.testing.assert_close(found @ found.mT, torch.eye(3, dtype=D).expand_as(found))
        still = (found == torch.eye(3, dtype=D)).all(2).all(1)
        assert abs(still.double().mean() - 0.36) < 0.03
    uniform = _maps("rotate")
    assert uniform.mean(0).abs().max() < 0.05  # of all rotations of space alike, twice
    trace = _maps("tilt").diagonal(dim1=1, dim2=2).sum(1)
    angle = ((trace - 1) / 2).clamp(-1, 1).acos()
    assert abs(angle.square().mean().sqrt() - math.radians(15) * math.sqrt(2)) < 0.02  # before and after


def test_stretching_keeps_the_volume_and_chooses_each_axis_alike():
    powers = _maps("aniso").diagonal(dim1=1, dim2=2).log2()
    torch.testing.assert_close(powers.sum(1), torch.zeros(4000, dtype=D), rtol=0, atol=1e-12)
    largest = powers.abs().argmax(1).bincount(minlength=3) / 4000
    assert (largest - 1 / 3).abs().max() < 0.03
    assert abs(powers.abs().amax(1).square().mean().sqrt() - 0.2) < 0.02


@pytest.mark.parametrize("options", [{}, {"ada_oversample": False}])
def test_a_training_on_volumes_resumes_exactly(options, tmp_path):
    given = recipe(batch=2, kimg=0.02)
    own = CASES["stylegan2_plain"][1] | {"mbstd_group": 2, "augment": "mri", "ada_kimg": 0.01, "pl_weight": 0.0}
    given["variant"] = {"name": "volumes", "family": "stylegan2", "options": own | options}
    data = TinyData(6, 1, (12, 12, 16))
    whole, resumed = (Trainer(given, data, torch.device("cpu")) for _ in range(2))
    for trainer in (whole, resumed):
        trainer.variant.controller.p.fill_(0.8)
    for step in range(2):
        if step == 1:
            torch.save(whole.state_dict(), tmp_path / "state.pt")
        whole.advance(measure=False)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    resumed.advance(measure=False)
    assert_equal(resumed.state_dict(), whole.state_dict())
