"""What the voxels of a volume, or the pixels of a picture, are like; and which files hold the same image."""

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from gan.data.endings import NIFTI
from gan.data.intensity import share_below
from gan.data.nifti import Volume

LEVELS = 64  # different values: a volume with more is no label volume
BLOCK = 1 << 16  # bytes read at the start, in the middle and at the end of a file that is as long as another
MANY = 1000  # files from which on a progress bar is shown


class Values(NamedTuple):
    """shape: voxels; low, high: of their values; below: fraction of them under 0; top: fraction at the highest value;
    labels: whole numbers from 0 on, `LEVELS` of them at most; levels: how many different values, 0 if there are more;
    dtype: on disk; digest: of shape and voxels."""

    shape: tuple[int, ...]
    low: float
    high: float
    below: float
    top: float
    labels: bool
    levels: int
    dtype: np.dtype
    digest: bytes


def values_of(volume: Volume) -> Values:
    """The facts of one volume, or of a picture as such."""
    data = volume.data
    low, high = (float(end) * volume.slope + volume.inter for end in (data.min(), data.max()))
    levels = _levels(data)
    scaled = np.array(levels) * volume.slope + volume.inter
    return Values(
        shape=data.shape,
        low=low,
        high=high,
        below=share_below(data, -volume.inter / volume.slope),
        top=np.count_nonzero(data == data.max()) / data.size,
        labels=0 < len(levels) <= LEVELS and bool((scaled >= 0).all() and (scaled == np.rint(scaled)).all()),
        levels=len(levels),
        dtype=data.dtype,
        digest=hashlib.sha256(repr(data.shape).encode() + np.ascontiguousarray(data).tobytes()).digest(),
    )


def _levels(data: np.ndarray) -> list[float]:
    """The different values, none if there are more than `LEVELS`; most images show that in a few voxels."""
    flat = data.reshape(-1)
    if len(np.unique(flat[:: max(1, flat.size // 10000)])) > LEVELS:
        return []
    levels = np.unique(flat)
    return levels.tolist() if len(levels) <= LEVELS else []


def equal_files(root: Path, paths: Sequence[str], label: str = "compare") -> list[list[str]]:
    """Groups of ``paths`` below ``root`` that hold the same content. Only files of one length are compared, first by
    some of their bytes; compressed NIfTI by the length and checksum of what they unpack to, so that a file that was
    compressed again is found as well. Files that cannot be read are passed over."""
    groups = _grouped(root, paths, _quick, label)
    return sorted(sorted(same) for group in groups for same in _grouped(root, group, _whole, ""))


def _grouped(root: Path, paths: Sequence[str], key: Callable[[Path], object], label: str) -> list[list[str]]:
    groups: dict[object, list[str]] = defaultdict(list)
    if label:  # by length first, which needs no reading
        lengths = _grouped(root, [path for path in paths if not _packed(path)], _length, "")
        paths = [*(path for path in paths if _packed(path)), *(path for group in lengths for path in group)]
    for path in tqdm(paths, desc=label, unit="file", disable=len(paths) < MANY or not label):
        try:
            groups[key(root / path)].append(path)
        except OSError:
            continue
    return [group for group in groups.values() if len(group) > 1]


def _packed(path: str) -> bool:
    return path.lower().endswith(NIFTI[1])


def _length(path: Path) -> int:
    return path.stat().st_size


def _quick(path: Path) -> object:
    if not path.is_file():  # a pipe would wait for ever
        raise FileNotFoundError(path)
    length = _length(path)
    with open(path, "rb") as file:
        if _packed(path.name):
            file.seek(max(0, length - 8))
            return "gzip", file.read(8)
        parts = []
        for start in (0, max(0, length // 2 - BLOCK), max(0, length - BLOCK)):
            file.seek(start)
            parts.append(file.read(BLOCK))
    return length, hashlib.sha256(b"".join(parts)).digest()


def _whole(path: Path) -> object:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        unpack = zlib.decompressobj(wbits=31) if _packed(path.name) else None
        while block := file.read(1 << 20):
            try:
                digest.update(unpack.decompress(block) if unpack else block)
            except zlib.error as error:
                raise OSError from error
    return digest.digest()
