"""Radiomic features: the published values of IBSI's digital phantom, closed forms, invariances, and what they see."""

import itertools

import numpy as np
import pytest
from scipy import ndimage, stats

from gan.errors import GanError
from gan.metrics.radiomics import of_images, within
from gan.metrics.radiomics.cooccurrence import cooccurrence, of_pairs
from gan.metrics.radiomics.first_order import first_order
from gan.metrics.radiomics.runs import of_runs
from gan.metrics.radiomics.shape import of_shape
from gan.metrics.radiomics.tones import of_tones
from gan.scoring.extractors import files

# The digital phantom of IBSI 1 (section 5.1): four slices, grey levels 1 to 6, 0 outside of the region.
PHANTOM = """
1 4 4 1 1  1 4 6 1 1  4 1 6 4 1  4 4 6 4 1
1 4 4 1 1  1 1 6 1 1  0 1 3 1 1  4 4 6 1 1
1 4 4 0 0  1 1 1 1 1  1 1 0 1 1  1 1 6 1 1
1 4 4 0 0  1 1 1 1 1  1 1 1 1 1  1 1 6 1 1
"""
GREY = np.array(PHANTOM.split(), int).reshape(4, 4, 5)
PHANTOM_LEVELS = np.where(GREY > 0, GREY - 1, 6)
# "2D, slice-merged": a matrix of all directions for each slice, and the mean over slices.
OF_PAIRS = {
    **{"maximum": 0.512, "energy": 0.352, "entropy": 2.24, "contrast": 5.19, "dissimilarity": 1.4},
    **{"homogeneity": 0.625, "difference_entropy": 1.49, "correlation": 0.0173, "tendency": 5.66, "shade": 6.98},
    **{"prominence": 80.4, "information": -0.0341},
}
OF_RUNS = {"short": 0.661, "long": 3.51, "levels": 0.456, "lengths": 0.441, "percentage": 0.627}
OF_TONES = {"coarseness": 0.121, "contrast": 0.925, "busyness": 2.99, "complexity": 10.4, "strength": 2.88}
FIRST_ORDER = {
    **{"mean": 2.15, "variance": 3.05, "skewness": 1.08, "kurtosis": -0.355, "median": 1, "minimum": 1, "p10": 1},
    **{"p90": 4, "maximum": 6, "iqr": 3, "range": 5, "mean_deviation": 1.55, "robust_deviation": 1.11},
    **{"median_deviation": 1.15, "variation": 0.812, "rms": 2.77, "entropy": 1.27, "uniformity": 0.512},
}


def heads(n: int = 6, side: int = 48, seed: int = 0) -> np.ndarray:
    """Textured ellipses of varied size on a black background: uint8 [n, side, side]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side - 0.5
    images = []
    for _ in range(n):
        inside = np.hypot(x / random.uniform(0.7, 0.8), y / random.uniform(0.8, 0.9)) < 0.35
        texture = ndimage.gaussian_filter(random.normal(0, 60, (side, side)), 0.8)
        images.append((inside * (130 + texture)).clip(0, 255))
    return np.stack(images).astype(np.uint8)


def values(images: np.ndarray) -> dict[str, np.ndarray]:
    found = of_images(images)
    return dict(zip(found.names, found.values.T, strict=True))


@pytest.mark.parametrize(
    ("found", "published"),
    [
        (of_pairs(cooccurrence(PHANTOM_LEVELS, 6, 1)), OF_PAIRS),
        (of_runs(PHANTOM_LEVELS, 6), OF_RUNS),
        (of_tones(PHANTOM_LEVELS, 6), OF_TONES),
        (first_order(np.bincount(GREY[GREY > 0], minlength=7)[None], width=1), FIRST_ORDER),
    ],
    ids=["pairs", "runs", "tones", "first order"],
)
def test_the_published_values_of_the_digital_phantom(found, published):
    assert {name: float(f"{of.mean():.3g}") for name, of in found.items()} == pytest.approx(published, abs=1e-9)


def test_first_order_features_are_those_of_numpy_and_scipy():
    x = np.random.default_rng(0).gamma(3, 20, 501).clip(0, 255).astype(int)
    found = {name: float(of[0]) for name, of in first_order(np.bincount(x, minlength=256)[None]).items()}
    assert found["skewness"] == pytest.approx(stats.skew(x)) and found["kurtosis"] == pytest.approx(stats.kurtosis(x))
    quantiles = [found[name] for name in ("minimum", "p10", "median", "p90", "maximum")]
    assert quantiles == pytest.approx(list(np.quantile(x, [0, 0.1, 0.5, 0.9, 1])))
    assert found["iqr"] == pytest.approx(stats.iqr(x)) and found["variance"] == pytest.approx(x.var())
    assert found["entropy"] == pytest.approx(stats.entropy(np.bincount(x // 8), base=2))


def test_a_constant_image_in_closed_form():
    found = values(np.full((1, 32, 32), 100, np.uint8))
    lines = 32 + 32 + 2 * 63
    expected = {
        **{"grey_mean": 100, "grey_variance": 0, "grey_entropy": 0, "grey_uniformity": 1, "grey_kurtosis": 0},
        **{"pairs1_energy": 1, "pairs1_contrast": 0, "pairs1_correlation": 1, "pairs2_homogeneity": 1},
        **{"runs_levels": 1, "runs_percentage": lines / (4 * 32 * 32), "tones_contrast": 0, "tones_busyness": 0},
        **{"gradient_mean": 0, "shape_area": 100, "shape_elongation": 1, "outside_mean": 0},
        "spectrum_8": np.log(1 / 12),
    }
    assert {name: found[name][0] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert found["tones_fineness"][0] == pytest.approx(0, abs=1e-5)


def test_a_checkerboard_in_closed_form():
    board = np.where(np.indices((32, 32)).sum(0) % 2, 200, 40).astype(np.uint8)  # levels 25 and 5
    found = values(board[None])
    along, across = 2 * 32 * 31, 2 * 31 * 31  # pairs that differ, and diagonal ones, which do not
    contrast = 20**2 * along / (along + across)
    rows, diagonals = 2 * 32 * 32, 2 * 63  # runs of one pixel, and whole diagonals
    long = (rows + 2 * (32**2 + 2 * sum(k**2 for k in range(1, 32)))) / (rows + diagonals)
    expected = {
        **{"grey_mean": 120, "grey_variance": 80**2, "grey_entropy": 1, "grey_kurtosis": -2, "grey_iqr": 160},
        **{
            "pairs1_contrast": contrast,
            "pairs1_correlation": 1 - contrast / 200,
            "pairs1_dissimilarity": contrast / 20,
        },
        **{"pairs2_contrast": 0, "pairs2_correlation": 1, "pairs2_energy": 0.5, "pairs2_entropy": 1},
        **{"runs_percentage": (rows + diagonals) / (4 * 32 * 32), "runs_long": long, "runs_levels": 0.5},
    }
    assert {name: found[name][0] for name in expected} == pytest.approx(expected)


def test_pairs_and_runs_are_those_that_a_loop_counts():
    random = np.random.default_rng(1)
    levels = np.where(random.random((9, 12)) < 0.2, 4, random.integers(0, 4, (9, 12)))
    pairs, runs = np.zeros((4, 4)), []
    for y, x in np.ndindex(levels.shape):
        for down, right in ((0, 2), (2, 2), (2, 0), (2, -2)):
            if (
                0 <= y + down < 9
                and 0 <= x + right < 12
                and (a := levels[y, x]) < 4 > (b := levels[y + down, x + right])
            ):
                pairs[a, b] += 1
                pairs[b, a] += 1
    for lines in (levels, levels.T, *([np.diagonal(of, k) for k in range(-8, 12)] for of in (levels, levels[:, ::-1]))):
        for line in lines:
            ends = np.flatnonzero(np.diff(line, prepend=-1, append=-1))
            runs += [end - start for start, end in itertools.pairwise(ends) if line[start] < 4]
    assert cooccurrence(levels[None], 4, 2)[0] == pytest.approx(pairs / pairs.sum())
    found = of_runs(levels[None], 4)
    assert found["short"][0] == pytest.approx(np.mean(1 / np.square(np.array(runs, float))))
    assert found["percentage"][0] == pytest.approx(len(runs) / 4 / (levels < 4).sum())


@pytest.mark.parametrize(("height", "width", "expected"), [(20, 20, 1), (10, 20, 0.5), (20, 5, 0.25)])
def test_the_elongation_of_a_rectangle_is_the_ratio_of_its_sides(height, width, expected):
    region = np.zeros((1, 40, 40), bool)
    region[0, 3 : 3 + height, 7 : 7 + width] = True
    assert of_shape(region)["elongation"][0] == pytest.approx(expected)


@pytest.mark.parametrize(
    "same",
    [
        lambda x: x[:, :, ::-1],
        lambda x: x[:, ::-1],
        lambda x: x.transpose(0, 2, 1),
        lambda x: np.roll(x, (3, -2), (1, 2)),
    ],
    ids=["mirrored", "upside down", "transposed", "moved"],
)
def test_what_should_not_matter_does_not(same):
    found = of_images(heads())
    np.testing.assert_allclose(
        of_images(np.ascontiguousarray(same(heads()))).values, found.values, rtol=2e-4, atol=1e-4
    )


def test_features_see_blur_noise_and_gain():
    random, x = np.random.default_rng(0), heads()
    noisy = np.hypot(x + random.normal(0, 12, x.shape), random.normal(0, 12, x.shape)).clip(0, 255).astype(np.uint8)
    kept, blurred = values(x), values(ndimage.gaussian_filter(x, (0, 1, 1)))
    noisy, darker = values(noisy), values(x // 2)
    for name in ("gradient_mean", "spectrum_8", "pairs1_contrast", "runs_percentage", "tones_complexity"):
        assert (blurred[name] < kept[name]).all(), name
    assert (noisy["spectrum_8"] > kept["spectrum_8"]).all() and (noisy["outside_deviation"] > 3).all()
    assert (noisy["pairs1_homogeneity"] < kept["pairs1_homogeneity"]).all()
    assert darker["grey_mean"] == pytest.approx(kept["grey_mean"] / 2, rel=0.01)
    assert darker["spectrum_5"] == pytest.approx(kept["spectrum_5"] - 2 * np.log(2), abs=0.05)


def test_a_region_holds_its_own_pixels_alone():
    x = heads()
    region = np.zeros(x.shape, bool)
    region[:-1, 20:28, 18:30] = True
    other = np.where(region, x, 255 - x)
    found = within(x, region)
    inner = [place for place, name in enumerate(found.names) if not name.startswith("gradient")]
    np.testing.assert_allclose(within(other, region).values[:, inner], found.values[:, inner])
    assert found.values[:, found.names.index("grey_mean")][0] == pytest.approx(x[0, 20:28, 18:30].mean())
    assert (found.values[-1] == 0).all(), "an empty region"
    assert np.isfinite(of_images(np.zeros((2, 32, 32), np.uint8)).values).all(), "an image without a head"


def test_features_are_standardised_and_constant_ones_dropped_by_name(tmp_path):
    images = heads(80)
    files.save(tmp_path / "extractor.pt", "radiomics", files.make("radiomics", {}, lambda: images))
    extract = files.load(tmp_path / "extractor.pt")
    found = extract(images)
    assert extract.dropped == ("outside_mean", "outside_deviation") and extract.dim == 66
    assert extract.names == tuple(name for name in of_images(images[:1]).names if name not in extract.dropped)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(found.std(0), 1, atol=1e-4)
    np.testing.assert_allclose(extract(images[7:9]), found[7:9], atol=1e-4)
    assert extract(images[:0]).shape == (0, 66)
    other = files.make("radiomics", {}, lambda: heads(80, seed=1))
    files.save(tmp_path / "other.pt", "radiomics", other)
    assert files.load(tmp_path / "other.pt").id != extract.id


def test_images_that_are_too_small_are_refused():
    with pytest.raises(GanError, match="need images of 16 pixels a side or more, not of 12 x 32"):
        files.make("radiomics", {}, lambda: np.zeros((2, 12, 32), np.uint8))
