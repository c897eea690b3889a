"""Cross-entropy of Taylor-softmax and margins, against the formula."""

from math import factorial

import keras
import numpy as np
import pytest
from contract import check_config, check_serialization, compile, to_numpy

from kexue_keras import backend, losses

RNG = np.random.default_rng(0)
LOGITS = (2 * RNG.normal(size=(6, 5))).astype("float32")
IDS = np.array([0, 1, 2, 3, 4, 2])


def reference(ids, logits, order, margin=0.0, floor=-np.inf):
    logits = np.array(logits, "float64")
    logits[np.arange(len(ids)), ids] -= margin
    if order is None:
        values = np.exp(logits - logits.max(-1, keepdims=True))
    else:
        x = np.maximum(logits, floor)
        values = sum(x**k / factorial(k) for k in range(order + 1))
    return -np.log(values[np.arange(len(ids)), ids] / values.sum(-1))


@pytest.mark.parametrize("margin", [0.0, 0.7])
@pytest.mark.parametrize("order", [None, 2, 4, 10])
def test_equals_the_formula(order, margin):
    expected = reference(IDS, LOGITS, order, margin)
    for ids in (IDS, IDS[:, None], IDS.astype("float32")):
        found = to_numpy(losses.taylor_crossentropy(ids, LOGITS, order, margin))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    found = losses.taylor_crossentropy(IDS.reshape(2, 3), LOGITS.reshape(2, 3, 5), order, margin)
    np.testing.assert_allclose(to_numpy(found), expected.reshape(2, 3), rtol=1e-4, atol=1e-5)


def test_monotone_logits_are_raised_to_the_place_of_the_minimum():
    found = to_numpy(losses.taylor_crossentropy(IDS, LOGITS, 2, 0.5, monotone=True))
    expected = reference(IDS, LOGITS, 2, 0.5, floor=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert not np.allclose(found, reference(IDS, LOGITS, 2, 0.5), rtol=1e-3)


@pytest.mark.parametrize("order", [None, 2, 6])
def test_gradient_is_that_of_the_formula(order):
    variable = keras.Variable(LOGITS)
    objective = backend.value_and_grad(
        lambda: keras.ops.sum(losses.taylor_crossentropy(IDS, variable.value, order, 0.3)),
        [variable],
    )
    _, (found,) = compile(objective, [variable])()
    expected = np.zeros(LOGITS.shape)
    for place in np.ndindex(LOGITS.shape):
        moved = [LOGITS.astype("float64") for _ in range(2)]
        moved[0][place] += 1e-5
        moved[1][place] -= 1e-5
        high, low = (reference(IDS, x, order, 0.3).sum() for x in moved)
        expected[place] = (high - low) / 2e-5
    np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("order", [None, 2, 10])
def test_large_logits_stay_finite(order):
    variable = keras.Variable(np.array([[-1e4, 0, 1e4], [1e4, 0, -1e4]], "float32"))
    objective = backend.value_and_grad(
        lambda: keras.ops.sum(losses.taylor_crossentropy([1, 1], variable.value, order, 1.0)),
        [variable],
    )
    value, (gradient,) = compile(objective, [variable])()
    assert np.isfinite(float(value)) and np.isfinite(to_numpy(gradient)).all()
    rows = np.array([[-1e4, 0, 1e4], [1e4, 0, -1e4]])
    expected = [-1.0 - 1e4] * 2 if order is None else -reference([1, 1], rows, order, 1.0)
    np.testing.assert_allclose(float(value), -np.sum(expected), rtol=1e-3)


@pytest.mark.parametrize("order, size", [(2, 1e30), (10, 1e7), (10, 1e30)])
def test_shares_far_below_float32_have_logarithms(order, size):
    variable = keras.Variable(np.array([[0, size], [size, -size]], "float32"))
    objective = backend.value_and_grad(
        lambda: keras.ops.sum(losses.taylor_crossentropy([0, 0], variable.value, order)), [variable]
    )
    value, (gradient,) = compile(objective, [variable])()
    expected = order * np.log(size) - np.log(float(factorial(order))) + np.log(2)
    assert float(value) == pytest.approx(expected, rel=1e-4)
    assert np.isfinite(to_numpy(gradient)).all()
    assert to_numpy(gradient)[0, 0] == pytest.approx(-1, rel=1e-4)  # f'(0) / f(0)


def test_an_id_of_no_class_is_seen():
    found = to_numpy(losses.taylor_crossentropy([1, 5, -1], LOGITS[:3]))
    assert np.isnan(found).tolist() == [False, True, True]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_logits_are_computed_in_float32(dtype):
    logits = keras.ops.cast(LOGITS, dtype)
    found = losses.taylor_crossentropy(IDS, logits, 4, 0.3)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    exact = to_numpy(keras.ops.cast(logits, "float32"))
    np.testing.assert_allclose(to_numpy(found), reference(IDS, exact, 4, 0.3), rtol=1e-4)


def test_class_compiles_reloads_and_trains(tmp_path):
    loss = losses.TaylorCrossentropy(order=4, margin=0.5, monotone=True)
    check_config(loss)
    check_serialization(loss)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5)])
    model.compile(keras.optimizers.Adam(0.05), loss)
    x = RNG.normal(size=(6, 3)).astype("float32")
    history = model.fit(x, IDS, epochs=8, verbose=0).history["loss"]
    assert history[-1] < history[0]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    expected = reference(IDS, to_numpy(model(x)), 4, 0.5, floor=-1.596072).mean()
    np.testing.assert_allclose(again.test_on_batch(x, IDS), expected, rtol=1e-4)


def test_errors():
    with pytest.raises(ValueError, match="`order` must be even .*Received: 3"):
        losses.taylor_crossentropy(IDS, LOGITS, order=3)
    with pytest.raises(ValueError, match="`margin` must not be negative. Received: -1"):
        losses.taylor_crossentropy(IDS, LOGITS, margin=-1)
    with pytest.raises(ValueError, match=r"`y_true` must be ids .*y_true.shape=\(6, 5\)"):
        losses.taylor_crossentropy(LOGITS, LOGITS)
    with pytest.raises(ValueError, match=r"y_true.shape=\(1,\), y_pred.shape=\(6, 5\)"):
        losses.taylor_crossentropy([1], LOGITS)
    with pytest.raises(ValueError, match="`order` must be even .*Received: 3"):
        losses.TaylorCrossentropy(order=3)
