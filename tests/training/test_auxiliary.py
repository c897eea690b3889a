"""Main and auxiliary tasks: the conditions of the optimum, SciPy, and the case of no conflict."""

import numpy as np
import pytest
from contract import to_numpy
from gram_matrices import excess, gram_matrices, in_one_program, tolerance, violation
from references import multitask

from kexue_keras import training


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_a_thousand_random_gram_matrices(n):
    """250 for every number of tasks, in one compiled program; also the mixed version."""
    grams, group = gram_matrices(n, 250), range(n // 2, n)

    def both(gram):
        return training.auxiliary_weights(gram), training.mixed_weights(gram, group)

    auxiliary, mixed = in_one_program(both, grams)
    for i, gram in enumerate(grams):
        weights = np.concatenate([[1.0], auxiliary[i]])
        for found, main in ((weights, [0]), (mixed[i], group)):
            assert violation(gram, found, main) < tolerance(i), (i, main)
            if i < 30:
                assert excess(gram, found, main) < max(1e-4, tolerance(i)), (i, main)


MANY = [pytest.param(n, 250, marks=pytest.mark.slow) for n in (2, 4, 6, 8)]


@pytest.mark.parametrize(("n", "count"), [(3, 10), (8, 10), *MANY])
def test_eagerly(n, count):
    for i, gram in enumerate(gram_matrices(n, count, seed=1)):
        weights = np.insert(to_numpy(training.auxiliary_weights(gram, n - 1)), n - 1, 1.0)
        assert violation(gram, weights, [n - 1]) < tolerance(i), i


def directions(n, size, count=60):
    """Random gradients, their weights, and the directions that these give."""
    g = np.random.default_rng(n).normal(size=(count, n, size))
    grams = (g @ g.transpose(0, 2, 1)).astype("float32")
    weights = in_one_program(training.auxiliary_weights, grams)
    return zip(g, weights, [x[0] + w @ x[1:] for x, w in zip(g, weights, strict=True)], strict=True)


def test_equals_scipy_s_nnls():
    for g, weights, _ in directions(4, 9):
        np.testing.assert_allclose(weights, multitask.auxiliary_weights_nnls(g), atol=1e-5)


def test_the_direction_harms_nothing_and_is_never_longer_than_the_main_gradient():
    for g, weights, u in directions(6, 8):
        lengths = np.linalg.norm(g, axis=1) * np.linalg.norm(g[0])
        gains = g @ u / lengths
        assert gains.min() > -1e-5 and np.abs(weights * gains[1:]).max() < 1e-5
        assert u @ u <= g[0] @ g[0] * (1 + 1e-6)
        np.testing.assert_allclose(u @ g[0], u @ u, rtol=1e-4, atol=1e-5)


def test_without_conflict_the_main_gradient_stays():
    g = np.abs(np.random.default_rng(0).normal(size=(4, 5)))
    weights = to_numpy(training.auxiliary_weights((g @ g.T).astype("float32"), main=2))
    np.testing.assert_array_equal(weights, np.zeros(3))


def test_one_auxiliary_task_is_the_formula():
    for gram in ([[2.0, -3.0], [-3.0, 5.0]], [[2.0, 3.0], [3.0, 5.0]]):
        found = to_numpy(training.auxiliary_weights(np.array(gram, "float32")))
        np.testing.assert_allclose(found, [max(-gram[0][1], 0) / gram[1][1]], rtol=1e-6)


def test_weight_decay_as_an_auxiliary_task_has_the_weights_themselves():
    """The post leaves out the factor theta: the direction is g + lambda theta."""
    g, theta = np.array([1.0, -2.0, 0.5]), np.array([-1.0, 0.5, 2.0])
    rows = np.stack([g, theta])
    (found,) = to_numpy(training.auxiliary_weights((rows @ rows.T).astype("float32")))
    np.testing.assert_allclose((g + found * theta) @ theta, 0, atol=1e-6)


def test_where_the_published_iteration_stalls():
    """Among random cases it stops, infeasible or too long; the optimum is found all the same."""
    stalled = 0
    for g, _, u in directions(5, 9):
        gram, weights = g @ g.T, np.array([1.0, 0, 0, 0, 0])
        for _ in range(400):
            tau = 1 + int((gram @ weights)[1:].argmin())
            rest = (gram @ weights)[tau] - gram[tau, tau] * weights[tau]
            weights[tau] = max(-rest / gram[tau, tau], 0)
        stalled += multitask.squared_norm(gram, weights) > u @ u * 1.001
    assert stalled > 2


def test_one_main_task_and_all_main_tasks_are_limits_of_mixed():
    gram = gram_matrices(5, 1)[0]
    all_main = to_numpy(training.mixed_weights(gram, range(5)))
    np.testing.assert_allclose(all_main, to_numpy(training.min_norm_weights(gram)), atol=1e-6)
    one = to_numpy(training.mixed_weights(gram, [3]))
    auxiliary = to_numpy(training.auxiliary_weights(gram, 3))
    np.testing.assert_allclose(one, np.insert(auxiliary, 3, 1.0), atol=1e-6)


def test_bad_main():
    for main in (5, "a", None):
        with pytest.raises(ValueError, match="`main` must be indices of 2 tasks"):
            training.auxiliary_weights(np.eye(2), main)
    with pytest.raises(ValueError, match="`main` must be indices of 2 tasks"):
        training.mixed_weights(np.eye(2), [])
