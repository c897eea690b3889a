"""Layer normalization: Keras's own, and one whose gain and offset follow a condition."""

import keras
import numpy as np
import pytest
from contract import assert_close, check_layer, compute, perturb, to_numpy

from kexue_keras.layers import LayerNormalization

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 5, 6)).astype("float32")
CONDITION = RNG.normal(size=(2, 3)).astype("float32")


def transcription(x, z, gamma, beta, w_gamma, w_beta, epsilon=1e-12):
    """The formula, position by position, float64."""
    y = np.zeros_like(x, "float64")
    for place in np.ndindex(x.shape[:-1]):
        row = x[place].astype("float64")
        normal = (row - row.mean()) / np.sqrt(((row - row.mean()) ** 2).mean() + epsilon)
        y[place] = normal * (gamma + z[place[0]] @ w_gamma) + beta + z[place[0]] @ w_beta
    return y


@pytest.mark.parametrize(
    "config", [{}, {"epsilon": 1e-3, "center": False}, {"zero_mean": False, "center": False}]
)
def test_contract(config, tmp_path):
    check_layer(LayerNormalization(**config), (X,), tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"hidden_units": 4, "hidden_activation": "tanh"},
        {"center": False},
        {"zero_mean": False, "center": False},
    ],
)
def test_contract_with_a_condition(config, tmp_path):
    layer = LayerNormalization(conditional=True, **config)
    inputs = ([X, CONDITION],)
    check_layer(layer, inputs, tmp_path, length_axis=None)


def test_equals_the_formula():
    layer = LayerNormalization(conditional=True)
    found = compute(layer, [X, CONDITION])
    assert_close(found, transcription(X, CONDITION, 1, 0, np.zeros((3, 6)), np.zeros((3, 6))))
    perturb(layer)
    weights = [to_numpy(v) for _, v in layer.bert4keras_weights()]
    beta, gamma, w_beta, w_gamma = weights
    found = compute(layer, [X, CONDITION])
    assert_close(found, transcription(X, CONDITION, gamma, beta, w_gamma, w_beta), atol=1e-5)


def test_a_hidden_layer_of_the_condition():
    layer = LayerNormalization(conditional=True, hidden_units=4, hidden_activation="tanh")
    compute(layer, [X, CONDITION])
    perturb(layer)
    beta, gamma, hidden, w_beta, w_gamma = (to_numpy(v) for _, v in layer.bert4keras_weights())
    z = np.tanh(CONDITION @ hidden)
    expected = transcription(X, z, gamma, beta, w_gamma, w_beta)
    assert_close(compute(layer, [X, CONDITION]), expected, atol=1e-5)


def test_begins_as_the_ordinary_layer_and_equals_keras_s():
    plain, theirs = LayerNormalization(), keras.layers.LayerNormalization(epsilon=1e-12)
    conditional = LayerNormalization(conditional=True)
    assert_close(compute(plain, X), compute(theirs, X), rtol=0, atol=0)
    assert_close(compute(conditional, [X, CONDITION]), compute(plain, X), atol=1e-6)


def test_without_the_mean_taken_away():
    square = np.sqrt((X.astype("float64") ** 2).mean(-1, keepdims=True) + 1e-3)
    bare = LayerNormalization(zero_mean=False, center=False, scale=False, epsilon=1e-3)
    assert_close(compute(bare, X), X / square)
    assert not bare.weights
    layer = LayerNormalization(zero_mean=False, epsilon=1e-3)
    compute(layer, X)
    perturb(layer)
    assert_close(compute(layer, X), X / square * to_numpy(layer.gamma) + to_numpy(layer.beta))
    layer = LayerNormalization(zero_mean=False, epsilon=1e-3, center=False, conditional=True)
    compute(layer, [X, CONDITION])
    perturb(layer)
    gain = to_numpy(layer.gamma) + CONDITION @ to_numpy(layer.gamma_kernel)
    assert_close(compute(layer, [X, CONDITION]), X / square * gain[:, None], atol=1e-5)


def test_single_vectors_and_the_mask():
    layer = LayerNormalization(conditional=True)
    assert tuple(compute(layer, [X[:, 0], CONDITION]).shape) == (2, 6)
    mask = keras.ops.convert_to_tensor(np.ones((2, 5), bool))
    assert layer.compute_mask([X, CONDITION], [mask, None]) is mask


def test_bad_arguments():
    with pytest.raises(ValueError, match="`hidden_units` must be None unless .*Received: 3"):
        LayerNormalization(hidden_units=3)
    with pytest.raises(ValueError, match="`axis` must be -1 if `conditional`. Received: 1"):
        LayerNormalization(conditional=True, axis=1)
    with pytest.raises(ValueError, match="`axis` must be -1 if `zero_mean` is False. Received: 1"):
        LayerNormalization(zero_mean=False, axis=1)
