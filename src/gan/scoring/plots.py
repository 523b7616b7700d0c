"""Points of the page's plots from features and pixels: a map of the features, scores by slice position, histograms and
spectra. Descriptive, of a few hundred images; the scores are those of the judge."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import svds

from gan.metrics.distances import kernel_distance
from gan.metrics.neighbours import distances
from gan.metrics.pixels import PixelSums
from gan.metrics.spectrum import band_edges

POINTS = 250  # of each kind on the map
FITTED = 2000  # training images to which the axes of the map are fitted
PLACES = 5  # ranges of slice positions, each with as many training images
FEWEST = 8  # images of each side in a range, the fewest that are scored
LEVELS = 32  # of the histogram


def plots(
    fake: NDArray[np.float32],
    real: dict[str, NDArray[np.float32]],
    subjects: dict[str, NDArray[np.int64]],
    at: NDArray[np.float64] | None,
    grey: dict[str, NDArray[np.uint8]],
    pixels: dict[str, dict[str, PixelSums]],
    each: int,
) -> dict[str, Any]:
    """The content of ``plots.json``: ``map``, ``positions`` (None without ``at``), ``pixels`` by contrast.

    fake [n, d], real[split] [m, d]: features; subjects[split] [m]; at: positions 0..1 of the training images; grey: the
    generated images by contrast, uint8 [n, H, W]; pixels: `gan.scoring.reference.ImageFacts.pixels`; each: how many
    successive generated images are of one volume.
    """
    return {
        "map": feature_map(fake, real),
        "positions": None if at is None else by_position(fake, real, subjects, at, each),
        "pixels": {name: _pixels(images, pixels, name) for name, images in grey.items()},
    }


def feature_map(fake: NDArray[np.float32], real: dict[str, NDArray[np.float32]]) -> dict[str, Any]:
    """Features on the two main axes (PCA) of the training images: ``fake``, ``train`` and held-out ``test`` points, and
    ``explained``, the fraction of the training images' variance on each axis.

    The axes are those of the real images alone, so all variants of a data set share them.
    """
    known = _thinned(real["train"], FITTED).astype(np.float64)
    mean = known.mean(0)
    centred = known - mean
    if min(centred.shape) < 3:
        return {}
    # No constant start: of fewer images than features it is orthogonal to all axes, as their sum is 0.
    found: Any = svds(centred, k=2, v0=np.arange(1.0, 1 + min(centred.shape)), solver="arpack")
    order = np.argsort(found[1])[::-1]
    values, axes = found[1][order], found[2][order]
    # The sign of an axis is arbitrary: its largest component is positive.
    axes *= np.sign(axes[[0, 1], np.abs(axes).argmax(1)])[:, None]
    total = float(np.square(centred).sum())
    sets = {"train": real["train"], "test": real["test"], "fake": fake}
    points = {name: np.round((_thinned(of, POINTS) - mean) @ axes.T, 4).tolist() for name, of in sets.items()}
    return {**points, "explained": [round(float(value) ** 2 / total, 4) if total else 0.0 for value in values]}


def nearest(features: NDArray[np.float32], train: NDArray[np.float32]) -> NDArray[np.int64]:
    """The nearest training image of each of ``features`` [n, d]: [n]."""
    return distances(features, train).argmin(1)


def by_position(
    fake: NDArray[np.float32],
    real: dict[str, NDArray[np.float32]],
    subjects: dict[str, NDArray[np.int64]],
    at: NDArray[np.float64],
    each: int,
) -> dict[str, Any]:
    """The kernel distance of generated and of validation images (the floor) to test images, by slice position.

    An image is where its nearest training image is: all sets by the same rule. ``edges`` are those of ranges with as
    many training images each; ``fraction``: of the generated images in each range; None where a range has too few.
    """
    edges = np.unique(np.quantile(at, np.linspace(0, 1, PLACES + 1)))
    sets = {"fake": fake, "val": real["val"], "test": real["test"]}
    place = {name: _place(at[nearest(of, real["train"])], edges) for name, of in sets.items()}
    codes = {"fake": np.arange(len(fake)) // each, "val": subjects["val"], "test": subjects["test"]}

    def score(name: str, number: int) -> float | None:
        mine, other = place[name] == number, place["test"] == number
        units = [len(np.unique(codes[of][chosen])) for of, chosen in ((name, mine), ("test", other))]
        if min(mine.sum(), other.sum()) < FEWEST or min(units) < 2:
            return None
        return kernel_distance(real["test"][other], sets[name][mine], codes["test"][other], codes[name][mine])

    ranges = range(len(edges) - 1)
    return {
        "edges": edges.tolist(),
        "value": [score("fake", number) for number in ranges],
        "floor": [score("val", number) for number in ranges],
        "fraction": [float((place["fake"] == number).mean()) for number in ranges],
        "images": len(fake),
    }


def at_positions(
    at: NDArray[np.float64], fake: NDArray[np.float64], columns: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """(edges, real, fake): of each of ``columns`` ranges of positions a training image drawn from those ``at`` [n], and
    the first of the generated images, at ``fake`` [m]; -1 where there is none."""
    edges = np.quantile(at, np.linspace(0, 1, columns + 1))
    order, ours = _place(at, edges), _place(fake, edges)
    random = np.random.default_rng(seed)
    real = np.empty(columns, np.int64)
    for column in range(columns):
        middle = np.flatnonzero(order == column)
        # Equal positions can leave a range empty: then the nearest image.
        real[column] = random.choice(middle) if len(middle) else np.abs(at - edges[column]).argmin()
    first = [next(iter(np.flatnonzero(ours == column)), -1) for column in range(columns)]
    return edges, real, np.array(first, np.int64)


def _place(at: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """The range of ``edges`` that each of ``at`` is in."""
    return np.clip(np.searchsorted(edges, at, side="right") - 1, 0, len(edges) - 2)


def _pixels(images: NDArray[np.uint8], known: dict[str, dict[str, PixelSums]], contrast: str) -> dict[str, Any]:
    """Fractions of ``LEVELS`` grey ranges and the power in bands of spatial frequency, of generated, training and
    validation images; ``frequency``: edges of the bands in cycles per pixel."""
    sets = {"fake": PixelSums.of(images), "train": known["train"][contrast], "val": known["val"][contrast]}
    means = {name: sums.means() for name, sums in sets.items()}
    found: dict[str, Any] = {"frequency": band_edges(*images.shape[1:]).round(4).tolist(), "power": {}, "histogram": {}}
    for name, of in means.items():
        counts = of["histogram"][0].reshape(LEVELS, -1).sum(1)
        found["histogram"][name] = (counts / counts.sum()).round(6).tolist()
        found["power"][name] = [float(f"{power:.5g}") for power in of["power"][0]]
    return found


def _thinned(features: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """At most ``most`` of ``features`` [n, d], evenly spread."""
    return features[np.unique(np.linspace(0, len(features) - 1, min(most, len(features))).astype(int))]
