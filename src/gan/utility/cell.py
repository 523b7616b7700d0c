"""The utility of one cell: networks trained on its images, and what that of the real images sees in them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gan.errors import GanError
from gan.files import read_json, write_json
from gan.sampling.snapshot import load_generator, load_header
from gan.train.device import pick_device
from gan.utility import scores
from gan.utility.anatomy import judge
from gan.utility.arms import sources
from gan.utility.images import generate
from gan.utility.options import ORDER, TWO_SAMPLE, Settings
from gan.utility.order import judge_order
from gan.utility.reference import NETWORK, Setting, load_network, read_reference
from gan.utility.training import train
from gan.utility.two_sample import told_apart


def score_cell(
    cell: str | os.PathLike,
    references: Mapping[str, str | os.PathLike],
    settings: Mapping[str, Setting],
    arms: Sequence[str],
    how: Settings,
    *,
    seed: int = 0,
    truncation: float = 1.0,
    device: str = "auto",
) -> None:
    """Write ``utility.json`` of ``cell``: by task the scores of each of ``arms`` and, copied, of the real ones; and the
    answers to what is asked further (`gan.utility.options.FURTHER`).

    references, settings: by task the folder of `make_reference`, where there is one, and the real images. The images
    are of the snapshot that was chosen for the scores, as many as there are real training images; seed: theirs. A
    network has the seed of the cell, as that of the real arm it is compared with.
    """
    cell, where = Path(cell), pick_device(device)
    path = chosen(cell)
    generator = load_generator(path, where)
    recipe = read_json(cell / "recipe.json")
    seen, number = number_of(settings)
    try:
        images = generate(generator, number, seed, truncation)
    except GanError as error:
        raise GanError(f"{path}: {error}") from error
    first = images.take(np.arange(min(seen, len(images))))
    found: dict[str, Any] = {"tasks": {}}
    for task, setting in settings.items():
        if task == TWO_SAMPLE:
            found[task] = told_apart(setting, images, how, recipe["seed"], where)
            continue
        known, made = read_reference(Path(references[task])), setting.own(first)
        network_of_real = load_network(Path(references[task]) / NETWORK, where)
        if task == ORDER:
            found[task] = judge_order(setting, network_of_real, made, where)
            continue
        by_arm = dict(known["arms"])
        for arm in arms:
            given = sources(arm, setting.real["train"], recipe["seed"], made=made)
            network = train(setting.made, given, how, recipe["seed"], where)
            by_arm[arm] = scores.score(task, network, setting.real["test"], setting.regions, where)
        judged = judge(setting, network_of_real, made, where)
        found["tasks"][task] = known | {"arms": by_arm, "n_fake": len(made), "judge": judged}
    write_json(
        cell / "utility.json",
        {
            **{"dataset": recipe["data"]["dataset"], "variant": recipe["variant"]["name"], "seed": recipe["seed"]},
            **{"run_key": generator.run_key, "kimg": generator.kimg, "truncation": truncation, **found},
        },
    )


def number_of(settings: Mapping[str, Setting]) -> tuple[int, int]:
    """How many generated images networks are trained on, as many as real ones, and how many are needed in all."""
    real = next(iter(settings.values())).real
    seen = len(real["train"].images)
    return seen, seen + (len(real["test"].images) if TWO_SAMPLE in settings else 0)


def chosen(cell: Path) -> Path:
    """The snapshot that the scores of ``cell`` are of; of images that were made, their file."""
    kimg = read_json(cell / "scores.json")["snapshot"]["kimg"]
    if kimg is None:
        return cell / "generator.pt"
    for path in sorted((cell / "snapshots").glob("kimg*.pt")):
        if load_header(path)["kimg"] == kimg:
            return path
    raise GanError(f"{cell / 'snapshots'}: has no snapshot at {kimg:g} kimg, which scores.json names; score it again")
