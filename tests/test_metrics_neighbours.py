"""Metrics of neighbours against loops that follow the papers, and against cases with known answers."""

import numpy as np
import pytest

from gan.metrics.neighbours import Balls, distances, memorised, nearest, radii


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


def test_too_few_images_for_the_neighbour():
    with pytest.raises(ValueError, match="more than 5 images, got 5"):
        radii(np.zeros((5, 2)), 5)


def test_nearest_finds_a_copy():
    real, fake = sets()
    far, index = nearest(np.vstack([real[7:8], fake]), real)
    assert index[0] == 7
    assert far[0] < 1e-3 < far[1:].min()


def test_memorised_tells_copies_from_new_patients():
    rng = np.random.default_rng(0)
    train, held_out, new = (rng.normal(size=(400, 4)) for _ in range(3))
    copies = train[rng.integers(400, size=400)] + 0.001
    to_train = nearest(held_out, train)[0]
    once = np.ones((1, 400)), np.ones((1, 400))
    assert memorised(nearest(copies, train)[0], to_train, *once)[0] == 1
    assert memorised(nearest(new, train)[0], to_train, *once)[0] == pytest.approx(0.05, abs=0.03)
