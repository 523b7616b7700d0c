"""Whole volumes as an extractor of images sees them: slices on three planes, at places that no content chooses.

Each plane of a contrast is a contrast of its own (``t1 axial``). To choose slices by what they show would hide empty
volumes; one plane alone would not tell a head from slices of different heads on top of each other.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan.data.planes import VIEWS, squared
from gan.data.store import Store

SLICES = 8  # of a volume on each plane
PLACES = np.linspace(0.2, 0.8, SLICES)  # of the box


def slices_of(meta: dict[str, Any]) -> int:
    """How many successive images on a plane are of one sample of such ``meta``: `SLICES` of a volume, else 1."""
    return SLICES if meta.get("volumes") else 1


def named(contrast: str) -> list[str]:
    """What the planes of ``contrast`` are called."""
    return [f"{contrast} {view}" for view in VIEWS]


def cut(volumes: NDArray) -> NDArray:
    """Slices [n * SLICES, C * 3, E, E] of volumes [n, C, D, H, W], upright, amid 0 where a plane is no square.

    E is the longest side. Channel 3 c + p is plane p of channel c, and the slices of a volume follow each other.
    """
    edge, up = max(volumes.shape[2:]), volumes[:, :, ::-1]
    depth, height, width = ((PLACES * side).astype(int) for side in volumes.shape[2:])
    found = (
        volumes[:, :, depth],
        np.moveaxis(up[:, :, :, height], 3, 2),
        np.moveaxis(up[..., width], 4, 2),
    )
    planes = np.stack([squared(plane, edge) for plane in found], 2)  # [n, C, 3, SLICES, E, E]
    return np.moveaxis(planes, 3, 1).reshape(len(volumes) * SLICES, -1, edge, edge)


def seen(grey: Mapping[str, NDArray], axes: int) -> dict[str, NDArray]:
    """``grey`` [n, *size] by contrast, as what sees images of so many ``axes`` sees it: volumes by planes, or whole."""
    if axes == 3 or next(iter(grey.values())).ndim == 3:
        return dict(grey)
    slices = cut(np.stack(list(grey.values()), 1))
    names = [plane for contrast in grey for plane in named(contrast)]
    return {name: slices[:, place] for place, name in enumerate(names)}


def store_seen(store: Store, axes: int) -> Store:
    """``store`` as what sees images of so many ``axes`` sees it: volumes as `InPlanes`, or whole."""
    return InPlanes(store) if store.meta.get("volumes") and axes == 2 else store


class InPlanes(Store):
    """A store of volumes as one of their slices: row v * SLICES + k is slice k of volume v on all planes.

    Its images have three planes of each channel and no mask: areas of labels are those of ``whole``, the volumes.
    """

    def __init__(self, whole: Store):
        kept = whole.index[whole.index["kept"]]  # in the order of its rows
        index = kept.loc[kept.index.repeat(SLICES)].reset_index(drop=True).assign(row=range(len(kept) * SLICES))
        names = [name for name in whole.meta["channels"] if name != whole.meta["mask"]]
        images: Any = _Slices(whole.images, len(names))
        super().__init__(whole.folder, images, index, whole.meta | {"channels": names, "mask": None})
        self.whole = whole

    def present(self, rows: NDArray, contrasts: Sequence[str]) -> NDArray:
        """Which of ``rows`` are of a volume that has all of ``contrasts`` and the mask, bool [n]."""
        mask = [self.whole.meta["mask"]] if self.whole.meta["mask"] else []
        return self.whole.present(rows // SLICES, [*contrasts, *mask])


class _Slices:
    """Slices of the first ``channels`` of ``volumes`` as an array [N * SLICES, channels * 3, E, E], cut when read."""

    def __init__(self, volumes: NDArray, channels: int):
        edge = max(volumes.shape[2:])
        self._volumes = volumes
        self.shape, self.ndim = (len(volumes) * SLICES, channels * len(VIEWS), edge, edge), 4

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray:
        rows, channels = key if isinstance(key, tuple) else (key, slice(None))
        rows, wanted = np.arange(len(self))[rows], np.arange(self.shape[1])[channels]
        read, place = np.unique(wanted // len(VIEWS), return_inverse=True)
        planes = place.reshape(wanted.shape) * len(VIEWS) + wanted % len(VIEWS)
        found = np.empty((len(rows), *wanted.shape, *self.shape[2:]), self._volumes.dtype)
        of = rows // SLICES
        for volume in np.unique(of):
            mine = np.flatnonzero(of == volume)
            found[mine] = cut(self._volumes[volume][read][None])[rows[mine] % SLICES][:, planes]
        return found
