"""The cell with its reset gate at the output: NumPy, the two cells it contains, the contract."""

import contract
import keras
import numpy as np
import pytest
from contract import to_numpy
from keras import layers
from references import recurrent as reference

from kexue_keras.layers import OutputResetGRUCell

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 6, 5)).astype("float32")
UNITS = 4


def built(**arguments):
    layer = layers.RNN(OutputResetGRUCell(UNITS, **arguments), return_sequences=True)
    layer(X)
    contract.perturb(layer)
    return layer


def test_equal_to_numpy():
    layer = built()
    weights = [to_numpy(w).astype("float64") for w in layer.weights]
    expected = np.zeros((3, 6, UNITS))
    for i, row in enumerate(X.astype("float64")):
        state = np.zeros(2 * UNITS)
        for t, x in enumerate(row):
            state = reference.output_reset(x, state, weights)
            expected[i, t] = state[:UNITS]
    np.testing.assert_allclose(to_numpy(layer(X)), expected, rtol=1e-4, atol=1e-6)


def gates(layer, z, r):
    """Gates that are constants, given by their logits."""
    kernel, recurrent, bias = layer.get_weights()
    for matrix in (kernel, recurrent):
        matrix[:, : 2 * UNITS] = 0
    bias[: 2 * UNITS] = np.repeat([z, r], UNITS)
    layer.set_weights([kernel, recurrent, bias])
    return kernel[:, 2 * UNITS :], recurrent[:, 2 * UNITS :], bias[2 * UNITS :]


def test_a_leaky_integrator_if_z_is_constant_and_r_one():
    layer = built()
    w, u, b = gates(layer, z=-1.0, r=100.0)
    z, c = 1 / (1 + np.e), np.zeros((3, UNITS))
    for t, found in enumerate(to_numpy(layer(X)).swapaxes(0, 1)):
        c += z * (np.tanh(X[:, t] @ w + c @ u + b) - c)
        np.testing.assert_allclose(found, c, rtol=1e-4, atol=1e-6)


def test_a_simple_rnn_if_both_gates_are_one():
    layer = built()
    weights = gates(layer, z=100.0, r=100.0)
    simple = layers.SimpleRNN(UNITS, return_sequences=True)
    simple(X)
    simple.set_weights(weights)
    np.testing.assert_allclose(to_numpy(layer(X)), to_numpy(simple(X)), rtol=1e-5, atol=1e-6)


def test_the_gate_of_the_output():
    layer = built()
    h, states = layer.cell(X[:, 0], layer.get_initial_state(3))
    gate = layer.cell.output_gate(X[:, 0], np.zeros((3, UNITS), "float32"))
    np.testing.assert_allclose(to_numpy(h), to_numpy(gate * states[1]), rtol=1e-6)


def test_contract(tmp_path):
    contract.check_layer(built(use_bias=False), (X,), tmp_path)


def test_arguments_survive():
    cell = OutputResetGRUCell(
        UNITS, "relu", "hard_sigmoid", dropout=0.1, recurrent_dropout=0.2, seed=3,
        kernel_initializer="he_normal", kernel_regularizer="l2", bias_constraint="non_neg",
    )  # fmt: skip
    contract.check_config(cell)
    again = contract.check_serialization(cell)
    assert (again.dropout, again.recurrent_dropout, again.units) == (0.1, 0.2, UNITS)
    assert "reset_after" not in cell.get_config()


def test_dropout_has_one_mask_for_all_steps_and_trains():
    """Of an input that is always the same, kernel of the gates zero: the pre-activations are the
    same at all steps of one call."""
    layer = built(dropout=0.5, seed=1)
    kernel, recurrent, bias = layer.get_weights()[:3]
    same = np.repeat(X[:, :1], 6, axis=1)
    for w, value in zip(layer.weights, (kernel, 0 * recurrent, bias + 100 * (np.arange(12) < 8)),
                        strict=False):  # fmt: skip
        w.assign(value)
    h = to_numpy(layer(same, training=True))
    np.testing.assert_allclose(h, np.repeat(h[:, :1], 6, axis=1), rtol=1e-5, atol=1e-6)
    assert np.abs(h - to_numpy(layer(same))).max() > 1e-2
    cell = OutputResetGRUCell(UNITS, dropout=0.3, recurrent_dropout=0.3, seed=2)
    model = keras.Sequential([keras.Input((6, 5)), layers.RNN(cell), layers.Dense(1)])
    model.compile("adam", "mse")
    history = model.fit(X, X[:, 0, :1], epochs=2, verbose=0).history["loss"]
    assert np.isfinite(history).all()


def test_reset_after_is_refused():
    with pytest.raises(ValueError, match="`reset_after` is no argument.*Received: True"):
        OutputResetGRUCell(3, reset_after=True)
