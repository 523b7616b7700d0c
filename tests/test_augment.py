"""The augmentation pipeline: each operation against its own formula, derivatives, and the controller."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from gan.augment import BLIT, COLOUR, CORRUPTION, GEOMETRY, PRESETS, AdaController, AugmentPipe, preset
from gan.ops import affine_resample

EVERYTHING = BLIT + GEOMETRY + COLOUR + CORRUPTION
ONE = torch.ones(())


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def pictures(n: int, channels: int = 1, size: tuple[int, int] = (48, 48)) -> Tensor:
    """Smooth images: what resampling must not change."""
    coarse = torch.rand(n, channels, size[0] // 6, size[1] // 6)
    return F.interpolate(coarse, size, mode="bicubic").clamp(0, 1) * 2 - 1


def resampled(x: Tensor, linear: Tensor, offset: Tensor) -> Tensor:
    return affine_resample(x, linear, offset, AugmentPipe(GEOMETRY).sym6)


def same(x: Tensor, y: Tensor) -> Tensor:
    """[N]: equal, image by image."""
    return (x == y).flatten(1).all(1)


@pytest.mark.parametrize("operations", [*PRESETS.values(), EVERYTHING], ids=[*PRESETS, "everything"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_p_0_is_the_identity(operations, channels):
    x = torch.randn(4, channels, 48, 40)
    torch.testing.assert_close(AugmentPipe(operations)(x, torch.zeros(())), x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("operations", [*PRESETS.values(), EVERYTHING], ids=[*PRESETS, "everything"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_shape_dtype_and_seed(operations, channels):
    pipe, x = AugmentPipe(operations), torch.randn(3, channels, 64, 44)
    first, second = ((torch.manual_seed(1), pipe(x, ONE))[1] for _ in range(2))
    assert first.shape == x.shape and first.isfinite().all()
    assert torch.equal(first, second)
    assert bool(operations) != torch.equal(first, x)
    assert pipe(x.bfloat16(), ONE).dtype == torch.bfloat16


@pytest.mark.parametrize("channels", [1, 3])
def test_a_mask_moves_with_its_contrasts_and_keeps_its_labels(channels):
    contrasts = pictures(6, channels)
    mask = (contrasts[:, :1] > 0).float() * 2 - 1
    changes = [*COLOUR, "imgfilter", "noise"]
    torch.manual_seed(1)
    found = AugmentPipe(changes, masks=1)(torch.cat([contrasts, mask], 1), ONE)
    torch.manual_seed(1)
    expected = AugmentPipe(changes)(contrasts, ONE)
    assert torch.equal(found[:, -1:], mask)
    torch.testing.assert_close(found[:, :-1], expected)
    assert not same(expected, contrasts).any()
    found = AugmentPipe([*PRESETS["bg"], "cutout"], masks=1)(torch.cat([contrasts, contrasts[:, :1]], 1), ONE)
    torch.testing.assert_close(found[:, -1], found[:, 0])
    assert not same(found[:, -1:], contrasts[:, :1]).any()


def test_presets_suit_their_use():
    assert not {"lumaflip", "hue", "saturation"} & set(PRESETS["mri"])
    assert set(PRESETS["bgc"]) == {*BLIT, *GEOMETRY, *COLOUR}
    with pytest.raises(ValueError, match="shear"):
        AugmentPipe(["shear"])
    with pytest.raises(ValueError, match="N, C, H, W"):
        AugmentPipe(["xflip"])(torch.zeros(1, 1, 4), ONE)
    with pytest.raises(ValueError, match="tilt"):
        AugmentPipe(preset("mri", 3))(torch.zeros(1, 1, 4, 4), ONE)


def test_xflip_mirrors_half_of_the_images_exactly():
    x = torch.randn(400, 1, 6, 6)
    y = AugmentPipe(["xflip"])(x, ONE)
    flipped = same(y, x.flip(3))
    assert (flipped | same(y, x)).all()
    assert 0.4 < flipped.float().mean() < 0.6


@pytest.mark.parametrize(("size", "turns"), [((6, 6), (0, 1, 2, 3)), ((6, 4), (0, 2))])
def test_rotate90_turns_exactly_and_only_by_half_if_not_square(size, turns):
    x = torch.randn(400, 1, *size)
    y = AugmentPipe(["rotate90"])(x, ONE)
    share = torch.stack([same(y, x.rot90(k, (2, 3))).float() for k in turns]).mean(1)
    torch.testing.assert_close(share.sum(), ONE)
    assert (share * len(turns)).sub(1).abs().max() < 0.3


def test_xint_shifts_by_whole_pixels_up_to_an_eighth_with_reflection():
    x = torch.randn(64, 1, 32, 24)
    y = AugmentPipe(["xint"])(x, ONE)
    wide = F.pad(x, (3, 3, 4, 4), mode="reflect")
    shifted = {(dy, dx): wide[:, :, dy : dy + 32, dx : dx + 24] for dy in range(9) for dx in range(7)}
    inner = (..., slice(10, -10), slice(9, -9))  # away from the border, where the filter meets the reflection
    errors = torch.stack([(y[inner] - s[inner]).abs().flatten(1).amax(1) for s in shifted.values()])
    assert errors.min(0).values.max() < 1e-4
    assert len(errors.argmin(0).unique()) > 20


@pytest.mark.parametrize(
    ("linear", "expected"),
    [
        ([[-1.0, 0.0], [0.0, 1.0]], lambda x: x.flip(3)),
        ([[-1.0, 0.0], [0.0, -1.0]], lambda x: x.flip(2, 3)),
        ([[0.0, -1.0], [1.0, 0.0]], lambda x: x.rot90(1, (2, 3))),
    ],
)
def test_resampling_turns_about_the_centre_of_the_image(linear, expected):
    x = F.avg_pool2d(pictures(4), 3, 1, 1)
    y = resampled(x, torch.tensor([linear] * 4), torch.zeros(4, 2))
    assert (y - expected(x)).abs().mean() < 0.02
    shifted = expected(x).roll(1, 3)
    assert (y - shifted).abs().mean() > 4 * (y - expected(x)).abs().mean()


def test_resampling_is_the_identity_next_to_the_identity():
    x = torch.randn(2, 3, 24, 32)
    y = resampled(x, torch.eye(2).repeat(2, 1, 1), torch.full((2, 2), 1e-6))
    torch.testing.assert_close(y[..., 4:-4, 4:-4], x[..., 4:-4, 4:-4], rtol=0, atol=1e-4)


def test_resampling_continues_the_image_by_its_reflection():
    x = F.avg_pool2d(pictures(4), 3, 1, 1)
    y = resampled(x, torch.eye(2).repeat(4, 1, 1), torch.tensor([[-10.0, 5.0]] * 4))
    expected = F.pad(x, (10, 0, 0, 5), mode="reflect")[:, :, 5:, :48]
    assert (y - expected).abs().mean() < 0.01
    assert (y - expected.roll(1, 3)).abs().mean() > 5 * (y - expected).abs().mean()


def test_resampling_scales_and_shifts_in_pixels():
    """A Gaussian blob lands where the map says, with the size it says, on an image that is not square."""
    rows, columns = torch.arange(64.0)[:, None] - 31.5, torch.arange(96.0) - 47.5

    def blob(x0: float, y0: float, sx: float, sy: float) -> Tensor:
        return torch.exp(-(((columns - x0) / sx) ** 2 + ((rows - y0) / sy) ** 2) / 2)[None, None]

    linear, offset = torch.tensor([[[2.0, 0.0], [0.0, 0.5]]]), torch.tensor([[6.0, -2.0]])
    y = resampled(blob(0, 0, 6, 4), linear, offset)
    inner = (..., slice(24, 72))  # beyond it, the reflection of the image that has become smaller
    torch.testing.assert_close(y[inner], blob(-3, 4, 3, 8)[inner], rtol=0, atol=0.03)


@pytest.mark.parametrize("size", [(32, 32), (24, 40), (8, 8)])
def test_geometry_keeps_a_constant_image(size):
    x = torch.full((64, 2, *size), 0.7)
    torch.testing.assert_close(AugmentPipe(BLIT + GEOMETRY)(x, ONE), x, rtol=0, atol=1e-5)


def test_geometry_reflects_and_keeps_the_mean_brightness():
    x = pictures(256)
    y = AugmentPipe(GEOMETRY)(x, ONE)
    assert (y.mean() - x.mean()).abs() < 0.02
    assert y.min() > -1.6 and y.max() < 1.6


@pytest.mark.parametrize("operation", ["scale", "rotate", "aniso", "xfrac", *COLOUR, *CORRUPTION])
def test_p_is_the_share_of_images_that_change(operation):
    x = pictures(600, 3, (24, 24))
    y = AugmentPipe([operation])(x, torch.tensor(0.4))
    share = 1 - ((y - x).abs().flatten(1).amax(1) < 1e-5).float().mean()
    expected = {"lumaflip": 0.2, "imgfilter": 1 - 0.6**4}.get(operation, 0.4)
    assert abs(share - expected) < 0.07


def test_rotations_before_and_after_stretching_together_have_probability_p():
    x = pictures(600, size=(24, 24))
    y = AugmentPipe(["rotate"])(x, torch.tensor(0.64))
    assert abs(same(x, y).float().mean() - 0.36) < 0.06


def test_p_above_1_is_as_1():
    x = pictures(50)
    y = AugmentPipe(["rotate"])(x, torch.tensor(1.5))
    assert y.isfinite().all() and not same(y, x).any()


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize(("operation", "std"), [("brightness", 0.2), ("contrast", 0.5), ("saturation", 1.0)])
def test_colour_follows_its_formula(channels, operation, std):
    x = torch.randn(800, channels, 4, 4).double()
    y = AugmentPipe([operation])(x, ONE)
    luma = x.mean(1, keepdim=True)
    if operation == "brightness":
        amount = (y - x).mean((1, 2, 3))
        expected = x + amount[:, None, None, None]
    elif operation == "contrast":
        factor = (y / x)[:, 0, 0, 0]
        amount, expected = factor.log2(), x * factor[:, None, None, None]
    elif channels == 1:
        amount, expected = torch.randn(800).double(), x
    else:
        factor = ((y - luma) / (x - luma))[:, 0, 0, 0]
        amount, expected = factor.log2(), luma + (x - luma) * factor[:, None, None, None]
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-5)
    assert abs(amount.std() / std - 1) < 0.15 and abs(amount.mean()) < 0.15 * std


def test_luma_flip_and_hue():
    for channels in (1, 3, 4):
        x = torch.randn(100, channels, 4, 4)
        y = AugmentPipe(["lumaflip"])(x, ONE)
        flipped = (y - (x - 2 * x.mean(1, keepdim=True))).abs().flatten(1).amax(1) < 1e-5
        untouched = (y - x).abs().flatten(1).amax(1) < 1e-5
        assert (flipped | untouched).all() and 0.3 < flipped.float().mean() < 0.7
    x = torch.randn(100, 3, 4, 4)
    y = AugmentPipe(["hue"])(x, ONE)
    torch.testing.assert_close(y.mean(1), x.mean(1))
    torch.testing.assert_close(y.square().sum(1), x.square().sum(1))
    assert ((y - x).abs().flatten(1).amax(1) > 0.01).float().mean() > 0.9
    contrasts = torch.randn(100, 4, 4, 4)
    torch.testing.assert_close(AugmentPipe(["hue"])(contrasts, ONE), contrasts)


def test_filter_bank_splits_the_spectrum_in_octaves():
    bands = AugmentPipe([]).bands.double()
    impulse = torch.zeros(43, dtype=torch.float64)
    impulse[21] = 1
    torch.testing.assert_close(bands.sum(0), impulse, rtol=0, atol=1e-6)
    gain = torch.fft.rfft(bands, 512).abs()  # bins 0..256 for 0..pi
    centres = [0, 48, 96, 256]
    assert gain[:, centres].argmax(0).tolist() == [0, 1, 2, 3]
    assert (gain[range(4), centres] > 0.7).all()


def test_noise_and_cutout():
    x = torch.zeros(500, 1, 16, 16)
    sigma = AugmentPipe(["noise"])(x, ONE).flatten(1).std(1)
    assert abs(sigma.mean() - 0.1 * math.sqrt(2 / math.pi)) < 0.01
    cut = AugmentPipe(["cutout"])(x + 1, ONE)
    assert cut.unique().tolist() == [0.0, 1.0]
    assert (cut == 0).flatten(1).sum(1).max() == 64
    # The centre is uniform, so a corner is covered with probability (1/4)^2 and the middle with (1/2)^2.
    assert abs((cut[:, 0, 8, 8] == 0).float().mean() - 0.25) < 0.06
    assert abs((cut[:, 0, 0, 0] == 0).float().mean() - 0.0625) < 0.05


@pytest.mark.parametrize("operations", [BLIT + GEOMETRY, COLOUR, CORRUPTION], ids=["geometry", "colour", "corruption"])
def test_two_derivatives_through_the_pipe(operations):
    pipe = AugmentPipe(operations)
    size = 22 if "imgfilter" in operations else 6
    x = torch.randn(2, 3, size, size, dtype=torch.float64, requires_grad=True)

    def augment(x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return pipe(x, ONE)

    assert gradcheck(augment, x, fast_mode=True)
    assert gradgradcheck(augment, x, fast_mode=True)


def test_r1_through_the_pipe_reaches_the_discriminator():
    x, weight = torch.randn(4, 1, 16, 16, requires_grad=True), torch.randn(1, 1, 3, 3, requires_grad=True)
    logits = F.conv2d(AugmentPipe(PRESETS["bgc"])(x, ONE), weight).square().mean((1, 2, 3))
    (g,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    g.square().sum().backward()
    assert weight.grad is not None and weight.grad.abs().sum() > 0


def test_nothing_waits_for_the_device():
    """On the meta device, which has no values, reading one is an error, and so is a shape that depends on one."""
    with torch.device("meta"):
        pipe, ada, x = AugmentPipe(EVERYTHING), AdaController(batch=4), torch.zeros(4, 3, 32, 48)
        ada.update(pipe(x, ada.p).mean((1, 2, 3)))
        ada.adjust()
    assert pipe(x, ada.p).shape == x.shape


def test_controller_moves_p_towards_the_target():
    ada = AdaController(batch=10, target=0.6, kimg=1.0, interval=4)  # steps of 0.04
    ada.update(torch.ones(40, 1))
    ada.adjust()
    assert ada.rt == 1 and ada.p == pytest.approx(0.04)
    ada.update(torch.tensor([1.0] * 8))
    ada.update(torch.tensor([-3.0] * 2))  # the mean of 8 and -2 signs is 0.6: on target
    ada.adjust()
    assert ada.p == pytest.approx(0.04)
    for _ in range(3):
        ada.update(-torch.ones(10))
        ada.adjust()
    assert ada.p == 0 and ada.rt == -1


def test_controller_without_news_waits_and_is_not_bounded_above():
    ada = AdaController(batch=8, kimg=0.016, interval=1, p=0.9)
    ada.adjust()
    assert ada.p == pytest.approx(0.9)
    ada.update(torch.ones(8))
    ada.adjust()
    assert ada.p == pytest.approx(1.4)


def test_controller_goes_from_0_to_1_in_its_kimg():
    ada = AdaController(batch=64, kimg=12.8, interval=4)
    for _ in range(12_800 // (64 * 4)):
        ada.update(torch.ones(64))
        ada.adjust()
    assert ada.p == pytest.approx(1.0)


def test_controller_resumes_from_its_state():
    ada, other = AdaController(batch=8), AdaController(batch=8)
    ada.update(torch.ones(8))
    ada.adjust()
    ada.update(torch.ones(3))
    other.load_state_dict(ada.state_dict())
    for controller in (ada, other):
        controller.update(-torch.ones(8))
        controller.adjust()
    assert all(torch.equal(a, b) for a, b in zip(ada.buffers(), other.buffers(), strict=True))
