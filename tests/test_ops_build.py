"""Building the kernels: for GPUs without a GPU, behind a wrapper, twice at once, and what is said when it fails."""

import contextlib
import importlib.util
import json
import multiprocessing
import os
import struct
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch

from gan.errors import GanError
from gan.ops import build, extension


def _nvcc() -> Path | None:
    with contextlib.suppress(GanError):
        return build.find_toolkit().nvcc
    return None


NVCC = _nvcc()
needs_nvcc = pytest.mark.skipif(NVCC is None, reason="no nvcc of torch's CUDA; pip install 'gan-study[cuda]' has one")
SAMPLE = "import sys; from pathlib import Path; from gan.ops import extension; extension.load(Path(sys.argv[1]))"
SCHEMAS = {
    "bias_act",
    "bias_act_gradient",
    "epilogue",
    "epilogue_gradient",
    "upfirdn",
    "affine_resample",
    "affine_resample_adjoint",
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GAN_OPS_CACHE", str(tmp_path / "cache with $pace"))
    for name in ("CUDA_HOME", "CUDA_PATH", "CXX"):
        monkeypatch.delenv(name, raising=False)
    build._cxx.cache_clear()
    return tmp_path / "cache with $pace"


@pytest.fixture
def sources(tmp_path, monkeypatch) -> Path:
    """Sources that compile in a second: kernels that do nothing, beside a library that registers nothing."""
    folder = tmp_path / "csrc"
    folder.mkdir()
    (folder / "kernel.cu").write_text("#ifdef __CUDACC__\n__global__ void kernel() {}\n#endif\n")
    (folder / "library.cpp").write_text("int library() { return 1; }\n")
    monkeypatch.setattr(build, "SOURCES", folder)
    return folder


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def unoptimised(tmp_path, monkeypatch) -> None:
    """Lets the compilers leave out what takes most of their time. In a cache of its own: no other test may run it."""
    monkeypatch.setenv("NVCC_APPEND_FLAGS", "-Xcicc -O0 -Xptxas -O0")
    monkeypatch.setenv("CXX", str(program(tmp_path / "bin/cxx", 'exec c++ "$@" -O0')))


@needs_nvcc
@pytest.mark.timeout(1800)  # 45 s of CPU time
def test_the_kernels_compile_and_load_without_a_gpu(request, unoptimised, monkeypatch):
    """For the oldest architecture: the newer ones can do what it can."""
    monkeypatch.setenv("GAN_OPS_CACHE", str(request.config.cache.mkdir("gan_ops_unoptimised")))
    receipt = Path(os.environ["GAN_OPS_CACHE"]) / "receipt.json"
    assert build.main(["--arch", "8.0", "--receipt", str(receipt)]) == 0
    path = Path(json.loads(receipt.read_text())["library"])
    assert path == build.library((80,))
    code = f"""{SAMPLE}
import torch
x = torch.empty(2, 8, 4, 6, device="meta").to(memory_format=torch.channels_last)
for name in {sorted(SCHEMAS)!r}:
    op = getattr(torch.ops.gan, name).default
    for key in ("CPU", "CUDA", "Autograd"):
        assert torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), key), (name, key)
y = torch.ops.gan.upfirdn(x, torch.empty(4, device="meta"), 2, 1, [2, 1, 2, 1], 4.0, False)
assert y.shape == (2, 8, 8, 12) and y.is_contiguous(memory_format=torch.channels_last)
"""
    subprocess.run([sys.executable, "-c", code, path], check=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    assert device_code(path) == {("elf", 80), ("ptx", 80)}


@needs_nvcc
def test_a_library_has_code_for_each_architecture_and_ptx_for_later_ones(sources):
    assert build.main(["--arch", "80,9.0"]) == 0
    assert device_code(build.library((80, 90))) == {("elf", 80), ("elf", 90), ("ptx", 90)}


def device_code(path: Path) -> set[tuple[str, int]]:
    """Kind and architecture of what the fat binaries in a library hold."""
    data, at, found = path.read_bytes(), -1, set()
    while (at := data.find(struct.pack("<I", 0xBA55ED50), at + 1)) >= 0:
        _, _, header, size = struct.unpack_from("<IHHQ", data, at)
        entry, end = at + header, at + header + size
        while entry < end:
            kind, _, header, size = struct.unpack_from("<HHIQ", data, entry)
            found.add(({1: "ptx", 2: "elf"}[kind], struct.unpack_from("<I", data, entry + 28)[0]))
            entry += header + size
    return found


@needs_nvcc
def test_the_toolkit_is_found_behind_a_wrapper(tmp_path, monkeypatch):
    wrapper = program(tmp_path / "bin/nvcc", f'exec {NVCC} "$@"')
    monkeypatch.setattr(build, "_compilers", lambda version: iter([wrapper]))
    found = build.find_toolkit()
    assert (found.root / "include/cuda_runtime.h").exists() and found.runtime.exists()
    assert found.nvcc.read_bytes()[:4] == b"\x7fELF"


@needs_nvcc
def test_a_toolkit_from_pip_comes_before_the_path_and_cuda_home_before_both(tmp_path, monkeypatch):
    real = build._toolkit(Path(NVCC)).root
    pip = tmp_path / "nvidia" / f"cu{torch.version.cuda.split('.')[0]}"
    pip.mkdir(parents=True)
    for part in real.iterdir():
        (pip / part.name).symlink_to(part)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.util.find_spec("nvidia").submodule_search_locations._recalculate()
    first, *rest = build._compilers(torch.version.cuda)
    assert first == pip / "bin/nvcc" and rest
    monkeypatch.setenv("CUDA_HOME", str(real))
    assert next(build._compilers(torch.version.cuda)) == real / "bin/nvcc"


def test_another_cuda_or_none_is_an_error_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    old = program(tmp_path / "old/bin/nvcc", 'echo "Cuda compilation tools, release 12.4, V12"; echo "#$ TOP=/x" >&2')
    broken = program(tmp_path / "broken/bin/nvcc", "exit 1")
    monkeypatch.setattr(build, "_compilers", lambda version: iter([old, broken]))
    with pytest.raises(GanError, match=r"old/bin/nvcc is of CUDA 12.4; .*broken.*no working nvcc.*CUDA_HOME.*\[cuda\]"):
        build.find_toolkit()
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(GanError, match="torch with CUDA"):
        build.find_toolkit()


def test_a_missing_cxx_compiler_is_an_error(monkeypatch, sources):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(GanError, match=r"no-such-compiler \(CXX\): install g\+\+"):
        build.build(build.HOST)


def test_without_a_compiler_the_build_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "_compilers", lambda version: iter(()))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert build.main(["--receipt", str(tmp_path / "receipt.json")]) == 1
    assert "no CUDA compiler" in capsys.readouterr().err and not (tmp_path / "receipt.json").exists()


def test_a_build_that_may_fail_notes_why_until_one_succeeds(tmp_path, sources, monkeypatch, capsys):
    monkeypatch.setattr(torch.version, "cuda", None)
    receipt = tmp_path / "receipt.json"
    assert build.refused() is None
    assert build.main(["--optional", "--arch", "90", "--receipt", str(receipt)]) == 0
    assert capsys.readouterr().out.startswith("no kernels: torch is built without CUDA")
    found = json.loads(receipt.read_text())
    assert found["library"] is None and found["refused"] == build.refused() and "without CUDA" in found["refused"]
    assert build.main(["--optional", "--arch", "host", "--receipt", str(receipt)]) == 0
    assert json.loads(receipt.read_text())["library"] == str(build.library(build.HOST)) and build.refused() is None


def test_a_source_that_does_not_compile_is_one_line_with_the_log(sources, capsys):
    (sources / "library.cpp").write_text("int library() { return nonsense; }\n")
    assert build.main(["--arch", "host"]) == 1
    said = capsys.readouterr().err
    log = build.library(build.HOST).with_suffix(".log")
    assert said.startswith(f"error: {log}: ") and said.count("\n") == 1 and "nonsense" in said
    assert "nonsense" in log.read_text() and not build.library(build.HOST).exists()
    (sources / "library.cpp").write_text("int library() { return 1; }\n")
    assert build.build(build.HOST).exists()


def test_two_builds_at_once_compile_once(sources, tmp_path, monkeypatch):
    calls = tmp_path / "calls"
    cxx = program(tmp_path / "bin/cxx", f'echo "$@" >> {calls}; sleep 0.5; exec c++ "$@"')
    monkeypatch.setenv("CXX", str(cxx))
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        paths = {job.result(timeout=120) for job in [pool.submit(build.build, build.HOST) for _ in range(2)]}
    assert paths == {build.library(build.HOST)}
    assert sum(" -c " in line for line in calls.read_text().splitlines()) == 2  # of two sources
    assert {path.suffix for path in build.folder().iterdir()} == {".so", ".lock", ".log"}


def test_a_changed_source_and_another_torch_have_libraries_of_their_own(sources, monkeypatch):
    before = build.folder()
    (sources / "library.cpp").write_text("int library() { return 2; }\n")
    changed = build.folder()
    monkeypatch.setattr(torch, "__version__", "9.9")
    assert len({before, changed, build.folder()}) == 3


@pytest.mark.parametrize("text", ["ninety", "80;90", "", "8"])
def test_bad_architectures_are_named(text):
    with pytest.raises(GanError, match="80,90"):
        build.parse_architectures(text)


def test_architectures_and_the_gpus_that_they_serve():
    assert build.parse_architectures("8.0, 90") == (80, 90)
    library = Path("sm80-sm90.so")
    assert [extension.serves(library, *gpu) for gpu in ((8, 0), (8, 6), (9, 0), (12, 0), (7, 5))] == [True] * 4 + [
        False
    ]
    assert not extension.serves(Path("sm86-sm120.so"), 9, 0)


def test_a_gpu_without_kernels_is_an_error_unless_the_reference_is_asked_for(monkeypatch):
    class OnGpu:
        is_cuda, dtype = True, torch.float32

    monkeypatch.setattr(extension, "_loaded", None)
    monkeypatch.setattr(extension, "_chosen", "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda i: (9, 0))
    said = r"not built for sm_90; run GAN_OPS_CACHE='.*' gan build-ops, or choose ops: reference"
    with pytest.raises(GanError, match=said):
        extension.takes(OnGpu())
    monkeypatch.setattr(extension, "_chosen", "reference")
    assert not extension.takes(OnGpu())
    with pytest.raises(ValueError, match="cuda, reference"):
        extension.use("fast")
