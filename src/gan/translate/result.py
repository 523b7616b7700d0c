"""The translated volume, what its frame costs, and its scores against the real scan."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from gan.data.cut.common import Channel
from gan.data.cut.frames import Frame, covered, place, unplace
from gan.data.intensity import to_scale
from gan.data.planes import upright
from gan.data.scan import read_scan
from gan.errors import GanError
from gan.metrics.regions import LEVEL, foreground
from gan.sampling.snapshot import Snapshot
from gan.sampling.tasks import CHUNK
from gan.sampling.volumes import Stack, translate
from gan.scoring.paired import PairedProbe, Pairs, direction
from gan.scoring.probes import Samples
from gan.translate.asked import Task
from gan.translate.inputs import Opened, read_channel


def translated_volume(
    snapshot: Snapshot, stack: Stack, chosen: np.ndarray, seed: int, label: int | None, targets: int
) -> np.ndarray:
    """Translations [targets, S, H, W] on the scale 0..255, 0 where nothing was translated; of a whole volume S is 1 and
    [D, H, W] follows, here and in what is made of it."""
    volume = np.zeros((targets, len(stack.passing), *stack.to.source), dtype=np.float32)
    with tqdm(total=len(chosen), desc="translate", unit="image", disable=not sys.stderr.isatty()) as shown:
        for numbers, images in translate(snapshot, stack, chosen, seed, label):
            volume[:, numbers] = images.swapaxes(0, 1)
            shown.update(len(numbers))
    return volume


def sampled_volume(
    snapshot: Snapshot, stack: Stack, chosen: np.ndarray, seeds: range, label: int | None, targets: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the translations by ``seeds``, two or more: [targets, S, H, W] both, on the scale
    0..255. `GanError` if they are all the same, since the generator draws nothing.
    """
    first, second = (next(translate(snapshot, stack, chosen[:CHUNK], seed, label))[1] for seed in seeds[:2])
    if np.array_equal(first, second):
        raise GanError(
            f"--samples {len(seeds)}: {snapshot.family} makes the same translation again and again; leave it out, or "
            f"train a row that draws (dropout_at_test, stochastic_test)"
        )
    mean = squares = np.zeros((), np.float32)
    for count, seed in enumerate(seeds, 1):
        volume = translated_volume(snapshot, stack, chosen, seed, label, targets)
        apart = volume - mean
        mean = mean + apart / count
        squares = squares + apart * (volume - mean)  # of the differences to the mean so far (Welford 1962)
    return mean, np.sqrt(squares / (len(seeds) - 1))


def in_units(volume: np.ndarray, ends: list[float] | None, *, spread: bool) -> tuple[np.ndarray, str]:
    """``volume`` on the scale 0..255, or between ``ends`` in the scanner's units, as float32, and which it is in words.

    spread: its values are differences, which have no zero to move.
    """
    if ends is None:
        return volume.astype(np.float32), "on the scale 0..255"
    low, high = ends
    values = volume * ((high - low) / 255) + (0 if spread else low)
    return values.astype(np.float32), f"in units of training: 0..255 is {low:g} to {high:g}, medians of its subjects"


def on_scale(channel: Channel, chosen: np.ndarray) -> np.ndarray:
    """Slices [n, *source] on the scale 0..255, a mask as 0 and 255."""
    if channel.low is None or channel.high is None:
        return np.where(channel.stack[chosen] > 0, np.float32(255), np.float32(0))
    return to_scale(channel.stack[chosen], channel.low[chosen], channel.high[chosen])


def heads_of(channels: list[Channel | None], chosen: np.ndarray, task: Task) -> np.ndarray:
    """Where the head is in the inputs, bool [n, *source]."""
    there = [channel for channel, mask in zip(channels, task.masks, strict=True) if channel is not None and not mask]
    found = []
    for first in range(0, len(chosen), CHUNK):
        grey = np.stack([on_scale(channel, chosen[first : first + CHUNK]) for channel in there], 1)
        found.append(foreground(grey, grey[:, :0], LEVEL))
    return np.concatenate(found)


def cropped(heads: np.ndarray, to: Frame) -> tuple[int, int]:
    """How many pixels of a slice, or voxels of a whole volume, lie outside of the frame, and how many voxels of the
    head do, of all slices."""
    outside = ~covered(to)
    count, of_head = int(outside.sum()), int(upright(heads)[:, outside].sum())
    if count:
        share = of_head / max(1, int(heads.sum()))
        said, where = f"{share:.1%} of the head", "pixels of each slice lie outside of the frame"
        where = where if outside.ndim == 2 else "voxels lie outside of the box"
        print(f"{count} of {outside.size} {where} and become 0: {said}")
    return count, of_head


def frame_loss(channels: list[Channel | None], chosen: np.ndarray, heads: np.ndarray, to: Frame) -> float | None:
    """Mean absolute change, within the head, of the first contrast in the frame of training and back; None if exact."""
    if to.canvas == to.size:
        return None
    channel = next(channel for channel in channels if channel is not None and channel.low is not None)
    total = 0.0
    for first in range(0, len(chosen), CHUNK):
        part = slice(first, first + CHUNK)
        grey, head = upright(on_scale(channel, chosen[part])), upright(heads[part])
        total += float(np.abs(unplace(place(grey, to), to) - grey)[head].sum(dtype=np.float64))
    loss = total / max(1, int(heads.sum()))
    print(f"the frame of training and back alone change the input by {loss:.2f} of 255 within the head, on average")
    return float(f"{loss:.6g}")


def scores_of(
    references: dict[str, Path],
    opened: Opened,
    chosen: np.ndarray,
    volume: np.ndarray,
    task: Task,
    data: dict[str, Any],
) -> dict[str, dict[str, float]]:
    """Paired scores of the translated slices in the pixels of the scan, by target; printed."""
    found: dict[str, dict[str, float]] = {}
    for name, path in references.items():
        scan = read_scan(path)
        channel = read_channel(name, path, {next(iter(opened.scans)): opened.first, name: scan}, data, False)
        probe = PairedProbe([direction(list(opened.scans), name)], "test", 0, 0)
        sources = [one for one, mask in zip(opened.channels, task.masks, strict=True) if one is not None and not mask]
        for first in range(0, len(chosen), CHUNK):
            numbers = chosen[first : first + CHUNK]
            made, real = volume[task.targets.index(name), numbers][:, None], on_scale(channel, numbers)[:, None]
            source = np.stack([on_scale(one, numbers) for one in sources], 1)
            probe.add(Samples({}, None, Pairs(made, real, source, None, np.zeros(len(numbers), np.int64), numbers)))
        rows = [row for row in probe.rows() if row["contrast"] == probe.directions[0]]
        found[name] = {row["metric"]: float(f"{row['value']:.6g}") for row in rows}
        print(f"{probe.directions[0]}, {'the whole volume' if data.get('volumes') else f'{len(chosen)} slices'}:")
        print("\n".join(f"  {metric:<12} {value:g}" for metric, value in found[name].items()))
    return found
