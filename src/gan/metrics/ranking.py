"""How well patients are told apart by class: area under the ROC curve and balanced accuracy, of many draws at once."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata


def auc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The chance that a positive patient scores above a negative one, ties count half (Mann and Whitney 1947).

    scores, positive: [..., n]; the result [...] is NaN without patients of both kinds.
    """
    count = positive.sum(-1)
    above = np.where(positive, rankdata(scores, axis=-1), 0).sum(-1) - count * (count + 1) / 2
    return _ratio(above, count * (positive.shape[-1] - count))


def class_auc(logits: NDArray[np.floating], classes: NDArray[np.integer]) -> NDArray[np.float64]:
    """`auc` of logits [..., n, K] of patients of ``classes`` [..., n]: of two classes by the difference of their
    logits, of more the mean over those that have patients, each against the rest."""
    count = logits.shape[-1]
    against = _rest(logits)
    known = range(count) if count > 2 else [1]
    found = [auc(logits[..., name] - against[..., name], classes == name) for name in known]
    return mean_of_known(np.stack(found, -1), -1)


def balanced_accuracy(logits: NDArray[np.floating], classes: NDArray[np.integer]) -> NDArray[np.float64]:
    """The mean over classes that have patients of the share of them whose own logit is the largest: [...]."""
    right = logits.argmax(-1) == classes
    own = [classes == name for name in range(logits.shape[-1])]
    return mean_of_known(np.stack([_ratio((right & of).sum(-1), of.sum(-1)) for of in own], -1), -1)


def mean_of_known(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """The mean along ``axis`` of what is no NaN; NaN where nothing is."""
    there = ~np.isnan(values)
    return _ratio(np.where(there, values, 0).sum(axis), there.sum(axis))


def _ratio(above: ArrayLike, below: ArrayLike) -> NDArray[np.float64]:
    """``above`` over ``below``; NaN where that is 0."""
    above, below = np.asarray(above, np.float64), np.asarray(below)
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)


def _rest(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """For each class the log of the summed exponentials of all other ones, [..., n, K]."""
    others = np.where(np.eye(logits.shape[-1], dtype=bool), -np.inf, logits[..., None, :])
    most = others.max(-1, keepdims=True)
    return np.log(np.exp(others - most).sum(-1)) + most[..., 0]
