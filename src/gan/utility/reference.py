"""The arms of real images: made once for each data set, task and seed, and shared by all variants."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
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
from gan.utility.images import Labelled, Real, check_size, detected, read_split, scan_spacing
from gan.utility.options import CLASSIFY, DETECT, ORDER, REAL, REVISION, SEGMENT, TASKS, TWO_SAMPLE, Settings
from gan.utility.training import Made, train

FORMAT = "gan-utility-1"
NETWORK, REFERENCE = "network.pt", "reference.json"


@dataclass(frozen=True)
class Setting:
    """The real images of a data set by split, and what is asked of a network. regions: label numbers by name, of a
    segmentation; largest: label of the training masks; classes: their names; least: of a detection the % of a slice
    that its mask has to exceed."""

    task: str
    made: Made
    regions: dict[str, list[int]]
    largest: int
    classes: list[str]
    real: dict[str, Real]
    least: float | None = None

    def own(self, images: Labelled) -> Labelled:
        """Generated ``images`` with the classes of the task."""
        return images if self.least is None else detected(images, self.least)


def read_settings(
    store: str | os.PathLike,
    volumes: str | os.PathLike,
    tasks: Sequence[str],
    settings: Settings,
    regions: dict[str, list[int]] | None = None,
    detect: float | None = None,
) -> dict[str, Setting]:
    """The images of ``store`` for each of ``tasks``; volumes: the folder its slices were cut from, for their distance
    in mm.

    regions: None for each label by itself; detect: % of a slice that a mask has to exceed. `GanError` if the data set
    has no such task.
    """
    opened = Store.open(store)
    opened.check_files()
    check_size(opened)
    spacing = scan_spacing(opened, volumes)
    real = {split: read_split(opened, split, spacing) for split in SPLITS}
    area = 0.0 if detect is None else detect
    make = {SEGMENT: partial(_segment, regions=regions), CLASSIFY: _classify, DETECT: partial(_detect, least=area)}
    make |= {ORDER: _order, TWO_SAMPLE: _two_sample}
    return {task: make[task](opened, real, settings.width) for task in tasks}


def _segment(store: Store, real: dict[str, Real], width: int, regions: dict[str, list[int]] | None) -> Setting:
    inputs, largest = _channels(real), _largest(real)
    if not largest:
        raise GanError(f"{store.folder}: the masks of its training images are empty; there is nothing to segment")
    outputs = 1 + max(int(of.images.masks.max()) for of in real.values())
    known = regions or _each_label(real["train"], store.meta["mask"])
    return Setting(SEGMENT, Made(SEGMENT, inputs, outputs, width), known, largest, [], real)


def _classify(store: Store, real: dict[str, Real], width: int) -> Setting:
    classes = list(store.meta["labels"])
    for split, of in real.items():
        if missing := [name for place, name in enumerate(classes) if place not in of.images.classes]:
            raise GanError(
                f"{store.folder}: no {split} patient is of the class {missing[0]}; utility needs one of each class in "
                f"each split: add subjects, or change split.{split} or split.seed"
            )
    return Setting(CLASSIFY, Made(CLASSIFY, _channels(real), len(classes), width), {}, _largest(real), classes, real)


def _detect(store: Store, real: dict[str, Real], width: int, least: float) -> Setting:
    mask, found = store.meta["mask"], {}
    for split, of in real.items():
        found[split] = replace(of, images=detected(of.images, least))
        there = found[split].images.classes
        if split != "val" and there.min() == there.max():
            lacks = "without" if there[0] else "with"
            raise GanError(
                f"{store.folder}: no {split} slice is {lacks} {mask} on more than {least:g} % of it; change detect in "
                f"the row of the data set, or set it to null"
            )
    classes = [f"without {mask}", f"with {mask}"]
    return Setting(DETECT, Made(DETECT, _channels(real), 2, width), {}, _largest(real), classes, found, least)


def _order(store: Store, real: dict[str, Real], width: int) -> Setting:
    """With the parts of the volume as classes, if a generator can be asked for them."""
    parts = list(store.meta["labels"]) if store.meta["label_of"] == "slice" else []
    return Setting(ORDER, Made(ORDER, _channels(real), 1, width), {}, 0, parts, real)


def _two_sample(store: Store, real: dict[str, Real], width: int) -> Setting:
    return Setting(TWO_SAMPLE, Made(TWO_SAMPLE, _channels(real), 2, width), {}, 0, ["real", "generated"], real)


def _channels(real: dict[str, Real]) -> int:
    return real["train"].images.pixels.shape[1]


def _largest(real: dict[str, Real]) -> int:
    return int(real["train"].images.masks.max())


def make_reference(
    setting: Setting, arms: Sequence[str], settings: Settings, seed: int, folder: str | os.PathLike, device: str
) -> None:
    """Train and test the arm of real images and those of ``arms`` that need no generator; write the network of the
    real arm and what the networks are worth into ``folder``."""
    folder, where = Path(folder), pick_device(device)
    real, found = setting.real, {}
    for arm in [REAL, *(arms if setting.task in TASKS else [])]:
        by_image = setting.task == DETECT
        given = sources(arm, real["train"], seed, held=real["val"], largest=setting.largest, by_image=by_image)
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
    facts |= {"classes": setting.classes}
    if setting.task == ORDER:
        return facts
    if setting.task == DETECT:
        of_slices = {"truth": test.images.classes.tolist(), "subjects": test.subjects.tolist()}
        return facts | {"least": setting.least} | of_slices
    return facts | {"truth": scores.classes_of(test).tolist()}


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
