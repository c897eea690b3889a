"""Gains: the formula, what they are the gradient of, and that they cannot run away."""

import keras
import numpy as np
import pytest
from contract import to_numpy
from optimizer_runs import assert_path, check_optimizer, steps, variables_of

from kexue_keras.optimizers import AdaptiveStepSize
from kexue_keras.optimizers.adaptive_step_size import over_rms

RNG = np.random.default_rng(0)
SHAPES = [(3, 4), (5,), ()]
START = [RNG.normal(size=shape) for shape in SHAPES]
GRADIENTS = [[RNG.normal(size=shape) for shape in SHAPES] for _ in range(50)]


def unit(x):
    return x / max(np.sqrt((x**2).mean()), 1e-300)


def article(start, gradients, rate, gamma, normalized=False, average=0.0, limit=1.0):
    """The article's formula, with a normalized gradient or not, float64. Returns path and gains."""
    theta, nu = [np.array(x) for x in start], [np.ones_like(x) for x in start]
    past, path = [np.zeros_like(x) for x in start], []
    for found in gradients:
        for k, g in enumerate(found):
            a, b = (unit(past[k]), unit(g)) if normalized else (past[k], g)
            nu[k] = nu[k] * np.exp(np.clip(gamma * a * b, -limit, limit))
            theta[k] = theta[k] - rate * nu[k] * g
            past[k] = average * past[k] + (1 - average) * g
        path.append([x.copy() for x in theta])
    return path, nu


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("gamma, limit", [(0.02, 1.0), (0.5, 0.1)])
def test_fifty_steps_are_those_of_numpy(normalized, average, gamma, limit):
    optimizer = AdaptiveStepSize(
        0.1, gamma, normalized=normalized, average=average, max_exponent=limit
    )
    found = steps(optimizer, variables_of(START), GRADIENTS)
    expected, nu = article(START, GRADIENTS, 0.1, gamma, normalized, average, limit)
    assert_path(found, expected)
    for x, y in zip(optimizer.gains, nu, strict=True):
        np.testing.assert_allclose(to_numpy(x), y, rtol=1e-4)
        assert (to_numpy(x) > 0).all()


@pytest.mark.parametrize("normalized", [False, True])
def test_contract(normalized, tmp_path):
    def make():
        rate = 0.1 if normalized else 5.0
        return AdaptiveStepSize(0.2, rate, normalized=normalized, average=0.5)

    check_optimizer(make, tmp_path)


@pytest.mark.parametrize("normalized", [False, True])
def test_without_a_meta_rate_it_is_sgd(normalized):
    gradients = [*GRADIENTS, [np.full(shape, 1e30) for shape in SHAPES]] * 2
    expected = steps(keras.optimizers.SGD(0.1), variables_of(START), gradients)
    optimizer = AdaptiveStepSize(0.1, 0.0, normalized=normalized)
    found = steps(optimizer, variables_of(START), gradients)
    assert_path(found[:50], expected[:50], rtol=1e-6)
    assert all((to_numpy(gain) == 1).all() for gain in optimizer.gains)


def test_gains_in_closed_form():
    """exp(gamma sum g_{k-1} g_k), with g_0 = 0."""
    optimizer = AdaptiveStepSize(0.1, 0.05)
    steps(optimizer, variables_of(START), GRADIENTS)
    for k, gain in enumerate(optimizer.gains):
        g = np.array([found[k] for found in GRADIENTS])
        np.testing.assert_allclose(to_numpy(gain), np.exp(0.05 * (g[:-1] * g[1:]).sum(0)), 1e-4)


def test_the_exponent_is_the_gradient_by_the_gains():
    """Of the loss after a step, by finite differences: d log nu = -gamma / eta dL / d nu."""
    matrix = RNG.normal(size=(4, 4))
    matrix = matrix @ matrix.T
    x, rate, gamma = RNG.normal(size=4), 0.05, 0.01

    def loss(nu):
        y = x - rate * nu * (matrix @ x)
        return y @ matrix @ y / 2

    h = 1e-6
    by_gains = [(loss(1 + h * e) - loss(1 - h * e)) / (2 * h) for e in np.eye(4)]
    optimizer = AdaptiveStepSize(rate, gamma)
    steps(optimizer, variables_of([x]), [lambda theta: [matrix @ theta[0]]] * 2)
    found = np.log(to_numpy(optimizer.gains[0]))
    np.testing.assert_allclose(found, -gamma / rate * np.array(by_gains), rtol=1e-3, atol=1e-6)


CURVATURE = np.array([1.0, 100.0])


def quadratic(theta):
    return [CURVATURE * theta[0]]


@pytest.mark.parametrize(
    "options",
    [
        *({"meta_rate": rate} for rate in (1e-4, 1e-3, 1e-2, 1.0)),
        *({"meta_rate": rate, "normalized": True} for rate in (1e-2, 0.1, 1.0)),
    ],
)
def test_the_trap(options):
    """diag(1, 100) from (1, 1), rate 0.005: without limits the second gain is e^10 at once."""
    optimizer = AdaptiveStepSize(0.005, **options)
    path = steps(optimizer, variables_of([np.ones(2)]), [quadratic] * 400)
    values = [float(CURVATURE @ x[0] ** 2 / 2) for x in path]
    plain = 0.5 * (1 - 0.005) ** 800
    assert np.isfinite(values).all() and values[-1] < plain
    gains = to_numpy(optimizer.gains[0])
    assert (gains >= 1e-4 * 0.999).all() and (gains <= 1e4 * 1.001).all()


def test_gains_stay_between_their_limits():
    optimizer = AdaptiveStepSize(1e-6, 1e10, max_gain=50.0)
    growing = [[np.array([1e25, 1.0])]] * 9
    variables = variables_of([np.ones(2)])
    steps(optimizer, variables, growing)
    np.testing.assert_allclose(to_numpy(optimizer.gains[0]), 50, rtol=1e-5)
    alternating = [[(-1.0) ** i * np.array([1e25, 1.0])] for i in range(12)]
    steps(optimizer, variables, alternating)
    np.testing.assert_allclose(to_numpy(optimizer.gains[0]), 1 / 50, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-12, 1e6])
def test_normalized_gains_do_not_depend_on_the_scale(scale):
    scaled = [[scale * g for g in found] for found in GRADIENTS[:10]]
    gains = []
    for gradients in (GRADIENTS[:10], scaled):
        optimizer = AdaptiveStepSize(1e-3, 0.1, normalized=True)
        steps(optimizer, variables_of(START), gradients)
        gains.append([to_numpy(gain) for gain in optimizer.gains])
    for x, y in zip(*gains, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5)


def test_normalized_gains_of_a_weight_move_by_the_cosine():
    a, b = RNG.normal(size=(2, 20))
    optimizer = AdaptiveStepSize(1e-3, 0.01, normalized=True)
    steps(optimizer, variables_of([np.ones(20)]), [[a], [b]])
    cosine = a @ b / np.sqrt((a @ a) * (b @ b))
    found = np.log(to_numpy(optimizer.gains[0])).mean()
    assert found == pytest.approx(0.01 * cosine, rel=1e-4)


def test_weights_without_gradient_stay():
    optimizer = AdaptiveStepSize(0.1, 0.1, normalized=True)
    (*_, found) = steps(optimizer, variables_of([np.ones(3)]), [[np.zeros(3)]] * 3)
    np.testing.assert_array_equal(found[0], 1)
    np.testing.assert_array_equal(to_numpy(over_rms(np.zeros(3, "float32"))), 0)


def test_half_precision_weights():
    optimizer = AdaptiveStepSize(0.1, 0.05)
    found = steps(optimizer, variables_of(START, "float16"), GRADIENTS[:10])
    expected, _ = article(START, GRADIENTS[:10], 0.1, 0.05)
    assert_path(found, expected, rtol=1e-2, atol=1e-2)
    dtypes = {keras.backend.standardize_dtype(v.dtype) for v in optimizer.variables}
    assert "float16" not in dtypes


@pytest.mark.parametrize(
    "options, message",
    [
        ({"meta_rate": -1.0}, "`meta_rate` must be at least 0. Received: -1.0"),
        ({"meta_rate": float("inf")}, "`meta_rate` must be at least 0. Received: inf"),
        ({"average": 1.0}, "`average` must be from 0 to below 1. Received: 1.0"),
        ({"max_exponent": 0.0}, "`max_exponent` must be above 0. Received: 0.0"),
        ({"max_gain": 1.0}, "`max_gain` must be above 1, up to 1e30. Received: 1.0"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        AdaptiveStepSize(0.1, **{"meta_rate": 0.1, **options})


def test_gains_before_the_first_step():
    with pytest.raises(ValueError, match="after its first step only"):
        _ = AdaptiveStepSize(0.1, 0.1).gains
