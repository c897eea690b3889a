"""The dual of transport, against exact distances; costs and their gradients."""

import keras
import numpy as np
import ot
import pytest
from contract import to_numpy
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

from kexue_keras import backend, losses, similarity

SEEDS = range(5)


def two_sets(seed, n=12, m=9, d=4):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, d)), generator.normal(0.5, 1.0, size=(m, d))


def uniform(n):
    return np.full(n, 1 / n)


def exact(x, y):
    return similarity.wasserstein_distance(uniform(len(x)), uniform(len(y)), cdist(x, y))


@pytest.mark.parametrize("seed", SEEDS)
def test_potentials_never_exceed_costs_and_the_dual_never_the_distance(seed):
    x, y = two_sets(seed)
    cost = losses.euclidean_cost(x, y)
    potential = np.random.default_rng(seed).normal(0, 2, len(x)).astype("float32")
    other = to_numpy(losses.c_transform(potential, cost))
    slack = to_numpy(cost) - potential[:, None] - other
    assert slack.min() >= -1e-5
    np.testing.assert_allclose(slack.min(axis=0), 0, atol=1e-5)  # no larger one is allowed
    expected = [min(cdist(x, y)[i, j] - potential[i] for i in range(12)) for j in range(9)]
    np.testing.assert_allclose(other, expected, atol=1e-5)
    dual = float(losses.kantorovich_dual(potential, cost))
    assert dual == pytest.approx(potential.mean() + np.mean(expected), abs=1e-5)
    assert dual < exact(x, y)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_best_potential_reaches_the_distance(seed):
    x, y = two_sets(seed)
    value, log = ot.emd2(uniform(len(x)), uniform(len(y)), cdist(x, y), log=True)
    best = log["u"].astype("float32")
    cost = losses.euclidean_cost(x, y)
    assert float(losses.kantorovich_dual(best, cost)) == pytest.approx(value, abs=1e-5)
    np.testing.assert_allclose(to_numpy(losses.c_transform(best, cost)), log["v"], atol=1e-5)
    moved = best + np.random.default_rng(seed).normal(0, 0.3, len(x)).astype("float32")
    assert float(losses.kantorovich_dual(moved, cost)) < value


def test_in_one_dimension_it_is_the_distance_of_the_sorted_samples():
    x, y = two_sets(0, 40, 40, 1)
    expected = np.abs(np.sort(x[:, 0]) - np.sort(y[:, 0])).mean()
    assert wasserstein_distance(x[:, 0], y[:, 0]) == pytest.approx(expected)
    value, log = ot.emd2(uniform(40), uniform(40), cdist(x, y), log=True)
    assert value == pytest.approx(expected)
    dual = losses.kantorovich_dual(log["u"].astype("float32"), losses.euclidean_cost(x, y))
    assert float(dual) == pytest.approx(expected, abs=1e-5)


def test_a_batch_is_farther_from_another_one_than_from_its_mean():
    """Of N(0, I) in 256 dimensions, 128 samples each: 20.8 and 16.0. The article's third reason."""
    x, y = np.random.default_rng(0).normal(size=(2, 128, 256))
    others, mean = exact(x, y), exact(x, np.zeros((1, 256)))
    assert others == pytest.approx(20.8, abs=0.2) and mean == pytest.approx(16.0, abs=0.2)
    found = to_numpy(losses.euclidean_cost(x, np.zeros((1, 256), "float32"))).mean()
    assert found == pytest.approx(mean, rel=1e-5)


def test_the_potential_is_learned_by_gradients():
    """Ascent of the dual by the potential itself comes to the exact distance from below."""
    x, y = two_sets(1, 30, 30)
    cost = losses.euclidean_cost(x, y)
    potential = keras.Variable(np.zeros(30, "float32"))
    step = backend.jit(
        lambda: backend.value_and_grad(
            lambda: losses.kantorovich_dual(potential.value, cost), [potential]
        )(),
        [potential],
    )
    found = []
    for i in range(400):
        value, (gradient,) = step()
        found.append(float(value))
        potential.assign_add(gradient * 20.0 / (1 + 0.1 * i))
    distance = exact(x, y)
    assert max(found) <= distance + 1e-5
    assert max(found) > 0.99 * distance > 1.01 * found[0]


@pytest.mark.parametrize("center", [0.0, 100.0])
def test_costs_equal_those_of_scipy_for_samples_of_any_rank(center):
    x, y = (part + center for part in two_sets(2, 5, 7, 6))
    expected = cdist(x, y)
    shaped = losses.euclidean_cost(x.reshape(5, 3, 2), y.reshape(7, 3, 2))
    np.testing.assert_allclose(to_numpy(shaped), expected, rtol=1e-4 if center else 1e-6)


def test_gradients_are_directions_and_zero_between_equal_samples():
    x, y = (part.astype("float32") for part in two_sets(3, 3, 3))
    y[0] = x[0] = 0
    moved = keras.Variable(y)
    objective = lambda: keras.ops.sum(losses.euclidean_cost(x, moved.value))  # noqa: E731
    _, (gradient,) = backend.jit(lambda: backend.value_and_grad(objective, [moved])(), [moved])()
    differences = y[None] - x[:, None]
    norms = np.linalg.norm(differences, axis=-1, keepdims=True)
    expected = (differences / np.where(norms, norms, 1)).sum(0)
    assert np.isfinite(to_numpy(gradient)).all()
    # the pair at distance 0 comes out of a product of matrices, that is nearly so
    np.testing.assert_allclose(to_numpy(gradient)[1:], expected[1:], atol=1e-4)


def test_half_precision_is_computed_in_float32():
    x = np.full((1, 2), 300.0, "float16")
    cost = losses.euclidean_cost(x, -x)
    assert keras.backend.standardize_dtype(cost.dtype) == "float32"
    assert float(cost[0, 0]) == pytest.approx(600 * 2**0.5)


def test_errors():
    with pytest.raises(ValueError, match=r"`potential` and `cost` must .* \(3,\) and \(2, 2\)"):
        losses.c_transform(np.zeros(3), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="`potential` and `cost` must"):
        losses.kantorovich_dual(np.zeros((3, 1)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"`x` and `y` must .* \(3, 2\) and \(3, 4\)"):
        losses.euclidean_cost(np.zeros((3, 2)), np.zeros((3, 4)))
