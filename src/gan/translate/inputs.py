"""The scans of a call as slices, or whole: on one grid, with the intensity map, filter and frame of training."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gan.data.cut.common import FEW, Channel, channel_of, limits_of, share_below_zero, stored
from gan.data.cut.frames import Frame, frame
from gan.data.cut.whole import body_of, box_of, thick, whole_channel
from gan.data.intensity import fraction_above
from gan.data.planes import ORDER
from gan.data.scan import Scan, on_grid_of, read_scan
from gan.errors import GanError
from gan.sampling.tasks import CHUNK
from gan.sampling.volumes import Stack
from gan.translate.asked import Task

FILLED = 2 / 3  # of the smallest share that is not black of a training subject: below it something is missing
MOST_SPACING = 1.5  # between the pixels of training and those of the scan, as a ratio


class Opened(NamedTuple):
    """The inputs of a call. scans: by contrast; channels: in the order of training, None for a missing contrast."""

    scans: dict[str, Scan]
    channels: list[Channel | None]

    @property
    def first(self) -> Scan:
        """The one whose geometry the output has."""
        return next(iter(self.scans.values()))


def open_inputs(inputs: dict[str, Path], task: Task, data: dict[str, Any]) -> Opened:
    """Read all inputs, on the grid of the first, with the intensity map of training."""
    scans: dict[str, Scan] = {}
    channels: dict[str, Channel] = {}
    for name, path in inputs.items():
        largest = task.masks[task.sources.index(name)]
        scans[name] = read_scan(path, mask=bool(largest))
        channels[name] = read_channel(name, path, scans, data, bool(largest))
        if largest and channels[name].stack.max() > largest:
            raise GanError(f"{path}: label {channels[name].stack.max()}, in training {largest} was the largest one")
    return Opened(scans, [channels.get(name) for name in task.sources])


def read_channel(name: str, path: Path, scans: dict[str, Scan], data: dict[str, Any], mask: bool) -> Channel:
    """The last of the ``scans`` as slices, or whole; says what a user should know of it."""
    first, scan = next(iter(scans.values())), list(scans.values())[-1]
    volume, moved = on_grid_of(first, scan, path, mask=mask)
    if moved:
        print(f"{name}: on another grid than {next(iter(scans))}, resampled to it; movement in between stays")
    if scan.volume.notes:
        print(f"{name}: {scan.volume.notes}")
    try:
        if data.get("volumes"):
            channel = whole_channel(volume, data["intensity"], mask=mask)
        else:
            channel = channel_of(volume, data["axis"], data["intensity"], mask=mask)
    except GanError as error:
        raise GanError(f"{path}: {error}") from error
    if mask:
        return channel
    ends = limits_of(channel, data["intensity"])
    shown = "of each slice" if ends is None else f"{ends[0]:g} to {ends[1]:g}"
    print(f"{name}: intensity map {data['intensity']['map']}, limits {shown}")
    if data["intensity"]["map"] == "percentile" and (share := share_below_zero(channel)) > FEW:
        print(f"{name}: {share:.0%} of its voxels are below 0 and become black, was that so in training?")
    return channel


def stack_of(opened: Opened, task: Task, data: dict[str, Any], force: bool) -> Stack:
    """Frame and filter of training, or its box; `GanError` for voxels that do not suit, unless ``force``."""
    reference, name = _looked_at(opened.channels, task, data)
    to = _framed(reference, data)
    ratios = [max(mine / usual, usual / mine) for mine, usual in zip(to.spacing, data["spacing"], strict=True)]
    if max(ratios) > MOST_SPACING and not force:
        mine, usual = (" x ".join(f"{mm:.3g}" for mm in spacing) for spacing in (to.spacing, data["spacing"]))
        raise GanError(
            f"pixels of {mine} mm in the frame of training, where they were {usual} mm: off by more than half; "
            f"resample the scan, or translate it with --force"
        )
    if data.get("reference") not in (None, name):
        looked = "box" if data.get("volumes") else "filter"
        print(f"the {looked} of training looked at {data['reference']}, which is no input; it looks at {name} here")
    passing = np.ones(1, dtype=bool)
    if data.get("volumes"):
        if (fault := thick(reference.spacing, to)) and not force:
            raise GanError(f"--input {name}: {fault}, as in training; translate it with --force")
    else:
        passing = _passing(reference, opened.first, data)
    stack = Stack(opened.channels, passing, data["filter"]["every"], to)
    if not force:
        _require_filled(stack, task, data.get("filled") or {})
    return stack


def _framed(reference: Channel, data: dict[str, Any]) -> Frame:
    """The frame of training for slices like those of ``reference``; of a whole volume the box about its body."""
    size = tuple(data["size"])
    if not (volumes := data.get("volumes")):
        return frame(reference.stack.shape[1:], reference.spacing, size, data["fit"])
    # The spacing that all subjects of training have got.
    return box_of(reference.spacing, body_of(reference), volumes | {"spacing": data["spacing"][0]}, size)


def _passing(reference: Channel, first: Scan, data: dict[str, Any]) -> np.ndarray:
    """Which slices pass the filter of training, bool [S]; says how far neighbours are."""
    spec = data["filter"]
    if data["translate"]["neighbours"]:
        mm = spec["every"] * first.volume.spacing[ORDER[data["axis"]][0]]
        print(f"neighbours are {mm:.3g} mm away ({spec['every']} in number, as in training, whatever the distance was)")
    return fraction_above(reference.stack, spec["threshold"], reference.low, reference.high) > spec["fraction"]  # type: ignore[arg-type]


def _require_filled(stack: Stack, task: Task, usual: dict[str, float]) -> None:
    """`GanError` if much more of an input is black than of any training subject, as where the skull was taken away.

    usual: by contrast the smallest share of pixels above 0 of a training subject; a generator's file may lack it.
    """
    numbers = np.flatnonzero(stack.passing)
    for name, channel in zip(task.sources, stack.channels, strict=True):
        if channel is None or name not in usual or not len(numbers):
            continue
        blocks = [numbers[first : first + CHUNK] for first in range(0, len(numbers), CHUNK)]
        count = sum(int(np.count_nonzero(stored([channel], block, stack.to))) for block in blocks)
        share = count / (len(numbers) * math.prod(stack.to.size))
        if share < FILLED * usual[name]:
            raise GanError(
                f"--input {name}: {share:.0%} of its pixels are above 0 in the frame of training, where each subject "
                f"had {usual[name]:.0%} or more; was its skull taken away? Give the whole head, or --force"
            )


def _looked_at(channels: list[Channel | None], task: Task, data: dict[str, Any]) -> tuple[Channel, str]:
    """The contrast that filter or box look at: the reference of training, or the first one that is there."""
    grey = {
        name: channel
        for name, channel, mask in zip(task.sources, channels, task.masks, strict=True)
        if channel is not None and not mask
    }
    if not grey:
        looked = "box" if data.get("volumes") else "filter"
        raise GanError(f"--input: the {looked} of training needs a contrast, masks alone are given; add one")
    name = data["reference"] if data.get("reference") in grey else next(iter(grey))
    return grey[name], name


def chosen_slices(stack: Stack, every_slice: bool, data: dict[str, Any]) -> np.ndarray:
    """The numbers of the slices to translate; of a whole volume 0. `GanError` if none passes the filter."""
    if stack.whole:
        if every_slice:
            raise GanError("--all-slices: this generator translates whole volumes; leave it out")
        size, spacing = (" x ".join(f"{value:g}" for value in of) for of in (stack.to.size, stack.to.spacing))
        print(f"the whole volume, in a box of {size} voxels of {spacing} mm")
        return np.zeros(1, dtype=np.int64)
    total, passing = len(stack.passing), int(stack.passing.sum())
    chosen = np.arange(total) if every_slice else np.flatnonzero(stack.passing)
    others = "; the others become 0" if len(chosen) < total else ""
    print(f"{len(chosen)} of {total} {data['axis']} slices, {passing} pass the filter of training{others}")
    if not len(chosen):
        raise GanError("no slice passes the filter of training; is it the contrast it was trained on? or --all-slices")
    return chosen
