"""Read a folder of images that another program made.

One file an image and contrast: ``<name>_<contrast>.png``, or any name where there is one contrast; pictures of 8 or 16
bits, or NIfTI of one slice; of a data set of volumes, NIfTI of its box. Or numpy arrays of many images,
``[n, C, *size]`` (``[n, *size]`` of one contrast). A mask has label numbers. Classes are folders.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gan.data.endings import NIFTI, PICTURES, cut_ending
from gan.data.formats import read_volume
from gan.data.nifti import canonical
from gan.data.pictures import read_picture
from gan.data.planes import as_slices, upright
from gan.errors import GanError
from gan.families.contract import ImageShape
from gan.families.external.options import image_files

ABOUT = ("samples.json",)  # what `gan generate` writes next to its images


def read_images(
    folder: Path, meta: dict[str, Any], shape: ImageShape, window: tuple[float, float] | None, classes: Sequence[str]
) -> tuple[NDArray[np.float32], list[int]]:
    """Images float32 [n, C, *size] in [-1, 1], in the order of their names, and the class of each (0 without classes).

    meta: of the data set's store; window: the values that become 0 and 255. `GanError` names the file that does not
    fit.
    """
    reader = _Reader(folder, meta, shape, window)
    found, places = [], []
    groups = _grouped(folder, reader.channels)
    listed = tqdm(groups.values(), desc="read images", unit="image", file=sys.stderr, disable=len(groups) < 500)
    for files in listed:
        images = reader.array(files[0]) if files[0].suffix == ".npy" else reader.image(files)[None]
        found.append(images)
        places += [_class_of(folder, files[0], classes)] * len(images)
    return np.concatenate(found), places


def _grouped(folder: Path, channels: Sequence[str]) -> dict[str, list[Path]]:
    """The files of each image by its name, in the order of ``channels``; an array of many stands by itself."""
    paths = [path for path in image_files(folder) if path.name not in ABOUT]
    groups: dict[str, dict[str, Path]] = {}
    for path in paths:
        if not path.name.lower().endswith((*PICTURES, *NIFTI, ".npy")):
            raise GanError(f"{path}: no image of this row; take png, npy or NIfTI, or remove the file")
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".npy":
            groups[name] = dict.fromkeys(channels, path)
            continue
        stem, _ = cut_ending(name)
        contrast = next((one for one in channels if stem.endswith(f"_{one}")), None)
        if contrast is None and len(channels) > 1:
            raise GanError(f"{path}: its name does not end in _<contrast>; the contrasts are {', '.join(channels)}")
        key = stem.removesuffix(f"_{contrast}")
        if other := groups.setdefault(key, {}).get(contrast or channels[0]):
            raise GanError(f"{path}: {other.name} is the same image of the same contrast; remove one of them")
        groups[key][contrast or channels[0]] = path
    if not groups:
        raise GanError(f"{folder}: no images (png, npy or NIfTI); name the folder that holds them")
    for key, of_contrast in groups.items():
        if lacking := [one for one in channels if one not in of_contrast]:
            raise GanError(f"{folder}: {key} has no {lacking[0]}; each image needs a file of every contrast")
    return {key: [of_contrast[one] for one in channels] for key, of_contrast in sorted(groups.items())}


class _Reader:
    def __init__(self, folder: Path, meta: dict[str, Any], shape: ImageShape, window: tuple[float, float] | None):
        self.folder, self.meta, self.shape, self.window = folder, meta, shape, window
        self.channels: list[str] = list(meta["channels"])
        self.masks = [name == meta.get("mask") for name in self.channels]

    def image(self, files: Sequence[Path]) -> NDArray[np.float32]:
        """One image [C, *size] of its files."""
        return np.stack([self._scaled(self._pixels(path), place, path) for place, path in enumerate(files)])

    def array(self, path: Path) -> NDArray[np.float32]:
        """All images [n, C, *size] of a numpy file."""
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise GanError(f"{path}: no array of numbers, or a damaged one; write it with numpy.save") from error
        axes = len(self.shape.size)
        if values.ndim == axes + 1 and len(self.channels) == 1:
            values = values[:, None]
        if values.ndim != axes + 2 or values.shape[1] != len(self.channels) or not len(values):
            wanted = f"[n, {len(self.channels)}, {', '.join(map(str, self.shape.size))}]"
            raise GanError(f"{path}: an array of shape {list(values.shape)}; the data set needs {wanted}")
        return np.stack([self._scaled(values[:, place], place, path) for place in range(len(self.channels))], 1)

    def _pixels(self, path: Path) -> NDArray:
        if path.name.lower().endswith(PICTURES):
            return read_picture(path)
        stack = upright(as_slices(canonical(read_volume(path)).values(), self.meta.get("axis") or "axial"))
        if len(self.shape.size) == 3:
            return stack
        if len(stack) != 1:
            raise GanError(f"{path}: {len(stack)} slices along {self.meta.get('axis')}; give one slice a file")
        return stack[0]

    def _scaled(self, values: NDArray, channel: int, path: Path) -> NDArray[np.float32]:
        """Values [..., *size] of a channel in [-1, 1]."""
        size = self.shape.size
        if values.shape[-len(size) :] != size:
            got, wanted = (" x ".join(map(str, one)) for one in (values.shape[-len(size) :], size))
            raise GanError(f"{path}: {got} pixels, the data set has {wanted}; make images of that size")
        if not np.isfinite(values).all():
            raise GanError(f"{path}: NaN or infinite values; repair or remove it")
        if self.masks[channel]:
            low, high = 0.0, float(self.meta["full_scale"][channel])
        elif self.window:
            low, high = self.window
        elif values.dtype == np.uint8:
            low, high = 0.0, 255.0
        else:
            raise GanError(
                f"{path}: values of the type {values.dtype}, whose range is not known; set the options low and high "
                f"to those that are 0 and 255 in the data set"
            )
        return (np.clip((values - low) / (high - low), 0, 1) * 2 - 1).astype(np.float32)


def _class_of(folder: Path, path: Path, classes: Sequence[str]) -> int:
    if not classes:
        return 0
    above = path.relative_to(folder).parts[:-1]
    if not above or above[0] not in classes:
        raise GanError(f"{path}: not in a folder of a class; the classes are {', '.join(classes)}")
    return list(classes).index(above[0])
