"""Metrics of neighbours against loops that follow the papers, and against cases with known answers."""

import numpy as np
import pytest

from gan.metrics.neighbours import Balls, choose_k, distances, expected_coverage, radii


def sets(n=40, m=30, d=5, shift=0.5):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, d)).astype(np.float32), (rng.normal(size=(m, d)) + shift).astype(np.float32)


def ones(real, fake):
    return np.ones((1, len(real))), np.ones((1, len(fake)))


def kth(x, k):
    return np.array([sorted(np.linalg.norm(x - row, axis=1))[k] for row in x])


def naive(real, fake, k):
    """Precision, recall, density, coverage with every image once, by loops."""
    between = np.linalg.norm(real[:, None].astype(float) - fake[None], axis=2)
    r, f = kth(real, k), kth(fake, k)
    precision = np.mean([any(between[i, j] <= r[i] for i in range(len(real))) for j in range(len(fake))])
    recall = np.mean([any(between[i, j] <= f[j] for j in range(len(fake))) for i in range(len(real))])
    density = sum(between[i, j] <= r[i] for i in range(len(real)) for j in range(len(fake))) / (k * len(fake))
    coverage = np.mean([between[i].min() <= r[i] for i in range(len(real))])
    return precision, recall, density, coverage


@pytest.mark.parametrize("k", [1, 3, 5])
def test_agree_with_loops(k):
    real, fake = sets()
    balls = Balls.of(real, fake, k)
    found = [getattr(balls, name)(*ones(real, fake))[0] for name in ("precision", "recall", "density", "coverage")]
    assert found == pytest.approx(naive(real, fake, k))


@pytest.mark.parametrize(("shift", "precision", "recall", "coverage"), [(0, 1, 1, 1), (1e4, 0, 0, 0)])
def test_equal_and_distant_sets(shift, precision, recall, coverage):
    real, _ = sets()
    balls = Balls.of(real, real + np.float32(shift), 3)
    weights = ones(real, real)
    found = [balls.precision(*weights)[0], balls.recall(*weights)[0], balls.coverage(*weights)[0]]
    assert found == [precision, recall, coverage]


def test_mode_collapse_lowers_recall_and_coverage_but_not_precision():
    real, _ = sets(200)
    collapsed = real[:1] + 0.01 * sets(200)[0]
    balls = Balls.of(real, collapsed, 3)
    assert balls.precision(*ones(real, collapsed))[0] == 1
    assert balls.recall(*ones(real, collapsed))[0] < 0.05
    assert balls.coverage(*ones(real, collapsed))[0] < 0.1


def test_weights_of_zero_take_images_out_of_the_manifold():
    real, fake = sets()
    balls = Balls.of(real, fake, 3)
    drawn = np.zeros((1, len(real)))
    drawn[0, :10] = 4
    between = distances(real, fake)
    expected = (between[:10] <= radii(real, 3)[:10, None]).any(0).mean()
    assert balls.precision(drawn, np.ones((1, len(fake))))[0] == pytest.approx(expected)


def test_blocks_do_not_change_distances():
    real, fake = sets()
    np.testing.assert_allclose(distances(real, fake, rows=7), distances(real, fake), rtol=1e-6)


def test_too_few_subjects_for_the_neighbour():
    with pytest.raises(ValueError, match="more than 5 subjects, got 5"):
        radii(np.zeros((5, 2)), 5)
    with pytest.raises(ValueError, match="more than 2 subjects, got 2"):
        radii(np.zeros((5, 2)), 2, np.array([0, 0, 1, 1, 1]))


def patients(subjects, slices, seed, reach=0.15, d=8):
    """Volumes: a subject's mean, and slices that change smoothly along it; [subjects, slices, d] of variance 1."""
    rng = np.random.default_rng(seed)
    place = np.linspace(0, 1, slices)
    alike = np.exp(-((place[:, None] - place) ** 2) / (2 * reach**2)) + 1e-6 * np.eye(slices)
    along = np.linalg.cholesky(alike) @ rng.normal(size=(subjects, slices, d))
    return np.sqrt(0.5) * (rng.normal(size=(subjects, 1, d)) + along)


def of_patients(volumes):
    return volumes.reshape(-1, volumes.shape[-1]), np.arange(len(volumes)).repeat(volumes.shape[1])


@pytest.mark.parametrize("k", [1, 2])
def test_balls_of_subjects_agree_with_loops(k):
    (real, of), (fake, of_fake) = of_patients(patients(4, 3, 0)), of_patients(patients(5, 2, 1))
    order = np.random.default_rng(0).permutation(12)
    real, of = real[order], of[order]

    def reach(x, codes, i):
        near = [min(np.linalg.norm(x[codes == s] - x[i], axis=1)) for s in set(codes) if s != codes[i]]
        return sorted(near)[k - 1]

    r = [reach(real, of, i) for i in range(12)]
    f = [reach(fake, of_fake, j) for j in range(10)]
    np.testing.assert_allclose(radii(real, k, of, rows=5), r, rtol=1e-5)
    between = np.linalg.norm(real[:, None] - fake[None], axis=2)
    wr, wf = np.array([2, 0, 1, 1])[of], np.array([1, 1, 0, 3, 1])[of_fake]
    inside = [[between[i, j] <= r[i] for j in range(10)] for i in range(12)]
    density = sum(
        wf[j]
        * sum(
            {s: w for s, w in zip(of, wr, strict=True) if any(inside[i][j] for i in np.flatnonzero(of == s))}.values()
        )
        for j in range(10)
    )
    expected = [
        sum(wf[j] for j in range(10) if any(wr[i] and inside[i][j] for i in range(12))) / wf.sum(),
        sum(wr[i] for i in range(12) if any(wf[j] and between[i, j] <= f[j] for j in range(10))) / wr.sum(),
        density / (k * wf.sum()),
        sum(wr[i] for i in range(12) if any(wf[j] and inside[i][j] for j in range(10))) / wr.sum(),
    ]
    balls = Balls.of(real, fake, k, of, of_fake)
    names = ("precision", "recall", "density", "coverage")
    assert [getattr(balls, name)(wr[None], wf[None])[0] for name in names] == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 3])
def test_how_finely_volumes_were_cut_changes_no_score(k):
    """Twice as many slices of the same patients move precision by less than 0.02."""
    moved, found, of_images = [], [], []
    for seed in range(10):
        fine = patients(12, 32, seed)
        fake = patients(300, 32, 100 + seed)[np.arange(300), np.random.default_rng(seed).integers(32, size=300)]
        found = []
        for volumes in (fine, fine[:, ::2], fine[:, ::2].repeat(2, 1)):
            real, of = of_patients(volumes)
            balls = Balls.of(real, fake, k, of)
            found.append([getattr(balls, name)(*ones(real, fake))[0] for name in ("precision", "density", "coverage")])
        of_images.append(Balls.of(real, fake, k).precision(*ones(real, fake))[0])
        moved.append(np.subtract(found[0], found[1]))
        assert found[1] == pytest.approx(found[2]), "each slice twice is no news at all"
    assert abs(np.mean(moved, 0)[0]) < 0.02
    assert np.mean(of_images) < 0.5 * found[1][0], "what the subjects are for"


def test_k_is_the_smallest_that_a_perfect_generator_would_cover_with():
    assert expected_coverage(5, 113, 638) == pytest.approx(0.9999, abs=1e-4)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(100):
        real, fake = rng.normal(size=(20, 3)), rng.normal(size=(30, 3))
        found.append(Balls.of(real, fake, 2).coverage(*ones(real, fake))[0])
    assert np.mean(found) == pytest.approx(expected_coverage(2, 20, 30), abs=float(4 * np.std(found) / 10))
    for subjects, fakes in ((11, 600), (100, 600), (500, 500)):
        k = choose_k(subjects, fakes)
        assert expected_coverage(k, subjects, fakes) >= 0.95
        assert k == 1 or expected_coverage(k - 1, subjects, fakes) < 0.95
    assert (choose_k(11, 600), choose_k(500, 500), choose_k(2, 3)) == (1, 5, 1)
