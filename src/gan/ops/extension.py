"""Which implementation CUDA tensors use, and the library of the kernels (built by `gan.ops.build`).

CUDA tensors of float32, float16 and bfloat16 go to the kernels, and it is an error if they have not been built; after
``use("reference")`` they take the functions of PyTorch, as those of other devices do. The programs ask `gan.check`
which of the two it is to be.
"""

from pathlib import Path

import torch
from torch import Tensor

from gan.errors import GanError
from gan.ops import build, fused

IMPLEMENTATIONS = ("cuda", "reference")
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)

_chosen = "cuda"
_loaded: Path | None = None


def use(implementation: str) -> None:
    """Choose for CUDA tensors: ``cuda``, the kernels, or ``reference``, PyTorch's functions. ValueError for another."""
    global _chosen
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(f"ops: no implementation {implementation!r}; there are {', '.join(IMPLEMENTATIONS)}")
    _chosen = implementation


def chosen(device: torch.device) -> str:
    """The implementation for tensors of ``device``."""
    return _chosen if device.type == "cuda" else "reference"


def takes(x: Tensor) -> bool:
    """Whether ``x`` goes to the kernels; loads them when first needed, `GanError` if they have not been built."""
    if not x.is_cuda or _chosen == "reference" or x.dtype not in _DTYPES:
        return False
    if _loaded is None:
        load(find())
    return True


def find() -> Path:
    """A built library for all visible GPUs; `GanError` says how to build one."""
    count = torch.cuda.device_count()
    seen = sorted({torch.cuda.get_device_capability(i) for i in range(count)})
    for path in sorted(build.folder().glob("sm*.so")):
        if all(serves(path, *capability) for capability in seen):
            return path
    names = ", ".join(f"sm_{major}{minor}" for major, minor in seen)
    why = f" ({refused})" if (refused := build.refused()) else ""
    raise GanError(
        f"{build.folder()}: the kernels of gan.ops are not built for {names or 'a GPU'}{why}; "
        f"run {build.prefix()}gan build-ops, or choose ops: reference"
    )


def serves(library: Path, major: int, minor: int) -> bool:
    """Whether a library runs on GPUs of this capability: code of the same generation, or the PTX of its last one."""
    architectures = sorted(int(name.removeprefix("sm")) for name in library.stem.split("-"))
    own = 10 * major + minor
    return architectures[-1] <= own or any(arch // 10 == major and arch <= own for arch in architectures)


def load(library: Path) -> None:
    """Make `torch.ops.gan` of ``library``, once in a process."""
    global _loaded
    if _loaded is None:
        torch.ops.load_library(str(library))
        fused.register()
        _loaded = library
