"""The generator as a self-contained file: how it is built, its weights, and what its images mean."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gan.errors import GanError
from gan.families.contract import ImageShape, Latents
from gan.families.registry import families, make_options
from gan.files import DAMAGED, atomic_path, require_whole

FORMAT = "gan-generator-1"
CHUNK = 16  # images drawn at a time: fixed, so that image i depends on (seed, i) and not on their number


@dataclass(frozen=True)
class Snapshot:
    """The moving average of `Variant.kept`, with its metadata.

    network: in evaluation mode; options: of the family, complete; batch: images per training step; kimg: thousands of
    real images seen. data: ``channels``, ``mask``, ``labels``, ``label_counts``, ``intensity``, ``spacing`` (mm),
    ``full_scale`` (a channel's stored value that is 1 here) and the other metadata of the store.
    """

    network: nn.Module
    family: str
    options: dict[str, Any]
    shape: ImageShape
    batch: int
    kimg: float = 0.0
    run_key: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        """Names of the classes; empty for an unconditional generator."""
        return list(self.data.get("labels") or map(str, range(self.shape.labels))) if self.shape.labels else []

    @property
    def mask_labels(self) -> int:
        """The largest label of the mask, which is the last channel; 0 without a mask."""
        return self.data["full_scale"][-1] if self.data.get("mask") else 0

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.network.parameters()).device

    def sample(
        self, n: int, seed: int, labels: int | Sequence[int] | np.ndarray | None = None, truncation: float = 1.0
    ) -> Tensor:
        """``n`` images float32 [n, C, *size] in about [-1, 1], on the CPU. See `chunks`."""
        return torch.cat(list(self.chunks(n, seed, labels, truncation)))

    def chunks(
        self, n: int, seed: int, labels: int | Sequence[int] | np.ndarray | None = None, truncation: float = 1.0
    ) -> Iterator[Tensor]:
        """The images of `sample`, at most 16 at a time.

        Image i depends on ``seed`` and i alone (latent, label, noise), not on ``n``. labels: one class for all, or one
        each; None draws them as often as they occur in the training images. truncation: 1 draws from the whole
        distribution, 0 gives the mean. `GanError` if classes are given and the generator has none.
        """
        if n < 1:
            raise GanError(f"{n} images requested; request at least 1")
        whole = -(-n // CHUNK) * CHUNK  # the last chunk is drawn in full: a smaller batch gets other noise
        z, classes = self.latents(whole, seed)
        if labels is not None:
            classes[:n] = self._classes(n, labels)
        for first in range(0, n, CHUNK):
            part = slice(first, first + CHUNK)
            yield self.render(z[part], classes[part], seed, first // CHUNK, truncation)[: n - first]

    def latents(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """Latents float32 [n, z_dim] and classes int64 [n] of the first ``n`` images of ``seed``, on the CPU."""
        z, classes = zip(*(self._latents(seed, chunk) for chunk in range(-(-n // CHUNK))), strict=True)
        return torch.cat(z)[:n], torch.cat(classes)[:n]

    def _latents(self, seed: int, chunk: int) -> tuple[Tensor, Tensor]:
        random = torch.Generator().manual_seed(_mix(seed, chunk, 0))
        z = torch.randn(CHUNK, self.options["z_dim"], generator=random)
        counts = self.data.get("label_counts") or [1] * self.shape.labels
        if not self.shape.labels:
            return z, torch.zeros(CHUNK, dtype=torch.int64)
        frequency = torch.tensor(counts, dtype=torch.float64)
        return z, torch.multinomial(frequency, CHUNK, replacement=True, generator=random)

    def render(self, z: Tensor, classes: Tensor, seed: int, chunk: int, truncation: float = 1.0) -> Tensor:
        """Images [N, C, *size] of latents [N, z_dim] and classes [N]; ``seed`` and ``chunk`` decide the noise."""
        request = Latents(z.to(self.device), self.one_hot(classes), truncation)
        with torch.no_grad(), self.noise(seed, chunk):
            return families()[self.family].variant.draw(self.network, request).float().cpu()

    def one_hot(self, classes: Tensor) -> Tensor:
        """Classes int64 [N] as float32 [N, labels] on the device of the network; width 0 without labels."""
        if not self.shape.labels:
            return torch.zeros(len(classes), 0, device=self.device)
        return nn.functional.one_hot(classes.to(self.device), self.shape.labels).float()

    @contextlib.contextmanager
    def noise(self, seed: int, chunk: int) -> Iterator[None]:
        """Context in which the default random generators are seeded; afterwards they are restored."""
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(_mix(seed, chunk, 1))
            yield

    def _classes(self, n: int, labels: int | Sequence[int] | np.ndarray) -> Tensor:
        if not self.shape.labels:
            raise GanError("this generator was trained without labels; leave the label out")
        classes = np.broadcast_to(np.asarray(labels, dtype=np.int64), (n,))
        if classes.min() < 0 or classes.max() >= self.shape.labels:
            raise GanError(f"label {int(classes.max())} is not known; allowed: 0 to {self.shape.labels - 1}")
        return torch.tensor(classes)


def save_generator(path: str | os.PathLike, snapshot: Snapshot) -> None:
    """Write a snapshot, atomically. Equal weights give equal bytes."""
    content = {
        "format": FORMAT,
        "family": snapshot.family,
        "options": snapshot.options,
        "shape": asdict(snapshot.shape) | {"size": list(snapshot.shape.size)},
        "batch": snapshot.batch,
        "state": {name: value.detach().cpu() for name, value in snapshot.network.state_dict().items()},
        "kimg": snapshot.kimg,
        "run_key": snapshot.run_key,
        "data": snapshot.data,
    }
    # torch names the archive after a path, but not after an open file: the bytes must not hold a temporary name
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        torch.save(content, file)


def load_generator(path: str | os.PathLike, device: str | torch.device = "cpu") -> Snapshot:
    """Read a file of `save_generator`. `GanError` if it is absent, broken or of another format."""
    content = _read(Path(path))
    shape = ImageShape(**content["shape"] | {"size": tuple(content["shape"]["size"])})
    options = make_options(content["family"], content["options"])
    with torch.random.fork_rng(devices=[]):
        network = families()[content["family"]].variant.build_kept(options, shape)
    try:
        network.load_state_dict(content["state"])
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise GanError(f"{path}: its weights do not fit {content['family']} ({reason}); train it again") from error
    network = network.to(device).eval().requires_grad_(False)
    rest = {key: content[key] for key in ("family", "options", "batch", "kimg", "run_key", "data")}
    return Snapshot(network=network, shape=shape, **rest)


def load_header(path: str | os.PathLike) -> dict[str, Any]:
    """Read a file of `save_generator` without its weights: run_key, kimg, options and the rest.

    `GanError` as `load_generator`.
    """
    return {key: value for key, value in _read(Path(path), lazy=True).items() if key != "state"}


def _read(path: Path, lazy: bool = False) -> dict[str, Any]:
    try:
        if not lazy:
            require_whole(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=lazy)
    except FileNotFoundError as error:
        raise GanError(f"{path}: no such file; name the generator.pt of a trained cell") from error
    except (OSError, *DAMAGED) as error:
        raise GanError(
            f"{path}: not a generator file, or a broken one; name a generator.pt or train it again"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise GanError(
            f"{path}: format is {found!r}, expected {FORMAT!r}; name a generator.pt or a snapshot of this program"
        )
    return content


def _mix(*numbers: int) -> int:
    """One seed out of several, as numpy's SeedSequence mixes them."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
