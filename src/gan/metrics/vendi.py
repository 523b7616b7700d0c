"""Vendi score: the effective number of different images in a set (Friedman & Dieng 2023)."""

import numpy as np
from numpy.typing import NDArray


def vendi_scores(features: NDArray, weights: NDArray) -> NDArray[np.float64]:
    """exp(-sum l ln l) over the eigenvalues l of K / n, K the cosines of features [n, d]: [B] for weights [B, n].

    weights: how often each image counts, all 1 for the value itself. From 1 for equal images to their number for
    orthogonal ones; c orthogonal groups of equal size have c. A feature of zeros is an image of its own kind, 0 to all
    others. It grows with n: sets of different sizes do not compare.
    """
    x = np.asarray(features, np.float64)
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    zeros = lengths[:, 0] == 0
    x = np.divide(x, lengths, out=np.zeros_like(x), where=lengths > 0)
    found = np.empty(len(weights))
    for place, counts in enumerate(weights):
        share = counts / counts.sum()
        rows = x * np.sqrt(share)[:, None]
        # rows rows^T [n, n] and rows^T rows [d, d] have the same eigenvalues but for zeros
        gram = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
        values = np.append(np.linalg.eigvalsh(gram), share[zeros])
        values = values[values > 1e-12]
        found[place] = np.exp(-np.sum(values * np.log(values)))
    return found
