from math import factorial

import keras
import numpy as np
import pytest
from contract import to_numpy

from kexue_keras import activations, backend

MINIMA = {  # printed in the article
    2: (-1, 0.5),
    4: (-1.596072, 0.2703948),
    6: (-2.180607, 0.1493248),
    8: (-2.759003, 0.0832715),
    10: (-3.333551, 0.0466991),
}
GRID = np.linspace(-50, 50, 2001, dtype="float32")


def reference(x, order):
    x = np.asarray(x, "float64")
    return sum(x**k / factorial(k) for k in range(order + 1))


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("order", MINIMA)
def test_exp_equals_the_formula_is_positive_and_smallest_where_the_article_says(order):
    place, value = activations.taylor_minimum(order)
    np.testing.assert_allclose((place, value), MINIMA[order], atol=5e-7)
    found = to_numpy(activations.taylor_exp(GRID, order))
    np.testing.assert_allclose(found, reference(GRID, order), rtol=1e-4)
    assert found.min() >= value - 1e-5 and found.min() > 0
    monotone = to_numpy(activations.taylor_exp(GRID, order, monotone=True))
    np.testing.assert_allclose(monotone, reference(np.maximum(GRID, place), order), rtol=1e-4)
    assert (np.diff(monotone) >= 0).all()


@pytest.mark.parametrize("order,axis", [(2, -1), (4, 0), (10, 1)])
def test_softmax_equals_the_formula(order, axis):
    x = 3 * normal(4, 5)
    found = to_numpy(activations.taylor_softmax(x, order, axis))
    values = reference(x, order)
    np.testing.assert_allclose(found, values / values.sum(axis, keepdims=True), rtol=2e-5)
    np.testing.assert_allclose(found.sum(axis), 1, rtol=1e-6)


@pytest.mark.parametrize("order,axis", [(2, -1), (10, 0)])
def test_logarithm_of_softmax_equals_the_formula(order, axis):
    x = 3 * normal(4, 5)
    values = reference(x, order)
    expected = np.log(values / values.sum(axis, keepdims=True))
    found = to_numpy(activations.log_taylor_softmax(x, order, axis))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    half = activations.log_taylor_softmax(np.array([0, 200], "float16"), 2)
    assert keras.backend.standardize_dtype(half.dtype) == "float16"
    np.testing.assert_allclose(to_numpy(half), [-9.9134, 0], atol=5e-3)


def test_monotone_softmax_keeps_the_order():
    x = np.sort(4 * normal(4, 5), -1)
    assert (np.diff(to_numpy(activations.taylor_softmax(x, 4, monotone=True))) >= 0).all()
    assert (np.diff(to_numpy(activations.taylor_softmax(x, 4))) < 0).any()


def test_large_orders_are_softmax():
    x = np.clip(2 * normal(4, 5), -3, 3)
    expected = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    errors = [
        np.abs(to_numpy(activations.taylor_softmax(x, order)) - expected).max()
        for order in (4, 8, 20)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-6


def test_unlike_softmax_it_notices_a_constant():
    x = normal(5)
    change = to_numpy(activations.taylor_softmax(x + 1)) - to_numpy(activations.taylor_softmax(x))
    assert np.abs(change).max() > 0.01


@pytest.mark.parametrize("order", [2, 6])
def test_gradient_of_the_logarithm_is_the_shorter_polynomial_over_the_longer(order):
    x = keras.Variable(normal(5))

    def objective():
        return keras.ops.log(activations.taylor_softmax(x.value, order)[2])

    _, (gradient,) = backend.value_and_grad(objective, [x])()
    point = to_numpy(x.value)
    values, slopes = reference(point, order), reference(point, order - 1)
    expected = (np.arange(5) == 2) * slopes / values - slopes / values.sum()
    np.testing.assert_allclose(to_numpy(gradient), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [1e4, 1e20])
def test_large_inputs_stay_finite(size):
    x = keras.Variable(np.array([-size, 0, 1, size], "float32"))
    weights = keras.ops.arange(4, dtype="float32")

    def objective():
        return keras.ops.sum(activations.taylor_softmax(x.value, 10) * weights)

    value, (gradient,) = backend.value_and_grad(objective, [x])()
    assert np.isfinite(to_numpy(gradient)).all()
    np.testing.assert_allclose(float(value), 1.5, rtol=1e-2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_is_computed_in_float32(dtype):
    x = keras.ops.cast(normal(5) * 500, dtype)
    found = activations.taylor_softmax(x, 6)
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    values = reference(to_numpy(keras.ops.cast(x, "float32")), 6)
    found = to_numpy(keras.ops.cast(found, "float32"))
    np.testing.assert_allclose(found, values / values.sum(), rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("order", [3, 1, 0, -2])
@pytest.mark.parametrize(
    "name", ["taylor_exp", "taylor_softmax", "log_taylor_softmax", "taylor_minimum"]
)
def test_odd_orders_are_refused(name, order):
    argument = () if name == "taylor_minimum" else (np.zeros(2),)
    with pytest.raises(ValueError, match=f"`order` must be even .*Received: {order}"):
        getattr(activations, name)(*argument, order=order)


def test_works_in_a_functional_model():
    inputs = keras.Input((5,))
    model = keras.Model(inputs, activations.taylor_softmax(inputs, 4))
    x = normal(2, 5)
    expected = to_numpy(activations.taylor_softmax(x, 4))
    np.testing.assert_allclose(to_numpy(model(x)), expected, rtol=1e-6)


@pytest.mark.parametrize("order", [2, 6, 10])
@pytest.mark.parametrize("size", [500.0, 1e4])
def test_gradients_at_large_scores(order, size):
    x = keras.Variable(np.array([-size, 0.5 * size, size] + [0.9 * size] * 500, "float32"))
    weights = np.linspace(0, 3, 503)

    def weighted():
        shares = activations.taylor_softmax(x.value, order)
        return keras.ops.sum(shares * keras.ops.convert_to_tensor(weights, "float32"))

    _, (gradient,) = backend.value_and_grad(weighted, [x])()
    values, slopes = (reference(to_numpy(x.value), n) for n in (order, order - 1))
    mean = (weights * values).sum() / values.sum()
    expected = slopes / values.sum() * (weights - mean)
    np.testing.assert_allclose(to_numpy(gradient), expected, rtol=1e-3, atol=1e-9 / size)
    log = backend.value_and_grad(
        lambda: keras.ops.log(activations.taylor_softmax(x.value, order)[1]), [x]
    )
    _, (gradient,) = log()
    expected = (np.arange(503) == 1) * slopes / values - slopes / values.sum()
    np.testing.assert_allclose(to_numpy(gradient), expected, rtol=1e-3, atol=1e-6 / size)


@pytest.mark.parametrize("monotone", [False, True])
def test_the_derivative_is_the_polynomial_of_one_order_less(monotone):
    x = keras.Variable(np.linspace(-4, 4, 41, dtype="float32"))
    _, (gradient,) = backend.value_and_grad(
        lambda: keras.ops.sum(activations.taylor_exp(x.value, 4, monotone)), [x]
    )()
    expected = reference(to_numpy(x.value), 3)
    if monotone:
        expected = np.where(to_numpy(x.value) < activations.taylor_minimum(4)[0], 0, expected)
    np.testing.assert_allclose(to_numpy(gradient), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("monotone", [False, True])
def test_the_polynomial_in_low_precision(dtype, monotone):
    x = keras.ops.cast(normal(9), dtype)
    found = activations.taylor_exp(x, 4, monotone)
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    exact = to_numpy(keras.ops.cast(x, "float32"))
    exact = np.maximum(exact, activations.taylor_minimum(4)[0]) if monotone else exact
    found = to_numpy(keras.ops.cast(found, "float32"))
    np.testing.assert_allclose(found, reference(exact, 4), rtol=1e-2)
