"""A scan in another contrast: ``gan translate --generator generator.pt --input t1=T1.nii.gz --out T2.nii.gz``.

The output has the shape and the geometry of the first input, on the scale 0..255 of the intensity map of training: the
scanner's units of a contrast that was not acquired cannot be known. Only NIfTI is written; what becomes of each voxel:
docs/training.md, "Translate a scan".
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from gan import check
from gan.data.cut.common import limits_of
from gan.data.cut.whole import offset
from gan.data.planes import from_slices
from gan.data.scan import Scan, as_nifti
from gan.errors import GanError, command
from gan.files import atomic_path, write_json
from gan.runtime import DEVICES, OPS
from gan.sampling.marks import Mark
from gan.sampling.snapshot import Snapshot, load_generator
from gan.sampling.volumes import Stack
from gan.train.device import pick_device
from gan.translate.asked import (
    Task,
    backward,
    deviation_of,
    label_of,
    named,
    outputs_of,
    record_of,
    referred,
    refuse_paths,
    require_inputs,
    task_of,
    units_of,
)
from gan.translate.inputs import Opened, chosen_slices, open_inputs, stack_of
from gan.translate.result import cropped, frame_loss, heads_of, in_units, sampled_volume, scores_of, translated_volume

KEEP, ZERO = "keep", "zero"
SCALE, TRAINING = "scale", "training"


@command
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    given = _arguments(argv)
    device = pick_device(given.device)
    check.say(check.choose(given.ops, device))
    snapshot = load_generator(given.generator, device)
    task = task_of(snapshot, given.generator)
    if given.reverse:
        snapshot = backward(snapshot, given.generator)
        task = task_of(snapshot, given.generator)
    label = label_of(snapshot, given.label)
    inputs = named(given.input, task.sources, "--input")
    references = referred(given.reference, task.targets)
    require_inputs(inputs, task, snapshot)
    outputs = outputs_of(given.out, task.targets)
    spread = {name: deviation_of(path) for name, path in outputs.items()} if given.samples else {}
    refuse_paths([*outputs.values(), *spread.values()], [*inputs.values(), *references.values()])
    units = units_of(snapshot, task.targets, given.generator) if given.units == TRAINING else {}

    opened = open_inputs(inputs, task, snapshot.data)
    stack = stack_of(opened, task, snapshot.data, given.force)._replace(backward=given.reverse)
    chosen = chosen_slices(stack, given.all_slices, snapshot.data)
    made = _translations(snapshot, stack, chosen, given, label)
    heads = heads_of(opened.channels, chosen, task)
    if given.background == ZERO:
        for volume in made:
            volume[:, chosen] *= heads
    outside = "cropped_voxels" if stack.whole else "cropped_pixels_of_a_slice"
    about = _about(snapshot, opened, task, given, label)
    about |= dict(zip((outside, "cropped_voxels_of_the_head"), cropped(heads, stack.to), strict=True))
    about |= {"frame_loss": frame_loss(opened.channels, chosen, heads, stack.to)}
    scores = scores_of(references, opened, chosen, made[0], task, snapshot.data)
    about |= _of_stack(stack, chosen, snapshot.data) | ({"scores": scores} if scores else {})
    mark = replace(Mark.of(snapshot, given.seed), translated_from=tuple(opened.scans))
    for kind, volume, paths in zip(_kinds(given), made, (outputs, spread), strict=False):
        for channel, (name, path) in enumerate(paths.items()):
            values, said = in_units(volume[channel], units.get(name), spread=paths is spread)
            data = from_slices(values[0], "axial") if stack.whole else from_slices(values, snapshot.data["axis"])
            _write(data, opened.first, mark, path)
            write_json(record_of(path), about | {"contrast": name, "values": kind} | ({"scale": said} if units else {}))
            print(f"{path}: {name}, {kind}, {said}")


def _translations(
    snapshot: Snapshot, stack: Stack, chosen: np.ndarray, given: argparse.Namespace, label: int | None
) -> tuple[np.ndarray, ...]:
    """The translation, or of several the mean and the standard deviation (`translated_volume`)."""
    targets = len(snapshot.data["channels"])
    if given.samples:
        seeds = range(given.seed, given.seed + given.samples)
        return sampled_volume(snapshot, stack, chosen, seeds, label, targets)
    return (translated_volume(snapshot, stack, chosen, given.seed, label, targets),)


def _kinds(given: argparse.Namespace) -> tuple[str, ...]:
    """What the values of `_translations` are."""
    if not given.samples:
        return ("translated",)
    return f"mean of {given.samples} translations", f"standard deviation of {given.samples} translations"


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="gan translate", description="A scan of one contrast into another, in its own geometry, as NIfTI."
    )
    parser.add_argument("--generator", required=True, type=Path, help="generator.pt of a cell that translates")
    parser.add_argument(
        "--input",
        required=True,
        action="append",
        metavar="CONTRAST=PATH",
        help="a volume, or a folder of one DICOM series",
    )
    parser.add_argument(
        "--out", required=True, action="append", help=".nii or .nii.gz; of several targets with {contrast}, or one each"
    )
    parser.add_argument(
        "--reference", action="append", default=[], metavar="[CONTRAST=]PATH", help="the real target, for scores"
    )
    parser.add_argument("--reverse", action="store_true", help="from target to source, where the family learned both")
    parser.add_argument("--all-slices", action="store_true", help="also those that the filter of training leaves out")
    parser.add_argument(
        "--background", choices=(KEEP, ZERO), default=KEEP, help="what is translated around the head (%(default)s)"
    )
    parser.add_argument(
        "--units",
        choices=(SCALE, TRAINING),
        default=SCALE,
        help="values on the scale 0..255, or between the median limits of that contrast in training (%(default)s)",
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=0,
        metavar="N",
        help="of a generator with dropout or noise at test: mean and standard deviation (_sd) over N seeds",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="translate what differs from training: size of pixels, a head without skull",
    )
    parser.add_argument("--seed", type=int, default=0, help="of dropout and noise, if on at test (%(default)s)")
    parser.add_argument("--label", help="class of the scan, for a conditional generator")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--ops", choices=OPS, default="auto", help=check.HELP)
    given = parser.parse_args(argv)
    if given.seed < 0:
        raise GanError(f"--seed is {given.seed}; allowed: from 0")
    if given.samples and given.samples < 2:
        raise GanError(f"--samples is {given.samples}; allowed: from 2, since one has no deviation")
    return given


def _about(
    snapshot: Snapshot, opened: Opened, task: Task, given: argparse.Namespace, label: int | None
) -> dict[str, Any]:
    """What made the volume. No names of files: they can name a patient."""
    spec = snapshot.data["intensity"]
    limits = {
        name: limits_of(channel, spec)
        for name, channel in zip(task.sources, opened.channels, strict=True)
        if channel is not None
    }
    return {
        **Mark.of(snapshot, given.seed).record(0),
        "translated": {"source": list(opened.scans), "target": task.targets},
        "label": None if label is None else snapshot.labels[label],
        "inputs_sha256": {name: scan.sha256 for name, scan in opened.scans.items()},
        "intensity": spec,
        "limits": limits,
        "scale": "0..255 of the intensity map of training, not the scanner's units",
        "background": given.background,
    }


def _of_stack(stack: Stack, chosen: np.ndarray, data: dict[str, Any]) -> dict[str, Any]:
    """Which slices were translated, or in which box of the scan the whole of it was."""
    if stack.whole:
        spacing, away = ([float(f"{mm:.6g}") for mm in of] for of in (stack.to.spacing, offset(stack.to)))
        return {"box": {"size": list(stack.to.size), "spacing": spacing, "offset": away}}
    return {"axis": data["axis"], "slices": len(stack.passing), "translated_slices": len(chosen)}


def _write(data: np.ndarray, scan: Scan, mark: Mark, path: Path) -> None:
    image = as_nifti(data, scan)
    mark.put(image, 0)
    with atomic_path(path) as temporary:
        nib.save(image, temporary)  # type: ignore[attr-defined]
