"""Exponentiated gradient: factors, signs, and distributions."""

import keras
import numpy as np
import pytest
from optimizer_runs import assert_path, check_optimizer, steps, variables_of

from kexue_keras.optimizers import ExponentiatedGradient

RNG = np.random.default_rng(0)
START = [RNG.normal(size=(3, 4)), RNG.normal(size=5)]
GRADIENTS = [[RNG.normal(size=(3, 4)), RNG.normal(size=5)] for _ in range(50)]


def test_steps_are_those_of_numpy_and_keep_signs():
    found = steps(ExponentiatedGradient(0.1), variables_of(START), GRADIENTS)
    theta, path = START, []
    for gradients in GRADIENTS:
        theta = [x * np.exp(-0.1 * g) for x, g in zip(theta, gradients, strict=True)]
        path.append(theta)
    assert_path(found, path)
    for x, y in zip(found[-1], START, strict=True):
        np.testing.assert_array_equal(np.sign(x), np.sign(y))


# a bias whose values come from the file
@pytest.mark.filterwarnings("ignore:A weight that is zero everywhere")
def test_contract(tmp_path):
    check_optimizer(lambda: ExponentiatedGradient(0.1), tmp_path)
    config = ExponentiatedGradient(0.1, simplex=-1).get_config()
    assert ExponentiatedGradient.from_config(dict(config)).simplex == -1


@pytest.mark.parametrize("axis", [-1, 0])
def test_on_the_simplex_it_is_multiplicative_weights(axis):
    start = RNG.dirichlet(np.ones(4), size=3)
    start = start if axis else start.T
    losses = [[RNG.normal(size=start.shape)] for _ in range(50)]
    found = steps(ExponentiatedGradient(0.3, simplex=axis), variables_of([start]), losses)
    path, p = [], start
    for (loss,) in losses:
        p = p * np.exp(-0.3 * loss)
        p = p / p.sum(axis, keepdims=True)
        path.append([p])
    assert_path(found, path)
    # in closed form: what each has lost in all
    closed = start * np.exp(-0.3 * np.sum(losses, axis=(0, 1)))
    np.testing.assert_allclose(found[-1][0], closed / closed.sum(axis, keepdims=True), rtol=1e-4)
    np.testing.assert_allclose(found[-1][0].sum(axis), 1, rtol=1e-6)


def test_a_constant_changes_nothing_on_the_simplex():
    start = [np.full(3, 1 / 3)]
    gradients = [[g[1][:3]] for g in GRADIENTS]
    shifted = [[g + 5] for (g,) in gradients]
    expected = steps(ExponentiatedGradient(0.1, simplex=0), variables_of(start), gradients)
    found = steps(ExponentiatedGradient(0.1, simplex=0), variables_of(start), shifted)
    assert_path(found, expected)


def test_weights_that_are_no_distribution_become_one():
    optimizer = ExponentiatedGradient(0.1, simplex=-1)
    (found,) = steps(optimizer, variables_of([np.ones(4)]), [[np.zeros(4)]])
    np.testing.assert_allclose(found[0], 0.25, rtol=1e-6)


@pytest.mark.parametrize("simplex", [None, -1])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("size", [1e4, 3e38])
def test_no_gradient_is_too_large(simplex, dtype, size):
    """A weight stays finite and above zero, so that it can come back."""
    size = min(size, 6e4) if dtype == "float16" else size
    gradient = np.array([size, -size, 0.0])
    optimizer = ExponentiatedGradient(1.0, simplex=simplex)
    path = steps(optimizer, variables_of([np.full(3, 0.25)], dtype), [[gradient]] * 3)
    for (x,) in path:
        assert np.isfinite(x).all() and (x > 0).all()
        assert x[1] > x[0]
    if simplex is not None:
        np.testing.assert_allclose(path[-1][0], [0, 1, 0], atol=1e-4)


def test_a_distribution_is_learnt():
    """The expected cost has its minimum in a corner, the divergence from p at p."""
    p = np.array([0.5, 0.3, 0.15, 0.05])
    path = steps(
        ExponentiatedGradient(0.5, simplex=-1),
        variables_of([np.full(4, 0.25)]),
        [lambda q: [np.log(q[0] / p)]] * 40,
    )
    np.testing.assert_allclose(path[-1][0], p, atol=1e-4)
    costs = np.array([0.3, 0.1, 0.2, 0.5])
    path = steps(
        ExponentiatedGradient(5.0, simplex=-1), variables_of([np.full(4, 0.25)]), [[costs]] * 40
    )
    np.testing.assert_allclose(path[-1][0], [0, 1, 0, 0], atol=1e-4)


def test_single_zeros_stay_zero():
    path = steps(
        ExponentiatedGradient(1.0), variables_of([np.array([0.0, -1.0])]), [[-np.ones(2)]] * 2
    )
    np.testing.assert_allclose(path[-1][0], [0, -(np.e**2)], rtol=1e-5)


def test_errors():
    for wrong in (1.5, True, "last"):
        with pytest.raises(ValueError, match="`simplex` must be an axis or None. Received:"):
            ExponentiatedGradient(0.1, simplex=wrong)
    with pytest.raises(ValueError, match="`simplex` must be an axis of every weight. Received: 1"):
        ExponentiatedGradient(0.1, simplex=1).build(variables_of([np.ones(3)]))
    for wrong in ([0.5, 0.0], [0.5, -0.5]):
        with pytest.raises(ValueError, match=f"simplex must be positive.*'w0' with {min(wrong)}"):
            ExponentiatedGradient(0.1, simplex=0).build(variables_of([np.array(wrong)]))


def test_a_bias_that_begins_at_zero_is_warned_of():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="d")])
    with pytest.warns(UserWarning, match="zero everywhere never moves.*Received: '.*d/bias'"):
        ExponentiatedGradient(0.1).build(model.trainable_variables)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's functions")
def test_built_inside_a_function_it_cannot_look():
    import tensorflow as tf

    (variable,) = variables_of([np.zeros(3)])
    optimizer = ExponentiatedGradient(0.1)
    tf.function(lambda: optimizer.apply([keras.ops.ones(3)], [variable]))()
    np.testing.assert_array_equal(variable.numpy(), 0)
