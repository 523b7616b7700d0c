"""A generator as safetensors: weights and strings, no code, readable by programs that know nothing of this one."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan.errors import GanError
from gan.files import atomic_path

SUFFIX = ".safetensors"
REMEDY = "install the extra: pip install 'gan-study[export]'"


def write_tensors(path: str | os.PathLike, content: Mapping[str, Any], about: Mapping[str, str]) -> None:
    """Write the ``state`` of ``content`` (`gan.sampling.snapshot.content_of`) as tensors, all else as strings of JSON.

    about: further strings of the file's ``__metadata__``. Equal content gives equal bytes. `GanError` without the
    package safetensors.
    """
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in content["state"].items()}
    texts = {key: json.dumps(value) for key, value in content.items() if key != "state"}
    data = _package().torch.save(state, metadata={**texts, **about})
    # The package writes the strings in any order; sorted, the header has the same length.
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.write(memoryview(data)[start:])


def read_tensors(path: Path, lazy: bool = False) -> dict[str, Any]:
    """The content of a file of `write_tensors`; lazy: without its ``state``. `GanError` if it is damaged or another."""
    package = _package()
    try:
        with package.safe_open(path, framework="pt") as file:
            texts = dict(file.metadata() or {})
            state = {} if lazy else {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        content = {key: json.loads(texts[key]) for key in KEYS}
    except (package.SafetensorError, KeyError, ValueError) as error:
        raise GanError(f"{path}: no generator of this program, or a damaged one; export it again") from error
    return content | {"state": state}


KEYS = ("format", "family", "options", "shape", "batch", "kimg", "run_key", "data")


def require_tensors() -> None:
    """`GanError` without the package safetensors."""
    _package()


def _package() -> Any:
    try:
        import safetensors
        import safetensors.torch
    except ImportError as error:
        raise GanError(f"the package safetensors is missing; {REMEDY}") from error
    return safetensors
