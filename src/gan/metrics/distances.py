"""Distances between two sets of features: Fréchet and kernel, exact, with weights for the bootstrap.

Weights are how often each image counts: a resample with replacement is a row of integers, and the weighted value is the
value of the resampled set. All arithmetic is float64. Subjects are codes, one for each image [n]; without them every
image is a subject of its own, as generated images are.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.linalg import blas
from tqdm import tqdm

Array = NDArray[np.float64]


def frechet_distance(
    x: NDArray, y: NDArray, x_weights: NDArray | None = None, y_weights: NDArray | None = None
) -> float:
    """Fréchet distance of the Gaussians fitted to features ``x`` [n, d] and ``y`` [m, d] (Heusel et al. 2017, eq. 6).

        |mu_x - mu_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^(1/2)),   S unbiased (divided by n - 1)

    No matrix square root is taken. With fewer images than features, the trace is the sum of the singular values of
    the product of the centred features; otherwise it comes from the eigenvalues of L^T S_y L with S_x = L L^T.
    The same number as ``cleanfid.fid.frechet_distance``, to rounding. Raises `ValueError` for fewer than two images.
    """
    mean_x, root_x = _centre(x, x_weights)
    mean_y, root_y = _centre(y, y_weights)
    traces = np.vdot(root_x, root_x) + np.vdot(root_y, root_y)
    if min(len(root_x), len(root_y)) < root_x.shape[1]:
        cross = float(np.sum(linalg.svdvals(root_x @ root_y.T, check_finite=False)))
    else:
        cross = _trace_root(*sorted((root_x, root_y), key=len, reverse=True))
    return float(max(0.0, np.sum((mean_x - mean_y) ** 2) + traces - 2 * cross))


def frechet_distances(x: NDArray, y: NDArray, x_weights: NDArray, y_weights: NDArray) -> Array:
    """`frechet_distance` of B resamples: weights [B, n] and [B, m] give [B] values."""
    pairs = zip(x_weights, y_weights, strict=True)
    bar = tqdm(pairs, total=len(x_weights), desc="Fréchet", unit="resample", leave=False, disable=len(x_weights) < 2)
    return np.array([frechet_distance(x, y, *weights) for weights in bar])


def kernel_distance(
    x: NDArray, y: NDArray, x_subjects: NDArray | None = None, y_subjects: NDArray | None = None
) -> float:
    """Kernel distance of features ``x`` [n, d] and ``y`` [m, d]: squared MMD (Binkowski et al. 2018), unbiased.

    The kernel is (x . y / d + 1)^3. Within a set it is averaged over all pairs of images of *different* subjects:
    slices of one patient are alike, and their pairs would raise the value by their share among all pairs. So equal
    distributions of patients have the expected value 0, whatever the number of patients and of slices of each; a value
    can be negative. Without subjects, and with n = m, it is what ``cleanfid.fid.kernel_distance`` averages over its
    subsets. Raises `ValueError` for fewer than two images or subjects.
    """
    return float(kernel_distances(x, y, np.ones((1, len(x))), np.ones((1, len(y))), x_subjects, y_subjects)[0])


def kernel_distances(
    x: NDArray,
    y: NDArray,
    x_weights: NDArray,
    y_weights: NDArray,
    x_subjects: NDArray | None = None,
    y_subjects: NDArray | None = None,
    *,
    shared: bool = False,
) -> Array:
    """`kernel_distance` of B resamples: weights [B, n] and [B, m] give [B] values.

    shared: both sides are of the same subjects, by equal codes; images of one subject are then no pair of x and y.
    Copies of one subject form no pair either, so resampling adds no bias. A resample needs two different subjects
    (`gan.metrics.intervals.subject_weights` draws no others).
    """
    x, y = _features(x), _features(y)
    wx, wy = np.asarray(x_weights, np.float64), np.asarray(y_weights, np.float64)
    return (
        _within(x, wx, x_subjects)
        + _within(y, wy, y_subjects)
        - 2
        * (
            _between(x, y, wx, wy, np.asarray(x_subjects), np.asarray(y_subjects))
            if shared
            else _kernel_sum(x, y, wx, wy) / (wx.sum(1) * wy.sum(1))
        )
    )


def _between(x: Array, y: Array, wx: Array, wy: Array, x_subjects: NDArray, y_subjects: NDArray) -> Array:
    """Mean kernel over pairs of an image of x and one of y, of different subjects."""
    _, codes = np.unique(np.concatenate([x_subjects, y_subjects]), return_inverse=True)
    one = np.eye(codes.max() + 1)
    of_x, of_y = codes[: len(x)], codes[len(x) :]
    pairs = wx.sum(1) * wy.sum(1) - np.sum((wx @ one[of_x]) * (wy @ one[of_y]), 1)
    return _kernel_sum(x, y, wx, wy, (of_x, of_y)) / pairs


def _within(x: Array, weights: Array, subjects: NDArray | None) -> Array:
    """Mean kernel over pairs of images of different subjects: a U-statistic of subjects."""
    if subjects is None:
        pairs = weights.sum(1) ** 2 - np.sum(weights**2, 1)
        own = np.sum(weights**2 * _cubic(np.sum(x**2, 1), x.shape[1]), 1)
        return (_kernel_sum(x, x, weights, weights) - own) / pairs
    _, codes = np.unique(subjects, return_inverse=True)
    if codes.max() < 1:
        raise ValueError("a kernel distance needs at least 2 subjects on each side")
    of_subject = weights @ np.eye(codes.max() + 1)[codes]
    pairs = weights.sum(1) ** 2 - np.sum(of_subject**2, 1)
    return _kernel_sum(x, x, weights, weights, (codes, codes)) / pairs


def _kernel_sum(
    x: Array, y: Array, wx: Array, wy: Array, apart: tuple[NDArray, NDArray] | None = None, rows: int = 1024
) -> Array:
    """The sums w_x^T K w_y for each pair of weights, in blocks of rows so that K is never whole in memory.

    apart: codes of ``x`` and of ``y``; pairs of equal codes are left out.
    """
    total = np.zeros(len(wx))
    for start in range(0, len(x), rows):
        block = slice(start, start + rows)
        kernel = _cubic(x[block] @ y.T, x.shape[1])
        if apart is not None:
            kernel *= apart[0][block, None] != apart[1]
        total += np.einsum("bi,bi->b", wx[:, block] @ kernel, wy)
    return total


def _cubic(products: Array, dim: int) -> Array:
    """The kernel of inner products of features."""
    base = products / dim + 1
    return base * base * base


def _features(x: NDArray) -> Array:
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"a distance needs at least 2 images as features [n, d], got shape {list(x.shape)}")
    return x


def _centre(x: NDArray, weights: NDArray | None) -> tuple[Array, Array]:
    """The mean [d] and a factor R [n, d] with R^T R the covariance."""
    x = _features(x)
    if weights is None:
        mean = x.mean(0)
        return mean, (x - mean) / np.sqrt(len(x) - 1)
    kept = np.flatnonzero(weights)
    counts = np.asarray(weights, np.float64)[kept]
    x = x[kept]
    mean = counts @ x / counts.sum()
    return mean, (x - mean) * np.sqrt(counts / (counts.sum() - 1))[:, None]


def _trace_root(x: Array, y: Array) -> float:
    """tr((S_x S_y)^(1/2)) from factors of two covariances (`_centre`); cheapest when ``x`` is the longer one."""
    covariance = x.T @ x
    try:
        factor = linalg.cholesky(covariance, lower=True, check_finite=False)
        projected = blas.dtrmm(1.0, factor, y.T, lower=1, trans_a=1)  # type: ignore[attr-defined]
    except linalg.LinAlgError:  # a feature is constant or a combination of others
        values, vectors = linalg.eigh(covariance, check_finite=False)
        projected = (vectors * np.sqrt(values.clip(0))).T @ y.T
    values = linalg.eigvalsh(projected @ projected.T, check_finite=False, overwrite_a=True, driver="ev")
    return float(np.sqrt(values.clip(0)).sum())
