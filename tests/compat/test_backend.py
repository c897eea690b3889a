"""Functions of tensors under bert4keras's names."""

import keras
import numpy as np
import pytest
from contract import to_numpy
from keras import ops

from kexue_keras.compat import backend

X = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")


def test_gathering_by_rows():
    places = np.array([[2.0], [0]])
    found = to_numpy(backend.batch_gather(ops.convert_to_tensor(X), places))
    np.testing.assert_array_equal(found, X[[0, 1], [2, 0]][:, None])
    found = to_numpy(backend.batch_gather(ops.convert_to_tensor(X[:, 0]), places))
    np.testing.assert_array_equal(found, X[[0, 1], 0, [2, 0]][:, None])


def test_layers_behind_an_output():
    x = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="in")], name="model")
    y = keras.layers.Dense(1, name="out")(inner(keras.layers.Dense(4, name="first")(x)))
    for name in ("out", "model", "first"):
        assert backend.search_layer(y, name).name == name
    assert backend.search_layer(y, "in") is inner.layers[-1]
    assert backend.search_layer(backend.search_layer(y, "out"), "first").name == "first"
    assert backend.search_layer(y, "nowhere") is None


def test_masks():
    mask = np.array([[1, 1, 0], [1, 0, 0]])
    found = to_numpy(backend.sequence_masking(ops.convert_to_tensor(X), mask, -9.0))
    np.testing.assert_array_equal(found, np.where(mask[..., None] > 0, X, -9))
    square = ops.convert_to_tensor(X[:, :, :3])
    bias = ops.convert_to_tensor(np.tri(3, dtype=bool))
    found, full = backend.sequence_masking(square, mask, 0, [1, 2], bias, return_mask=True)
    both = mask[:, :, None] * mask[:, None] * np.tri(3) > 0
    np.testing.assert_array_equal(to_numpy(full), both)
    np.testing.assert_array_equal(to_numpy(found), np.where(both, X[:, :, :3], 0))
    found = backend.sequence_masking(square, bias=ops.ones((3,)))
    np.testing.assert_allclose(to_numpy(found), X[:, :, :3] + 1, rtol=1e-6)
    assert backend.align(ops.convert_to_tensor(mask), [0, -1], 4).shape == (2, 1, 1, 3)


def test_small_functions():
    x = ops.convert_to_tensor(X)
    np.testing.assert_allclose(
        to_numpy(backend.root_mean_square(x)), np.sqrt((X**2).mean()), rtol=1e-5
    )
    np.testing.assert_allclose(to_numpy(backend.swish(x)), X / (1 + np.exp(-X)), rtol=1e-4)
    np.testing.assert_allclose(to_numpy(backend.leaky_relu(x)), np.where(X > 0, X, 0.2 * X))
    assert np.abs(to_numpy(backend.gelu_erf(x) - backend.gelu_tanh(x))).max() > 1e-6
    assert backend.symbolic(len) is len and backend.is_tf_keras
    assert backend.dtype(x) == "float32" and backend.dtype(1) is None
    assert isinstance(backend.get_available_gpus(), list)
    values = [float(backend.piecewise_linear(t, {2: 1, 4: 0.5})) for t in range(5)]
    np.testing.assert_allclose(values, [0, 0.5, 1, 0.75, 0.5])
    assert float(backend.piecewise_linear(0, {2: 1, 4: 0.5}, from_zero=False)) == 1


def test_what_is_not_there_says_what_is():
    with pytest.raises(AttributeError, match=r"`K.gradients`.*training.AdversarialTraining"):
        backend.K.gradients  # noqa: B018
    with pytest.raises(ImportError, match="`recompute_grad` .*keras.remat"):
        from kexue_keras.compat.backend import recompute_grad  # noqa: F401
