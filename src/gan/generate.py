"""Images from a trained generator: ``gan generate --generator generator.pt --n 16 --seed 0 --out DIR``.

Equal arguments give equal images; image i of a seed is the same for any number of images. ``samples.json`` next to the
images says what made them, and each file that it is synthetic. Formats: docs/training.md.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from gan import check, grids
from gan.errors import GanError, command
from gan.files import read_json, write_json
from gan.runtime import DEVICES, OPS
from gan.sampling.between import interpolation_grid, mixing_grid
from gan.sampling.marks import Mark, first
from gan.sampling.snapshot import Snapshot, load_generator
from gan.sampling.tasks import chunks, classes_of
from gan.sampling.write import FORMATS, channel_names, write_images
from gan.train.device import pick_device

ABOUT, INTERPOLATION = "samples.json", "interpolation.png"


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gan generate", description="Images from a trained generator.")
    parser.add_argument("--generator", required=True, type=Path, help="generator.pt of a cell, or one of its snapshots")
    parser.add_argument("--out", required=True, type=Path, help="folder for the images")
    parser.add_argument("--n", type=int, default=16, help="number of images, or of sources of a grid (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="decides the images (%(default)s)")
    parser.add_argument("--label", help="class of a conditional generator; without it as often as in training")
    parser.add_argument("--truncation", type=float, default=1.0, help="0 to 1: less is more typical (%(default)g)")
    parser.add_argument("--format", choices=FORMATS, default="png", help="default: %(default)s")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--mix", action="store_true", help="style-mixing grid of n sources: mix.png (stylegan2)")
    what.add_argument("--interpolate", type=int, metavar="STEPS", help="from each image to the next: interpolation.png")
    parser.add_argument("--crossover", type=int, help="--mix: first layer that takes the styles of the column")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--ops", choices=OPS, default="auto", help=check.HELP)
    given = parser.parse_args(argv)
    if not 0 <= given.truncation <= 1:
        raise GanError(f"--truncation is {given.truncation:g}; allowed: 0 to 1")
    if given.n < 1 or given.seed < 0:
        raise GanError(f"--n is {given.n} and --seed is {given.seed}; allowed: --n from 1, --seed from 0")
    return given


@command
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    given = _arguments(argv)
    device = pick_device(given.device)
    check.say(check.choose(given.ops, device))
    snapshot = load_generator(given.generator, device)
    label = None if given.label is None else snapshot.class_of(given.label)
    classes = classes_of(snapshot, given.n, given.seed, label)
    about = _about(snapshot, given, classes)
    _refuse_others(given.out, about)
    text = Mark.of(snapshot, given.seed).text(first(given.n))
    if given.mix:
        grid = mixing_grid(snapshot, given.n, given.seed, classes, given.truncation, given.crossover)
        columns = given.n - given.n // 2 + 1
        grids.write_grid(given.out / "mix.png", grid.numpy(), columns, snapshot.mask_labels, text)
    elif given.interpolate is not None:
        grid = interpolation_grid(snapshot, given.n, given.seed, classes, given.truncation, given.interpolate)
        columns = given.interpolate + 2
        grids.write_grid(given.out / INTERPOLATION, grid.numpy(), columns, snapshot.mask_labels, text)
    else:
        images = chunks(snapshot, given.n, given.seed, label, given.truncation)
        write_images(snapshot, images, given.n, given.out, given.format, given.seed)
    write_json(given.out / ABOUT, about)
    print(f"{_written(snapshot, given)}\nhow they were made: {given.out / ABOUT}")


def _written(snapshot: Snapshot, given: argparse.Namespace) -> str:
    """What lies in the folder now, with paths and numbers."""
    size, seed = " x ".join(map(str, snapshot.shape.size)), f"of seed {given.seed}"
    if given.mix:
        return f"styles of {given.n} sources {seed} mixed, {size} each: {given.out / 'mix.png'}"
    if given.interpolate is not None:
        return (
            f"{given.n} images {seed}, {given.interpolate} steps between two, {size} each: {given.out / INTERPOLATION}"
        )
    count = f"{given.n} images {seed}, {size}"
    if given.format in ("npy", "grid"):
        return f"{count}: {given.out / ('images.npy' if given.format == 'npy' else 'grid.png')}"
    names, ending = channel_names(snapshot), "png" if given.format == "png" else "nii.gz"
    first_one, last_one = f"{0:05d}_{names[0]}.{ending}", f"{given.n - 1:05d}_{names[-1]}.{ending}"
    return f"{count}, in {given.n * len(names)} files: {given.out / first_one} to {given.out / last_one}"


def _about(snapshot: Snapshot, given: argparse.Namespace, classes: Tensor) -> dict[str, Any]:
    """How the images were made, stored with them."""
    names = snapshot.labels
    return {
        **{"synthetic": True, "family": snapshot.family, "run_key": snapshot.run_key, "kimg": snapshot.kimg},
        **snapshot.about,
        **{"terms": snapshot.terms.record(), "terms_of": snapshot.terms_of},
        **{"n": given.n, "seed": given.seed, "truncation": given.truncation},
        "labels": [names[place] for place in classes.tolist()] if names else [],
        **{key: snapshot.data.get(key) for key in ("dataset", "channels", "mask", "intensity", "spacing", "axis")},
        "grey_values": grids.NORMALISATION,
    }


def _refuse_others(out: Path, about: dict[str, Any]) -> None:
    """Raise `GanError` if ``out`` has images of a different call, which could not be told from the new ones."""
    path, asked = out / ABOUT, json.loads(json.dumps(about))
    found = read_json(path) if path.exists() else asked
    if key := next((key for key, value in asked.items() if found.get(key) != value), None):
        raise GanError(
            f"{path}: this folder holds images of a different call ({key} differs); name another folder or delete it"
        )
