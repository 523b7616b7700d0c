"""A subject's volumes as one sample: a box of the scan, the same in mm for all subjects, on isotropic voxels.

Stored is the stack of upright axial slices [C, D, H, W]: D from foot to head, H from front to back, W from the
patient's right to the left. So the last axis is left-right in slices and in volumes, and its mirror image is a head.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gan.config.datasets import sides
from gan.data.cut.common import (
    Channel,
    Encoded,
    Item,
    apart,
    digest_of,
    limits_of,
    mapped,
    notes_of,
    reference_of,
    stored,
)
from gan.data.cut.frames import Frame, centred, inside
from gan.data.intensity import SCALE
from gan.data.nifti import Volume, open_volume
from gan.data.planes import as_slices, three_planes, upright
from gan.errors import GanError

BODY = 25.5  # 10 % of the scale 0..255: above it, a voxel of the reference contrast belongs to the body
SPARSE = 0.01  # of the body's fullest plane: emptier planes at its ends, such as noise or a fold, do not move the box
MOST_CUT = 0.005  # of the body, outside of the box
SAME = 1e-4  # relative: voxels of such sizes are equal, and are not resampled
THICK = 2.0  # the most by which a voxel is divided, or longer than wide: beyond it, detail would be made up


def cut_whole(item: Item, row: dict[str, Any]) -> Encoded:
    """Apply intensity map and box of ``row`` to ``item``; ``volumes.spacing`` is a number unless the fit is pad.

    ``fraction`` is the body's part of the scan. `GanError` if the body is cut off, or the voxels are too thick.
    """
    opened = _open(item, row)
    reference = reference_of(opened, row)
    with _named(item):
        body = body_of(reference)
        to, cut = _checked(reference, body, row)
    image = stored(opened, np.zeros(1, dtype=np.int64), to)[0]
    planes = three_planes(image, to.spacing) if item.tiles else []
    encoded = Encoded(
        images=image[None],
        slices=np.zeros(1, dtype=np.int64),
        positions=np.zeros(1),
        fractions=np.array([body.mean()]),
        kept=np.ones(1, dtype=bool),
        labels=np.full(1, item.label, dtype=object),
        digests=[digest_of(image, row)],
        limits=[limits_of(channel, row["intensity"]) for channel in opened[: len(row["contrasts"])]],
        tiles=dict(enumerate(planes)),
        shape=body.shape,
        frame=to,
        notes=notes_of(opened, row),
        cut=cut,
        lost=_lost(opened[len(row["contrasts"]) :], image[-1]),
    )
    return apart(encoded, row["contrasts"]) if row["labels"] == "contrast" else encoded


def spacing_needed(item: Item, row: dict[str, Any]) -> float:
    """The mm of a voxel with which ``item`` fits into the box: its whole grid, or its body."""
    contrasts, centre = row["contrasts"], row["volumes"]["centre"]
    wanted = item.files[contrasts.index(row["reference"] or contrasts[0])]
    path = next(path for path in (wanted, *item.files[: len(contrasts)]) if path is not None)
    reference = _channel(path, row, mask=False)
    edges, size = list(reference.stack.shape[1:]), list(sides(row))
    if centre != "grid":  # the box begins at a whole voxel: one more
        with _named(item):
            edges = [last - first + 1 for first, last in _spans(body_of(reference))]
    if centre == "top":
        size[0] -= 1
    return max(n * mm / out for n, mm, out in zip(edges, reference.spacing, size, strict=True))


def fitted(row: dict[str, Any], needed: list[float]) -> dict[str, Any]:
    """``row`` with the spacing at which the largest subject fits, to three digits; ``needed``: of each subject."""
    largest = max(needed, default=1.0)
    unit = 10.0 ** (math.floor(math.log10(largest)) - 2)
    spacing = round(math.ceil(largest / unit - 1e-6) * unit, 6)
    return row | {"volumes": row["volumes"] | {"spacing": spacing}}


def unfitted(row: dict[str, Any]) -> bool:
    """Whether the spacing depends on all subjects (`fitted`)."""
    spec = row.get("volumes")
    return bool(spec) and spec["spacing"] is None and spec["fit"] == "resize"


def offset(to: Frame) -> tuple[float, ...]:
    """From the centre of the scan to that of the box, mm towards right, anterior, superior."""
    away = [(edge / 2 - before - n / 2) * (mm * size / edge) for n, edge, size, mm, before in zip(*to, strict=True)]
    depth, height, width = away
    return 0.0 - width, 0.0 - height, depth


def _open(item: Item, row: dict[str, Any]) -> list[Channel | None]:
    return [
        None if path is None else _channel(path, row, mask=place >= len(row["contrasts"]))
        for place, path in enumerate(item.files)
    ]


def _channel(path: Path, row: dict[str, Any], *, mask: bool) -> Channel:
    try:
        return whole_channel(open_volume(path), row["intensity"], mask=mask)
    except GanError as error:
        raise GanError(f"{path}: {error}") from error


def whole_channel(volume: Volume, spec: dict[str, Any], *, mask: bool = False) -> Channel:
    """A RAS volume as one stack, [1, D, H, W], with the limits of the ``intensity`` ``spec``; a mask has none.

    `GanError` of `gan.data.intensity.limits`.
    """
    stack, spacing = as_slices(volume.data, "axial")[None], volume.spacing[::-1]
    return mapped(volume.data, stack, spacing, spec, volume.slope, volume.inter, mask=mask)


def body_of(reference: Channel) -> np.ndarray:
    """The voxels of the body, bool [D, H, W], upright. `GanError` without any."""
    low, high = float(reference.low[0]), float(reference.high[0])  # type: ignore[index]
    body = upright(reference.stack[0]) > low + BODY / SCALE * (high - low)
    if not body.any():
        raise GanError("no voxel is above 10 % of the intensity map; check intensity")
    return body


def _spans(body: np.ndarray) -> list[tuple[int, int]]:
    """First voxel of the body along each axis, and the one after its last."""
    spans = []
    for axis in range(3):
        counts = np.count_nonzero(body, axis=tuple(other for other in range(3) if other != axis))
        places = np.flatnonzero(counts > SPARSE * counts.max())
        spans.append((int(places[0]), int(places[-1]) + 1))
    return spans


def box_of(spacing: tuple[float, ...], body: np.ndarray, spec: dict[str, Any], size: tuple[int, ...]) -> Frame:
    """The box of ``size`` stored voxels in a scan with voxels of ``spacing`` mm (D, H, W); spec: ``volumes`` of a row,
    whose spacing is a number unless the fit is pad."""
    if spec["fit"] == "pad":
        canvas, stored_spacing = tuple(map(float, size)), spacing
    else:
        canvas = tuple(_edge(n, spec["spacing"] / mm) for n, mm in zip(size, spacing, strict=True))
        stored_spacing = (float(spec["spacing"]),) * 3
    return Frame(body.shape, canvas, size, stored_spacing, _before(body, canvas, size, spec["centre"]))


def thick(spacing: tuple[float, ...], to: Frame) -> str:
    """What is wrong with voxels of ``spacing`` mm for ``to``, empty if nothing: interpolated between thick slices, a
    volume shows what was never measured."""
    finest = min(to.spacing)
    if max(spacing) <= THICK * finest * (1 + SAME):
        return ""
    native = " x ".join(f"{mm:.3g}" for mm in spacing[::-1])
    return f"voxels of {native} mm are too thick for volumes of {finest:.3g} mm"


def _checked(reference: Channel, body: np.ndarray, row: dict[str, Any]) -> tuple[Frame, float]:
    """The box in the voxels of a scan, and the share of the body outside of it; `GanError` for too thick voxels, and
    if the share is too large."""
    spec, spacing = row["volumes"], reference.spacing
    to = box_of(spacing, body, spec, sides(row))
    if fault := thick(spacing, to):
        remedy = "" if spec["fit"] == "pad" else f"set volumes.spacing to at least {max(spacing) / THICK:.3g}, or "
        raise GanError(f"{fault}; {remedy}use slices instead of volumes")
    parts = inside(to)
    # What hangs below a box at the top of the head is meant to be cut off.
    whole = body[parts[0].start :] if spec["centre"] == "top" else body
    cut = 1 - np.count_nonzero(body[parts]) / max(1, np.count_nonzero(whole))
    if cut > MOST_CUT:
        box = " x ".join(f"{n * mm:.4g}" for n, mm in zip(to.size, to.spacing, strict=True))
        raise GanError(
            f"{cut:.2%} of the body is outside of the box of {box} mm (depth, height, width); make it larger by "
            f"volumes.size or volumes.spacing, or move it by volumes.centre ({spec['centre']} now)"
        )
    return to, float(cut)


def _edge(size: int, scale: float) -> float:
    """Voxels of the scan along an edge of ``size`` stored ones, each ``scale`` of them."""
    return float(size) if abs(scale - 1) < SAME else size * scale


def _before(body: np.ndarray, canvas: tuple[float, ...], size: tuple[int, ...], centre: str) -> tuple[int, ...]:
    """`Frame.before` of the box: to a whole voxel, so that equal voxels stay as they are."""
    if centre == "grid":
        return centred(body.shape, canvas)
    spans = _spans(body)
    depth = _about(spans[0], canvas[0])
    if centre == "top":
        # One stored voxel of air above the head; the other axes follow what of the body is that high.
        depth = math.floor(canvas[0] * (1 - 1 / size[0]) - spans[0][1])
        spans = _spans(body[max(0, -depth) :])
    return depth, _about(spans[1], canvas[1]), _about(spans[2], canvas[2])


def _about(span: tuple[int, int], edge: float) -> int:
    return math.floor(edge / 2 - sum(span) / 2 + 0.5)


def _lost(masks: list[Channel | None], stored: np.ndarray) -> tuple[int, ...]:
    """Labels of the mask that no stored voxel has."""
    native = [np.unique(mask.stack) for mask in masks if mask is not None]
    return tuple(int(label) for of in native for label in np.setdiff1d(of[of > 0], stored))


@contextmanager
def _named(item: Item) -> Iterator[None]:
    """Errors name the subject."""
    try:
        yield
    except GanError as error:
        raise GanError(f"subject {' '.join(filter(None, (item.subject, item.scan)))}: {error}") from error
