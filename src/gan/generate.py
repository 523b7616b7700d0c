"""Images from a trained generator: ``gan generate --generator generator.pt --n 16 --seed 0 --out DIR``.

Equal arguments give equal images; image i of a seed is the same for any number of images. ``samples.json`` next to the
images says what made them. Formats: docs/training.md.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gan import check, grids, scales
from gan.data.planes import as_volume
from gan.errors import GanError, command
from gan.files import atomic_path, read_json, write_json
from gan.nn import Generator
from gan.runtime import DEVICES, OPS
from gan.train.device import pick_device
from gan.train.snapshot import Snapshot, load_generator

FORMATS = ("png", "nifti", "npy", "grid")
ABOUT = "samples.json"


def write_images(snapshot: Snapshot, images: Iterator[Tensor], n: int, out: Path, form: str) -> None:
    """Write ``n`` images [*, C, H, W] that come in chunks, as ``form``.

    png: ``<i>_<contrast>.png``, 8 bit, grey 0..255, a mask as its label numbers. nifti: ``<i>_<contrast>.nii.gz``, RAS,
    one slice, spacing in mm, float32 on the scale 0..255 of the intensity map, a mask as its label numbers. npy:
    ``images.npy``, float32 [n, C, H, W] in about [-1, 1]. grid: ``grid.png``.
    """
    if len(snapshot.shape.size) != 2 and form != "npy":
        raise GanError(f"--format {form} is for slices; this generator makes volumes, use --format npy")
    out.mkdir(parents=True, exist_ok=True)
    shown = tqdm(total=n, desc="generate", unit="img", disable=not sys.stderr.isatty())
    if form == "npy":
        _write_npy(snapshot, images, n, out / "images.npy", shown)
    elif form == "grid":
        chunks = torch.cat(list(_counted(images, shown))).numpy()
        columns = min(n, grids.layout(snapshot.shape.channels, snapshot.shape.size)[1])
        grids.write_grid(out / "grid.png", chunks, columns, snapshot.mask_labels)
    else:
        write = _write_png if form == "png" else _write_nifti
        place = 0
        for chunk in _counted(images, shown):
            for image in chunk.numpy():
                for channel, name in enumerate(_channels(snapshot)):
                    write(out / f"{place:05d}_{name}", image[channel], snapshot, channel)
                place += 1
    shown.close()


def mixing_grid(
    snapshot: Snapshot, n: int, seed: int, classes: Tensor, truncation: float, crossover: int | None
) -> Tensor:
    """Style mixing (Karras et al. 2019, figure 3): [(rows + 1) * (columns + 1), C, H, W], row by row, the corner black.

    The first n // 2 samples are in the first column and give their coarse styles (layers below ``crossover``, half of
    them by default) to their row; the others are in the first row and give the rest to their column.
    """
    network = snapshot.network
    if not isinstance(network, Generator):
        raise GanError(f"--mix: a generator of the family {snapshot.family} has no styles; use one of stylegan2")
    if n < 2:
        raise GanError(f"--mix needs at least 2 samples, --n is {n}")
    layers = network.synthesis.layers
    crossover = layers // 2 if crossover is None else crossover
    if not 0 < crossover < layers:
        raise GanError(f"--crossover is {crossover}; this generator has {layers} layers, allowed: 1 to {layers - 1}")
    z, _ = snapshot.latents(n, seed)
    with torch.no_grad():
        w = network.mapping(z.to(snapshot.device), snapshot.one_hot(classes), truncation)
        styles = network.broadcast(w)

    def draw(ws: Tensor) -> Tensor:
        with torch.no_grad(), snapshot.noise(seed, 0):
            return network.synthesis(ws[None]).float().cpu()[0]

    rows, columns = styles[: n // 2], styles[n // 2 :]
    cells = [torch.full((snapshot.shape.channels, *snapshot.shape.size), -1.0), *map(draw, columns)]
    for row in tqdm(rows, desc="mix", disable=not sys.stderr.isatty()):
        cells += [draw(row), *(draw(torch.cat([row[:crossover], column[crossover:]])) for column in columns)]
    return _finite(torch.stack(cells))


def interpolation_grid(snapshot: Snapshot, n: int, seed: int, classes: Tensor, truncation: float, steps: int) -> Tensor:
    """Ways from each of ``n`` samples to the next, ``steps`` images between them: [(n - 1) * (steps + 2), C, H, W].

    A row is a great circle between two latents (White 2016), at the class of its left end; noise inputs stay the same.
    """
    if n < 2 or steps < 1:
        raise GanError(f"--interpolate needs at least 2 samples and 1 step, --n is {n} and the steps are {steps}")
    z, _ = snapshot.latents(n, seed)
    cells = []
    for left in tqdm(range(n - 1), desc="interpolate", disable=not sys.stderr.isatty()):
        for part in torch.linspace(0, 1, steps + 2).tolist():
            latent = slerp(z[left], z[left + 1], part)[None]
            cells.append(snapshot.render(latent, classes[left : left + 1], seed, 0, truncation)[0])
    return _finite(torch.stack(cells))


def slerp(start: Tensor, end: Tensor, part: float) -> Tensor:
    """The point at ``part`` (0..1) of the way from ``start`` to ``end``, turning at an even rate."""
    cosine = torch.dot(start, end) / (start.norm() * end.norm())
    angle = torch.arccos(cosine.clamp(-1, 1))
    if float(angle) < 1e-4:
        return start.lerp(end, part)
    return (torch.sin((1 - part) * angle) * start + torch.sin(part * angle) * end) / torch.sin(angle)


def _write_png(path: Path, pixels: np.ndarray, snapshot: Snapshot, channel: int) -> None:
    path = path.with_name(f"{path.name}.png")
    if _is_mask(snapshot, channel):
        grids.write_png(path, scales.generated_to_labels(pixels, snapshot.mask_labels), "label numbers")
    else:
        grids.write_png(path, scales.generated_to_uint8(pixels))


def _write_nifti(path: Path, pixels: np.ndarray, snapshot: Snapshot, channel: int) -> None:
    data = snapshot.data
    mask = _is_mask(snapshot, channel)
    values = scales.generated_to_labels(pixels, snapshot.mask_labels) if mask else scales.generated_to_grey(pixels)
    volume, affine = as_volume(values, data.get("axis") or "axial", data.get("spacing") or (1.0, 1.0))
    image = nib.Nifti1Image(np.ascontiguousarray(volume), affine)  # type: ignore[attr-defined]
    image.header.set_xyzt_units("mm")
    with atomic_path(path.with_name(f"{path.name}.nii.gz")) as temporary:
        nib.save(image, temporary)  # type: ignore[attr-defined]


def _write_npy(snapshot: Snapshot, images: Iterator[Tensor], n: int, path: Path, shown: tqdm) -> None:
    shape = (n, snapshot.shape.channels, *snapshot.shape.size)
    with atomic_path(path) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        place = 0
        for chunk in _counted(images, shown):
            array[place : place + len(chunk)] = chunk.numpy()
            place += len(chunk)
        array.flush()


def _counted(images: Iterator[Tensor], shown: tqdm) -> Iterator[Tensor]:
    for chunk in images:
        yield _finite(chunk)
        shown.update(len(chunk))


def _finite(images: Tensor) -> Tensor:
    if not torch.isfinite(images).all():
        raise GanError("the generator makes NaN or infinite values: its file was changed, or its training diverged")
    return images


def _is_mask(snapshot: Snapshot, channel: int) -> bool:
    return bool(snapshot.data.get("mask")) and _channels(snapshot)[channel] == snapshot.data["mask"]


def _channels(snapshot: Snapshot) -> list[str]:
    """Names that become parts of file names."""
    names = list(snapshot.data.get("channels") or [f"channel{place}" for place in range(snapshot.shape.channels)])
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_]{1,64}", name):
            raise GanError(
                f"the generator's file calls a channel {name!r}, which is no name of a contrast: it is not a file of "
                f"this program, or it was changed; take the one of the cell"
            )
    return names


def pick_label(snapshot: Snapshot, name: str | None) -> int | None:
    """The class called ``name``; `GanError` lists what is allowed."""
    if name is None:
        return None
    if not snapshot.labels:
        raise GanError(f"--label {name}: this generator was trained without labels; leave --label out")
    if name not in snapshot.labels:
        raise GanError(f"--label {name}: not known to this generator; allowed: {', '.join(snapshot.labels)}")
    return snapshot.labels.index(name)


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
    label = pick_label(snapshot, given.label)
    _, classes = snapshot.latents(given.n, given.seed)
    if label is not None:
        classes[:] = label
    about = _about(snapshot, given, classes)
    _refuse_others(given.out, about)
    if given.mix:
        grid = mixing_grid(snapshot, given.n, given.seed, classes, given.truncation, given.crossover)
        columns = given.n - given.n // 2 + 1
        grids.write_grid(given.out / "mix.png", grid.numpy(), columns, snapshot.mask_labels)
    elif given.interpolate is not None:
        grid = interpolation_grid(snapshot, given.n, given.seed, classes, given.truncation, given.interpolate)
        columns = given.interpolate + 2
        grids.write_grid(given.out / "interpolation.png", grid.numpy(), columns, snapshot.mask_labels)
    else:
        chunks = snapshot.chunks(given.n, given.seed, label, given.truncation)
        write_images(snapshot, chunks, given.n, given.out, given.format)
    write_json(given.out / ABOUT, about)


def _about(snapshot: Snapshot, given: argparse.Namespace, classes: Tensor) -> dict[str, Any]:
    """How the images were made, stored with them."""
    names = snapshot.labels
    return {
        **{"synthetic": True, "family": snapshot.family, "run_key": snapshot.run_key, "kimg": snapshot.kimg},
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
