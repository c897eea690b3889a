"""The smallest combination of the simplex, and Frank and Wolfe's way to it."""

import numpy as np
import pytest
from contract import to_numpy
from gram_matrices import excess, gram_matrices, in_one_program, tolerance, violation
from references import multitask

from kexue_keras import backend, training


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_a_thousand_random_gram_matrices(n):
    """250 for every number of tasks, in one compiled program."""
    grams = gram_matrices(n, 250)
    found = in_one_program(training.min_norm_weights, grams)
    for i, (gram, weights) in enumerate(zip(grams, found, strict=True)):
        assert violation(gram, weights, range(n)) < tolerance(i), i
        if i < 30:
            assert excess(gram, weights, range(n)) < max(1e-4, tolerance(i)), i


MANY = [pytest.param(n, 250, marks=pytest.mark.slow) for n in (2, 4, 6, 8)]


@pytest.mark.parametrize(("n", "count"), [(3, 10), (8, 10), *MANY])
def test_eagerly(n, count):
    for i, gram in enumerate(gram_matrices(n, count, seed=1)):
        weights = to_numpy(training.min_norm_weights(gram))
        assert violation(gram, weights, range(n)) < tolerance(i), i


def test_two_tasks_are_the_formula():
    pairs = np.random.default_rng(0).normal(size=(20, 2, 3))
    pairs[:, 1] += pairs[:, 0] * (np.arange(20) % 3)[:, None]
    grams = (pairs @ pairs.transpose(0, 2, 1)).astype("float32")
    found = in_one_program(training.min_norm_weights, grams)[:, 0]
    expected = [multitask.two_task_weight(*g) for g in pairs]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert 0 < np.sum((found > 0) & (found < 1)) < 20


def test_at_the_optimum_every_task_gains_and_those_with_weight_alike():
    g = np.random.default_rng(1).normal(size=(4, 10))
    weights = to_numpy(training.min_norm_weights((g @ g.T).astype("float32"))).astype("float64")
    u = weights @ g
    gains = g @ u
    assert (gains >= u @ u * (1 - 1e-5)).all() and (weights > 0).any()
    np.testing.assert_allclose(gains[weights > 0], u @ u, rtol=1e-5)


def test_opposite_and_equal_gradients():
    g = np.array([[1.0, 2.0], [-0.5, -1.0], [3.0, 0.0]])
    weights = to_numpy(training.min_norm_weights((g @ g.T).astype("float32")))
    np.testing.assert_allclose(weights @ g, 0, atol=1e-6)
    g = np.array([[1.0, 2.0], [1.0, 2.0]])
    weights = to_numpy(training.min_norm_weights((g @ g.T).astype("float32")))
    np.testing.assert_allclose(weights @ g, g[0], rtol=1e-6)


def test_the_scale_of_all_gradients_does_not_matter():
    gram = gram_matrices(4, 1)[0]
    expected = to_numpy(training.min_norm_weights(gram))
    for scale in (1e-30, 1e30):
        found = to_numpy(training.min_norm_weights(gram * np.float32(scale)))
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("line_search", [True, False])
def test_frank_wolfe_is_the_article_s_and_comes_near(line_search):
    g = np.random.default_rng(3).normal(size=(4, 10)) + 0.5
    gram = (g @ g.T).astype("float32")
    run = backend.jit(lambda x: training.frank_wolfe_weights(x, 3, line_search))
    expected = multitask.min_norm_weights_frank_wolfe(gram, 3, line_search)
    np.testing.assert_allclose(to_numpy(run(gram)), expected, atol=1e-6)
    run = backend.jit(lambda x: training.frank_wolfe_weights(x, 3000, line_search))
    least = multitask.squared_norm(gram, multitask.min_norm_weights_active_set(gram))
    assert multitask.squared_norm(gram, to_numpy(run(gram))) < least * (1 + 2e-3)


def test_frank_wolfe_of_zeros_and_of_no_steps():
    zeros = to_numpy(training.frank_wolfe_weights(np.zeros((3, 3), "float32"), 2))
    np.testing.assert_allclose(zeros.sum(), 1, rtol=1e-6)
    found = to_numpy(training.frank_wolfe_weights(np.eye(9, dtype="float32"), 0))
    np.testing.assert_allclose(found, np.full(9, 1 / 9), rtol=1e-6)
    for steps in (-1, 1.5, True):
        with pytest.raises(ValueError, match="`steps` must be an integer.*Received: "):
            training.frank_wolfe_weights(np.eye(2), steps)
