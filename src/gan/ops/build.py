"""Build the kernels of `gan.ops`: ``gan build-ops``.

Once for each version of torch, of CUDA and of the sources, and for each list of architectures, into a cache that all
nodes see: the folder GAN_OPS_CACHE, else gan/ops in the user's cache. No GPU is needed. The compiler is the CUDA
toolkit's or that of the pip packages of ``pip install 'gan-study[cuda]'``; either must be of torch's own CUDA.
"""

import argparse
import contextlib
import functools
import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from gan.errors import GanError, command
from gan.files import atomic_path, read_json, take_lock, write_json

SOURCES = Path(__file__).parent / "csrc"
COMMON = (80, 90)  # A100 and H100 or H200; newer ones compile the PTX of the last when they load it
REFUSAL = "refused.json"  # next to the libraries
HOST: tuple[int, ...] = ()  # no architecture: the kernels as loops on the CPU alone


@dataclass(frozen=True)
class Toolkit:
    """A CUDA compiler and its libraries."""

    nvcc: Path
    root: Path
    version: str

    @property
    def runtime(self) -> Path:
        """The shared runtime library to link: the toolkit's, or the one installed with torch."""
        folders = [self.root / "lib64", self.root / "lib", *(root / "lib" for root in _pip_roots())]
        for folder in folders:
            for found in sorted(folder.glob("libcudart.so*")):
                return found
        raise GanError(f"{self.root}: no libcudart.so; install the CUDA runtime, pip install 'gan-study[cuda]' has it")


def cache() -> Path:
    """The folder of built libraries."""
    given = os.environ.get("GAN_OPS_CACHE")
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given).absolute() if given else Path(user) / "gan" / "ops"


def folder() -> Path:
    """The part of the cache that is for this torch and these sources."""
    digest = hashlib.sha256()
    for path in sorted([*SOURCES.iterdir(), Path(__file__)]):
        digest.update(path.name.encode() + path.read_bytes())
    return cache() / f"torch{torch.__version__}-cuda{torch.version.cuda or 'none'}-{digest.hexdigest()[:12]}"


def library(architectures: Sequence[int]) -> Path:
    """The file of a library for these architectures, built or not."""
    return folder() / f"{'-'.join(f'sm{arch}' for arch in sorted(set(architectures))) or 'host'}.so"


def default_architectures() -> tuple[int, ...]:
    """The architectures of the visible GPUs, or the `COMMON` ones."""
    seen = {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
    return tuple(sorted(10 * major + minor for major, minor in seen)) or COMMON


def build(architectures: Sequence[int] | None = None) -> Path:
    """The library for ``architectures`` (80 for sm_80), compiled unless it is in the cache.

    None: `default_architectures`; `HOST`: CPU only, without nvcc. Whoever comes while another process compiles the
    same waits for it. `GanError` without a compiler, and when it fails, which names the log.
    """
    chosen = sorted(set(default_architectures() if architectures is None else architectures))
    path = library(chosen)
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")):
        if not path.exists():
            _compile(path, chosen)
    return path


def refused() -> str | None:
    """Why an optional build (``--optional``) made no library for this torch and these sources."""
    with contextlib.suppress(GanError, OSError, LookupError, TypeError):
        return read_json(folder() / REFUSAL)["refused"]
    return None


def prefix() -> str:
    """The prefix that a command needs to find this cache."""
    given = os.environ.get("GAN_OPS_CACHE")
    return f"GAN_OPS_CACHE={shlex.quote(given)} " if given else ""


def find_toolkit() -> Toolkit:
    """The compiler of torch's CUDA: of CUDA_HOME, from pip, on the PATH (behind wrappers), or in /usr/local."""
    wanted = torch.version.cuda
    if wanted is None:
        raise GanError("torch is built without CUDA: no kernels can be built; install a torch with CUDA")
    others = []
    for nvcc in _compilers(wanted):
        found = _toolkit(nvcc)
        if found and found.version.split(".")[0] == wanted.split(".")[0]:
            return found
        others.append(f"{nvcc} is {'of CUDA ' + found.version if found else 'no working nvcc'}")
    raise GanError(
        f"no CUDA compiler for torch's CUDA {wanted}{' (' + '; '.join(others) + ')' if others else ''}: "
        f"set CUDA_HOME to a toolkit of that version, or pip install 'gan-study[cuda]'"
    )


def _compilers(version: str) -> Iterator[Path]:
    roots = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    candidates = [root / "bin/nvcc" for root in (*roots, *_pip_roots())]
    candidates += [Path(found)] if (found := shutil.which("nvcc")) else []
    candidates += [Path(f"/usr/local/{name}/bin/nvcc") for name in (f"cuda-{version}", "cuda")]
    yield from dict.fromkeys(path for path in candidates if path.exists())


def _pip_roots() -> list[Path]:
    """Where the packages nvidia-* of torch's CUDA unpack to."""
    spec = importlib.util.find_spec("nvidia")
    name = f"cu{(torch.version.cuda or '').split('.')[0]}"
    return [Path(place) / name for place in (spec.submodule_search_locations or [])] if spec else []


def _toolkit(nvcc: Path) -> Toolkit | None:
    """Query the compiler, which may be a script that starts the real one elsewhere; None if it does not answer."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        said = subprocess.run([nvcc, "--version"], capture_output=True, text=True, timeout=60).stdout
        steps = subprocess.run([nvcc, "--dryrun", "-x", "cu", "-c", os.devnull, "-o", os.devnull],
                               capture_output=True, text=True, timeout=60).stderr  # fmt: skip
        version, top = re.search(r"release (\d+\.\d+)", said), re.search(r"^#\$ TOP=(.+)$", steps, re.MULTILINE)
        if version and top:
            root = Path(top[1].strip()).resolve()
            return Toolkit(root / "bin/nvcc", root, version[1])
    return None


@functools.cache
def _cxx() -> str:
    given = os.environ.get("CXX")
    found = shutil.which(given) if given else shutil.which("c++") or shutil.which("g++")
    if not found:
        raise GanError(f"no C++ compiler{f' {given} (CXX)' if given else ''}: install g++, or name one in CXX")
    return found


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock ``path``, after waiting for its holder. OSError without write access or locks."""
    with open(path, "w") as file:
        take_lock(file, wait=True)
        yield


def _compile(path: Path, architectures: Sequence[int]) -> None:
    rules, log = _ninja(architectures), path.with_suffix(".log")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".build-") as scratch:
        (Path(scratch) / "build.ninja").write_text(rules, encoding="utf-8")
        with open(log, "w", encoding="utf-8") as output:
            ninja = [sys.executable, "-m", "ninja", "-C", scratch, "-v"]
            failed = subprocess.run(ninja, stdout=output, stderr=subprocess.STDOUT).returncode
        if failed:
            text = log.read_text(encoding="utf-8", errors="replace")
            first = re.search(r"^.*\b(?:error|fatal|No module).*$", text, re.MULTILINE | re.IGNORECASE)
            raise GanError(f"{log}: the kernels of gan.ops do not build ({first[0].strip() if first else 'see there'})")
        with atomic_path(path) as temporary:
            shutil.copyfile(Path(scratch) / "gan_ops.so", temporary)


def _ninja(architectures: Sequence[int]) -> str:
    """The build file: each .cu once as CUDA and once as C++, and the file that registers them."""
    root, cxx = Path(torch.__file__).parent, _cxx()
    cuda = find_toolkit() if architectures else None
    includes, libraries = [root / "include"], ["-L", root / "lib", "-lc10", "-ltorch_cpu"]
    flags = ["-std=c++20", "-fPIC", f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"]
    device, link = [], [cxx, "-shared", "-o", "$out", "$in"]
    if cuda:
        includes += [cuda.root / "include", *(root / "include" for root in _pip_roots())]
        libraries += ["-lc10_cuda", cuda.runtime]
        targets = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in architectures]
        targets += [f"-gencode=arch=compute_{architectures[-1]},code=compute_{architectures[-1]}"]
        device = [cuda.nvcc, "-ccbin", cxx, "-std=c++20", "-O3", "-Xcompiler", "-fPIC", *targets]
        flags += ["-DGAN_CUDA"]
    headers = [f"-I{include}" for include in includes if include.is_dir()]
    text = _rule("cxx", [cxx, *flags, "-O2", *headers, "-x", "c++", "-c", "$in", "-o", "$out"])
    text += _rule("link", [*link, *libraries])
    text += _rule("nvcc", [*device, headers[0], "-c", "$in", "-o", "$out"]) if cuda else ""
    objects = []
    for source in sorted(SOURCES.glob("*.c*")):
        kinds = {**({"nvcc": ".cuda.o"} if cuda and source.suffix == ".cu" else {}), "cxx": ".o"}
        for rule, suffix in kinds.items():
            text += f"build {source.stem}{suffix}: {rule} {_escaped(source)}\n"
            objects.append(f"{source.stem}{suffix}")
    return f"{text}build gan_ops.so: link {' '.join(objects)}\n"


def _rule(name: str, words: Sequence[object]) -> str:
    quoted = (str(word) if word in ("$in", "$out") else shlex.quote(str(word)).replace("$", "$$") for word in words)
    return f"rule {name}\n  command = {' '.join(quoted)}\n"


def _escaped(path: Path) -> str:
    return re.sub(r"([$ :])", r"$\1", str(path))


def parse_architectures(text: str) -> tuple[int, ...]:
    """``80,90``, also ``8.0``; ``host`` for none."""
    if text == "host":
        return HOST
    words = text.replace(".", "").split(",")
    if not all(re.fullmatch(r"\d{2,3}", word.strip()) for word in words):
        raise GanError(f"--arch {text}: not a list of compute capabilities; give for example 80,90")
    return tuple(int(word) for word in words)


@command
def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="gan build-ops", description="Build the CUDA kernels of gan.ops.")
    parser.add_argument("--arch", help="compute capabilities, as 80,90 (those of the visible GPUs, else 80,90)")
    parser.add_argument("--receipt", type=Path, help="JSON file that says what was built")
    parser.add_argument("--optional", action="store_true", help="if the build fails, record why and exit with 0")
    given = parser.parse_args(argv)
    architectures = parse_architectures(given.arch) if given.arch else default_architectures()
    start, receipt = time.monotonic(), {"torch": torch.__version__, "cuda": torch.version.cuda}
    try:
        path = build(architectures)
    except GanError as error:
        if not given.optional:
            raise
        receipt |= {"library": None, "refused": str(error)}
        write_json(folder() / REFUSAL, receipt)
        print(f"no kernels: {error}")
    else:
        receipt |= {"library": str(path), "architectures": list(architectures)}
        (folder() / REFUSAL).unlink(missing_ok=True)
        print(f"{path} ({time.monotonic() - start:.0f} s)")
    if given.receipt:
        write_json(given.receipt, receipt)
    return 0
