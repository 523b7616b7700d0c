"""The file of an extractor, which all cells of a study share.

It holds what the extractor needs: weights, or where they lie and their checksum.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from gan.errors import GanError
from gan.families.contract import Encoder
from gan.files import DAMAGED, atomic_path, require_whole
from gan.scoring.extractors import registry

FORMAT = "gan-extractor-1"
LEFT_OUT = "left_out"  # key of the content of an extractor that could not be made: why


class Extractor(Protocol):
    """id: tells two extractors apart, in every score; name: its folder; dim: features per image."""

    id: str
    name: str
    dim: int

    def __call__(self, images: NDArray[np.uint8], /) -> NDArray[np.float32]:
        """Features [N, dim] of images [N, H, W], or volumes [N, D, H, W], of one contrast, each of its image alone."""
        ...


def make(
    kind: str,
    spec: dict[str, Any],
    training_images: Callable[[], NDArray[np.uint8]],
    device: str | torch.device = "cpu",
) -> dict[str, Any]:
    """The content of the file of the extractor ``kind``, for `save`.

    spec: that section of the config's ``metrics``; training_images gives the real training slices [N, H, W], or volumes
    [N, D, H, W], all contrasts together, and is called by an extractor that is trained.
    """
    options = registry.options(kind, spec)
    return registry.model(kind).make(options, training_images, device)


def save(path: str | os.PathLike, kind: str, content: dict[str, Any]) -> None:
    """Write the file of an extractor, atomically. Equal content gives equal bytes."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        torch.save({"format": FORMAT, "kind": kind, "content": content}, file)


def kind(path: str | os.PathLike) -> str:
    """Which extractor the file ``path`` is of."""
    return _read(Path(path))[0]


def left_out(path: str | os.PathLike) -> str | None:
    """Why the extractor of the file ``path`` could not be made of its data set; None if it was."""
    return _read(Path(path))[1].get(LEFT_OUT)


def load(path: str | os.PathLike, device: str | torch.device = "cpu") -> Extractor:
    """Read the file of an extractor. Raises `GanError` if it, or the weights it names, is absent or broken, or if it is
    left out."""
    kind, content = _read(Path(path))
    if LEFT_OUT in content:
        raise GanError(f"{path}: {kind} is left out: {content[LEFT_OUT]}")
    return registry.model(kind).load(content, device)


def load_encoder(path: str | os.PathLike, device: str | torch.device = "cpu") -> Encoder:
    """The feature maps of the extractor in the file ``path``. `GanError` as of `load`, or if it has none."""
    kind, content = _read(Path(path))
    if not hasattr(registry.model(kind), "encoder"):
        raise GanError(f"{path}: the extractor {kind} has no feature maps; name another one in options.features")
    return registry.model(kind).encoder(content, device)


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    remedy = "delete it and rerun the step that makes it"
    try:
        require_whole(path)
        file = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise GanError(f"{path}: no such file; run the step that makes the extractor") from error
    except (OSError, *DAMAGED) as error:
        raise GanError(f"{path}: not the file of an extractor, or a broken one; {remedy}") from error
    if not isinstance(file, dict) or file.get("format") != FORMAT or file.get("kind") not in registry.names():
        raise GanError(f"{path}: not the file of an extractor; {remedy}")
    return file["kind"], file["content"]
