"""Sums that all features share: quotients without a warning, entropies, and pixels counted within regions."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def divided(above: ArrayLike, below: ArrayLike) -> NDArray[np.float64]:
    """``above / below``, 0 where ``below`` is 0."""
    above, below = np.broadcast_arrays(np.asarray(above, np.float64), np.asarray(below, np.float64))
    return np.divide(above, below, out=np.zeros(above.shape), where=below != 0)


def entropy(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """-sum p log2 p over all but the first axis of ``shares`` [n, ...]: [n], in bits."""
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return -(shares * logs).reshape(len(shares), -1).sum(1)


def counted(codes: NDArray[np.int64], bins: int) -> NDArray[np.int64]:
    """How often each of ``codes`` [n, ...], 0 to bins - 1, is in each row: [n, bins]."""
    offsets = bins * np.arange(len(codes)).reshape(-1, *[1] * (codes.ndim - 1))
    return np.bincount((codes + offsets).ravel(), minlength=bins * len(codes)).reshape(-1, bins)
