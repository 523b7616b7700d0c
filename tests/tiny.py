"""The family of ``tinyfamily`` and random images: training tests in milliseconds a step."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tinyfamily.options import TinyOptions
from torch import nn

from gan.cells import stats as read_stats
from gan.families.contract import Batch, ImageShape, Latents, Source, Variant
from gan.families.registry import Family, options_of
from gan.runtime import Runtime
from gan.train.machine import Machine
from gan.train.outputs import Paths

TINY = Family("tinyfamily", TinyOptions)


class TinyData:
    """``length`` random images of one side or of sides ``size``; with ``labels`` classes and ``sources`` channels of
    images to translate if wanted."""

    def __init__(
        self, length: int = 50, channels: int = 1, size: int | tuple[int, ...] = 8, labels: int = 0, sources: int = 0
    ):
        random, size = torch.Generator().manual_seed(1), (size, size) if isinstance(size, int) else size
        self.shape = ImageShape(channels, size, labels, sources=sources)
        self.real = torch.rand(length, channels, *size, generator=random) * 2 - 1
        self.source = torch.rand(length, sources, *size, generator=random) * 2 - 1
        self.classes = torch.arange(length) % max(1, labels)
        self.meta = {
            "channels": [f"c{index}" for index in range(channels)],
            "mask": None,
            "labels": [f"class{index}" for index in range(labels)],
            "label_counts": torch.bincount(self.classes, minlength=labels).tolist() if labels else [],
            "intensity": {"map": "percentiles"},
            "spacing": [2.0] * len(size),
        }

    def __len__(self) -> int:
        return len(self.real)

    @property
    def marked(self) -> np.ndarray:
        return np.empty(0, np.int64)

    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        """Of subjects of four images, every second one."""
        first = np.arange(len(self)) // 4 % 2 == 0
        return np.flatnonzero(first), np.flatnonzero(~first)

    def batch(self, indices: np.ndarray) -> Batch:
        index = torch.from_numpy(indices)
        if not self.shape.labels:
            return Batch(self.real[index], torch.zeros(len(index), 0), self.source[index])
        labels = nn.functional.one_hot(self.classes[index], self.shape.labels).float()
        return Batch(self.real[index], labels, self.source[index])


def sources(family: str) -> int:
    """How many channels of images to translate the tests give ``family``."""
    return 2 if options_of(family).TASK == "translate" else 0


def request(variant: Variant, labels: torch.Tensor, seed: int = 0, alike: bool = False) -> Latents | Source:
    """Random latents for images of ``labels`` [N, labels], or images to translate; alike: N times the same."""
    random = torch.Generator().manual_seed(seed)
    count, shape = 1 if alike else len(labels), variant.shape
    if shape.sources:
        images = torch.rand(count, shape.sources, *shape.size, generator=random) * 2 - 1
        return Source(images.repeat_interleave(len(labels) // count, dim=0), labels)
    z = torch.randn(count, variant.options.z_dim, generator=random)
    return Latents(z.repeat_interleave(len(labels) // count, dim=0), labels)


def recipe(**changes: Any) -> dict[str, Any]:
    """A recipe of 40 steps with snapshots every 20; ``changes`` go to its training, its options or its seed."""
    training = {"kimg": 0.32, "batch": 8, "snapshot_kimg": 0.16, "precision": "fp32"}
    options = {item.name: item.default for item in dataclasses.fields(TinyOptions)}
    for key, value in changes.items():
        if key in options:
            options[key] = value
        elif key in training:
            training[key] = value
    return {
        "data": {"dataset": "random"},
        "variant": {"name": "tiny", "family": "tiny", "revision": 1, "options": options},
        "training": training,
        "seed": changes.get("seed", 0),
        "revisions": {"data": 1, "train": 1},
    }


def outcome(folder: Path) -> dict[str, Any]:
    """All of a run that must not depend on interruptions: bytes of the generators and grids, rows of the statistics."""
    names = sorted(path for path in folder.rglob("*.p[tn]*"))
    machine = ("time", "saved_kimg", "resumed", "speed/", "memory/", "cost/")
    rows = [
        {key: value for key, value in row.items() if not key.startswith(machine)}
        for row in read_stats(folder / "stats.jsonl")
    ]
    return {"stats": rows} | {str(path.relative_to(folder)): path.read_bytes() for path in names}


def paths(base: Path, init_from: Path | None = None) -> Paths:
    """Where a training below ``base`` writes."""
    return Paths(base / "cell", base / "state", init_from)


def machine(warnings: Sequence[tuple[str, str]] = (), **resources: Any) -> Machine:
    """A CPU with fields of `Runtime`."""
    return Machine(Runtime(**resources), warnings=warnings)


def assert_equal(one: Any, other: Any, where: str = "") -> None:
    """Two states are the same: types, keys, numbers and, bit for bit, tensors."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where
