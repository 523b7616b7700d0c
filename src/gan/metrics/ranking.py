"""How well classes are told apart: area under the ROC curve and balanced accuracy, of many draws of patients at once.

A patient has one image or many, and every patient counts equally. Draws are ``counts`` [B, n]: how often each of n
patients counts in each of B draws; ``subjects`` [N]: the patient of each image, codes from 0 on.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def class_auc(
    logits: NDArray[np.floating], classes: NDArray[np.integer], subjects: NDArray[np.integer], counts: NDArray
) -> NDArray[np.float64]:
    """The chance that an image of a class scores above one of another class, ties count half (Mann and Whitney 1947),
    for two patients drawn at random who have such images: [B].

    logits [N, K], classes [N]: of two classes by the difference of their logits, of more the mean over those that have
    images, each against the rest.
    """
    found = []
    for name, scores in margins(logits).items():
        own = classes == name
        found.append(chance(wins(scores, scores, own, subjects), own, subjects, counts))
    return mean_of_known(np.stack(found, -1), -1)


def margins(logits: NDArray[np.floating]) -> dict[int, NDArray[np.float64]]:
    """For each class the score [N] of an image as one of it, by logits [N, K]; of two classes for the second one."""
    count = logits.shape[-1]
    against = _rest(logits)
    return {name: logits[:, name] - against[:, name] for name in (range(count) if count > 2 else [1])}


def wins(above: NDArray, below: NDArray, own: NDArray[np.bool_], subjects: NDArray) -> NDArray[np.float64]:
    """[P, Q]: the chance that an image of the class of one patient scores above one of another class of a second
    patient. Patients are those of `sides`.

    above, below [N]: scores of images as those of the class, and as those of others; ``own`` [N]: which are of it.
    """
    rows, columns = sides(own, subjects)
    found = np.empty((len(rows), len(columns)))
    place = np.searchsorted(rows, subjects[own])
    images = np.bincount(place, minlength=len(rows))
    for column, patient in enumerate(columns):
        others = np.sort(below[~own & (subjects == patient)])
        passed = np.searchsorted(others, above[own], "left") + np.searchsorted(others, above[own], "right")
        found[:, column] = np.bincount(place, passed / (2 * len(others)), len(rows)) / images
    return found


def sides(own: NDArray[np.bool_], subjects: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The patients who have images of a class, and those who have images of others."""
    return np.unique(subjects[own]), np.unique(subjects[~own])


def chance(found: NDArray, own: NDArray[np.bool_], subjects: NDArray, counts: NDArray) -> NDArray[np.float64]:
    """The mean [B] of `wins` over pairs of patients who have such images; NaN without any."""
    mine, others = (counts[:, patients] for patients in sides(own, subjects))
    return _ratio(((mine @ found) * others).sum(1), mine.sum(1) * others.sum(1))


def balanced_accuracy(
    logits: NDArray[np.floating], classes: NDArray[np.integer], subjects: NDArray[np.integer], counts: NDArray
) -> NDArray[np.float64]:
    """The mean over classes that have images of the share of them whose own logit is the largest, the mean over
    patients: [B]."""
    right, found, count = logits.argmax(-1) == classes, [], counts.shape[1]
    for name in range(logits.shape[-1]):
        own = classes == name
        images = np.bincount(subjects[own], minlength=count)
        shares = np.bincount(subjects[own], right[own], count) / np.maximum(images, 1)
        found.append(_ratio(counts @ shares, counts @ (images > 0)))
    return mean_of_known(np.stack(found, -1), -1)


def mean_of_known(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """The mean along ``axis`` of what is no NaN; NaN where nothing is."""
    there = ~np.isnan(values)
    return _ratio(np.where(there, values, 0).sum(axis), there.sum(axis))


def _ratio(above: ArrayLike, below: ArrayLike) -> NDArray[np.float64]:
    """``above`` over ``below``; NaN where that is 0."""
    above, below = np.asarray(above, np.float64), np.asarray(below)
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)


def _rest(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """For each class the log of the summed exponentials of all other ones, [N, K]."""
    others = np.where(np.eye(logits.shape[-1], dtype=bool), -np.inf, logits[..., None, :])
    most = others.max(-1, keepdims=True)
    return np.log(np.exp(others - most).sum(-1)) + most[..., 0]
