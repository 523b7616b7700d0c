"""Train one cell of a study: ``python -m gan.run --recipe R --store S --folder F --checkpoints C``.

Exit codes: 0 trained; 1 an error that its line explains; 143 (SIGTERM) or 130 (SIGINT) stopped with the state saved,
run the same command again to go on. On Slurm, SIGTERM before the time limit also puts the job back into the queue.
With ``--gpus`` above 1 it starts that many processes of itself (`gan.launch`); torchrun may start them as well.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from gan import check, launch, parallel, slurm
from gan.data.store import Store, stored_channels
from gan.errors import GanError, command, logged
from gan.files import read_json
from gan.judge import Judge
from gan.metrics.scores import WHOLE
from gan.study import run_key
from gan.train.device import DEVICES, pick_device
from gan.train.graphs import STEPS, Graphs, pick_graphs
from gan.train.heap import keep_freed_memory
from gan.train.loop import OnSnapshot, train
from gan.train.signals import Stopped, StopSignals
from gan.variants.base import Batch, ImageShape
from gan.variants.options import FAMILIES, defaults

FULL_SCALE = 65535  # of the store's 16 bits
RESIDENT = 0.25  # part of a GPU's free memory that the training images may take


class StoreDataset:
    """The training split of a store as float32 in [-1, 1] on ``device``.

    Intensities: 0..65535 to [-1, 1]. Mask: 0 to the largest label of the split to [-1, 1]. Images stay on the GPU when
    they take at most a quarter of its free memory, else they are read from the memory-mapped file batch by batch.
    """

    def __init__(self, store: Store, device: torch.device, conditional: bool):
        self._rows = store.rows("train")
        if not len(self._rows):
            raise GanError(f"{store.folder}: no images in the split train; loosen slices or split.train of its row")
        self._images, self._device = store.images, device
        names = list(store.meta["labels"]) if conditional else []
        classes = store.labels(self._rows) if names else np.zeros(len(self._rows), dtype=np.int64)
        if (classes < 0).any():
            raise GanError(
                f"{store.folder}: {(classes < 0).sum()} training images have no label, conditional needs all"
            )
        _, channels, *size = store.images.shape
        self.shape = ImageShape(channels, tuple(size), len(names), masks=int(store.meta["mask"] is not None))
        self._classes = torch.from_numpy(classes).to(device)
        full = [
            self._full_scale(place, name == store.meta["mask"]) for place, name in enumerate(store.meta["channels"])
        ]
        self._scale = (2 / torch.tensor(full, dtype=torch.float32)).reshape(-1, *[1] * len(size)).to(device)
        counts = np.bincount(classes, minlength=len(names)).tolist() if names else []
        self.meta = store.meta | {"labels": names, "label_counts": counts, "full_scale": full}
        self._resident = self._load() if self._fits() else None

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, indices: np.ndarray) -> Batch:
        """See `gan.train.trainer.Dataset`."""
        places = self._move(torch.from_numpy(indices))
        if self._resident is not None:
            real = self._resident[places]
        else:
            real = self._move(_signed(self._images[self._rows[indices]]))
        real = real.float().add_(32768).mul_(self._scale).sub_(1)
        if not self.shape.labels:
            return Batch(real, torch.zeros(len(indices), 0, device=self._device))
        return Batch(real, nn.functional.one_hot(self._classes[places], self.shape.labels).float())

    def _move(self, tensor: torch.Tensor) -> torch.Tensor:
        """Onto the device; from pinned memory the host does not wait for it."""
        if self._device.type != "cuda":
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)

    def _full_scale(self, channel: int, mask: bool) -> int:
        """The stored value that becomes 1."""
        return max([1, *(int(self._images[row, channel].max()) for row in self._rows)]) if mask else FULL_SCALE

    def _fits(self) -> bool:
        if self._device.type != "cuda":
            return False
        size = len(self._rows) * int(np.prod(self._images.shape[1:])) * 2
        return size <= RESIDENT * torch.cuda.mem_get_info(self._device)[0]

    def _load(self) -> torch.Tensor:
        blocks = np.array_split(self._rows, max(1, len(self._rows) // 256))
        return torch.cat([_signed(self._images[rows]).to(self._device) for rows in blocks])


def _signed(images: np.ndarray) -> torch.Tensor:
    """16 bit images less 32768: torch computes with signed integers of that size only."""
    return torch.from_numpy((np.ascontiguousarray(images) ^ np.uint16(0x8000)).view(np.int16))


def live_scores(path: Path, device: str) -> OnSnapshot:
    """Score each snapshot as soon as it is on disk, by the judge of the file ``path`` (`Judge.read`).

    A score that fails is said and does not end the training: curves are made again afterwards.
    """
    judge, protocol = Judge.read(path, device)

    def score(kimg: float, snapshot: Path) -> dict[str, float] | None:
        try:
            with torch.random.fork_rng(devices=[torch.cuda.current_device()] if torch.cuda.is_available() else []):
                rows = judge.curve(snapshot, protocol)
        except (GanError, RuntimeError, OSError) as error:  # memory and disks too: the training matters more
            tqdm.write(f"no score at {kimg:g} kimg: {error}", file=sys.stderr)
            return None
        whole = {row["metric"]: row for row in rows if row["contrast"] == WHOLE}
        first = whole[judge.headline]
        tqdm.write(
            f"score at {kimg:g} kimg: {judge.headline} {first['value']:.4g}, floor {first['floor']:.4g} "
            f"({first['n_real']} real {first['split']}, {first['n_fake']} generated images)",
            file=sys.stderr,
        )
        return {"scores/recall": whole[judge.leading("recall")]["value"]}

    return score


def run(
    recipe: dict[str, Any],
    store: Store,
    folder: Path,
    checkpoints: Path,
    device: torch.device,
    every: float,
    on_snapshot: OnSnapshot | None = None,
    stop: StopSignals | None = None,
    microbatches: int = 1,
    graphs: Graphs | None = None,
    init_from: Path | None = None,
    warnings: Sequence[tuple[str, str]] = (),
) -> None:
    """Train ``recipe`` and write the files of a cell into ``folder``; ``every``: kimg between two checkpoints;
    ``init_from``: the weights that the recipe starts from; ``warnings``: see `train`."""
    dataset = StoreDataset(store, device, bool(recipe["variant"]["options"].get("conditional")))
    train(
        recipe,
        dataset,
        folder=folder,
        checkpoints=checkpoints / run_key(recipe),
        checkpoint_kimg=every,
        on_snapshot=on_snapshot,
        device=device,
        stop=stop,
        microbatches=microbatches,
        graphs=graphs,
        init_from=init_from,
        warnings=warnings,
    )


def read_recipe(text: str) -> dict[str, Any]:
    """A recipe from JSON or from a file that holds it. `GanError` names what is missing."""
    recipe = _parse(text) if text.lstrip().startswith("{") else read_json(text, "name a recipe.json")
    for path in (
        "data",
        "variant.family",
        "variant.options",
        "training.kimg",
        "training.batch",
        "training.snapshot_kimg",
        "training.precision",
        "seed",
    ):
        part = recipe
        for key in path.split("."):
            if not isinstance(part, dict) or key not in part:
                raise GanError(f"--recipe: the key {path} is missing; give a recipe.json or what gan.study makes")
            part = part[key]
    family = recipe["variant"]["family"]
    if family not in FAMILIES:
        raise GanError(f"--recipe: variant.family is {family!r}; allowed: {', '.join(FAMILIES)}")
    return recipe


def check_store(recipe: dict[str, Any], store: Store) -> None:
    """`GanError` if the store is not the one that the recipe describes, or lacks what its variant needs."""
    data, options = recipe["data"], defaults(recipe["variant"]["family"]) | recipe["variant"]["options"]
    wanted = stored_channels(data) if data.get("contrasts") else []
    if wanted and wanted != store.meta["channels"]:
        raise GanError(
            f"{store.folder}: its channels are {', '.join(store.meta['channels'])}, the recipe asks for "
            f"{', '.join(wanted)}; build the store again or name another one"
        )
    if store.meta.get("label_of") == "contrast" and not options.get("conditional"):
        raise GanError(f"{store.folder}: its images are of one contrast each; set options.conditional to true")
    if options.get("conditional") and not store.meta["labels"]:
        raise GanError(
            f"{store.folder}: it has no labels, but options.conditional is true; set it to false or name labels"
        )


def _parse(text: str) -> dict[str, Any]:
    try:
        return json.loads(text)
    except ValueError as error:
        raise GanError(f"--recipe: not valid JSON ({error})") from error


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gan.run", description="Train one cell of a study.")
    parser.add_argument("--recipe", required=True, help="the recipe, as JSON or as a file")
    parser.add_argument("--store", required=True, type=Path, help="folder of the packed store")
    parser.add_argument("--folder", required=True, type=Path, help="folder of the cell: gets all results")
    parser.add_argument("--checkpoints", required=True, type=Path, help="the state lives here, below the run key")
    parser.add_argument(
        "--checkpoint-kimg", type=float, default=20.0, help="kimg between two checkpoints (%(default)g)"
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="auto takes a GPU if there is one")
    parser.add_argument("--ops", choices=check.CHOICES, default="auto", help=check.HELP)
    parser.add_argument(
        "--step", choices=STEPS, default="auto", help="on a GPU: CUDA graphs, or one operation at a time"
    )
    parser.add_argument("--gpus", type=int, default=1, help="processes that share each batch, one a GPU (%(default)d)")
    parser.add_argument(
        "--microbatches", type=int, default=1, help="pieces in which each takes its part of a batch (%(default)d)"
    )
    parser.add_argument("--nodes", type=int, default=1, help="nodes of the Slurm job that have them (%(default)d)")
    parser.add_argument("--endpoint", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help="CPU threads of torch on a node")
    parser.add_argument("--judge", type=Path, help="JSON file of the judge that scores each snapshot while training")
    # without a value as without the option: the rule has one command line for all cells
    parser.add_argument("--init-from", type=Path, nargs="?", help="weights.pt that the recipe starts from")
    parser.add_argument("--log", type=Path, help="file that also gets the messages")
    return parser.parse_args(argv)


@command
def main(argv: list[str] | None = None) -> int:
    """Entry point; see the module for the exit codes."""
    given = _arguments(argv)
    # from here to the end: a signal that comes after the training must not make a failure of it
    with StopSignals() as stop, logged(given.log) if given.log else contextlib.nullcontext():
        if max(given.gpus, given.nodes) > 1 and not launch.launched():
            arguments = sys.argv[1:] if argv is None else argv
            return launch.launch(arguments, given.gpus, given.nodes, given.endpoint, given.device, stop)
        device = pick_device(given.device)
        refusal = check.choose(given.ops, device)
        with parallel.joined(device) as device:
            return _train(given, device, stop, check.agreed(refusal))


def _train(given: argparse.Namespace, device: torch.device, stop: StopSignals, refusal: str | None) -> int:
    if given.threads:
        torch.set_num_threads(max(1, given.threads // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    recipe, store, leads = read_recipe(given.recipe), Store.open(given.store), parallel.rank() == 0
    check_store(recipe, store)
    try:
        scores = live_scores(given.judge, given.device) if given.judge and leads else None
        folders, every = (given.folder, given.checkpoints), given.checkpoint_kimg
        distrust = check.graphs_refused(device) if device.type == "cuda" and given.step == "auto" else None
        graphs, eager = pick_graphs(given.step, device, pieces := given.microbatches, distrust)
        warnings = [("ops_reference", check.message(refusal))] if refusal else []
        warnings += [("step_eager", eager)] if eager else []
        run(recipe, store, *folders, device, every, scores, stop, pieces, graphs, given.init_from, warnings)
    except Stopped as stopped:
        if leads:
            print(stopped, file=sys.stderr)
            if stopped.signum == signal.SIGTERM and (said := slurm.requeue()):
                print(said, file=sys.stderr)
        return stopped.code
    except torch.OutOfMemoryError as error:
        raise GanError(
            f"a step does not fit into the GPU's memory ({str(error).splitlines()[0]}); take the batch in more pieces, "
            f"resources.train.microbatches above {given.microbatches}, or on more GPUs"
        ) from error
    return 0


if __name__ == "__main__":
    keep_freed_memory()  # of this process and of ranks, not of one that calls `main` and goes on
    sys.exit(main())
