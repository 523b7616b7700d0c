"""Make one cell that is not trained: the same files as of a training, but weights to start from and statistics."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch

from gan.families.contract import Dataset, Made
from gan.families.registry import families, make_options
from gan.files import write_json
from gan.grids import write_grid
from gan.sampling.grid import Grid
from gan.sampling.snapshot import Snapshot, save_generator
from gan.train import outputs
from gan.train.checkpoint import publish
from gan.train.cost import Cost, CostMeter
from gan.train.schedule import stem


def make(recipe: dict[str, Any], dataset: Dataset, folder: Path, images: Path | None, shown: Dataset) -> Cost:
    """Make ``recipe`` from ``dataset`` or from the folder ``images`` in the cell's ``folder``, and return the cost.

    It has one snapshot, at 0 kimg. shown: the images of the pictures. `GanError` if the images do not fit.
    """
    cost, variant = CostMeter(torch.device("cpu")), recipe["variant"]
    options = make_options(variant["family"], variant["options"])
    model = cast(type[Made], families()[variant["family"]].model)
    snapshot = Snapshot.of(recipe, model.make(options, dataset, images).eval(), dataset, 0.0)
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
    print(f"{variant.get('name', variant['family'])}: made, not trained", file=sys.stderr)
    return spent
