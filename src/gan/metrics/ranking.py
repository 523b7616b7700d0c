"""How well patients are told apart by class: area under the ROC curve and balanced accuracy."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata


def auc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """The chance that a positive patient scores above a negative one, ties count half (Mann and Whitney 1947).

    scores, positive: [n]. NaN without patients of both kinds.
    """
    count, total = int(positive.sum()), len(positive)
    if count in (0, total):
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (total - count)))


def class_auc(logits: NDArray[np.floating], classes: NDArray[np.integer]) -> float:
    """`auc` of logits [n, K] of patients of ``classes`` [n]: of two classes by the difference of their logits, of more
    the mean over those that have patients, each against the rest (Hand and Till 2001 call this one-against-all)."""
    margins = logits - _rest(logits)
    known = [name for name in range(logits.shape[1]) if (classes == name).any()]
    if logits.shape[1] == 2:
        known = [1]
    return float(np.mean([auc(margins[:, name], classes == name) for name in known]))


def balanced_accuracy(logits: NDArray[np.floating], classes: NDArray[np.integer]) -> float:
    """The mean over classes that have patients of the share of them whose own logit is the largest."""
    right = logits.argmax(1) == classes
    return float(np.mean([right[classes == name].mean() for name in np.unique(classes)]))


def _rest(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """For each class the log of the summed exponentials of all other ones, [n, K]."""
    others = np.where(np.eye(logits.shape[1], dtype=bool), -np.inf, logits[:, None, :])
    most = others.max(2, keepdims=True)
    return np.log(np.exp(others - most).sum(2)) + most[..., 0]
