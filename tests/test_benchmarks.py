"""The benchmark of a step: what it writes, what it counts, and what it says of that which the machine cannot run."""

import importlib.util
import json
import sys
import types
from pathlib import Path

import pytest
import torch

from gan import ops
from gan.errors import GanError
from gan.nn.layers import minibatch_stddev
from gan.ops import build, extension

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
NARROW = '{"channel_base": 64, "channel_max": 8, "z_dim": 8, "w_dim": 8}'


META = torch.device("meta")


@pytest.fixture
def benchmark_file(monkeypatch):
    """Reads a file of benchmarks/ as a module; those that it imports are found."""
    monkeypatch.syspath_prepend(FOLDER)

    def read(name: str):
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    threads = torch.get_num_threads()
    yield read
    ops.use("cuda")
    torch.set_num_threads(threads)


@pytest.fixture
def training(benchmark_file):
    return benchmark_file("steps")


@pytest.fixture
def counting(benchmark_file):
    return benchmark_file("counting")


@pytest.fixture
def kernels(request, monkeypatch):
    """Those of `gan.ops`, as loops on the CPU: the meta device asks for no more than their shapes."""
    monkeypatch.setenv("GAN_OPS_CACHE", str(request.config.cache.mkdir("gan_ops")))
    extension.load(build.build(build.HOST))


def test_matrix_has_a_row_for_all_that_runs_and_a_word_for_the_rest(training, tmp_path, capsys):
    programs = ["--precision", "fp32", "tf32", "bf16", "fp16", "--ops", "reference", "cuda"]
    cases = ["--size", "16", "--batch", "4", "--settings", "auto", "paper", "--repeats", "1", "--options", NARROW]
    training.main([*programs, *cases, "--out", str(tmp_path / "deep/matrix")])
    found = json.loads((tmp_path / "deep/matrix.json").read_text())
    assert [(row["program"], row["settings"]) for row in found["rows"]] == [("fp32", "auto"), ("bf16", "auto")]
    for row in found["rows"]:
        per_step = {"G": 1, "Gpl": 4, "D": 1, "Dr1": 16}
        expected = {name: row["seconds"][name] / n * 250 for name, n in per_step.items()}
        assert row["s_per_kimg"] == pytest.approx(expected) and row["total"] == pytest.approx(sum(expected.values()))
        assert 0 < row["tflop"]["G"] < row["tflop"]["D"]
        assert row["images_per_s"] == pytest.approx(1000 / row["total"])
    left = {line.split(":")[0] for line in found["skipped"]}
    kernels = {f"{precision} kernels" for precision in ("fp32", "tf32", "bf16", "fp16")}
    assert left == kernels | {"tf32", "fp16", "16 x 16, batch 4, paper"}
    page = (tmp_path / "deep/matrix.md").read_text()
    assert all(line in page for line in found["skipped"]) and "| 16 | 4 | auto | bf16 |" in page
    assert "left out: fp16" in capsys.readouterr().out


def test_ratio_to_the_official_program(training):
    row = {"size": 16, "batch": 4, "settings": "auto", "s_per_kimg": {"G": 1.0}, "images_per_s": 1.0, "step_gb": 2.5}
    row |= {"tflop": {"G": 1.0}, "seconds": {"G": 0.5}}
    lines = training.table([row | {"program": "fp32", "total": 1.0}, row | {"program": "official", "total": 4.0}])
    assert lines.splitlines()[2] == "| 16 | 4 | auto | fp32 | 1 | 1 | 0.25 | 1 | 2 | 2.5 |"


def test_nothing_to_run_is_said(training, capsys):
    with pytest.raises(SystemExit, match="nothing of this can be run here"):
        training.main(["--precision", "fp16"])
    assert "left out: fp16" in capsys.readouterr().out


def test_counts_need_no_device_and_take_every_program(training, kernels, tmp_path):
    programs = ["--precision", "fp16", "--ops", "reference", "cuda", "--counted"]
    case = ["--size", "16", "--batch", "4", "--options", NARROW, "--peak", "2", "--bandwidth", "50"]
    training.main([*programs, *case, "--out", str(tmp_path / "counted")])
    found = json.loads((tmp_path / "counted.json").read_text())
    rows = {row["program"]: row for row in found["rows"]}
    assert found["skipped"] == []
    assert list(rows) == ["fp16", "fp16 kernels"]
    for row in rows.values():
        per_kimg = {name: 250 / every for name, every in {"G": 1, "Gpl": 4, "D": 1, "Dr1": 16}.items()}
        moved = {name: row["gb"][name] * count for name, count in per_kimg.items()}
        tflop = sum(row["tflop"][name] * count for name, count in per_kimg.items())
        assert row["gb_per_kimg"] == pytest.approx(moved)
        assert row["floor"] == pytest.approx({"arithmetic": tflop / 2, "bytes": sum(moved.values()) / 50})
        assert "seconds" not in row
        assert row["counted_gb"] > 0
    for name in ("G", "Gpl", "D", "Dr1"):
        assert 0 < rows["fp16 kernels"]["gb"][name] < rows["fp16"]["gb"][name]
    assert "| 16 | 4 | auto | fp16 kernels |" in (tmp_path / "counted.md").read_text()


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device=META)


OPERATIONS = {  # what runs, and its bytes: floats of 4, counted by hand
    "one in, one out": (lambda x: x.relu(), 2 * 400),
    "two in": (lambda x: x + meta(4, 25), 3 * 400),
    "one in twice": (lambda x: x * x, 2 * 400),
    "in place": (lambda x: x.mul_(meta(4, 25)), 3 * 400),
    "overwritten": (lambda x: x.copy_(meta(4, 25)), 2 * 400),
    "filled": (lambda x: x.zero_(), 400),
    "shape alone": (lambda x: torch.ones_like(x), 400),
    "set aside": (lambda x: torch.empty_like(x), 0),
    "views": (lambda x: x.view(10, 10).t()[1:].detach(), 0),
    "a value for many": (lambda x: x + meta(1, 1).expand(4, 25), 2 * 400 + 4),
    "reduced": (lambda x: x.sum(0), 400 + 100),
    "half as wide": (lambda x: x.to(torch.bfloat16), 400 + 200),
    "into what is given": (lambda x: torch.mm(x, meta(25, 5), out=meta(4, 5)), 400 + 500 + 80),
    "lists": (lambda x: torch._foreach_add_([x, meta(3)], [meta(4, 25), meta(3)]), 3 * 412),
    "several out": (lambda x: torch.var_mean(x, 0), 400 + 2 * 100),
}


@pytest.mark.parametrize(("run", "size"), OPERATIONS.values(), ids=OPERATIONS)
def test_bytes_of_an_operation(counting, run, size):
    x = meta(4, 25)
    with counting.Work() as work:
        run(x)
    assert work.bytes == size


def test_bytes_and_operations_of_a_convolution(counting):
    x, weight = meta(2, 3, 8, 8).requires_grad_(), meta(5, 3, 3, 3).requires_grad_()
    sizes = {"x": 2 * 3 * 64 * 4, "weight": 5 * 3 * 9 * 4, "y": 2 * 5 * 64 * 4}
    flop = 2 * 2 * 64 * 5 * 3 * 9
    with counting.Work() as forward:
        y = torch.nn.functional.conv2d(x, weight, padding=1)
    assert (forward.bytes, forward.flop) == (sum(sizes.values()), flop)
    grad = meta(*y.shape)
    with counting.Work() as by_both:
        torch.autograd.grad(y, (x, weight), grad, retain_graph=True)
    assert (by_both.bytes, by_both.flop) == (sizes["y"] + 2 * sizes["x"] + 2 * sizes["weight"], 2 * flop)
    with counting.Work() as by_input:
        torch.autograd.grad(y, x, grad)
    assert (by_input.bytes, by_input.flop) == (sum(sizes.values()), flop)


def test_a_kernel_is_one_operation(counting, kernels):
    with counting.nowhere(kernels=True), counting.Work() as fused:
        ops.use("cuda")
        ops.bias_act(meta(2, 8, 4, 4), meta(8))
    assert fused.bytes == 2 * (2 * 8 * 16 * 4) + 8 * 4
    with counting.nowhere(), counting.Work() as plain:
        ops.use("reference")
        ops.bias_act(meta(2, 8, 4, 4), meta(8))
    # bias times gain; x plus that; leaky ReLU in place
    assert plain.bytes == 2 * 8 * 4 + (2 * (2 * 8 * 16 * 4) + 8 * 4) + 2 * (2 * 8 * 16 * 4)


def test_what_is_held(counting):
    with counting.Held() as held:
        a = meta(256)  # 1024 bytes
        view = a.view(16, 16)
        b = meta(1)  # 512: whole blocks
        assert (held.now, held.peak) == (1536, 1536)
        del a
        assert held.now == 1536, "a view holds it"
        del view
        assert (held.now, held.peak) == (512, 1536)
        b.add_(1)
        held.restart()
        assert held.peak == 512
        c = meta(1024) + b
    assert held.peak == held.now + 4096 == 512 + 2 * 4096 and len(c) == 1024
    assert held.holders()[0] in [(4096, 1, "add float32 1024"), (4096, 1, "empty float32 1024")]
    assert held.holders()[2] == (512, 1, "empty float32 1")


def test_memory_for_the_backward_pass_is_held_until_then(counting):
    x = meta(256).requires_grad_()
    with counting.Held() as held:
        y = x.exp().exp().sum()
        assert held.now == 2 * 1024 + 512
        y.backward()
    assert held.now == 1024 + 512, "the gradient and the sum"


def test_memory_of_a_step_is_what_the_allocator_gives(benchmark_file):
    memory = benchmark_file("memory")
    case = memory.Case(16, 16, "auto", "fp32", "reference", 1)
    options = {**json.loads(NARROW), "channel_base": 256, "channel_max": 32}
    counted = memory.count(case, 2, options)
    assert counted["peak"] == max(counted["phases"].values()) and list(counted["phases"]) == ["G", "Gpl", "D", "Dr1"]
    assert 0 < counted["between"] < counted["peak"]
    assert counted["peak"] == pytest.approx(memory.allocated(case, 2, options), rel=0.05)


def test_table_of_memory(benchmark_file, capsys):
    memory = benchmark_file("memory")
    memory.main(["--size", "16", "--batch", "4", "--precision", "fp32", "--options", NARROW, "--holders", "1"])
    said = capsys.readouterr().out
    assert "| 16 | 4 | auto | fp32 | 1 |" in said and "GB in" in said
    assert "left out: fp32, 16 x 16, batch 4, paper: option mbstd_group is 8" in said


@pytest.mark.parametrize(("count", "group"), [(8, 4), (8, 8), (6, 2), (3, 4)])
def test_the_groups_of_the_official_program_are_every_nth_image(benchmark_file, count, group):
    """In that order our groups of the minibatch deviation are its own, which are written out here."""
    order = benchmark_file("official").in_groups(count, group)
    x = torch.randn(count, 3, 2, 2)
    groups = max(1, count // group)
    apart = [x[first::groups] for first in range(groups)]
    spread = torch.stack([(of.var(0, unbiased=False) + 1e-8).sqrt().mean() for of in apart])
    assert torch.allclose(minibatch_stddev(x[order], group)[:, -1, 0, 0], spread.repeat(count // groups)[order])


def test_official_program_is_not_timed_without_its_kernels(benchmark_file, monkeypatch):
    """Of its own accord it would go on with its slow functions."""
    official = benchmark_file("official")
    kernels = types.SimpleNamespace(_init=lambda: True, __file__="upfirdn2d.py")
    custom_ops = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "torch_utils", types.SimpleNamespace(custom_ops=custom_ops))
    for name in ("bias_act", "upfirdn2d"):
        monkeypatch.setitem(sys.modules, f"torch_utils.ops.{name}", kernels)
    monkeypatch.setattr(sys, "path", [*sys.path])
    official.load_kernels(Path("checkout"))
    assert custom_ops.get_plugin is official._plugin
    kernels._init = lambda: False
    with pytest.raises(GanError, match=r"upfirdn2d\.py: its kernels do not build"):
        official.load_kernels(Path("checkout"))
