"""Operations: values against plain formulas, first and second derivatives against finite differences in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from gan import ops
from gan.augment import SYM6
from gan.ops.convolution import convolve, convolve_transposed
from gan.ops.resample import _filter

D = torch.float64


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def image(*shape: int, channels_last: bool = False) -> Tensor:
    x = torch.randn(shape, dtype=D)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last if len(shape) == 4 else torch.channels_last_3d)
    return x.requires_grad_()


def upfirdn_by_definition(x: Tensor, taps: Tensor, up: int, down: int, padding: tuple, gain: float = 1.0) -> Tensor:
    k = len(taps)
    for axis in range(2, x.ndim):
        x = x.movedim(axis, -1)
        stuffed = torch.zeros(*x.shape[:-1], x.shape[-1] * up, dtype=x.dtype)
        stuffed[..., ::up] = x
        z = F.pad(stuffed, padding)
        count = (z.shape[-1] - k) // down + 1
        rows = [torch.stack([taps[j] * z[..., m * down + k - 1 - j] for j in range(k)]).sum(0) for m in range(count)]
        x = torch.stack(rows, -1).movedim(-1, axis)
    return x * gain


RATES = [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2), (2, 3)]
PADDINGS = [(0, 0), (2, 1), (1, 2), (3, 3), (-1, 2), (1, -2), (5, 7)]


@pytest.mark.parametrize("shape", [(2, 3, 7, 6), (1, 2, 5, 4, 6)])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 6])
@pytest.mark.parametrize(("up", "down"), RATES)
def test_upfirdn_and_its_derivatives_follow_the_definition(shape, k, up, down):
    taps = torch.randn(k, dtype=D)  # not symmetric
    for padding in PADDINGS:
        if min(shape[2:]) * up + sum(padding) < k:
            continue
        x = image(*shape)
        y, expected = (
            ops.upfirdn(x, taps, up, down, padding, 1.7),
            upfirdn_by_definition(x, taps, up, down, padding, 1.7),
        )
        torch.testing.assert_close(y, expected)
        v = torch.randn_like(y).requires_grad_()
        (g,) = torch.autograd.grad(y, x, v, create_graph=True)
        torch.testing.assert_close(g, torch.autograd.grad(expected, x, v)[0])
        w = torch.randn_like(x)
        (gg,) = torch.autograd.grad(g, v, w)
        torch.testing.assert_close(gg, upfirdn_by_definition(w, taps, up, down, padding, 1.7))


@pytest.mark.parametrize("padding", [(2, 1), (3, -1), (-2, 4), (-2, -1)])
@pytest.mark.parametrize(("shape", "k"), [((2, 3, 4, 6, 5), 4), ((2, 3, 4, 6, 5), 3), ((2, 2, 9, 8), 12)])
def test_phases_are_the_transposed_convolution(shape, k, padding):
    """To the last digits of float64; the order of the memory stays, and other dtypes are rounded once."""
    layout = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    taps, pads = torch.randint(1, 9, (k,)).double() / 8, (padding,) * (len(shape) - 2)
    for x in (torch.randn(shape, dtype=D), torch.randn(shape, dtype=D).contiguous(memory_format=layout)):
        expected = x
        for axis in range(len(pads)):
            expected = _filter(expected, taps, 2, 1, pads, (axis,), 8.0 if axis == 0 else 1.0)
        found = ops.upfirdn(x, taps, 2, 1, padding, 8.0)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        assert found.is_contiguous(memory_format=layout) == x.is_contiguous(memory_format=layout)
        reduced = ops.upfirdn(x.bfloat16(), taps, 2, 1, padding, 8.0)
        exact = ops.upfirdn(x.bfloat16().double(), taps, 2, 1, padding, 8.0)
        torch.testing.assert_close(reduced, exact.bfloat16(), rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    ("shape", "k", "up", "down", "padding"),
    [
        ((2, 2, 5, 4), 4, 2, 1, (2, 1)),
        ((1, 3, 6, 5), 3, 1, 2, (1, 1)),
        ((1, 2, 3, 2, 3), 4, 2, 1, 1),
        ((1, 2, 5, 4, 4), 2, 1, 2, 0),
    ],
)
def test_upfirdn_gradcheck(shape, k, up, down, padding, channels_last):
    taps, x = torch.randn(k, dtype=D), image(*shape, channels_last=channels_last)
    assert gradcheck(lambda x: ops.upfirdn(x, taps, up, down, padding), x)
    assert gradgradcheck(lambda x: ops.upfirdn(x, taps, up, down, padding), x)


@pytest.mark.parametrize("taps", [(1, 3, 3, 1), (1, 2, 1), (1, 1), (1, 5, 10, 10, 5, 1)])
@pytest.mark.parametrize("size", [(16, 14), (15, 17), (14, 16, 18)])
def test_resampling_sizes_and_constants(taps, size):
    x, taps = torch.full((1, 2, *size), 0.7), ops.binomial_taps(taps)
    inner = (..., *[slice(3, -3)] * len(size))
    for y, expected in (
        (ops.upsample(x, taps), [2 * n for n in size]),
        (ops.downsample(x, taps), [n // 2 for n in size]),
    ):
        assert list(y.shape[2:]) == list(expected)
        torch.testing.assert_close(y[inner], torch.full_like(y[inner], 0.7))


def test_upsampling_is_centred():
    """The mirror image of the result is the result of the mirror image."""
    x, taps = torch.randn(1, 1, 6, 8), ops.binomial_taps()
    for resample in (ops.upsample, ops.downsample):
        torch.testing.assert_close(resample(x.flip(2, 3), taps), resample(x, taps).flip(2, 3))


def zeros(images: int, taps: int) -> tuple[Tensor, ...]:
    return torch.zeros(images, 2, 2), torch.zeros(images, 2), torch.zeros(taps)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: ops.upfirdn(torch.zeros(1, 1, 4, 4), torch.zeros(2, 2)), "taps"),
        (lambda: ops.upfirdn(torch.zeros(1, 4, 4), torch.zeros(2)), "spatial"),
        (lambda: ops.upfirdn(torch.zeros(1, 1, 4, 4), torch.zeros(5)), "do not fit"),
        (lambda: ops.upfirdn(torch.zeros(1, 1, 4, 4), torch.zeros(2), up=0), "factors"),
        (lambda: ops.bias_act(torch.zeros(1, 1), act="gelu"), "gelu"),
        (lambda: ops.bias_act(torch.zeros(1, 1), gain=-1.0), "gain"),
        (lambda: ops.bias_act(torch.zeros(1, 1), clamp=0.0), "clamp"),
        (lambda: ops.epilogue(torch.zeros(1, 1, 4, 4), noise=torch.zeros(1, 1, 4, 4)), "strength"),
        (lambda: ops.epilogue(torch.zeros(1, 1, 4, 4), act="tanh"), "tanh"),
        (lambda: ops.affine_resample(torch.zeros(1, 1, 3, 4), *zeros(1, 12)), "at least 4 a side"),
        (lambda: ops.affine_resample(torch.zeros(1, 1, 4, 4), *zeros(2, 12)), "linear"),
        (lambda: ops.affine_resample(torch.zeros(1, 1, 4, 4), *zeros(1, 8)), "taps"),
        (lambda: ops.conv(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 3, 3), up=2), "taps"),
        (lambda: ops.conv(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 3, 3), up=2, down=2), "not both"),
        (lambda: ops.warp(torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 3), (4, 4), "wrap"), "wrap"),
        (lambda: ops.warp(torch.zeros(2, 1, 4, 4), torch.zeros(1, 2, 3), (4, 4)), "theta"),
    ],
)
def test_bad_arguments_are_named(call, word):
    with pytest.raises(ValueError, match=word):
        call()


ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": lambda x: F.relu(x) * 2**0.5,
    "lrelu": lambda x: F.leaky_relu(x, 0.2) * 2**0.5,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
}


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("clamp", [None, 0.6])
@pytest.mark.parametrize(
    ("shape", "dim", "channels_last"), [((4, 3), 1, False), ((2, 3, 4, 5), 1, True), ((2, 5, 3), -1, False)]
)
def test_bias_act(act, clamp, shape, dim, channels_last):
    x, bias = image(*shape, channels_last=channels_last), image(3)
    along = bias.view([-1 if i == dim % len(shape) else 1 for i in range(len(shape))])
    expected = ACTIVATIONS[act](x + along)
    expected = expected if clamp is None else expected.clamp(-clamp, clamp)
    torch.testing.assert_close(ops.bias_act(x, bias, act, clamp=clamp, dim=dim), expected)
    torch.testing.assert_close(ops.bias_act(x, None, act), ACTIVATIONS[act](x))
    torch.testing.assert_close(
        ops.bias_act(x, bias, act, gain=3.0, dim=dim), 3 * ops.bias_act(x, bias, act, gain=1.0, dim=dim)
    )
    assert gradcheck(lambda x, b: ops.bias_act(x, b, act, clamp=clamp, dim=dim), (x, bias))
    assert gradgradcheck(lambda x, b: ops.bias_act(x, b, act, clamp=clamp, dim=dim), (x, bias))


def test_bias_act_keeps_nothing_but_its_output():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.data_ptr()), lambda t: t):
        y = ops.bias_act(image(3, 4), image(4), clamp=1.0)
    assert kept == [y.data_ptr()]


@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (3, 3, 3)])
def test_demodulation_is_the_norm_of_the_modulated_weights(kernel):
    weight, styles = image(4, 3, *kernel), image(2, 3)
    modulated = weight * styles.view(2, 1, 3, *[1] * len(kernel))
    torch.testing.assert_close(ops.demodulation(weight, styles), (modulated.square().flatten(2).sum(2) + 1e-8).rsqrt())
    assert gradcheck(ops.demodulation, (weight, styles)) and gradgradcheck(ops.demodulation, (weight, styles))


def conv_by_definition(x: Tensor, weight: Tensor, up: int, down: int, taps: Tensor) -> Tensor:
    """Zero-stuff, convolve and filter on a wide plane of zeros, then cut out the image."""
    wide, k = 12, len(taps)
    plane = upfirdn_by_definition(F.pad(x, (wide,) * 4), torch.ones(1, dtype=D), up, 1, (0, 0))
    plane = F.conv2d(plane, weight.flip(2, 3) if up > 1 else weight, padding="same")
    before = (k + up - 1) // 2 if up > 1 else (k - down + 1) // 2
    plane = upfirdn_by_definition(plane, taps, 1, down, (before, k), gain=up**2)
    start, (h, w) = wide * up // down, (n * up // down for n in x.shape[2:])
    return plane[..., start : start + h, start : start + w]


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize(("up", "down"), [(2, 1), (1, 2)])
@pytest.mark.parametrize("taps", [(1, 3, 3, 1), (1, 2, 1), (1, 1), (4, 3, 2, 1)])
def test_conv_with_a_change_of_rate(size, up, down, taps):
    x, weight, taps = image(2, 3, 6, 8), image(4, 3, size, size), torch.tensor(taps, dtype=D) / sum(taps)
    y = ops.conv(x, weight, up=up, down=down, taps=taps)
    torch.testing.assert_close(y, conv_by_definition(x, weight, up, down, taps))


def demodulated(x: Tensor, weight: Tensor, styles: Tensor, **rate) -> Tensor:
    y = ops.modulated_conv(x, weight, styles, **rate)
    return ops.epilogue(y, normaliser=ops.demodulation(weight, styles), act="linear", gain=1.0)


@pytest.mark.parametrize("rate", [{}, {"up": 2}])
@pytest.mark.parametrize("channels_last", [False, True])
def test_modulated_conv_equals_a_convolution_per_image_with_its_own_weights(rate, channels_last):
    x, weight, styles = image(2, 3, 4, 6, channels_last=channels_last), image(4, 3, 3, 3), image(2, 3)
    taps = ops.binomial_taps().double()
    y = demodulated(x, weight, styles, taps=taps, **rate)
    for i in range(2):
        own = weight * styles[i, :, None, None]
        own = own / (own.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        torch.testing.assert_close(y[i : i + 1], ops.conv(x[i : i + 1], own, taps=taps, **rate))

    def op(*args: Tensor) -> Tensor:
        return demodulated(*args, taps=taps, **rate)

    assert gradcheck(op, (x, weight, styles), fast_mode=True) and gradgradcheck(op, (x, weight, styles), fast_mode=True)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("stride", "padding", "size"), [(1, 1, (6, 5)), (2, 0, (7, 9)), (2, 0, (5, 7, 5))])
def test_derivatives_of_convolutions_are_pytorchs_and_the_second_ones_are_small(stride, padding, size, transposed):
    """PyTorch's own second derivative by the weight has kernels of the size of the image, which GPUs are slow at."""
    x, weight = image(4, 3, *size), image(3, 3, *[3] * len(size))
    plain = {(2, False): F.conv2d, (3, False): F.conv3d, (2, True): F.conv_transpose2d, (3, True): F.conv_transpose3d}
    with Kernels() as kernels:
        if transposed:
            mine = derivatives(lambda *args: convolve_transposed(*args, stride=stride), x, weight)
        else:
            mine = derivatives(lambda *args: convolve(*args, stride=stride, padding=padding), x, weight)
    padding = 0 if transposed else padding
    theirs = derivatives(lambda *args: plain[len(size), transposed](*args, stride=stride, padding=padding), x, weight)
    for first, right in zip(mine[:3], theirs[:3], strict=True):
        assert torch.equal(first, right)
    for second, right in zip(mine[3:], theirs[3:], strict=True):
        torch.testing.assert_close(second, right)
    assert kernels.sizes == {3}
    assert gradgradcheck(lambda *args: convolve(*args, stride=stride, padding=padding), (x, weight))


def derivatives(op, *inputs: Tensor) -> list[Tensor]:
    """Value, both gradients of its squares, and those of their squares by everything."""
    y = op(*inputs)
    first = torch.autograd.grad(y.square().sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
    return [y, *first, *second]


class Kernels(TorchDispatchMode):
    """Notes the sides of the kernels of all convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ == "convolution":
            self.sizes |= {*args[1].shape[2:]}
        return func(*args, **(kwargs or {}))


def test_modulated_conv_in_3d():
    x, weight, styles = image(2, 3, 4, 4, 6), image(4, 3, 3, 3, 3), image(2, 3)
    y = ops.modulated_conv(x, weight, styles, up=2, taps=ops.binomial_taps().double())
    assert y.shape == (2, 4, 8, 8, 12)
    plain = ops.modulated_conv(x, weight, styles)
    torch.testing.assert_close(plain[1:], F.conv3d(x[1:], weight * styles[1].view(3, 1, 1, 1), padding=1))


@pytest.mark.parametrize("act", ["linear", "relu", "lrelu"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 2, 3, 2)])
def test_epilogue_is_its_steps_one_by_one(act, shape):
    x, bias, normaliser, strength = image(*shape), image(3), image(2, 3), torch.tensor(0.7, dtype=D, requires_grad=True)
    noise, ones = torch.randn(2, 1, *shape[2:], dtype=D), [1] * (len(shape) - 2)

    def op(x: Tensor, bias: Tensor, normaliser: Tensor, strength: Tensor) -> Tensor:
        return ops.epilogue(x, bias, normaliser=normaliser, noise=noise, strength=strength, act=act, clamp=1.0)

    steps = ops.bias_act(x * normaliser.view(2, 3, *ones) + noise * strength, bias, act, clamp=1.0)
    assert torch.equal(op(x, bias, normaliser, strength), steps)
    assert torch.equal(ops.epilogue(x, act=act), ops.bias_act(x, None, act))
    assert gradcheck(op, (x, bias, normaliser, strength), fast_mode=True)
    assert gradgradcheck(op, (x, bias, normaliser, strength), fast_mode=True)


def test_affine_resample():
    """A shift by whole pixels moves them as they are, but where the filter reaches beyond the border."""
    taps = torch.tensor(SYM6, dtype=D) / sum(SYM6)
    x, eye = image(2, 2, 20, 24), torch.eye(2, dtype=D).expand(2, 2, 2)
    offset = torch.tensor([[2.0, -1], [0, 0]], dtype=D)
    y = ops.affine_resample(x, eye, offset, taps)
    torch.testing.assert_close(y[0, :, 7:14, 6:16], x[0, :, 6:13, 8:18])
    assert torch.equal(y[1], x[1])
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=D).expand(2, 2, 2)
    x = image(2, 2, 4, 6)
    assert gradcheck(lambda x: ops.affine_resample(x, turn, offset, taps), x, fast_mode=True)
    assert gradgradcheck(lambda x: ops.affine_resample(x, turn, offset, taps), x, fast_mode=True)


@pytest.mark.parametrize("mode", [("zeros", False), ("reflection", False), ("reflection", True)])
@pytest.mark.parametrize(("shape", "size"), [((2, 3, 5, 4), (6, 3)), ((1, 2, 3, 4, 3), (2, 3, 5))])
def test_warp_equals_grid_sample_and_has_two_derivatives(mode, shape, size):
    x, dims = image(*shape), len(size)
    theta = torch.randn(shape[0], dims, dims + 1, dtype=D)
    grid = F.affine_grid(theta, [*shape[:2], *size], align_corners=mode[1])
    expected = F.grid_sample(x, grid, padding_mode=mode[0], align_corners=mode[1])
    torch.testing.assert_close(ops.warp(x, theta, size, *mode), expected)
    assert gradcheck(lambda x: ops.warp(x, theta, size, *mode), x)
    assert gradgradcheck(lambda x: ops.warp(x, theta, size, *mode), x)


def test_channels_last_stays_channels_last():
    x = torch.randn(2, 8, 6, 6).contiguous(memory_format=torch.channels_last)
    weight, styles, taps = torch.randn(4, 8, 3, 3), torch.randn(2, 8), ops.binomial_taps()
    for y in (ops.bias_act(x), ops.upsample(x, taps), ops.downsample(x, taps), ops.modulated_conv(x, weight, styles)):
        assert y.is_contiguous(memory_format=torch.channels_last)


def test_bfloat16_is_close_to_float32():
    x, taps, styles = torch.randn(2, 8, 8, 8), ops.binomial_taps(), torch.randn(2, 8)
    weight, bias = torch.randn(4, 8, 3, 3), torch.randn(8)
    for op in (
        lambda x: ops.upfirdn(x, taps, up=2, padding=(2, 1)),
        lambda x: ops.downsample(x, taps),
        lambda x: ops.bias_act(x, bias, clamp=1.0),
        lambda x: demodulated(x, weight, styles),
        lambda x: demodulated(x, weight, styles, up=2, taps=taps),
    ):
        y = op(x.bfloat16())
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y.float(), op(x), rtol=0.05, atol=0.05)


def test_autocast_leaves_the_filter_in_the_dtype_of_the_image():
    x, taps = torch.randn(1, 2, 8, 8), ops.binomial_taps()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = ops.downsample(x, taps)
    torch.testing.assert_close(y, ops.downsample(x, taps), rtol=0, atol=0)
