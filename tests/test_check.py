"""The check of the kernels on a GPU, and what a job does with what came of it. The CPU's stand in for a GPU's."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gan import check, ops, parallel, runtime
from gan.check import kernels, trust, volumes
from gan.check.command import CHECKS, main
from gan.check.rows import Row, table
from gan.errors import GanError
from gan.nn import layers, synthesis
from gan.ops import build, extension, fused

CPU, GPU, NAME = torch.device("cpu"), torch.device("cuda"), "NVIDIA H200"
KERNELS = [name for name in CHECKS if name != "stylegan2"]


@pytest.fixture(scope="module")
def host(request) -> Path:
    """The built kernels of the CPU, loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_OPS_CACHE", str(request.config.cache.mkdir("gan_ops")))
        library = build.build(build.HOST)
        extension.load(library)
        return library


@pytest.fixture(autouse=True)
def implementation():
    yield
    ops.use("cuda")


@pytest.fixture
def on_cpu(host, monkeypatch) -> None:
    """float32 of the CPU takes the kernels, as that of a GPU does, and the products of a GPU."""
    chosen = lambda x: extension._chosen == "cuda" and x.dtype == torch.float32  # noqa: E731
    monkeypatch.setattr(extension, "takes", chosen)
    for module in (layers, synthesis):
        monkeypatch.setattr(module, "pointwise", layers._pointwise_on_a_gpu)


# ---------------------------------------------------------------- the check


def test_right_kernels_pass_and_that_is_noted(host, on_cpu, tmp_path, capsys):
    library = tmp_path / "host.so"
    library.write_bytes(host.read_bytes())
    assert main(["--device", "cpu", "--library", str(library)]) == 0
    noted = json.loads((tmp_path / "host.cpu.json").read_text())
    assert noted["passed"] and noted["reason"] == "" and noted["torch"] == torch.__version__
    rows = noted["errors"]
    phases = (f"stylegan2 {phase}" for phase in ("G", "Gpl", "D", "Dr1"))
    assert {row["subject"] for row in rows} == {*KERNELS, *phases, *volumes.FORMATS.values()}
    assert {(row["of"], row["dtype"]) for row in rows if row["subject"] == "upfirdn"} == {
        (of, dtype) for of in ("values", "derivatives") for dtype in ("float32", "float16", "bfloat16")
    }
    assert all(row["ok"] and 0 < row["error"] <= row["tolerance"] for row in rows)
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == len(rows) + 2 and shown[0].split()[0] == "kernel" and shown[-1].endswith("host.cpu.json")


class Gradient(torch.autograd.Function):
    """The identity, whose derivative is wrong by ``factor``; the value is right."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.factor, None


FAULTS = {
    "values": (lambda y: y * 1.001, "values in float32"),
    "a hole": (lambda y: torch.where(torch.arange(len(y.flatten())).view(y.shape) == 1, torch.nan, y), "off by inf"),
    "derivatives": (lambda y: Gradient.apply(y, 1.001), "derivatives in float32"),
    "second derivatives": (lambda y: y + 1e-2 * (y - y.detach()) ** 2, "derivatives in float32"),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_kernel_is_found(host, kernel, fault, monkeypatch):
    right, (wrong, said) = getattr(fused, kernel), FAULTS[fault]
    monkeypatch.setattr(fused, kernel, lambda *args, **more: wrong(right(*args, **more)))
    monkeypatch.setattr(kernels, "DTYPES", [torch.float32])
    rows = list(CHECKS[kernel](CPU))
    assert any(said in row.said() for row in rows if not row.ok), table(rows)


def test_a_wrong_kernel_is_found_in_the_phases(on_cpu, monkeypatch):
    right = fused.epilogue
    monkeypatch.setattr(fused, "epilogue", lambda *args: right(*args) * 1.01)
    wrong = {row.subject for row in CHECKS["stylegan2"](CPU) if not row.ok}
    assert wrong >= {"stylegan2 G", "stylegan2 Gpl", "stylegan2 D"}


def test_phases_that_never_call_a_kernel_do_not_pass(host):
    """Nothing sends the CPU's tensors to the kernels here."""
    wrong = {row.subject for row in CHECKS["stylegan2"](CPU) if not row.ok}
    assert wrong == {f"stylegan2 without {kernel}" for kernel in KERNELS}


def test_a_difference_is_an_error_and_noted(host, tmp_path, monkeypatch, capsys):
    library, note = tmp_path / "host.so", tmp_path / "host.cpu.json"
    library.write_bytes(host.read_bytes())
    for kernel in KERNELS:
        monkeypatch.delitem(CHECKS, kernel)
    assert main(["--device", "cpu", "--library", str(library)]) == 1  # as above, phases that call no kernel
    noted = json.loads(note.read_text())
    assert (
        not noted["passed"] and "and 3 more" in noted["reason"] and len(noted["errors"]) == 8 + 2 * len(volumes.FORMATS)
    )
    assert capsys.readouterr().err.endswith(f"compute wrong results on this GPU ({noted['reason']})\n")
    assert trust._known(note, library, "reason") == noted["reason"]
    library.write_bytes(b"built again")
    assert trust._known(note, library, "reason") is None


def test_wrong_convolutions_of_volumes_are_an_error_and_no_fault_of_the_kernels(host, tmp_path, monkeypatch, capsys):
    library, right = tmp_path / "host.so", volumes.convolve
    library.write_bytes(host.read_bytes())
    for name in list(CHECKS):
        monkeypatch.delitem(CHECKS, name)
    wrong = lambda x, *args, **more: right(x, *args, **more) * (1.1 if x.dtype == torch.bfloat16 else 1)  # noqa: E731
    monkeypatch.setattr(volumes, "convolve", wrong)
    assert main(["--device", "cpu", "--library", str(library)]) == 1
    assert json.loads((tmp_path / "host.cpu.json").read_text())["passed"]
    assert "convolutions of volumes in bfloat16 are wrong here (conv3d, values in bfloat16" in capsys.readouterr().err


def test_the_check_is_a_process_of_its_own(tmp_path):
    library = tmp_path / "broken.so"
    library.write_bytes(b"no library")
    assert "broken.so" in trust._ask(library, CPU) and list(tmp_path.iterdir()) == [library]


def test_what_cannot_be_checked_is_told_apart(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(extension, "_loaded", None)
    (tmp_path / "broken.so").write_bytes(b"no library")
    assert main(["--device", "cpu", "--library", str(tmp_path / "broken.so")]) == trust.UNCHECKED
    assert capsys.readouterr().err.startswith("error: the check could not be done: ")
    monkeypatch.setattr(extension, "load", lambda library: None)

    def full(device):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setitem(CHECKS, "bias_act", full)
    assert main(["--device", "cpu", "--library", str(tmp_path / "broken.so")]) == trust.UNCHECKED
    assert "CUDA out of memory" in capsys.readouterr().err and len(list(tmp_path.iterdir())) == 1


def test_without_a_gpu_the_check_says_so(capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main([]) == 1
    assert "torch sees no GPU here" in capsys.readouterr().err


def test_rows_are_shown_in_columns():
    rows = [Row("upfirdn", "values", "float32", 1e-6, 2e-5), Row("epilogue", "values", "bfloat16", float("inf"), 0.03)]
    assert table(rows).splitlines()[1:] == [
        "upfirdn   values  float32   1e-06          2e-05      yes",
        "epilogue  values  bfloat16  inf            0.03       NO",
    ]
    assert rows[1].json()["error"] is None and json.dumps(rows[1].json(), allow_nan=False)


# ---------------------------------------------------------------- the choice


@pytest.fixture
def gpu(tmp_path, monkeypatch) -> SimpleNamespace:
    """A GPU that is not there, kernels that are built for it, and a check that ends with ``code`` and ``stderr`` after
    it has noted ``reason``, or before (None)."""
    made = SimpleNamespace(code=0, stderr="", reason="", graphs="", delay=0.0, calls=[], loaded=[])
    made.library = tmp_path / "torch/sm90.so"
    made.record = made.library.with_name("sm90.NVIDIA-H200.json")
    made.library.parent.mkdir()
    made.library.write_bytes(b"kernels")

    def run(command, timeout, **_):
        made.calls.append(command)
        time.sleep(made.delay)
        if made.delay > timeout:
            raise subprocess.TimeoutExpired(command, timeout)
        if made.reason is not None:
            trust.note(made.library, GPU, made.reason, graphs=made.graphs)
        return SimpleNamespace(returncode=made.code, stderr=made.stderr)

    for name, value in (("count", 1), ("capability", (9, 0)), ("name", NAME)):
        known = "device_count" if name == "count" else f"get_device_{name}"
        monkeypatch.setattr(torch.cuda, known, lambda *_, value=value: value)
    monkeypatch.setattr(build, "folder", lambda: made.library.parent)
    monkeypatch.setattr(trust.subprocess, "run", run)
    monkeypatch.setattr(extension, "load", made.loaded.append)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.delenv("GAN_OPS_CACHE", raising=False)
    return made


def fails(gpu, code=1, stderr="error: the kernels are wrong", reason: str | None = "upfirdn: off by 2") -> None:
    gpu.code, gpu.stderr, gpu.reason = code, stderr, reason


@pytest.mark.parametrize("wanted", runtime.OPS)
def test_a_cpu_is_asked_nothing(gpu, wanted):
    assert check.choose(wanted, CPU) is None
    assert gpu.calls == gpu.loaded == []


def test_the_reference_needs_no_check(gpu):
    assert check.choose("reference", GPU) is None
    assert ops.chosen(GPU) == "reference" and ops.chosen(CPU) == "reference" and gpu.calls == gpu.loaded == []


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
def test_kernels_that_pass_are_used_and_checked_once(gpu, wanted, capsys):
    ops.use("reference")
    assert check.choose(wanted, GPU) is None and check.choose(wanted, GPU) is None
    assert ops.chosen(GPU) == "cuda" and gpu.loaded == [gpu.library] * 2
    expected = [sys.executable, "-m", "gan", "check", "--device", "cuda:0", "--library", str(gpu.library)]
    assert gpu.calls == [expected]
    noted = json.loads(gpu.record.read_text())
    assert (noted["passed"], noted["gpu"], noted["capability"]) == (True, NAME, [9, 0])
    assert capsys.readouterr().err.count("checking the kernels on NVIDIA H200") == 1
    gpu.library.write_bytes(b"kernels, built again")
    check.choose(wanted, GPU)
    assert len(gpu.calls) == 2


def test_a_rank_checks_the_gpu_that_it_will_have(gpu, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    check.choose("auto", GPU)
    assert "cuda:3" in gpu.calls[0]


def test_kernels_that_do_not_pass_are_an_error_or_left_alone(gpu, capsys):
    fails(gpu)
    refusal = check.choose("auto", GPU)
    assert refusal == (
        f"{gpu.record}: the kernels of gan.ops are not trusted on {NAME} (upfirdn: off by 2); "
        "repeat it with gan check, or choose ops: reference"
    )
    assert ops.chosen(GPU) == "reference" and gpu.loaded == []
    with pytest.raises(GanError, match=r"not trusted on NVIDIA H200 \(upfirdn: off by 2\); .* choose ops: reference"):
        check.choose("cuda", GPU)
    assert len(gpu.calls) == 1, "the second one has read the note"
    check.say(check.choose("auto", GPU))
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("warning: falling back to PyTorch's functions, which are slower than the kernels: ")


ILLEGAL = """Traceback (most recent call last):
  File "x.py", line 1, in <module>
torch.AcceleratorError: CUDA error: an illegal memory access was encountered
Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.
"""


@pytest.mark.parametrize(
    ("code", "stderr", "reason"),
    [
        (1, ILLEGAL, "CUDA error: an illegal memory access was encountered"),
        (-signal.SIGSEGV, "", "the check ended with code -11"),
        (-signal.SIGABRT, "terminate called", "the check ended with code -6"),
    ],
)
def test_a_check_that_crashes_has_not_been_passed(gpu, code, stderr, reason):
    fails(gpu, code, stderr, None)
    assert f"({reason})" in check.choose("auto", GPU) and f"({reason})" in check.choose("auto", GPU)
    assert json.loads(gpu.record.read_text())["reason"] == reason and len(gpu.calls) == 1


def test_graphs_are_trusted_where_they_were_checked(gpu):
    """Whatever became of the check of the graphs, that of the kernels before it holds."""
    ops.use("reference")
    assert (
        check.graphs_refused(GPU)
        == "graphs are checked with the kernels, which are not in use; resources.train.step graph takes them unchecked"
    )
    check.choose("auto", GPU)
    assert check.graphs_refused(GPU) is None
    for code, graphs in ((1, "graph of Dr1, losses in float32: off by inf"), (-signal.SIGSEGV, "has not ended")):
        gpu.record.unlink()
        fails(gpu, code, "", "")
        gpu.graphs = graphs
        assert check.choose("cuda", GPU) is None and ops.chosen(GPU) == "cuda"
        assert check.graphs_refused(GPU) == f"{gpu.record}: {graphs}"
    gpu.record.unlink()
    assert check.graphs_refused(GPU) == f"{gpu.record}: not checked"


def test_a_check_that_does_not_end_has_not_been_passed(gpu, monkeypatch):
    monkeypatch.setattr(trust, "LIMIT", 0.001)
    gpu.delay = 0.01
    assert "the check did not end within 0.001 s" in check.choose("auto", GPU)
    assert not json.loads(gpu.record.read_text())["passed"]


@pytest.mark.parametrize("code", [trust.UNCHECKED, -signal.SIGTERM, -signal.SIGKILL])
def test_a_check_that_found_nothing_out_is_done_again(gpu, code):
    fails(gpu, code, "error: the check could not be done: CUDA out of memory", None)
    assert "CUDA out of memory" in check.choose("auto", GPU) and not gpu.record.exists()
    fails(gpu, 0, "", "")
    assert check.choose("auto", GPU) is None and len(gpu.calls) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"passed": true}'])
def test_a_broken_note_is_no_note(gpu, text):
    gpu.record.write_text(text)
    assert check.choose("auto", GPU) is None and len(gpu.calls) == 1
    assert json.loads(gpu.record.read_text())["passed"]


def test_kernels_that_are_not_built_are_an_error_or_left_alone(gpu):
    gpu.library.unlink()
    with pytest.raises(GanError, match=r"not built for sm_90; run gan build-ops, or choose ops: reference"):
        check.choose("cuda", GPU)
    (gpu.library.parent / build.REFUSAL).write_text('{"refused": "no CUDA compiler"}')
    assert "not built for sm_90 (no CUDA compiler); run" in check.choose("auto", GPU)
    assert ops.chosen(GPU) == "reference" and gpu.calls == []


def test_a_read_only_cache_is_checked_each_time(gpu, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(build, "locked", refuse)  # root may write everywhere
    monkeypatch.setattr(trust, "write_json", lambda path, _: refuse(path))
    assert check.choose("auto", GPU) is None and check.choose("auto", GPU) is None
    assert len(gpu.calls) == 2 and gpu.loaded and not gpu.record.exists()


def test_a_cache_that_goes_away_under_the_check_is_told(gpu, monkeypatch):
    def vanish(*_, **__):
        gpu.library.unlink()
        return SimpleNamespace(returncode=trust.UNCHECKED, stderr="error: sm90.so: no such file")

    monkeypatch.setattr(trust.subprocess, "run", vanish)
    assert "(sm90.so: no such file)" in check.choose("auto", GPU)


def test_two_jobs_at_once_check_once(gpu):
    gpu.delay = 0.2
    jobs = [threading.Thread(target=check.choose, args=("auto", GPU)) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert len(gpu.calls) == 1 and len(gpu.loaded) == 3


def test_ranks_take_the_reference_together(monkeypatch):
    ops.use("cuda")
    assert check.agreed(None) is None and ops.chosen(GPU) == "cuda"
    monkeypatch.setattr(parallel, "from_all", lambda mine: [mine, "GPU 1 is another one"])
    assert check.agreed(None) == "GPU 1 is another one" and ops.chosen(GPU) == "reference"


def test_driver_is_read_from_what_the_kernel_says(tmp_path, monkeypatch):
    monkeypatch.setattr(trust, "DRIVER", tmp_path / "version")
    assert trust._driver() is None
    for line in ("Open Kernel Module for x86_64  580.65.06  Release", "x86_64 Kernel Module  580.65.06  Sun Jul"):
        trust.DRIVER.write_text(f"NVRM version: NVIDIA UNIX {line}\nGCC version: 12.2.0\n")
        assert trust._driver() == "580.65.06"
