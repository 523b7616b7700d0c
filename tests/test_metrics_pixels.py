"""Statistics of pixels against closed forms."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from gan.metrics.frames import asymmetry, background_noise
from gan.metrics.histogram import histograms, wasserstein
from gan.metrics.pixels import PixelSums, score_pixels
from gan.metrics.scores import Sets, score
from gan.metrics.spectrum import ROUNDING, band_edges, log_ratios, power_spectra
from gan.metrics.vendi import MOST, vendi_scores


def heads(count: int, seed: int, side: int = 32) -> np.ndarray:
    """Bright discs with an own offset, a darker right half, and noise: uint8 [n, H, W]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - side / 2
    images = []
    for shift in rng.normal(0, 1.5, (count, 2)):
        inside = np.hypot(y - shift[0], x - shift[1]) < side / 3
        images.append(inside * np.where(x < 0, 160, 130) + np.abs(rng.normal(0, 5, (side, side))))
    return np.stack(images).astype(np.uint8)


@pytest.mark.parametrize("size", [(32, 32), (24, 40), (15, 17), (8, 8), (8, 12, 10), (16, 16, 15)])
def test_the_spectrum_of_white_noise_is_flat(size):
    images = np.random.default_rng(0).normal(100, 7, (4000 * 64 // int(np.prod(size)), *size))
    spectrum = power_spectra(images).mean(0)
    assert len(spectrum) == len(band_edges(*size)) - 1 == min(8, min(size) // 2) + 1
    assert spectrum == pytest.approx(np.full(len(spectrum), 49), rel=0.06)


@pytest.mark.parametrize("size", [(32, 32), (24, 40), (15, 17), (12, 9, 16)])
def test_the_bands_hold_the_whole_variance(size):
    """Parseval: the mean power of all frequencies but the mean, which each are in one band."""
    image = np.random.default_rng(1).normal(0, 1, (1, *size))
    axes = np.meshgrid(*map(np.fft.fftfreq, size), indexing="ij")
    frequency = np.sqrt(np.square(axes).sum(0))
    counts, _ = np.histogram(frequency[frequency > 0], band_edges(*size) + 1e-9)
    total = (power_spectra(image)[0] * counts).sum() / image.size
    assert counts.sum() == image.size - 1
    assert total == pytest.approx(image.var(), rel=1e-5)


@pytest.mark.parametrize(("cycles", "sigma"), [(3, 2.0), (7, 1.0), (11, 0.8)])
def test_a_blur_takes_its_share_of_the_power(cycles, sigma):
    frequency = cycles / 64
    wave = 100 + 50 * np.cos(2 * np.pi * frequency * np.arange(64))[None, None].repeat(64, 1)
    blurred = gaussian_filter(wave, (0, 0, sigma), mode="wrap", truncate=8)
    band = np.searchsorted(band_edges(64, 64), frequency) - 1
    before, after = (power_spectra(images)[0] for images in (wave, blurred))
    assert before.argmax() == band
    assert after[band] / before[band] == pytest.approx(np.exp(-((2 * np.pi * frequency * sigma) ** 2)), rel=1e-3)


@pytest.mark.parametrize(("grid", "band"), [([0, 1], -1), ([0], -2), ([1], -2)])
def test_a_grid_of_every_second_pixel_is_in_the_last_bands(grid, band):
    pattern = np.indices((16, 16))[grid].sum(0) % 2 * 10.0
    spectrum = power_spectra(pattern[None])[0]
    assert spectrum[band] > 0 and np.allclose(np.delete(spectrum, band), 0, atol=1e-6)


def test_power_below_that_of_rounding_does_not_count():
    ratios = log_ratios(np.array([0.0, 2.0]), np.array([1e-9, 1.0]))
    assert ratios == pytest.approx([0, np.log((2 + ROUNDING) / (1 + ROUNDING))], abs=1e-7)


def test_histograms_count_each_image_by_itself():
    images = np.array([[[0, 255], [255, 3]], [[7, 7], [7, 7]]], np.uint8)
    counts = histograms(images)
    assert counts.shape == (2, 256) and (counts.sum(1) == 4).all()
    assert counts[0, [0, 3, 255]].tolist() == [1, 1, 2] and counts[1, 7] == 4


def test_a_gain_moves_the_histogram_by_its_share_of_the_mean():
    images = (20 * np.random.default_rng(0).integers(0, 13, (5, 16, 16))).astype(np.uint8)
    brighter = (images * 1.05).round().astype(np.uint8)
    moved = wasserstein(histograms(brighter).sum(0), histograms(images).sum(0))
    assert moved == pytest.approx(0.05 * images.mean() / 255)
    black, white = (histograms(np.full((1, 4, 4), grey, np.uint8))[0] for grey in (0, 255))
    assert wasserstein(black, white) == 1 and wasserstein(black, black) == 0


def test_the_noise_of_the_background():
    rng = np.random.default_rng(0)
    images = rng.normal(100, 4, (400, 128, 128))
    images[:, -30:, :30] = 0  # a neck of one grey in one corner, a bright arm in another
    images[:, -30:, -30:] += rng.normal(0, 60, (400, 30, 30))
    images[:, 40:90, 40:90] = 200
    assert background_noise(images[:, ::-1])[0] == pytest.approx(background_noise(images)[0])
    found = background_noise(np.delete(images, np.s_[-30:], 1)).mean()
    assert found == pytest.approx(4, rel=0.05)
    assert background_noise(np.zeros((2, 16, 16), np.uint8)).tolist() == [0, 0]


def test_asymmetry_of_halves():
    left = np.zeros((1, 8, 8), np.uint8)
    left[:, :, :4] = 10
    even = np.full((1, 8, 8), 10, np.uint8)
    three = left + even  # 20 to the left, 10 to the right
    assert asymmetry(np.concatenate([left, even, three, 0 * left])) == pytest.approx([1, 0, 1 / 3, 0])
    images = heads(5, 0)
    assert asymmetry(images[:, :, ::-1]) == pytest.approx(asymmetry(images))
    assert asymmetry(images // 2 * 2) == pytest.approx(asymmetry(images // 2))


def test_noise_and_asymmetry_of_volumes():
    """Noise in three of eight corners is left out; a volume that is the same along two axes is as unlike as a row."""
    volumes = np.random.default_rng(0).normal(100, 3, (20, 24, 24, 24)).round().astype(np.uint8)
    volumes[:, :4, :4, :4] = volumes[:, -4:, :4, :4] = volumes[:, :4, -4:, -4:] = np.arange(0, 256, 4).reshape(4, 4, 4)
    assert background_noise(volumes).mean() == pytest.approx(3, rel=0.1)
    rows = np.random.default_rng(1).integers(0, 255, (5, 1, 10)).astype(np.uint8)
    extruded = rows[:, :, None].repeat(4, 1).repeat(6, 2)
    assert extruded.shape == (5, 4, 6, 10)
    assert asymmetry(extruded) == pytest.approx(asymmetry(rows))
    assert asymmetry(extruded.swapaxes(1, 3)) == pytest.approx(np.zeros(5)), "the last axis alone is left to right"


def rows_of(fake, **settings):
    train = PixelSums.of(heads(60, 1)).by(np.arange(60) // 6)
    held_out = PixelSums.of(heads(30, 2)).by(np.arange(30) // 6)
    rows = score_pixels({"t1": PixelSums.of(fake)}, {"t1": train}, {"t1": held_out}, bootstrap=50, seed=0)
    assert {row["contrast"] for row in rows} == {"t1", "all"}
    return {row["metric"]: row for row in rows if row["contrast"] == "t1"}


def test_rows_of_the_same_kind_of_images_are_near_the_floor():
    fake = heads(80, 3)
    rows = rows_of(fake)
    assert list(rows) == ["spectrum", "histogram", "noise", "asymmetry"]
    for row in rows.values():
        assert row["low"] <= row["value"] <= row["high"] and row["low"] < row["high"]
        assert len(row["replicates"]) == 50
        assert row["floor_low"] <= row["floor"] <= row["floor_high"] and row["floor_low"] < row["floor_high"]
        assert row["above_floor"] == pytest.approx(row["value"] - row["floor"])
        assert row["above_floor_low"] < row["above_floor"] < row["above_floor_high"]
    assert rows["noise"]["value"] == pytest.approx(background_noise(fake).mean())
    assert rows["noise"]["floor"] == pytest.approx(background_noise(heads(30, 2)).mean())
    assert rows["noise"]["high"] - rows["noise"]["low"] == pytest.approx(
        4 * background_noise(fake).std() / 80**0.5, rel=0.3
    )
    ratios = np.log(power_spectra(fake).mean(0) / power_spectra(heads(60, 1)).mean(0))
    assert rows["spectrum"]["bands"] == pytest.approx(ratios, abs=2e-3)
    assert rows["spectrum"]["value"] == pytest.approx(np.abs(ratios).mean(), abs=2e-3)
    same = rows_of(heads(60, 1))
    assert [same[name]["value"] for name in ("spectrum", "histogram")] == pytest.approx([0, 0], abs=1e-12)


def test_each_fault_is_seen_by_its_own_number():
    fake = heads(80, 3)
    kept = rows_of(fake)
    blurred = rows_of(gaussian_filter(fake.astype(float), (0, 1, 1)).round().astype(np.uint8))
    assert blurred["spectrum"]["low"] > 5 * kept["spectrum"]["high"]
    assert blurred["spectrum"]["bands"][-1] < -1 and blurred["noise"]["high"] < kept["noise"]["low"] / 2
    brighter = rows_of((fake * 1.3).clip(0, 255).astype(np.uint8))
    assert brighter["histogram"]["low"] > 2 * kept["histogram"]["high"]
    assert brighter["asymmetry"]["value"] == pytest.approx(kept["asymmetry"]["value"], rel=0.05)
    folded = fake.copy()
    folded[:, :, 16:] = folded[:, :, 15::-1]
    assert rows_of(folded)["asymmetry"]["value"] == 0 < kept["asymmetry"]["low"]


def test_vendi_score_in_closed_form():
    once = np.ones((1, 12))
    one = np.tile([3.0, 4.0], (12, 1))
    assert vendi_scores(one, once) == pytest.approx([1])
    orthogonal = np.diag(np.arange(1.0, 13))
    assert vendi_scores(orthogonal, once) == pytest.approx([12])
    clusters = np.eye(50)[np.repeat([4, 9, 30], 4)]
    assert vendi_scores(clusters, once) == pytest.approx([3])
    assert vendi_scores(clusters[:, [4, 9, 30]], once) == pytest.approx([3]), "more images than features"
    unequal = np.eye(2)[np.repeat([0, 1], [9, 3])]
    assert vendi_scores(unequal, once) == pytest.approx([np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))])
    counted = np.repeat([0.0, 1.0, 2.0], [4, 4, 4])[None]
    assert vendi_scores(clusters, counted) == pytest.approx(vendi_scores(unequal[[0, 1, 9]], np.array([[1, 1, 1]])))
    assert vendi_scores(np.zeros((4, 3)), np.ones((1, 4))) == pytest.approx([4])


def test_vendi_score_does_not_depend_on_the_way_to_it():
    """From cosines [n, n] with few images, from products of features [d, d] with many: once against the definition."""
    rng = np.random.default_rng(0)
    for n, d in ((30, 8), (8, 30)):
        x, counts = rng.normal(1, 1, (n, d)), rng.multinomial(n, np.full(n, 1 / n), size=3)
        for drawn, found in zip(counts, vendi_scores(x, counts.astype(float)), strict=True):
            repeated = np.repeat(x / np.linalg.norm(x, axis=1, keepdims=True), drawn, axis=0)
            values = np.linalg.eigvalsh(repeated @ repeated.T / n).clip(1e-15)
            assert found == pytest.approx(np.exp(-(values * np.log(values)).sum()))
    many = rng.normal(0, 1, (2 * MOST, 3))
    assert vendi_scores(many, np.ones((1, 2 * MOST))) == pytest.approx([3], rel=0.01)


def test_vendi_score_is_compared_with_as_many_real_images():
    """Its difference to the floor takes as many generated images as the floor has."""
    real, unseen = 5 + np.eye(40)[:20], 5 + np.eye(40)[:10]
    fake, train = 5 + np.eye(40)[np.r_[:10, :30]], np.full((20, 40), 5.0)  # features count from the mean of training
    sets = Sets({"t1": real}, {"t1": fake}, np.arange(20) // 4, {"t1": train}, {"t1": unseen}, np.arange(10) // 2)
    row = next(row for row in score(sets, bootstrap=10, seed=0) if row["metric"] == "vendi")
    assert row["floor"] == pytest.approx(10) and row["value"] > 25
    assert row["above_floor"] == pytest.approx(0)
