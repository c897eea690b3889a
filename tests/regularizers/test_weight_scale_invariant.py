"""WEISSI: its value, its gradient, and that it does not see a shift of scale."""

import keras
import numpy as np
import pytest
from contract import check_config, check_serialization, to_numpy
from keras import ops

from kexue_keras import backend
from kexue_keras.regularizers import WeightScaleShiftInvariant

RNG = np.random.default_rng(0)


def reference(w, a, b):
    w = w.astype("float64")
    norm = np.sqrt((w**2).sum())
    return a * np.log(norm) + b * np.abs(w / norm).sum()


@pytest.mark.parametrize("shape", [(3, 4), (5,), (2, 3, 4, 2)])
@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e20])
def test_value_and_gradient(shape, scale):
    w = (RNG.normal(size=shape) * scale).astype("float32")
    regularizer = WeightScaleShiftInvariant(0.3, 0.7)
    variable = keras.Variable(w)
    value, (gradient,) = backend.value_and_grad(lambda: regularizer(variable), [variable])()
    assert float(value) == pytest.approx(reference(w, 0.3, 0.7), rel=1e-5)
    wide, step = w.astype("float64"), 1e-6 * scale
    expected = np.zeros(shape)
    for place in np.ndindex(shape):
        shifts = [wide.copy(), wide.copy()]
        shifts[0][place] += step
        shifts[1][place] -= step
        values = [reference(shift, 0.3, 0.7) for shift in shifts]
        expected[place] = (values[0] - values[1]) / (2 * step)
    np.testing.assert_allclose(to_numpy(gradient) * scale, expected * scale, atol=1e-4)


def test_gradient_of_the_norm_term_is_w_over_its_square():
    w = RNG.normal(size=(3, 4)).astype("float32")
    variable, regularizer = keras.Variable(w), WeightScaleShiftInvariant(norm_weight=1)
    _, (gradient,) = backend.value_and_grad(lambda: regularizer(variable), [variable])()
    np.testing.assert_allclose(to_numpy(gradient), w / (w**2).sum(), rtol=1e-5)


def mlp(x, weights, biases):
    for w, b in zip(weights, biases, strict=True):
        x = np.maximum(x @ w + b, 0)
    return x


def test_a_shift_of_scale_changes_neither_output_nor_loss():
    factors = (2.0, 0.25, 2.0)
    weights = [RNG.normal(size=(6, 6)).astype("float32") for _ in factors]
    biases = [RNG.normal(size=6).astype("float32") for _ in factors]
    shifted = [w * f for w, f in zip(weights, factors, strict=True)]
    cumulative = [b * f for b, f in zip(biases, np.cumprod(np.float32(factors)), strict=True)]
    of_article = [b * f for b, f in zip(biases, factors, strict=True)]
    x = RNG.normal(size=(5, 6)).astype("float32")
    output = mlp(x, weights, biases)
    np.testing.assert_array_equal(mlp(x, shifted, cumulative), output)
    assert np.abs(mlp(x, shifted, of_article) - output).max() > 0.1
    regularizer = WeightScaleShiftInvariant(1.0, 1.0)
    for terms in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0)):
        regularizer = WeightScaleShiftInvariant(*terms)
        before, after = (sum(float(regularizer(w)) for w in ws) for ws in (weights, shifted))
        assert after == pytest.approx(before, rel=1e-6)
    squares = [sum((w**2).sum() for w in ws) for ws in (weights, shifted)]
    by_layer = [f**2 * (w**2).sum() for f, w in zip(factors, weights, strict=True)]
    assert squares[1] == pytest.approx(sum(by_layer)) and squares[1] > 2 * squares[0]


def test_the_smallest_sum_of_squares_that_a_shift_of_scale_can_reach():
    weights = [RNG.normal(size=(4, 4)) * size for size in (0.3, 1.0, 5.0)]
    norms = np.array([np.linalg.norm(w) for w in weights])
    lowest = 3 * norms.prod() ** (2 / 3)
    best = norms.prod() ** (1 / 3) / norms
    assert best.prod() == pytest.approx(1) and ((best * norms) ** 2).sum() == pytest.approx(lowest)
    regularizer = WeightScaleShiftInvariant(1.0, 1.0)
    expected = sum(float(regularizer(w.astype("float32"))) for w in weights)
    for _ in range(50):
        factors = np.exp(RNG.normal(size=3))
        factors /= factors.prod() ** (1 / 3)
        assert ((factors * norms) ** 2).sum() >= lowest * (1 - 1e-9)
    moved = [(w * f).astype("float32") for w, f in zip(weights, best, strict=True)]
    assert sum(float(regularizer(w)) for w in moved) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_low_precision_weights_are_computed_in_float32(dtype, size):
    w = ops.cast(RNG.normal(size=(3, 4)) * size, dtype)
    rounded = to_numpy(ops.cast(w, "float32"))
    found = WeightScaleShiftInvariant(0.3, 0.7)(w)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    assert float(found) == pytest.approx(reference(rounded, 0.3, 0.7), rel=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_layer_in_mixed_precision_trains(policy):
    dense = keras.layers.Dense(
        2, kernel_regularizer=WeightScaleShiftInvariant(0.1, 0.2), dtype=policy
    )
    model = keras.Sequential([keras.Input((3,)), dense])
    model.compile("sgd", "mse")
    x, y = np.ones((4, 3), "float32"), np.zeros((4, 2), "float32")
    losses = model.fit(x, y, epochs=5, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]


def test_zero_weights_are_finite():
    variable, regularizer = keras.Variable(np.zeros((2, 2))), WeightScaleShiftInvariant(1, 1)
    value, (gradient,) = backend.value_and_grad(lambda: regularizer(variable), [variable])()
    assert np.isfinite(float(value)) and np.isfinite(to_numpy(gradient)).all()


def test_in_a_model_that_is_saved(tmp_path):
    regularizer = WeightScaleShiftInvariant(0.1, 0.2)
    check_config(regularizer)
    check_serialization(regularizer)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2, kernel_regularizer=regularizer)]
    )
    model.compile("sgd", "mse")
    x, y = np.ones((4, 3), "float32"), np.zeros((4, 2), "float32")
    model.fit(x, y, verbose=0)
    expected = float(regularizer(model.layers[0].kernel))
    assert float(ops.sum(ops.stack(model.losses))) == pytest.approx(expected, rel=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.evaluate(x, y, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0))


def test_bad_arguments():
    for arguments in ({"norm_weight": -1}, {"direction_weight": float("nan")}):
        with pytest.raises(ValueError, match="must not be negative"):
            WeightScaleShiftInvariant(**arguments)
