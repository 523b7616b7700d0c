"""Extractors: what turns grey 8-bit images into features, as files that all cells of a study share.

A file holds what the extractor needs (weights, or where they lie and their checksum), is read with
``weights_only=True``, and its ``id`` goes with every score. To add an extractor: a class with the attributes of
`Extractor`, and its line in `make` and in `load`.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from gan.errors import GanError
from gan.files import DAMAGED, atomic_path, checksum, require_whole
from gan.metrics import inception
from gan.metrics.indomain import IndomainFeatures, train_encoder

FORMAT = "gan-extractor-1"
KINDS = ("inception", "indomain", "random")


class Extractor(Protocol):
    """id: tells two extractors apart, in every score; name: what its metrics are called by; dim: features per image."""

    id: str
    name: str
    dim: int

    def __call__(self, images: NDArray[np.uint8], /) -> NDArray[np.float32]:
        """Features [N, dim] of images [N, H, W] of one contrast. Image i's features depend on image i alone."""
        ...


def stored_to_uint8(images: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """The 8-bit grey values 0..255 of stored intensities 0..65535: x / 257, rounded."""
    # from 65407 on all round to 255: with that limit the sum fits 16 bits, and no copy is twice as large as the images
    return ((np.minimum(images, np.uint16(65407)) + np.uint16(128)) // np.uint16(257)).astype(np.uint8)


def generated_to_uint8(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The 8-bit grey values of generated intensities: (x + 1) * 127.5, rounded, clipped to 0..255."""
    return np.rint((np.asarray(images, np.float32) + 1) * 127.5).clip(0, 255).astype(np.uint8)


def make(
    kind: str,
    spec: dict[str, Any],
    training_images: Callable[[], NDArray[np.uint8]],
    device: str | torch.device = "cpu",
) -> dict[str, Any]:
    """The content of the file of an extractor, for `save`.

    kind: ``inception``, ``indomain`` or ``random``; spec: that section of the config's ``metrics``; training_images
    gives the real training slices [N, H, W], all contrasts together, and is called for ``indomain`` alone.
    """
    if kind == "inception":
        path = _inception_path(spec)
        inception.check_frozen(inception.read_weights(path, spec.get("sha256")), path)
        return {"path": str(path), "sha256": checksum(path)}
    if kind == "indomain":
        settings = {key: spec[key] for key in ("seed", "steps", "dim") if key in spec}
        return train_encoder(training_images(), device=device, **settings)
    if kind == "random":
        return {"seed": spec.get("seed", 0)}
    raise GanError(f"metrics.extractors: {kind!r} is not known; allowed: {', '.join(KINDS)}")


def save(path: str | os.PathLike, kind: str, content: dict[str, Any]) -> None:
    """Write the file of an extractor, atomically. Equal content gives equal bytes."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        torch.save({"format": FORMAT, "kind": kind, "content": content}, file)


def load(path: str | os.PathLike, device: str | torch.device = "cpu") -> Extractor:
    """Read the file of an extractor. Raises `GanError` if it, or the weights it names, is absent or broken."""
    kind, content = _read(Path(path))
    if kind == "inception":
        layers = inception.read_weights(content["path"], content["sha256"])
        return inception.InceptionFeatures(f"inception-clean-{content['sha256'][:8]}", kind, layers, device)
    if kind == "random":
        layers = inception.random_layers(content["seed"])
        return inception.InceptionFeatures(f"random-seed{content['seed']}", kind, layers, device)
    return IndomainFeatures(content, device)


def _inception_path(spec: dict[str, Any]) -> Path:
    if not spec.get("path"):
        raise GanError(
            f"metrics.extractors asks for inception, but metrics.inception.path is not set; download "
            f"{inception.WEIGHTS_URL} and give its path, or choose the extractor indomain or random"
        )
    return Path(spec["path"]).absolute()


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    remedy = "delete it and rerun the step that makes it"
    try:
        require_whole(path)
        file = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise GanError(f"{path}: no such file; run the step that makes the extractor") from error
    except (OSError, *DAMAGED) as error:
        raise GanError(f"{path}: not the file of an extractor, or a broken one; {remedy}") from error
    if not isinstance(file, dict) or file.get("format") != FORMAT or file.get("kind") not in KINDS:
        raise GanError(f"{path}: not the file of an extractor; {remedy}")
    return file["kind"], file["content"]
