"""The kernels of gan.ops equal the reference, in values and in first and second derivatives.

Each test runs the kernels' sources as loops on the CPU, in float64 too, and, marked `gpu`, as CUDA kernels. The
reference is always the functions of PyTorch in float64, of inputs that the dtype holds exactly.
"""

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from gan import ops
from gan.augment import SYM6
from gan.ops import build, extension, fused
from gan.variants import build as build_variant
from gan.variants.base import Batch, ImageShape

D = torch.float64
# Relative to the largest value: rounding of the result, and of what is kept for a derivative.
TOLERANCE = {D: 1e-12, torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
PLACES = [*(("cpu", t) for t in (D, *DTYPES)), *(pytest.param("cuda", t, marks=pytest.mark.gpu) for t in DTYPES)]
LAYOUTS = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(
        memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d
    ),
    "sliced": lambda x: torch.stack([x, x], -1)[..., 0],
    "misaligned": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
}
OPS = torch.ops.gan


@pytest.fixture(scope="module", autouse=True)
def _library(request) -> None:
    """Kernels for the GPUs if there are any, else for the CPU alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_OPS_CACHE", str(request.config.cache.mkdir("gan_ops")))
        extension.load(build.build(None if torch.cuda.is_available() else build.HOST))


@pytest.fixture(autouse=True)
def _kernels() -> Iterator[None]:
    torch.manual_seed(0)
    ops.use("cuda")
    yield
    ops.use("reference")


@pytest.fixture(params=DEVICES)
def device(request) -> str:
    return request.param


@pytest.fixture(autouse=True)
def _gpu(request) -> None:
    if request.node.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no GPU")


def draw(*shape: int, dtype: torch.dtype = D, device: str = "cpu") -> Tensor:
    """Normal numbers that float64 and ``dtype`` both hold."""
    return torch.randn(shape, device=device).to(dtype)


def derivatives(op, inputs: list[Tensor], weight: Tensor) -> list[Tensor]:
    """The value; gradients of its sum with ``weight`` by the inputs; gradients of their weighted squares, as path
    length and R1 take them, by the inputs and by ``weight``."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    value = op(*inputs)
    weight = weight.to(value).requires_grad_()
    first = torch.autograd.grad(value, inputs, weight, create_graph=True)
    penalty = sum(
        (k + 1) * g.to(torch.promote_types(g.dtype, torch.float32)).square().sum() for k, g in enumerate(first)
    )
    second = torch.autograd.grad(penalty, [*inputs, weight], allow_unused=True, materialize_grads=True)
    return [t.detach() for t in (value, *first, *second)]


def assert_equal(reference, op, inputs: list[Tensor], dtype: torch.dtype) -> None:
    """All `derivatives`, each relative to its largest value; errors of a derivative are those of what it is made of."""
    exact = [x.detach().cpu().double() for x in inputs]
    weight = draw(*reference(*exact).shape, dtype=dtype).double()
    expected, got = derivatives(reference, exact, weight), derivatives(op, inputs, weight.to(inputs[0].device))
    for place, (mine, right) in enumerate(zip(got, expected, strict=True)):
        error = (mine.cpu().double() - right).abs().max() / right.abs().max().clamp(min=1e-3)
        assert error <= TOLERANCE[dtype] * (1 if place == 0 else 4), (place, float(error))


def off_the_clamp(x: Tensor, bias: Tensor, act: str, gain: float, clamp: float | None, dim: int) -> Tensor:
    """``x`` without the values whose rounding decides whether the clamp cuts them off."""
    if clamp is None:
        return x
    y = ops.bias_act(x.cpu().double(), bias.cpu().double(), act, gain, None, dim).to(x.device)
    along = bias.view([-1 if i == dim % x.ndim else 1 for i in range(x.ndim)])
    return x.copy_(torch.where((y.abs() - clamp).abs() < 0.04 * clamp, 0.1 - along, x))


ACTS = list(itertools.product(fused.ACTS, [None, 0.75]))


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
        bias = draw(shape[dim], dtype=dtype, device=device)
        for gain in (0.5, 2.0):
            x = off_the_clamp(x, bias, act, gain, clamp, dim)
            assert_equal(
                lambda x, b: ops.bias_act(x, b, act, gain, clamp, dim),  # noqa: B023
                lambda x, b: fused.bias_act(x, b, act, gain, clamp, dim),  # noqa: B023
                [x, bias],
                dtype,
            )


RATES = [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2), (2, 3), (1, 3)]
PADDINGS = [(0, 0), (2, 1), (1, 2), (3, 3), (-1, 2), (1, -2), (5, 7), (11, 6)]


@pytest.mark.parametrize(("device", "dtype"), PLACES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(2, 3, 9, 7), (1, 8, 6, 10), (1, 2, 5, 4, 6), (1, 8, 4, 4, 5)])
def test_upfirdn(device, dtype, layout, shape):
    for place, (k, (up, down), padding) in enumerate(itertools.product((1, 2, 3, 4, 6, 12, 14), RATES, PADDINGS)):
        # Every case in float64; of the others, whose sums take the same ways, each a part.
        if min(shape[2:]) * up + sum(padding) < k or (dtype != D and place % 5):
            continue
        x, taps = LAYOUTS[layout](draw(*shape, dtype=dtype, device=device)), draw(k, dtype=torch.float32) / k
        assert_equal(
            lambda x: ops.upfirdn(x, taps.double(), up, down, padding, 1.5),  # noqa: B023
            lambda x: fused.upfirdn(x, taps.to(x.device), up, down, (padding,) * (x.ndim - 2), 1.5),  # noqa: B023
            [x],
            dtype,
        )


@pytest.mark.parametrize(("device", "dtype"), PLACES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 8, 4, 4), (2, 5, 7, 9), (2, 16, 24, 20), (1, 4, 3, 4, 5), (2, 8, 1, 1)])
@pytest.mark.parametrize("clamp", [None, 1.5])
def test_epilogue(device, dtype, layout, shape, clamp):
    x = draw(*shape, dtype=dtype, device=device)
    like = {"dtype": fused.wide(x), "device": device}
    bias, normaliser, strength = (
        draw(shape[1], **like),
        draw(*shape[:2], **like).abs() + 0.5,
        torch.tensor(0.75, **like),
    )
    for act, images in (("lrelu", shape[0]), ("lrelu", 1), ("linear", 1), ("relu", None)):
        noise = None if images is None else draw(images, 1, *shape[2:], dtype=torch.float16, device=device).float()

        def inputs(x, bias, normaliser, strength, noise=noise):
            drawn = None if noise is None else noise.to(x.device, fused.wide(x))
            return {"bias": bias, "normaliser": normaliser, "noise": drawn, "strength": strength if images else None}  # noqa: B023

        def reference(*args, act=act):
            return ops.epilogue(args[0], act=act, gain=1.0, clamp=clamp, **inputs(*args)) + 0 * args[3]

        def kernel(*args, act=act):
            return fused.epilogue(args[0], act=act, gain=1.0, clamp=clamp, **inputs(*args)) + 0 * args[3].to(args[0])

        if clamp is not None:
            exact = (t.cpu().double() for t in (x, bias, normaliser, strength))
            y = ops.epilogue(*(args := list(exact))[:1], act=act, gain=1.0, **inputs(*args)).to(device)
            x = torch.where((y.abs() - clamp).abs() < 0.06 * clamp, torch.zeros_like(x), x)
            y = ops.epilogue(x.cpu().double(), act=act, gain=1.0, **inputs(*args)).to(device)
            x = torch.where((y.abs() - clamp).abs() < 0.06 * clamp, x + 1, x)
        assert_equal(reference, kernel, [LAYOUTS[layout](x), bias, normaliser, strength], dtype)


def maps(count: int) -> tuple[Tensor, Tensor]:
    """Identity, whole shifts, turns with a change of scale, strong shrinking, enlarging, shearing, any."""
    eye = torch.eye(2)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    linear = [eye, eye, 1.3 * turn, 2.7 * eye, 0.3 * turn, torch.tensor([[1, 0.5], [0, 1]]), torch.randn(2, 2)]
    offset = [[0, 0], [3, -2], [0.4, 1.7], [-9.0, 30.0], [0, 0], [0, 0.25], [5, 5]]
    return torch.stack(linear)[:count], torch.tensor(offset)[:count]


@pytest.mark.parametrize(("device", "dtype"), PLACES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("channels", "size"), [(1, (4, 5)), (3, (16, 16)), (5, (17, 33)), (2, (40, 12))])
def test_affine_resample(device, dtype, layout, channels, size):
    taps = torch.tensor(SYM6) / sum(SYM6)
    linear, offset = maps(7)
    x = LAYOUTS[layout](draw(7, channels, *size, dtype=dtype, device=device))
    places = [linear.to(device), offset.to(device), taps.to(device)]
    assert_equal(
        lambda x: ops.affine_resample(x, linear.double(), offset.double(), taps.double()),
        lambda x: fused.affine_resample(x, *places),
        [x],
        dtype,
    )
    y = fused.affine_resample(x, *places)
    assert torch.equal(y[0], x[0]) and not torch.equal(y[1], x[1])


def test_the_adjoint_of_a_warp_without_an_inverse(device):
    """All pixels of the result read one place, or one line."""
    taps = torch.tensor(SYM6) / sum(SYM6)
    linear = torch.tensor([[[0.0, 0], [0, 0]], [[1, 1], [1, 1]]])
    assert_equal(
        lambda x: ops.affine_resample(x, linear.double(), torch.ones(2, 2, dtype=D), taps.double()),
        lambda x: fused.affine_resample(x, linear.to(device), torch.ones(2, 2, device=device), taps.to(device)),
        [draw(2, 1, 6, 7, dtype=torch.float32, device=device)],
        torch.float32,
    )


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
        + [(last, None, None, 0, 1.0, None, 1, False)],
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


@pytest.mark.parametrize("name", samples())
def test_empty_batches_and_repeatable_bits(device, name):
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
        assert all(t.isfinite().all() for t in run(empty))


def test_sums_do_not_lose_what_is_small():
    """A million gradients of 1 in bfloat16, whose own sum would stop at 256."""
    x = torch.zeros(4, 8, 256, 128, dtype=torch.bfloat16).requires_grad_()
    bias = torch.zeros(8, requires_grad=True)
    fused.bias_act(x, bias, "linear", 1.0, None, 1).backward(torch.ones_like(x))
    assert (bias.grad == 4 * 256 * 128).all()


def gradients(device: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """Losses of all phases of a small StyleGAN2 with ADA, path length and R1 among them, and their gradients."""
    torch.manual_seed(0)
    options = {"z_dim": 8, "w_dim": 8, "channel_base": 128, "channel_max": 8, "augment": "bgc", "ada_p": 0.7}
    variant = build_variant("stylegan2", options, ImageShape(3, (16, 16)), 4).to(device, dtype)
    batch = Batch(torch.rand(4, 3, 16, 16).to(device, dtype) * 2 - 1, torch.zeros(4, 0, device=device))
    found = {}
    for phase in variant.phases():
        for name, network in variant.networks().items():
            network.requires_grad_(name == phase.trains)
            network.zero_grad(set_to_none=True)
        torch.manual_seed(1)
        loss, _ = variant.loss(phase.name, batch)
        loss.backward()
        trained = variant.networks()[phase.trains].named_parameters()
        found |= {f"{phase.name} {name}": p.grad.cpu() for name, p in trained if p.grad is not None}
        found[f"{phase.name} loss"] = loss.detach().cpu()
    return found


def test_all_phases_of_stylegan2_have_the_same_losses_and_gradients(device, monkeypatch):
    """On the CPU the kernels are put in the place of the reference."""
    ops.use("reference")
    expected = gradients(device, torch.float32)
    ops.use("cuda")
    calls = []
    for name in (kernels := ("affine_resample", "bias_act", "epilogue", "upfirdn")):
        kernel = getattr(fused, name)
        monkeypatch.setattr(fused, name, lambda *a, kernel=kernel, name=name: (calls.append(name), kernel(*a))[1])
    monkeypatch.setattr(extension, "takes", lambda x: x.dtype == torch.float32)
    got = gradients(device, torch.float32)
    assert set(calls) == set(kernels) and {name.split()[0] for name in got} >= {"G", "Gpl", "D", "Dr1"}
    assert got.keys() == expected.keys()
    for name, right in expected.items():
        error = (got[name] - right).norm() / right.norm().clamp(min=1e-6)
        assert error < 1e-3, (name, float(error))


def test_wrong_arguments_are_refused():
    x = torch.zeros(2, 8, 4, 4)
    for call, words in (
        (lambda: OPS.bias_act(x, torch.zeros(7), 2, 1.0, None, 1), "bias"),
        (lambda: OPS.bias_act(x.int(), None, 2, 1.0, None, 1), "no kernel"),
        (lambda: OPS.epilogue(x, torch.zeros(2, 7), None, None, None, 2, 1.0, None), "normaliser"),
        (lambda: OPS.upfirdn(x, torch.zeros(9), 1, 1, [0] * 4, 1.0, False), "fits nowhere"),
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

    expected = step()
    names = {node.name() for node in _nodes(ops.bias_act(x).grad_fn)}
    assert any("gan" in name.lower() for name in names), names
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    for tensor in captured:
        tensor.zero_()
    graph.replay()
    assert all(torch.equal(a, b) for a, b in zip(captured, expected, strict=True))
    ops.use("reference")
    try:
        for mine, right in zip(expected, step(), strict=True):
            torch.testing.assert_close(mine, right, rtol=1e-3, atol=1e-3)
    finally:
        ops.use("cuda")


def _nodes(root) -> list:
    return [root, *(node for child, _ in root.next_functions if child for node in _nodes(child))]


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
