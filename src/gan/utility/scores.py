"""What a network is worth on unseen patients: a number for each patient, never for a slice."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gan.metrics.overlap import dice, hausdorff95
from gan.utility.images import Real, Scan
from gan.utility.options import DETECT, ORDER, SEGMENT
from gan.utility.training import labels_of, predict

Regions = Mapping[str, Sequence[int]]  # the label numbers of each region


def score(task: str, network: nn.Module, test: Real, regions: Regions, device: torch.device) -> dict[str, Any]:
    """Of a segmentation ``dice`` and ``hd95`` (mm) of each patient and region, NaN as None where neither the true nor
    the found region has a voxel, and ``hd95`` all None for pictures; of a classification the mean ``logits`` [n][K] of
    each patient's slices; of a detection those of each slice; of slice
    order the mean ``error`` of the positions of each patient's slices."""
    if task == SEGMENT:
        found = labels_of(network, test.images.pixels, device)
        return {name: plain(values) for name, values in agreement(test, found, regions).items()}
    logits = predict(network, test.images.pixels, device)
    if task == ORDER:
        return {"error": plain(by_patient(np.abs(logits[:, 0] - test.images.positions), test))}
    if task == DETECT:
        return {"logits": plain(logits)}
    return {"logits": plain(np.array([logits[test.subjects == code].mean(0) for code in range(len(test.patients))]))}


def agreement(test: Real, found: NDArray[np.uint8], regions: Regions) -> dict[str, NDArray[np.float64]]:
    """``dice`` over all voxels of each patient and ``hd95``, the mean over the scans, [patients, regions], of the masks
    ``found`` [N, H, W] of the images of ``test``."""
    scores = {name: np.full((len(test.patients), len(regions)), np.nan) for name in ("dice", "hd95")}
    for patient, scans in enumerate(test.patients):
        mine = np.concatenate([scan.places for scan in scans])
        for column, labels in enumerate(regions.values()):
            true_voxels, found_voxels = (np.isin(masks[mine], labels) for masks in (test.images.masks, found))
            scores["dice"][patient, column] = dice(true_voxels, found_voxels)
            distances = [_distance(scan, test.images.masks, found, labels) for scan in scans]
            known = [value for value in distances if not np.isnan(value)]
            scores["hd95"][patient, column] = np.mean(known) if known else np.nan
    return scores


def by_patient(values: NDArray[np.float64], real: Real) -> NDArray[np.float64]:
    """The mean over the images of each patient that have a value; NaN without any."""
    found = [values[(real.subjects == code) & ~np.isnan(values)] for code in range(len(real.patients))]
    return np.array([mine.mean() if len(mine) else np.nan for mine in found])


def _distance(scan: Scan, truth: NDArray, found: NDArray, labels: Sequence[int]) -> float:
    """`hausdorff95` of a region in a scan; NaN without a size of its voxels."""
    if scan.spacing is None:
        return float("nan")
    one, other = (np.isin(scan.volume(masks), labels) for masks in (truth, found))
    return hausdorff95(one, other, scan.spacing)


def classes_of(test: Real) -> NDArray[np.int64]:
    """The class of each patient."""
    return np.array([test.images.classes[test.subjects == code][0] for code in range(len(test.patients))])


def empty(test: Real, regions: Regions) -> list[int]:
    """How many patients have no voxel of each region."""
    there = np.array(
        [
            [np.isin(test.images.masks[test.subjects == code], labels).any() for labels in regions.values()]
            for code in range(len(test.patients))
        ]
    )
    return (~there).sum(0).tolist()


def plain(values: NDArray) -> list[Any]:
    """As JSON has it, six digits, None for NaN."""
    if values.ndim > 1:
        return [plain(row) for row in values]
    return [None if np.isnan(value) else float(f"{value:.6g}") for value in values]
