"""Vendi score: the effective number of different images in a set (Friedman & Dieng 2023)."""

import numpy as np
from numpy.typing import NDArray

MOST = 500  # images of a set that are compared, evenly chosen: a number to which real sets come too


def vendi_scores(features: NDArray, weights: NDArray) -> NDArray[np.float64]:
    """exp(-sum l ln l) over the eigenvalues l of K / n, K the cosines of features [n, d]: [B] for weights [B, n].

    weights: how often each image counts, all 1 for the value itself. From 1 for equal images to their number for
    orthogonal ones; c orthogonal groups of equal size have c. A feature of zeros is unlike all others. Of more than
    `MOST` images as many are taken. The score grows with n: sets of different sizes do not compare.
    """
    rows = np.linspace(0, len(features) - 1, min(MOST, len(features))).round().astype(int)
    x, counts = np.asarray(features, np.float64)[rows], weights[:, rows]
    lengths = np.linalg.norm(x, axis=1)
    x = np.divide(x, lengths[:, None], out=np.zeros_like(x), where=lengths[:, None] > 0)
    zero = lengths == 0
    cosines = x @ x.T if len(x) < x.shape[1] else None
    found = np.empty(len(counts))
    for place, drawn in enumerate(counts):
        share = drawn / drawn.sum()
        used = share > 0
        root = np.sqrt(share[used])
        # The weighted K and x^T x have the same eigenvalues but for zeros: take the smaller one.
        if cosines is None:
            gram = (x[used] * root[:, None]).T @ (x[used] * root[:, None])
        else:
            gram = cosines[np.ix_(used, used)] * np.outer(root, root)
        values = np.append(np.linalg.eigvalsh(gram), share[used & zero])
        values = values[values > 1e-12]
        found[place] = np.exp(-np.sum(values * np.log(values)))
    return found
