"""Bounds of slopes: clipping, spectral norms against NumPy's, penalties against differences."""

import keras
import numpy as np
import pytest
from contract import compile, to_numpy

from kexue_keras import backend
from kexue_keras.models import lipschitz


def network(seed=0, inputs=3, activation="tanh"):
    model = keras.Sequential(
        [keras.Input((inputs,)), keras.layers.Dense(5, activation), keras.layers.Dense(1)]
    )
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(generator.normal(0, 0.7, weight.shape))
    return model


def values(weights, x):
    """The network in NumPy, and its gradients by `x`; complex weights too."""
    kernel, bias, last, last_bias = weights
    hidden = np.tanh(x @ kernel + bias)
    return (hidden @ last + last_bias)[:, 0], ((1 - hidden**2) * last[:, 0]) @ kernel.T


def penalty(weights, x, center, power):
    norms = np.sqrt((values(weights, x)[1] ** 2).sum(1))
    return np.mean(((norms - center) ** 2) ** (power / 2))


POINTS = np.random.default_rng(1).normal(size=(6, 3))


@pytest.mark.parametrize("center,power", [(1.0, 2.0), (0.0, 6.0), (0.5, 3.0)])
def test_the_penalty_and_its_gradient_equal_numpy(center, power):
    model = network()
    weights = [to_numpy(w.value).astype("complex128") for w in model.weights]
    points = POINTS.astype("float32")
    slope = lambda: lipschitz.gradient_penalty(model, points, center, power)  # noqa: E731
    variables = model.trainable_variables
    run = compile(lambda: backend.value_and_grad(slope, variables)(), variables)
    found, gradients = run()
    assert float(found) == pytest.approx(penalty(weights, POINTS, center, power).real, rel=1e-5)
    for index, gradient in enumerate(gradients):
        gradient = to_numpy(gradient)
        for place in np.ndindex(gradient.shape):
            moved = [w.copy() for w in weights]
            moved[index][place] += 1e-30j
            expected = penalty(moved, POINTS, center, power).imag / 1e-30
            assert gradient[place] == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_the_slope_in_the_penalty_is_that_of_differences():
    model = network()
    steps = 1e-2 * np.eye(3)[:, None, :]
    ends = [values(model.get_weights(), (POINTS + s * steps).reshape(-1, 3))[0] for s in (1, -1)]
    slopes = ((ends[0] - ends[1]) / 2e-2).reshape(3, 6)
    expected = np.mean((np.linalg.norm(slopes, axis=0) - 1) ** 2)
    run = compile(lambda x: lipschitz.gradient_penalty(model, x), model.variables)
    found = run(keras.ops.convert_to_tensor(POINTS, "float32"))
    assert float(found) == pytest.approx(expected, rel=1e-3)


def test_the_penalty_of_a_critic_without_a_slope_has_a_finite_gradient():
    model = network(activation="relu")
    for weight in model.weights:
        weight.assign(keras.ops.zeros_like(weight.value))
    variables, points = model.trainable_variables, POINTS.astype("float32")
    for center, power in ((1.0, 2.0), (0.0, 6.0), (0.0, 1.0)):
        objective = lambda c=center, p=power: lipschitz.gradient_penalty(model, points, c, p)  # noqa: E731
        run = compile(lambda o=objective: backend.value_and_grad(o, variables)(), variables)
        value, gradients = run()
        assert float(value) == center**power
        assert all(np.isfinite(to_numpy(g)).all() for g in gradients)


def test_the_pass_of_the_penalty_leaves_no_trace():
    x = keras.Input((3,))
    dropped = keras.layers.Dropout(0.5, seed=1)(keras.layers.BatchNormalization()(x))
    model = keras.Model(x, dropped)
    before = [to_numpy(v.value) for v in model.variables]
    lipschitz.gradient_penalty(model, keras.ops.convert_to_tensor(POINTS, "float32"))
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(to_numpy(variable.value), value)


def test_clipped_weights():
    model = network()
    before = [to_numpy(w.value) for w in model.weights]
    lipschitz.clip_weights(model.trainable_variables, 0.3)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_allclose(to_numpy(weight.value), np.clip(value, -0.3, 0.3))


def spectral_norm(kernel):
    matrix = to_numpy(kernel.value)
    return np.linalg.norm(matrix.reshape(-1, matrix.shape[-1]), 2)


def test_normalized_kernels_have_the_spectral_norm_1():
    """From the exact direction in one iteration, from any other in some."""
    image = keras.Input((4, 4, 2))
    x = keras.layers.Flatten()(keras.layers.Conv2D(5, 3)(image))
    inner = keras.Sequential([keras.Input((20,)), keras.layers.Dense(7), keras.layers.Dense(1)])
    kernels = lipschitz.kernels_of(keras.Model(image, inner(x)))
    assert {tuple(kernel.shape) for kernel in kernels} == {(3, 3, 2, 5), (20, 7), (7, 1)}
    before = [to_numpy(kernel.value) for kernel in kernels]
    norms = [spectral_norm(kernel) for kernel in kernels]
    directions = [keras.Variable(lipschitz.largest_direction(kernel)) for kernel in kernels]
    lipschitz.normalize_kernels(kernels, directions)
    for kernel, value, norm in zip(kernels, before, norms, strict=True):
        np.testing.assert_allclose(to_numpy(kernel.value), value / norm, rtol=1e-5, atol=1e-7)
    directions = [keras.Variable(np.ones(d.shape, "float32")) for d in directions]
    for _ in range(60):
        lipschitz.normalize_kernels(kernels, directions, iterations=2)
    for kernel in kernels:
        assert spectral_norm(kernel) == pytest.approx(1, abs=1e-4)


def test_a_kernel_of_zeros_stays_and_is_not_lost():
    kernel, direction = keras.Variable(np.zeros((3, 2), "float32")), keras.Variable([1.0, 0.0])
    lipschitz.normalize_kernels([kernel], [direction])
    assert not to_numpy(kernel.value).any() and to_numpy(direction.value).tolist() == [1, 0]
    kernel.assign([[0.0, 3.0], [0.0, 0.0], [4.0, 0.0]])
    lipschitz.normalize_kernels([kernel], [direction])
    assert spectral_norm(kernel) == pytest.approx(1)


def test_what_has_no_kernels_or_normalizes_itself():
    x = keras.Input((3,))
    with pytest.raises(ValueError, match="`critic` must have layers with a `kernel`"):
        lipschitz.kernels_of(keras.Model(x, keras.layers.Activation("relu")(x)))
    wrapped = keras.layers.SpectralNormalization(keras.layers.Dense(1), name="sn")
    with pytest.raises(ValueError, match="no layer `SpectralNormalization`.*Received: 'sn' inside"):
        lipschitz.kernels_of(keras.Model(x, wrapped(x)))
