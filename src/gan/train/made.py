"""Make one cell that is not trained: the same files as of a training, but weights to start from and statistics."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from gan.errors import GanError
from gan.families.contract import Batch, Dataset, Given, Made, Source
from gan.families.registry import families, make_options
from gan.files import read_json, write_json
from gan.grids import write_grid
from gan.sampling.grid import Grid
from gan.sampling.snapshot import Snapshot, load_generator, save_generator
from gan.sampling.tasks import sample, translated
from gan.train import outputs
from gan.train.checkpoint import publish
from gan.train.cost import Cost, CostMeter
from gan.train.schedule import stem


def make(
    recipe: dict[str, Any], dataset: Dataset, folder: Path, given: Given, shown: Dataset, device: torch.device
) -> Cost:
    """Make ``recipe`` from ``dataset`` and what is ``given`` in the cell's ``folder``, and return the cost.

    It has one snapshot, at 0 kimg. shown: the images of the pictures. `GanError` if something does not fit.
    """
    cost, given = _metered(given, device)
    variant = recipe["variant"]
    options = make_options(variant["family"], variant["options"])
    model = cast(type[Made], families()[variant["family"]].model)
    snapshot = Snapshot.of(recipe, model.make(options, dataset, given).eval(), dataset, 0.0)
    outputs.clear(folder)
    (folder / "snapshots").mkdir(parents=True, exist_ok=True)
    # Pictures, the one snapshot, and last of all what says that the cell is there.
    grid, name = Grid(shown, recipe["seed"]), f"snapshots/{stem(0)}"
    write_grid(folder / "real.png", grid.real.numpy(), grid.columns, snapshot.mask_labels)
    _, picture = grid.draw(snapshot)
    write_grid(folder / f"{name}.png", picture.numpy(), grid.columns, snapshot.mask_labels, grid.mark(snapshot))
    save_generator(folder / f"{name}.pt", snapshot)
    write_json(folder / "recipe.json", recipe)
    (folder / outputs.STATS).write_text("", encoding="utf-8")
    spent = cost.now()
    write_json(folder / outputs.COST, asdict(spent))
    publish(folder / f"{name}.pt", folder / "generator.pt")
    print("made, not trained", file=sys.stderr)
    return spent


def _metered(given: Given, device: torch.device) -> tuple[CostMeter, Given]:
    """A meter that adds to what earlier attempts have cost, and ``given`` with a check that notes the cost so far."""
    if given.kept is None:
        return CostMeter(device), given
    noted, check = given.kept / outputs.COST, given.check
    cost = CostMeter(device, read_json(noted) if noted.exists() else None)

    def note() -> None:
        write_json(noted, asdict(cost.now()))
        check()

    return cost, given._replace(check=note)


def images_of(generator: Path, recipe: dict[str, Any], device: torch.device) -> Callable[[Batch], Tensor]:
    """`Given.draw` by the file ``generator`` of the cell that ``recipe`` is made of. `GanError` if it is of another."""
    asked, snapshot = recipe["variant"]["made_of"], load_generator(generator, device)
    if snapshot.run_key != asked["run_key"]:
        raise GanError(
            f"{generator}: of the run {snapshot.run_key}, but the recipe is made of {asked['cell']}, the run "
            f"{asked['run_key']}; name the generator.pt of that run or make it again"
        )

    def draw(batch: Batch) -> Tensor:
        if families()[snapshot.family].model.request is Source:
            return torch.cat(list(translated(snapshot, [Source(batch.source, batch.labels)], recipe["seed"])))
        classes = batch.labels.argmax(1).cpu().numpy() if snapshot.shape.labels else None
        return sample(snapshot, len(batch.real), recipe["seed"], classes)

    return draw
