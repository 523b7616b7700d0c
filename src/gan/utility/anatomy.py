"""Does the mask fit its image, is the class the one that was asked for? The network of the real arm judges.

It was trained on real training patients; what it reaches on unseen real patients is the reference. A network that is
poor on those can judge nothing, and says so.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance
from torch import nn

from gan.metrics.contrast import draws
from gan.metrics.copies import FEWEST, Null, nearest_patients, rate
from gan.metrics.overlap import dice_of_images
from gan.metrics.shapes import SHAPES, shapes
from gan.utility.images import Labelled
from gan.utility.options import SEGMENT
from gan.utility.reference import Setting
from gan.utility.scores import by_patient
from gan.utility.training import labels_of, predict

POOR = 0.5  # Dice on unseen real patients below which a network refuses to judge
RESAMPLES = 1000


def judge(setting: Setting, network: nn.Module, made: Labelled, device: torch.device) -> dict[str, Any]:
    """What the ``network`` of the real arm says of generated images ``made``, next to unseen real ones."""
    if setting.task == SEGMENT:
        found = {"fit": mask_fit(setting, network, made, device), "shapes": mask_shapes(setting, made)}
        return found | {"copies": mask_copies(setting, made)}
    return {"classes": class_accuracy(setting, network, made, device)}


def mask_fit(setting: Setting, network: nn.Module, made: Labelled, device: torch.device) -> dict[str, Any]:
    """By region ``value``, the mean Dice coefficient of the network's mask and the generated one over the images in
    which either has a voxel; ``real``, the same over the slices of test patients, each patient counting equally; their
    ``difference``, with its standard ``deviation`` over draws of images and of patients. ``refused`` where real is
    below `POOR`."""
    test, found = setting.real["test"], {}
    of_made, of_real = (labels_of(network, images.pixels, device) for images in (made, test.images))
    for name, labels in setting.regions.items():
        fits = dice_of_images(np.isin(made.masks, labels), np.isin(of_made, labels))
        reals = by_patient(dice_of_images(np.isin(test.images.masks, labels), np.isin(of_real, labels)), test)
        found[name] = _fit(fits[~np.isnan(fits)], reals[~np.isnan(reals)])
    return found


def _fit(made: NDArray[np.float64], real: NDArray[np.float64]) -> dict[str, Any]:
    """Of Dice coefficients of generated images and of real patients."""
    result: dict[str, Any] = {"n_fake": len(made), "patients": len(real), "value": None, "real": None}
    if not len(real) or real.mean() < POOR:
        return result | {"real": float(real.mean()) if len(real) else None, "refused": True}
    return result | {"real": float(real.mean()), "refused": False} | (against(made, real) if len(made) else {})


def against(made: NDArray[np.float64], real: NDArray[np.float64]) -> dict[str, float]:
    """The mean ``value`` of generated images, its ``difference`` to that of real patients, and the ``deviation`` of the
    difference over draws of both."""
    drawn = [values[draws(len(values), RESAMPLES, place)].mean(1) for place, values in enumerate((made, real))]
    value, deviation = float(made.mean()), float((drawn[0] - drawn[1]).std(ddof=1))
    return {"value": value, "difference": value - float(real.mean()), "deviation": deviation}


def mask_shapes(setting: Setting, made: Labelled) -> dict[str, dict[str, Any]]:
    """By region and shape (`gan.metrics.shapes`) the 1-Wasserstein distance of generated masks to those of training
    patients, ``value``, in the shape's unit; ``floor``: that of the validation masks; the medians of both."""
    found: dict[str, dict[str, Any]] = {}
    sets = [made.masks, setting.real["train"].images.masks, setting.real["val"].images.masks]
    for name, labels in setting.regions.items():
        fake, train, val = (shapes(np.isin(masks, labels)) for masks in sets)
        found[name] = {shape: _distances(fake[shape], train[shape], val[shape]) for shape in SHAPES}
    return found


def _distances(fake: NDArray, train: NDArray, val: NDArray) -> dict[str, float | None]:
    """Of no generated mask with the region there is no distance."""
    if not (len(fake) and len(train)):
        return {"value": None, "floor": None, "median": None, "real": None}
    floor = float(wasserstein_distance(val, train)) if len(val) else None
    value, middles = float(wasserstein_distance(fake, train)), [float(np.median(of)) for of in (fake, train)]
    return {"value": value, "floor": floor, "median": middles[0], "real": middles[1]}


def mask_copies(setting: Setting, made: Labelled) -> dict[str, Any] | None:
    """How many generated masks are those of a training patient, by `gan.metrics.copies` on the masks alone: a new
    texture on a copied tumour is that patient's tumour. ``control``: the share of masks of test patients that would be
    called so, about `ALPHA`. None with fewer than `FEWEST` training patients or without a generated mask."""
    train, test = setting.real["train"], setting.real["test"]
    there = [images.masks.any((1, 2)) for images in (made, train.images, test.images)]
    owners = [of.subjects[kept] for of, kept in zip((train, test), there[1:], strict=True)]
    if not there[0].any() or len(np.unique(owners[0])) < FEWEST or not there[2].any():
        return None
    fake, real, unseen = (
        (images.masks[kept] > 0).reshape(kept.sum(), -1).astype(np.float32)
        for images, kept in zip((made, train.images, test.images), there, strict=True)
    )
    own = nearest_patients(real, real, owners[0], owners[0]).ratio
    null = Null(own, owners[0], nearest_patients(unseen, real, owners[0]).ratio, owners[1], {})
    found = rate([nearest_patients(fake, real, owners[0]).ratio], [null], RESAMPLES, 0)
    result = {"copies": found.copies, "low": found.low, "high": found.high, "n_fake": len(fake)}
    return result | {"control": null.control(0, 0)[0]}


def class_accuracy(setting: Setting, network: nn.Module, made: Labelled, device: torch.device) -> dict[str, Any]:
    """The share of generated images in which the network sees the class that was asked for, each class counting
    equally, next to the same share of slices of test patients; ``confusion``[asked][seen] counts images.

    ``refused`` where the network tells real classes no better than a coin.
    """
    test, count = setting.real["test"], len(setting.classes)
    seen = predict(network, made.pixels, device).argmax(1)
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (made.classes, seen), 1)
    right = predict(network, test.images.pixels, device).argmax(1) == test.images.classes
    real = balanced(right, test.images.classes)
    result = {"confusion": confusion.tolist(), "real": real, "n_fake": len(made), "patients": len(test.patients)}
    if real <= 1 / count:
        return result | {"value": None, "refused": True}
    return result | {"value": balanced(seen == made.classes, made.classes), "refused": False}


def balanced(right: NDArray[np.bool_], classes: NDArray[np.int64]) -> float:
    """The share that is ``right``, the mean over classes."""
    return float(np.mean([right[classes == name].mean() for name in np.unique(classes)]))
