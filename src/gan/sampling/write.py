"""Images as files: PNG, NIfTI, numpy arrays or a grid, each marked as synthetic."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gan import grids, scales
from gan.data.planes import as_volume, as_whole, three_planes
from gan.errors import GanError
from gan.files import atomic_path
from gan.sampling.marks import Mark, first
from gan.sampling.snapshot import Snapshot

FORMATS = ("png", "nifti", "npy", "grid")


def write_images(snapshot: Snapshot, images: Iterator[Tensor], n: int, out: Path, form: str, seed: int) -> None:
    """Write ``n`` images [*, C, *size] of ``seed`` that come in chunks, as ``form``.

    png: ``<i>_<contrast>.png``, 8 bit, grey 0..255, a mask as its label numbers; of a volume its three middle planes
    side by side. nifti: ``<i>_<contrast>.nii.gz``, RAS, a volume or one slice, spacing in mm, float32 on the scale
    0..255 of the intensity map, a mask as its label numbers. npy: ``images.npy``, float32 [n, C, *size] in about
    [-1, 1]. grid: ``grid.png``. Each file has a `Mark`.
    """
    out.mkdir(parents=True, exist_ok=True)
    mark = Mark.of(snapshot, seed)
    shown = tqdm(total=n, desc="generate", unit="img", disable=not sys.stderr.isatty())
    if form == "npy":
        _write_npy(snapshot, images, n, out / "images.npy", shown)
        mark.put_next_to(out / "images.npy", first(n))
    elif form == "grid":
        chunks = torch.cat(list(_counted(images, shown))).numpy()
        columns = min(n, grids.layout(snapshot.shape.shown, snapshot.shape.size)[1])
        grids.write_grid(out / "grid.png", chunks, columns, snapshot.mask_labels, mark.text(first(n)))
    else:
        write = _write_png if form == "png" else _write_nifti
        place = 0
        for chunk in _counted(images, shown):
            for image in chunk.numpy():
                for channel, name in enumerate(channel_names(snapshot)):
                    write(out / f"{place:05d}_{name}", image[channel], snapshot, channel, mark, place)
                place += 1
    shown.close()


def _write_png(path: Path, pixels: np.ndarray, snapshot: Snapshot, channel: int, mark: Mark, index: int) -> None:
    path, text = path.with_name(f"{path.name}.png"), mark.text(index)
    is_mask = _is_mask(snapshot, channel)
    shown = scales.generated_to_labels(pixels, snapshot.mask_labels) if is_mask else scales.generated_to_uint8(pixels)
    if shown.ndim == 3:
        shown = np.hstack(three_planes(shown, _spacing(snapshot)))
    if is_mask:
        grids.write_png(path, shown, "label numbers", text)
    else:
        grids.write_png(path, shown, text=text)


def _write_nifti(path: Path, pixels: np.ndarray, snapshot: Snapshot, channel: int, mark: Mark, index: int) -> None:
    data = snapshot.data
    is_mask, whole = _is_mask(snapshot, channel), pixels.ndim == 3
    values = scales.generated_to_labels(pixels, snapshot.mask_labels) if is_mask else scales.generated_to_grey(pixels)
    if whole:
        volume, affine = as_whole(values, _spacing(snapshot))
    else:
        volume, affine = as_volume(values, data.get("axis") or "axial", data.get("spacing") or (1.0, 1.0))
    image = nib.Nifti1Image(np.ascontiguousarray(volume), affine)  # type: ignore[attr-defined]
    if whole:  # some viewers read the one, some the other
        image.set_sform(affine, "aligned")
        image.set_qform(affine, "aligned")
    image.header.set_xyzt_units("mm")
    mark.put(image, index)
    with atomic_path(path.with_name(f"{path.name}.nii.gz")) as temporary:
        nib.save(image, temporary)  # type: ignore[attr-defined]


def _write_npy(snapshot: Snapshot, images: Iterator[Tensor], n: int, path: Path, shown: tqdm) -> None:
    shape = (n, snapshot.shape.shown, *snapshot.shape.size)
    with atomic_path(path) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        place = 0
        for chunk in _counted(images, shown):
            array[place : place + len(chunk)] = chunk.numpy()
            place += len(chunk)
        array.flush()


def _counted(images: Iterator[Tensor], shown: tqdm) -> Iterator[Tensor]:
    for chunk in images:
        yield finite(chunk)
        shown.update(len(chunk))


def finite(images: Tensor) -> Tensor:
    """``images``; `GanError` if a value is NaN or infinite."""
    if not torch.isfinite(images).all():
        raise GanError("the generator makes NaN or infinite values: its file was changed, or its training diverged")
    return images


def _spacing(snapshot: Snapshot) -> list[float]:
    """mm of a voxel along D, H, W."""
    spacing = snapshot.data.get("spacing")
    if not spacing or len(spacing) != len(snapshot.shape.size):
        raise GanError("the generator's file has no spacing of its voxels; write --format npy, or train it again")
    return spacing


def _is_mask(snapshot: Snapshot, channel: int) -> bool:
    return bool(snapshot.data.get("mask")) and channel_names(snapshot)[channel] == snapshot.data["mask"]


def channel_names(snapshot: Snapshot) -> list[str]:
    """Names of the channels, which become parts of file names; `GanError` for what is no name."""
    names = list(snapshot.data.get("channels") or [f"channel{place}" for place in range(snapshot.shape.shown)])
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_]{1,64}", name):
            raise GanError(
                f"the generator's file calls a channel {name!r}, which is no name of a contrast: it is not a file of "
                f"this program, or it was changed; take the one of the cell"
            )
    return names
