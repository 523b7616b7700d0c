"""The arms of real images: made once for each data set, task and seed, and shared by all variants."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gan.cells import SPLITS
from gan.data.store import Store
from gan.errors import GanError
from gan.files import DAMAGED, atomic_path, read_json, require_whole, write_json
from gan.train.device import pick_device
from gan.utility import scores
from gan.utility.arms import sources
from gan.utility.images import Real, check_size, read_split, scan_spacing
from gan.utility.options import REAL, REVISION, SEGMENT, Settings
from gan.utility.training import Made, train

FORMAT = "gan-utility-1"
NETWORK, REFERENCE = "network.pt", "reference.json"


@dataclass(frozen=True)
class Setting:
    """The real images of a data set by split, and what is asked of a network. regions: label numbers by name, empty
    for a classification; largest: label of the training masks; classes: their names."""

    task: str
    made: Made
    regions: dict[str, list[int]]
    largest: int
    classes: list[str]
    real: dict[str, Real]


def read_setting(
    store: str | os.PathLike,
    volumes: str | os.PathLike,
    task: str,
    regions: dict[str, list[int]] | None,
    settings: Settings,
) -> Setting:
    """The images of ``store`` for ``task``; volumes: the folder its slices were cut from, for their distance in mm.

    regions: None for each label by itself.
    """
    opened = Store.open(store)
    opened.check_files()
    check_size(opened)
    spacing = scan_spacing(opened, volumes)
    real = {split: read_split(opened, split, spacing) for split in SPLITS}
    inputs = real["train"].images.pixels.shape[1]
    largest = int(real["train"].images.masks.max())
    if task == SEGMENT:
        if not largest:
            raise GanError(f"{store}: the masks of its training images are empty; there is nothing to segment")
        outputs = 1 + max(int(of.images.masks.max()) for of in real.values())
        known = regions or _each_label(real["train"], opened.meta["mask"])
        return Setting(task, Made(task, inputs, outputs, settings.width), known, largest, [], real)
    classes = list(opened.meta["labels"])
    for split, of in real.items():
        if missing := [name for place, name in enumerate(classes) if place not in of.images.classes]:
            raise GanError(
                f"{store}: no {split} patient is of the class {missing[0]}; utility needs one of each class in each "
                f"split: add subjects, or change split.{split} or split.seed"
            )
    return Setting(task, Made(task, inputs, len(classes), settings.width), {}, largest, classes, real)


def make_reference(
    setting: Setting, arms: Sequence[str], settings: Settings, seed: int, folder: str | os.PathLike, device: str
) -> None:
    """Train and test the arm of real images and those of ``arms`` that need no generator; write the network of the
    real arm and what the networks are worth into ``folder``."""
    folder, where = Path(folder), pick_device(device)
    real, found = setting.real, {}
    for arm in [REAL, *arms]:
        given = sources(arm, real["train"], seed, held=real["val"], largest=setting.largest)
        network = train(setting.made, given, settings, seed, where)
        found[arm] = scores.score(setting.task, network, real["test"], setting.regions, where)
        if arm == REAL:
            save_network(folder / NETWORK, setting.made, network)
    write_json(folder / REFERENCE, facts_of(setting) | {"settings": asdict(settings), "seed": seed, "arms": found})


def facts_of(setting: Setting) -> dict[str, Any]:
    """What a reader of scores has to know; patients are numbered in an order without meaning."""
    test = setting.real["test"]
    numbers = {split: {"patients": len(of.patients), "images": len(of.images)} for split, of in setting.real.items()}
    facts: dict[str, Any] = {"task": setting.task, "revision": REVISION, "numbers": numbers}
    if setting.task == SEGMENT:
        return facts | {"regions": setting.regions, "empty": scores.empty(test, setting.regions)}
    return facts | {"classes": setting.classes, "truth": scores.classes_of(test).tolist()}


def save_network(path: Path, made: Made, network: nn.Module) -> None:
    """Write a network, atomically. Equal weights give equal bytes."""
    state = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        torch.save({"format": FORMAT, "made": asdict(made), "state": state}, file)


def load_network(path: Path, device: torch.device) -> nn.Module:
    """Read a file of `save_network`. `GanError` if it is absent or broken."""
    remedy = "delete it and rerun the step that makes it"
    try:
        require_whole(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != FORMAT:
            raise ValueError(content["format"])
        network = Made(**content["made"]).build()
        network.load_state_dict(content["state"])
    except FileNotFoundError as error:
        raise GanError(f"{path}: no such file; run the step that makes it") from error
    except (OSError, TypeError, *DAMAGED) as error:
        raise GanError(f"{path}: not a network of utility, or a broken one; {remedy}") from error
    return network.to(device).eval().requires_grad_(False)


def read_reference(folder: Path) -> dict[str, Any]:
    """What `make_reference` wrote of the arms of real images."""
    return read_json(folder / REFERENCE)


def _each_label(train: Real, mask: str) -> dict[str, list[int]]:
    labels = [label for label in range(1, 256) if (train.images.masks == label).any()]
    return {mask: labels} if len(labels) == 1 else {f"{mask} {label}": [label] for label in labels}
