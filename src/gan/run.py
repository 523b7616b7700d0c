"""Train or make one cell: ``gan run --recipe R --store S --folder F --checkpoints C --runtime device=cuda,gpus=2``.

Exit codes: 0 trained; 1 an error that its line explains; 143 (SIGTERM) or 130 (SIGINT) stopped with the state saved,
run the same command again to resume. On Slurm, SIGTERM before the time limit also requeues a job that the
workflow has submitted.
With more than one GPU it starts that many processes of itself (`gan.launch`); torchrun may start them as well.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from gan import check, launch, parallel, slurm
from gan.cells import WHOLE
from gan.data.store import Store, stored_channels
from gan.errors import GanError, command, logged
from gan.families.contract import Given
from gan.families.registry import defaults, families, options_of
from gan.files import read_json
from gan.runtime import Runtime, usage
from gan.scoring.extractors import files
from gan.scoring.judge import Judge
from gan.study import run_key
from gan.terms import Terms, of_study
from gan.train.device import pick_device
from gan.train.graphs import pick_graphs
from gan.train.heap import keep_freed_memory
from gan.train.images import StoreDataset
from gan.train.lock import locked
from gan.train.loop import OnSnapshot, train
from gan.train.machine import Machine
from gan.train.made import images_of, make
from gan.train.outputs import Paths
from gan.train.signals import Stopped, StopSignals
from gan.train.watch import WATCHED


def live_scores(path: Path, device: str) -> OnSnapshot:
    """Score each snapshot as soon as it is on disk, with the judge of the file ``path`` (`Judge.read`).

    If scoring fails, a message is printed and training continues; the curve is recomputed afterwards.
    """
    judge, protocol = Judge.read(path, device)

    def score(kimg: float, snapshot: Path) -> dict[str, float] | None:
        try:
            with torch.random.fork_rng(devices=[torch.cuda.current_device()] if torch.cuda.is_available() else []):
                rows = judge.curve(snapshot, protocol)
        except (GanError, RuntimeError, OSError) as error:  # memory and disks too: training matters more
            tqdm.write(f"no score at {kimg:g} kimg: {error}", file=sys.stderr)
            return None
        whole = {row["metric"]: row for row in rows if row["contrast"] == WHOLE}
        metric, first = next(iter(whole.items()))
        floor = "" if first["floor"] is None else f", floor {first['floor']:.4g}"
        tqdm.write(
            f"score at {kimg:g} kimg: {metric} {first['value']:.4g}{floor} "
            f"({first['n_real']} real {first['split']}, {first['n_fake']} generated images)",
            file=sys.stderr,
        )
        return {f"scores/{name}": whole[judge.leading(name)]["value"] for name in WATCHED}

    return score


def read_recipe(text: str) -> dict[str, Any]:
    """Read a recipe from JSON or from a file. `GanError` names the missing key."""
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
    if family not in families():
        raise GanError(f"--recipe: variant.family is {family!r}; allowed: {', '.join(families())}")
    return recipe


def check_store(recipe: dict[str, Any], store: Store) -> None:
    """`GanError` if the store is not the one that the recipe describes, or lacks what its variant needs."""
    data, options = recipe["data"], defaults(recipe["variant"]["family"]) | recipe["variant"]["options"]
    wanted = stored_channels(data) if data.get("contrasts") else []
    if wanted and wanted != store.meta["channels"]:
        raise GanError(
            f"{store.folder}: its channels are {', '.join(store.meta['channels'])}, the recipe requires "
            f"{', '.join(wanted)}; build the store again or name another one"
        )
    if store.meta.get("label_of") == "contrast" and not options.get("conditional"):
        raise GanError(f"{store.folder}: its images are of one contrast each; set options.conditional to true")
    if options.get("conditional") and not store.meta["labels"]:
        raise GanError(
            f"{store.folder}: it has no labels, but options.conditional is true; set it to false or name labels"
        )


def prepare(runtime: Runtime, device: torch.device, refusal: str | None) -> Machine:
    """Resolve ``runtime`` for this process. refusal: why the kernels are not in use (`gan.check.choose`)."""
    distrust = check.graphs_refused(device) if device.type == "cuda" and runtime.step == "auto" else None
    graphs, eager = pick_graphs(runtime.step, device, runtime.microbatches, distrust)
    warnings = [("ops_reference", check.message(refusal))] if refusal else []
    warnings += [("step_eager", eager)] if eager else []
    return Machine(runtime, device, graphs, warnings)


def _parse(text: str) -> dict[str, Any]:
    try:
        return json.loads(text)
    except ValueError as error:
        raise GanError(f"--recipe: not valid JSON ({error})") from error


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gan run", description="Train or make one cell of a study.")
    parser.add_argument("--recipe", required=True, help="the recipe, as JSON or as a file")
    parser.add_argument("--store", required=True, type=Path, help="folder of the packed store")
    parser.add_argument("--folder", required=True, type=Path, help="folder of the cell: gets all results")
    parser.add_argument(
        "--checkpoints", required=True, type=Path, help="folder of all states, one subfolder per run key"
    )
    parser.add_argument("--runtime", default="", help=f"what it runs on, as device=cuda,gpus=2: {usage()}")
    parser.add_argument("--endpoint", help=argparse.SUPPRESS)
    parser.add_argument("--images", type=Path, help="folder of images that the row is made of, if it is made of one")
    parser.add_argument("--generator", type=Path, help="generator.pt of the cell that the row is made of")
    parser.add_argument("--encoder", type=Path, help="extractor.pt whose feature maps the row is made with")
    # an empty value equals no option: the rule has one command line for all cells
    parser.add_argument(
        "--judge", type=Path, nargs="?", help="JSON file of the judge that scores each snapshot while training"
    )
    parser.add_argument("--init-from", type=Path, nargs="?", help="weights.pt that the recipe starts from")
    parser.add_argument(
        "--terms", type=Path, help="terms.json of the study: the terms of the data, kept with all results"
    )
    parser.add_argument("--log", type=Path, help="file that also gets the messages")
    return parser.parse_args(argv)


@command
def main(argv: list[str] | None = None) -> int:
    """Entry point; see the module for the exit codes."""
    given = _arguments(argv)
    # to the very end: a signal after the training must not turn it into a failure
    with StopSignals() as stop, logged(given.log) if given.log else contextlib.nullcontext():
        runtime = Runtime.parse(given.runtime)
        if runtime.processes > 1 and not parallel.launched():
            return launch.launch(sys.argv[1:] if argv is None else argv, runtime, given.endpoint, stop)
        device = pick_device(runtime.device)
        refusal = check.choose(runtime.ops, device)
        with parallel.joined(device) as device:
            return _train(given, runtime, device, stop, check.agreed(refusal))


def _train(
    given: argparse.Namespace, runtime: Runtime, device: torch.device, stop: StopSignals, refusal: str | None
) -> int:
    if runtime.threads:
        torch.set_num_threads(max(1, runtime.threads // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    recipe, store, leads = read_recipe(given.recipe), Store.open(given.store), parallel.rank() == 0
    check_store(recipe, store)
    if leads:
        store.check_files()
    dataset, shown = _images(recipe, store, device)
    dataset.meta["terms"] = _terms(given.terms, recipe)
    paths = Paths(given.folder, given.checkpoints / run_key(recipe), given.init_from)
    try:
        if not options_of(recipe["variant"]["family"]).TRAINED:
            return _make(given, recipe, (dataset, shown), paths, device, stop)
        scores = live_scores(given.judge, runtime.device) if given.judge and leads else None
        machine = prepare(runtime, device, refusal)
        train(recipe, dataset, paths, machine, shown=shown, on_snapshot=scores, stop=stop)
    except Stopped as stopped:
        if leads:
            print(stopped, file=sys.stderr)
            if stopped.signum == signal.SIGTERM and (said := slurm.requeue()):
                print(said, file=sys.stderr)
        return stopped.code
    except torch.OutOfMemoryError as error:
        raise GanError(
            f"a step does not fit into the GPU's memory ({str(error).splitlines()[0]}); take the batch in more pieces, "
            f"resources.train.microbatches above {runtime.microbatches}, or on more GPUs"
        ) from error
    return 0


def _make(
    given: argparse.Namespace,
    recipe: dict[str, Any],
    images: tuple[StoreDataset, StoreDataset],
    paths: Paths,
    device: torch.device,
    stop: StopSignals,
) -> int:
    """Make the cell of ``recipe``; images: to make it of, and to show."""
    dataset, shown = images
    if "made_of" not in recipe["variant"]:
        make(recipe, dataset, given.folder, Given(recipe["seed"], given.images), shown, device)
        return 0
    for option, path in (("--generator", given.generator), ("--encoder", given.encoder)):
        if path is None:
            made_of = recipe["variant"]["made_of"]["cell"]
            raise GanError(f"{option} is missing: the recipe is made of {made_of}; name its file")
    message = f"stopped, the images so far are kept: the same command makes the rest in {paths.checkpoints}"
    with locked(paths.checkpoints, stop):
        draw, encoder = images_of(given.generator, recipe, device), files.load_encoder(given.encoder, device)
        kept = paths.checkpoints / "made"
        needed = Given(recipe["seed"], given.images, draw, encoder, kept, lambda: stop.check(message))
        make(recipe, dataset, given.folder, needed, shown, device)
    return 0


def _terms(path: Path | None, recipe: dict[str, Any]) -> dict[str, Any]:
    """What the file ``path`` declares for the cell of ``recipe``, as `Terms.record`. `GanError` if that is nothing."""
    if path is None:
        return Terms().record()
    data, variant = recipe["data"].get("dataset"), recipe["variant"].get("name")
    if (terms := of_study(path, data, variant)) is None:
        raise GanError(f"{path}: has no terms of {data}/{variant}; name the terms.json of the study of this cell")
    return terms.record()


def _images(recipe: dict[str, Any], store: Store, device: torch.device) -> tuple[StoreDataset, StoreDataset]:
    """The images to train on, and those to show: of a translation the validation split's, if there are any.

    What is made of images, and not by a network, has its mask as one channel.
    """
    conditional, task = bool(recipe["variant"]["options"].get("conditional")), recipe["data"].get("translate")
    planes = options_of(recipe["variant"]["family"]).TRAINED
    dataset = StoreDataset(store, device, conditional, task, planes=planes)
    if not task or not len(store.rows("val")):
        return dataset, dataset
    return dataset, StoreDataset(store, device, conditional, task, split="val")


def program(argv: list[str] | None = None) -> int:
    """Run `main` as its own process or as a rank, which owns its heap."""
    keep_freed_memory()
    return main(argv)
