"""The kernels of gan.ops equal the reference, in values and in first and second derivatives.

Each test runs the kernels' sources as loops on the CPU, in float64 too, and, marked `gpu`, as CUDA kernels. The
cases, and how they are compared, are those of `gan.check`, in more shapes, rates and layouts.
"""

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from gan import ops
from gan.augment import SYM6
from gan.check.kernels import (
    DTYPES,
    LAYOUTS,
    OF_DERIVATIVES,
    TOLERANCE,
    Case,
    affine_resample,
    bias_act,
    draw,
    epilogue,
    errors,
    maps,
    upfirdn,
)
from gan.ops import build, extension, fused

D = torch.float64
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
PLACES = [*(("cpu", t) for t in (D, *DTYPES)), *(pytest.param("cuda", t, marks=pytest.mark.gpu) for t in DTYPES)]
OPS = torch.ops.gan


@pytest.fixture(scope="module", autouse=True)
def _library(request) -> None:
    """Kernels for the GPUs if there are any, else for the CPU alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_OPS_CACHE", str(request.config.cache.mkdir("gan_ops")))
        extension.load(build.build(None if torch.cuda.is_available() else build.HOST))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=DEVICES)
def device(request) -> str:
    return request.param


@pytest.fixture(autouse=True)
def _gpu(request) -> None:
    if request.node.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no GPU")


def assert_equal(case: Case) -> None:
    """The value and all derivatives."""
    tolerance = TOLERANCE[case.inputs[0].dtype]
    for place, error in enumerate(errors(case)):
        assert error <= tolerance * (OF_DERIVATIVES if place else 1), (place, error)


# bfloat16 holds a clamp of 0.7 as less than that.
ACTS = list(itertools.product(fused.ACTS, [None, 0.7]))


@pytest.mark.parametrize(("device", "dtype"), PLACES)
@pytest.mark.parametrize(("act", "clamp"), ACTS)
def test_bias_act(device, dtype, act, clamp):
    for layout, shape, dim in (
        ("contiguous", (3, 8, 4, 6), 1),
        ("channels_last", (3, 16, 5, 3), 1),
        ("channels_last", (2, 3, 3, 4, 5), 1),
        ("sliced", (2, 5, 7, 3), 1),
        ("misaligned", (2, 8, 8, 8), 1),
        ("contiguous", (40, 24), 1),
        ("contiguous", (4, 6, 10), -1),
    ):
        x = LAYOUTS[layout](draw(*shape, dtype=dtype, device=device))
        for gain in (0.5, 2.0):
            assert_equal(bias_act(x, draw(shape[dim], dtype=dtype, device=device), act, gain, clamp, dim))


RATES = [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2), (2, 3), (1, 3)]
SHAPES = [(2, 3, 9, 7), (1, 8, 6, 10), (1, 2, 5, 4, 6), (1, 8, 4, 4, 5)]
PADDINGS = [(0, 0), (2, 1), (1, 2), (3, 3), (-1, 2), (1, -2), (5, 7), (11, 6)]


@pytest.mark.parametrize(("device", "dtype"), PLACES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_upfirdn(device, dtype, layout, shape):
    turn = SHAPES.index(shape) + list(LAYOUTS).index(layout)
    # In float64 every case with every shape and with every layout; of the other types, whose sums take the same ways, a
    # part of the cases with each.
    every = len(LAYOUTS) if dtype == D else 5 if device == "cuda" else 10
    for place, (k, (up, down), padding) in enumerate(itertools.product((1, 2, 3, 4, 6, 12, 14), RATES, PADDINGS)):
        turned = place + place // len(PADDINGS) + turn
        if turned % every == 0 and min(shape[2:]) * up + sum(padding) >= k:
            x, taps = LAYOUTS[layout](draw(*shape, dtype=dtype, device=device)), draw(k, dtype=torch.float32) / k
            assert_equal(upfirdn(x, taps, up, down, padding))


@pytest.mark.parametrize(("device", "dtype"), PLACES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 8, 4, 4), (2, 5, 7, 9), (2, 16, 24, 20), (1, 4, 3, 4, 5), (2, 8, 1, 1)])
@pytest.mark.parametrize("clamp", [None, 1.5])
def test_epilogue(device, dtype, layout, shape, clamp):
    for act, images in (("lrelu", shape[0]), ("lrelu", 1), ("linear", 1), ("relu", None)):
        assert_equal(epilogue(draw(*shape, dtype=dtype, device=device), layout, act, images, clamp))


@pytest.mark.parametrize(("device", "dtype"), PLACES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("channels", "size"), [(1, (4, 5)), (3, (16, 16)), (5, (17, 33)), (2, (40, 12))])
def test_affine_resample(device, dtype, layout, channels, size):
    case = affine_resample(LAYOUTS[layout](draw(7, channels, *size, dtype=dtype, device=device)), *maps(7))
    assert_equal(case)
    x, y = case.inputs[0], case.kernel(*case.inputs)
    assert torch.equal(y[0], x[0]) and not torch.equal(y[1], x[1])


def test_the_adjoint_of_a_warp_without_an_inverse(device):
    """All pixels of the result read one place, or one line."""
    linear = torch.tensor([[[0.0, 0], [0, 0]], [[1, 1], [1, 1]]])
    assert_equal(affine_resample(draw(2, 1, 6, 7, dtype=torch.float32, device=device), linear, torch.ones(2, 2)))


@pytest.mark.parametrize("far", [1e9, -1e30, float("inf"), float("nan")])
def test_a_map_that_leads_nowhere_comes_to_an_end(device, far):
    x, taps = draw(2, 3, 6, 7, dtype=torch.float32, device=device).requires_grad_(), torch.tensor(SYM6).to(device)
    eye = torch.eye(2, device=device)
    y = fused.affine_resample(x, torch.stack([eye, far * eye]), torch.tensor([[far, 0], [0, 1]], device=device), taps)
    (g,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert y.isfinite().all() and g.isfinite().all()


def samples(device: str = "cpu", dtype: torch.dtype = torch.float32) -> dict[str, list[tuple]]:
    """Arguments of every operation."""
    wide = torch.promote_types(dtype, torch.float32)

    def x(*shape: int) -> Tensor:
        return draw(*shape, dtype=dtype, device=device).requires_grad_()

    def coefficient(*shape: int) -> Tensor:
        return draw(*shape, dtype=wide, device=device).requires_grad_()

    image, last = x(2, 8, 3, 4), LAYOUTS["channels_last"](x(2, 8, 3, 4).detach()).requires_grad_()
    linear, offset = (t.to(device, wide) for t in maps(2))
    noise, taps = coefficient(2, 1, 3, 4).detach(), coefficient(4).detach()
    sym6 = coefficient(12).detach()
    layer = (coefficient(2, 8), noise, coefficient(), coefficient(8))
    return {
        "bias_act": [(image, coefficient(8), act, 2.0, 1.5, 1) for act in range(6)]
        + [
            (last, None, 2, 1.0, None, 1),
            (x(5, 8), coefficient(8), 0, 1.0, None, 1),
            (x(2, 3, 8), None, 3, 1.0, None, 2),
        ],
        "bias_act_gradient": [
            (x(2, 8, 3, 4), coefficient(8), y, act, 2.0, None, 1, True) for act in (2, 4) for y in (image, last)
        ]
        + [(last, None, None, 0, 1.0, None, 1, False), (x(5, 8), None, x(5, 8), 2, 1.0, None, 1, True)],
        "epilogue": [(image, *layer, 2, 2.0, 1.5), (last, None, None, None, None, 0, 1.0, None)],
        "epilogue_gradient": [(x(2, 8, 3, 4), y, y, *layer[:2], 2, 2.0, 1.5) for y in (image.detach(), last.detach())],
        "upfirdn": [
            (image, taps, 2, 1, [2, 1, 2, 1], 4.0, False),
            (last, taps, 1, 2, [1, 1, 1, 1], 1.0, True),
            (x(1, 2, 3, 4, 3), taps, 3, 2, [4, 5, 1, 1, 2, 2], 1.0, False),
        ],
        "affine_resample": [(x(2, 3, 5, 6), linear, offset, sym6)],
        "affine_resample_adjoint": [(x(2, 3, 5, 6), linear, offset, sym6)],
    }


@pytest.mark.parametrize("name", samples())
def test_opcheck(device, name):
    for arguments in samples(device)[name]:
        torch.library.opcheck(getattr(OPS, name).default, arguments)


@pytest.mark.parametrize("name", samples())
def test_float64_on_the_cpu_has_two_derivatives(name):
    for arguments in samples(dtype=D)[name]:
        assert gradcheck(getattr(OPS, name), arguments, fast_mode=True)
        assert gradgradcheck(getattr(OPS, name), arguments, fast_mode=True)


@pytest.mark.parametrize("name", samples())
def test_meta_tensors_get_shape_dtype_and_memory_format(name):
    for arguments in samples()[name]:
        real = getattr(OPS, name)(*arguments)
        fake = getattr(OPS, name)(*(a.detach().to("meta") if isinstance(a, Tensor) else a for a in arguments))
        for mine, meta in zip(*((t,) if isinstance(t, Tensor) else t for t in (real, fake)), strict=True):
            assert (mine.shape, mine.stride(), mine.dtype) == (meta.shape, meta.stride(), meta.dtype)


@pytest.fixture
def _new_memory_is_nan() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", samples())
@pytest.mark.usefixtures("_new_memory_is_nan")
def test_all_is_written_repeatable_and_zero_of_nothing(device, name):
    assert torch.empty(9, device=device).isnan().all()
    for arguments in samples(device)[name]:

        def run(arguments=arguments) -> tuple:
            result = getattr(OPS, name)(*arguments)
            return (result,) if isinstance(result, Tensor) else result

        assert all(torch.equal(a, b) for a, b in zip(run(), run(), strict=True))
        count = len(arguments[0])
        if name not in ("upfirdn",) and any(
            isinstance(a, Tensor) and a.ndim > 1 and len(a) != count for a in arguments
        ):
            continue
        empty = [a[:0] if isinstance(a, Tensor) and a.ndim > 1 and len(a) == count else a for a in arguments]
        assert all((t == 0).all() for t in run(empty))


def test_sums_do_not_lose_what_is_small():
    """A million gradients of 1 in bfloat16, whose own sum would stop at 256."""
    x = torch.zeros(4, 8, 256, 128, dtype=torch.bfloat16).requires_grad_()
    bias = torch.zeros(8, requires_grad=True)
    fused.bias_act(x, bias, "linear", 1.0, None, 1).backward(torch.ones_like(x))
    assert (bias.grad == 4 * 256 * 128).all()


def test_wrong_arguments_are_refused():
    x = torch.zeros(2, 8, 4, 4)
    for call, words in (
        (lambda: OPS.bias_act(x, torch.zeros(7), 2, 1.0, None, 1), "bias"),
        (lambda: OPS.bias_act(x.int(), None, 2, 1.0, None, 1), "no kernel"),
        (lambda: OPS.epilogue(x, torch.zeros(2, 7), None, None, None, 2, 1.0, None), "normaliser"),
        (lambda: OPS.upfirdn(x, torch.zeros(9), 1, 1, [0] * 4, 1.0, False), "fits nowhere"),
        (lambda: OPS.bias_act_gradient(x, None, x[:1], 2, 1.0, None, 1, True), "y differs"),
        (lambda: OPS.bias_act_gradient(x, None, None, 2, 1.0, None, 1, True), "needs y"),
        (lambda: OPS.epilogue_gradient(x, x, x.half(), None, None, 2, 1.0, None), "x differs"),
        (lambda: OPS.affine_resample(x, torch.zeros(1, 2, 2), torch.zeros(2, 2), torch.zeros(12)), "linear"),
    ):
        with pytest.raises(RuntimeError, match=words):
            call()


@pytest.mark.gpu
def test_public_functions_take_the_kernels_and_wait_for_nothing():
    x = torch.randn(2, 8, 16, 16, device="cuda").requires_grad_()
    taps, strength = ops.binomial_taps().cuda(), torch.ones((), device="cuda", requires_grad=True)
    noise, eye = torch.randn(2, 1, 16, 16, device="cuda"), torch.eye(2, device="cuda").expand(2, 2, 2)
    normaliser, sym6 = torch.rand(2, 8, device="cuda").requires_grad_(), (torch.tensor(SYM6) / sum(SYM6)).cuda()

    def step() -> tuple[Tensor, ...]:
        y = ops.epilogue(ops.bias_act(x), normaliser=normaliser, noise=noise, strength=strength)
        y = ops.affine_resample(ops.downsample(ops.upsample(y, taps), taps), 1.2 * eye, eye[:, 0], sym6)
        (g,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return y.detach(), *torch.autograd.grad(g.square().sum(), (x, normaliser))

    # derivatives are computed on the stream of what they are of, and the default one cannot be recorded
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        expected = step()
    assert "gan" in ops.bias_act(x).grad_fn.name().lower()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.cuda.stream(stream):
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph, stream=stream):
        captured = step()
    for tensor in captured:
        tensor.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert all(torch.equal(a, b) for a, b in zip(captured, expected, strict=True))
    ops.use("reference")
    try:
        for mine, right in zip(expected, step(), strict=True):
            torch.testing.assert_close(mine, right, rtol=1e-3, atol=1e-3)
    finally:
        ops.use("cuda")


@pytest.mark.gpu
def test_a_gpu_that_is_not_the_current_one():
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU")
    x = torch.randn(2, 8, 16, 16)
    with torch.cuda.stream(torch.cuda.Stream("cuda:1")), torch.cuda.device(0):
        y = ops.upsample(ops.bias_act(x.to("cuda:1")), ops.binomial_taps().to("cuda:1"))
    torch.cuda.synchronize("cuda:1")
    torch.testing.assert_close(y.cpu(), ops.upsample(ops.bias_act(x), ops.binomial_taps()))


@pytest.mark.gpu
def test_more_values_than_32_bits_count():
    """The last image of a batch of more than 2^31 values comes out as it does alone."""
    if torch.cuda.mem_get_info()[0] < 30 << 30:
        pytest.skip("less than 30 GB free on the GPU")
    shape, taps = (33, 64, 1024, 1024), ops.binomial_taps().cuda()
    for layout in ("contiguous", "channels_last"):
        x = LAYOUTS[layout](torch.empty(shape, device="cuda", dtype=torch.float16))
        x[-1].normal_()
        last, bias = LAYOUTS[layout](x[-1:].clone()), torch.randn(64, device="cuda")
        for op in (
            lambda x: ops.bias_act(x, bias),  # noqa: B023
            lambda x: ops.epilogue(x, bias),  # noqa: B023
            lambda x: ops.downsample(x, taps),
            lambda x: OPS.bias_act_gradient(x, None, x, 2, 1.0, None, 1, True)[0],
        ):
            assert torch.equal(op(x)[-1:], op(last))
