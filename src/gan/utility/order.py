"""Where along its axis does a slice lie? The network of real images reads it from the image alone.

It was trained on slices of training patients, whose positions are known, from 0 to 1 of the way through the volume.
What it misses on slices of unseen patients is the reference. A generated image has no position, so the positions that
are read in all images are compared with those that are read in slices of patients. If parts of the volume are its
classes, each image was also asked to lie in one.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance
from torch import nn

from gan.utility.anatomy import against
from gan.utility.images import Labelled
from gan.utility.reference import Setting
from gan.utility.scores import by_patient
from gan.utility.training import predict

POOR = 0.5  # of the error of always naming the middle: a network that errs by more refuses to judge
QUARTERS = (0.25, 0.5, 0.75)


def judge_order(setting: Setting, network: nn.Module, made: Labelled, device: torch.device) -> dict[str, Any]:
    """Of generated images ``made`` the 1-Wasserstein distance of the positions that are read in them to those that are
    read in slices of test patients, ``value``; ``floor``: that of slices of validation patients; ``quarters``: the
    shares of the images in quarters of the slices of test patients; ``asked``: `missed`.

    ``real``: the error on slices of test patients, ``middle``: that of always naming the median of training slices;
    ``refused`` where the first is more than `POOR` of the second.
    """
    test, val = setting.real["test"], setting.real["val"]
    in_made, in_test, in_val = (
        predict(network, images.pixels, device)[:, 0] for images in (made, test.images, val.images)
    )
    truth, middle = test.images.positions, np.median(setting.real["train"].images.positions)
    real, chance = (float(by_patient(np.abs(said - truth), test).mean()) for said in (in_test, middle))
    found: dict[str, Any] = {"n_fake": len(made), "patients": len(test.patients), "real": real, "middle": chance}
    if real > POOR * chance:
        return found | {"refused": True}
    shares = np.bincount(np.searchsorted(np.quantile(in_test, QUARTERS), in_made), minlength=4) / len(made)
    found |= {"refused": False, "value": float(wasserstein_distance(in_made, in_test)), "quarters": shares.tolist()}
    found |= {"floor": float(wasserstein_distance(in_val, in_test))}
    return found | {"asked": missed(setting, made, in_made, in_test) if setting.classes else None}


def missed(setting: Setting, made: Labelled, in_made: NDArray, in_test: NDArray) -> dict[str, Any]:
    """How far the positions that are read lie from the median of the training slices of the part that was asked for,
    ``value``; ``real``: the same of slices of test patients and their own part; their ``difference``."""
    train, test = setting.real["train"].images, setting.real["test"]
    middles = np.array([np.median(train.positions[train.classes == part]) for part in range(len(setting.classes))])
    of_real = by_patient(np.abs(in_test - middles[test.images.classes]), test)
    return {"real": float(of_real.mean()), **against(np.abs(in_made - middles[made.classes]), of_real)}
