"""The generator as a self-contained file: how it is built, its weights, and what its images mean."""

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gan.errors import GanError
from gan.families.contract import Dataset, ImageShape, Request, Source
from gan.families.registry import defaults, families, make_options
from gan.files import DAMAGED, atomic_path, read_json, require_whole
from gan.masks import collapse
from gan.sampling.tensors import SUFFIX, read_tensors
from gan.study import run_key
from gan.terms import FILE, Terms, of_study

FORMAT = "gan-generator-1"


@dataclass(frozen=True)
class Snapshot:
    """The moving average of `Variant.kept`, with its metadata.

    network: in evaluation mode; options: of the family, complete; batch: images per training step; kimg: thousands of
    real images seen. data: ``channels``, ``mask``, ``labels``, ``label_counts``, ``intensity``, ``spacing`` (mm),
    ``full_scale`` (a channel's stored value that is 1 here), ``terms`` (`gan.terms.Terms.record`) and the other
    metadata of the store. present: what the study of the file declares by now, if it is in its place there.
    """

    network: nn.Module
    family: str
    options: dict[str, Any]
    shape: ImageShape
    batch: int
    kimg: float = 0.0
    run_key: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    present: Terms | None = None

    @classmethod
    def of(cls, recipe: dict[str, Any], network: nn.Module, dataset: Dataset, kimg: float) -> "Snapshot":
        """The snapshot of ``network``, which ``recipe`` describes, after ``kimg`` of ``dataset``."""
        family = recipe["variant"]["family"]
        options = defaults(family) | recipe["variant"]["options"]
        batch, key = recipe["training"]["batch"], run_key(recipe)
        return cls(network, family, options, dataset.shape, batch, kimg, key, dataset.meta)

    @property
    def labels(self) -> list[str]:
        """Names of the classes; empty for an unconditional generator."""
        return list(self.data.get("labels") or map(str, range(self.shape.labels))) if self.shape.labels else []

    def class_of(self, name: str) -> int:
        """The class called ``name``; `GanError` lists what is allowed."""
        if not self.labels:
            raise GanError(f"--label {name}: this generator was trained without labels; leave --label out")
        if name not in self.labels:
            raise GanError(f"--label {name}: not known to this generator; allowed: {', '.join(self.labels)}")
        return self.labels.index(name)

    @property
    def task(self) -> dict[str, Any] | None:
        """``translate`` of the data set's row, if it translates; None for what has latents, or fixed images."""
        return self.data.get("translate") if families()[self.family].model.request is Source else None

    @property
    def shows_patients(self) -> bool:
        """See `gan.families.options.Options.shows_patients`."""
        return make_options(self.family, self.options).shows_patients("translate" in self.data)

    @property
    def about(self) -> dict[str, Any]:
        """See `gan.families.options.Options.about`."""
        return make_options(self.family, self.options).about("translate" in self.data)

    @property
    def terms(self) -> Terms:
        """The terms of what it makes: the present ones of its study, else those that its file holds."""
        return self.present or Terms.read(self.data.get("terms"))

    @property
    def terms_of(self) -> str:
        """Whose `terms` they are."""
        return "study" if self.present else "generator"

    @property
    def mask_labels(self) -> int:
        """The largest label of the mask, which is the last channel of an image; 0 without a mask."""
        return self.data["full_scale"][-1] if self.data.get("mask") else 0

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(itertools.chain(self.network.parameters(), self.network.buffers())).device

    def render(self, request: Request, seed: int, chunk: int) -> Tensor:
        """Images float32 [N, C, *size] of ``request``, on the CPU; ``seed`` and ``chunk`` decide the noise.

        C is ``shape.shown``: a mask that the network draws as planes is one channel here.
        """
        with torch.no_grad(), self.noise(seed, chunk):
            images = families()[self.family].model.draw(self.network, request)
            return collapse(images.float().cpu(), self.shape.masks)

    def one_hot(self, classes: Tensor) -> Tensor:
        """Classes int64 [N] as float32 [N, labels] on the device of the network; width 0 without labels."""
        if not self.shape.labels:
            return torch.zeros(len(classes), 0, device=self.device)
        return nn.functional.one_hot(classes.to(self.device), self.shape.labels).float()

    @contextlib.contextmanager
    def noise(self, seed: int, chunk: int) -> Iterator[None]:
        """Context in which the default random generators are seeded; afterwards they are restored."""
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(mix(seed, chunk, 1))
            yield


def save_generator(path: str | os.PathLike, snapshot: Snapshot) -> None:
    """Write a snapshot, atomically. Equal weights give equal bytes."""
    # torch names the archive after a path, but not after an open file: the bytes must not hold a temporary name
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        torch.save(content_of(snapshot), file)


def content_of(snapshot: Snapshot) -> dict[str, Any]:
    """What a file of ``snapshot`` holds: ``state`` has its tensors, all else is as JSON has it."""
    return {
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


def load_generator(path: str | os.PathLike, device: str | torch.device = "cpu") -> Snapshot:
    """Read a file of `save_generator`, or of an export. `GanError` if it is absent, broken or of another format."""
    content = _read(Path(path))
    shape = ImageShape(**content["shape"] | {"size": tuple(content["shape"]["size"])})
    options = make_options(content["family"], content["options"])
    with torch.random.fork_rng(devices=[]):
        network = families()[content["family"]].model.build_kept(options, shape)
    try:
        network.load_state_dict(content["state"])
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise GanError(f"{path}: its weights do not fit {content['family']} ({reason}); train it again") from error
    network = network.to(device).eval().requires_grad_(False)
    rest = {key: content[key] for key in ("family", "options", "batch", "kimg", "run_key", "data")}
    return Snapshot(network=network, shape=shape, present=_present(Path(path), content["run_key"]), **rest)


def _present(path: Path, key: str) -> Terms | None:
    """The terms that the study declares whose cell of the run ``key`` has ``path`` as generator or snapshot; else None.

    A file that was moved elsewhere has those that it holds.
    """
    cell = path.absolute().parent
    cell = cell.parent if cell.name == "snapshots" else cell
    with contextlib.suppress(GanError, LookupError, TypeError):
        recipe = read_json(cell / "recipe.json")
        if run_key(recipe) == key:
            return of_study(cell.parents[2] / FILE, recipe["data"]["dataset"], recipe["variant"]["name"])
    return None


def load_header(path: str | os.PathLike) -> dict[str, Any]:
    """Read a file of `save_generator` without its weights: run_key, kimg, options and the rest.

    `GanError` as `load_generator`.
    """
    return {key: value for key, value in _read(Path(path), lazy=True).items() if key != "state"}


def _read(path: Path, lazy: bool = False) -> dict[str, Any]:
    try:
        if path.suffix == SUFFIX and path.exists():
            content = read_tensors(path, lazy)
        else:
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


def mix(*numbers: int) -> int:
    """One seed out of several, as numpy's SeedSequence mixes them."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
