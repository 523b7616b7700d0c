"""The 3 x 3 convolution by minimal filtering gives what the plain one gives, to the second derivative."""

import pytest
import torch
from torch.nn import functional

from gan.ops import conv, winograd


def _derivatives(convolve, x, weight):
    y = convolve(x, weight)
    first = torch.autograd.grad(y.sin().sum(), (x, weight), create_graph=True)
    return y, *first, *torch.autograd.grad(sum(g.square().sum() for g in first), (x, weight))


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("chunk", [1, 12, 1 << 22], ids=["row", "image-and-rest", "all"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_equals_the_plain_convolution(monkeypatch, one_thread, chunk, memory_format):
    monkeypatch.setattr(winograd, "_CHUNK", chunk)
    torch.manual_seed(0)
    x = torch.randn(3, 5, 8, 12).to(memory_format=memory_format).requires_grad_()
    weight = torch.randn(7, 5, 3, 3).to(memory_format=memory_format).requires_grad_()
    ours = _derivatives(winograd.conv3x3, x, weight)
    plain = _derivatives(lambda x, weight: functional.conv2d(x, weight, padding=1), x.double(), weight.double())
    for value, expected in zip(ours, plain, strict=True):
        assert value.shape == expected.shape
        assert (value - expected).norm() < 5e-5 * expected.norm()


def test_border_takes_nothing_from_the_next_row():
    x = torch.zeros(2, 3, 8, 8)
    x[0, :, :, 0] = x[0, :, :, -1] = 1e4
    weight = torch.randn(4, 3, 3, 3)
    y = winograd.conv3x3(x, weight)
    assert (y - functional.conv2d(x, weight, padding=1)).abs().max() < 0.1
    assert not y[1].any() and not y[0, :, :, 2:6].abs().gt(0.1).any()


def test_result_is_channels_last():
    y = winograd.conv3x3(torch.randn(2, 5, 8, 8), torch.randn(7, 5, 3, 3))
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("x", "weight", "dtype", "expected"),
    [
        ((8, 256, 16, 16), (256, 256, 3, 3), torch.float32, True),
        ((8, 256, 16, 16), (256, 256, 3, 3), torch.float64, False),
        ((8, 256, 18, 16), (256, 256, 3, 3), torch.float32, False),
        ((8, 64, 16, 16), (256, 64, 3, 3), torch.float32, False),
        ((8, 256, 16, 16), (64, 256, 3, 3), torch.float32, False),
        ((1, 256, 16, 16), (256, 256, 3, 3), torch.float32, False),
        ((2, 256, 16, 16), (256, 256, 3, 3), torch.float32, True),
        ((2, 128, 16, 16), (128, 128, 3, 3), torch.float32, False),
        ((2, 64, 64, 64), (64, 64, 3, 3), torch.float32, False),
        ((4, 64, 64, 64), (64, 64, 3, 3), torch.float32, True),
        ((8, 256, 16, 16), (256, 256, 1, 1), torch.float32, False),
        ((2, 256, 8, 16, 16), (256, 256, 3, 3, 3), torch.float32, False),
    ],
)
def test_suits(one_thread, x, weight, dtype, expected):
    assert winograd.suits(torch.empty(x, dtype=dtype), torch.empty(weight, dtype=dtype)) is expected


def test_threads_leave_narrow_layers_to_the_plain_convolution(one_thread):
    x, narrow, wide = torch.empty(4, 128, 64, 64), torch.empty(64, 128, 3, 3), torch.empty(128, 128, 3, 3)
    assert winograd.suits(x, narrow) and winograd.suits(x, wide)
    torch.set_num_threads(2)
    assert not winograd.suits(x, narrow) and winograd.suits(x, wide)


def test_not_under_autocast():
    x, weight = torch.empty(8, 256, 16, 16), torch.empty(256, 256, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert not winograd.suits(x, weight)


def test_conv_takes_it_where_it_suits(monkeypatch):
    calls = []
    monkeypatch.setattr(winograd, "conv3x3", lambda x, weight: calls.append(x.shape))
    conv(torch.empty(8, 128, 16, 16), torch.empty(128, 128, 3, 3))
    conv(torch.empty(8, 64, 16, 16), torch.empty(64, 64, 3, 3))
    assert calls == [(8, 128, 16, 16)]
