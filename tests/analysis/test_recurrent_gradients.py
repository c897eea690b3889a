"""Norms by lag: closed forms of one unit, products of exact Jacobians, autodiff, extremes."""

import functools
import gc

import keras
import numpy as np
import pytest
from contract import perturb, to_numpy
from keras import layers, ops
from references import recurrent as reference

from kexue_keras import backend
from kexue_keras.analysis import recurrent_gradient_norms, recurrent_gradients
from kexue_keras.layers import OutputResetGRUCell

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 6, 3)).astype("float32")
UNITS = 4

# layer, and one step of it in NumPy
LAYERS = {
    "simple": (functools.partial(layers.SimpleRNN, UNITS), reference.simple_rnn),
    "lstm": (functools.partial(layers.LSTM, UNITS), reference.lstm),
    "gru": (
        functools.partial(layers.GRU, UNITS),
        functools.partial(reference.gru, reset_after=True),
    ),
    "gru, reset before": (functools.partial(layers.GRU, UNITS, reset_after=False), reference.gru),
    "output reset": (lambda: layers.RNN(OutputResetGRUCell(UNITS)), reference.output_reset),
}
BOTH_STATES = ("lstm", "output reset")
CASES = [(name, "h") for name in LAYERS] + [("lstm", "c"), ("output reset", "c")]


def built(name):
    layer = LAYERS[name][0]()
    layer(X)
    perturb(layer)
    return layer, functools.partial(LAYERS[name][1], weights=float64(layer))


def float64(layer):
    return [to_numpy(w).astype("float64") for w in layer.weights]


def reference_norms(step, state, xs, start, order=2):
    """Of one sample, from Jacobians of single steps."""
    products, states = reference.jacobians_by_lag(step, xs, start)
    found = []
    for lag, product in enumerate(products):
        if state == "h":
            product = product[:UNITS, :UNITS]
        elif state == "c":
            # h_t = gate * f(c_t): f is tanh in the LSTM, and nothing in the other cell
            h, c = np.split(states[len(xs) - lag], 2)
            lstm = step.func is reference.lstm
            slope = h / np.tanh(c) * (1 - np.tanh(c) ** 2) if lstm else h / c
            product = product[UNITS:] @ np.concatenate([np.diag(slope), np.eye(UNITS)])
        found.append(np.linalg.norm(product, order))
    return found


@pytest.mark.parametrize(("name", "state"), CASES)
def test_products_of_exact_jacobians(name, state):
    layer, step = built(name)
    size = 2 * UNITS if name in BOTH_STATES else UNITS
    found = recurrent_gradient_norms(layer, X, state)
    assert found.dtype == "float64" and found.shape == X.shape[:2]
    expected = [reference_norms(step, state, x.astype("float64"), np.zeros(size)) for x in X]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[:, 0], 1, rtol=1e-6)


def test_frobenius_norms_initial_states_and_going_backwards():
    layer, step = built("lstm")
    start = RNG.normal(size=(2, 2, UNITS))
    options = {"norm": "frobenius", "initial_state": [x.astype("float32") for x in start]}
    found = recurrent_gradient_norms(layer, X, "all", **options)
    expected = [
        reference_norms(step, "all", x.astype("float64"), np.concatenate(s), order=None)
        for x, s in zip(X, start.swapaxes(0, 1), strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    layer.go_backwards = True
    found_backwards = recurrent_gradient_norms(layer, X[:, ::-1], "all", **options)
    np.testing.assert_allclose(found_backwards, found, rtol=1e-6)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_autodiff_through_the_layer_itself(name):
    """Keras's own loop (a fused kernel, where it has one) from the state after the first step."""
    layer, step = built(name)
    size = 2 * UNITS if name in BOTH_STATES else UNITS
    first = [step(x[0].astype("float64"), np.zeros(size)).astype("float32") for x in X]
    states = [keras.Variable(s) for s in np.split(np.stack(first), size // UNITS, axis=1)]

    def unit(i):
        return ops.sum(layer(X[:, 1:], initial_state=[s.value for s in states])[:, i])

    def rows():
        return [backend.value_and_grad(functools.partial(unit, i), states[:1])()[1][0]
                for i in range(UNITS)]  # fmt: skip

    run = backend.jit(rows, states + layer.variables) if backend_is_jax() else rows
    jacobians = np.stack([to_numpy(row) for row in run()], axis=1)
    found = recurrent_gradient_norms(layer, X)[:, -1]
    np.testing.assert_allclose(found, np.linalg.norm(jacobians, 2, axis=(1, 2)), rtol=1e-4)


def backend_is_jax():
    return keras.backend.backend() == "jax"


# ---- closed forms of one unit


def one_unit(layer, weights):
    layer.build((None, None, 1))
    layer.set_weights([np.asarray(w, "float32").reshape(v.shape)
                       for w, v in zip(weights, layer.weights, strict=True)])  # fmt: skip
    return layer


def columns(states):
    return [s.astype("float32")[:, None] for s in states.T]


def central_difference(function, x, size=1e-5):
    return (function(x + size) - function(x - size)) / (2 * size)


def test_closed_form_of_the_lstm():
    """dc_t/dc_(t-1) in float64 against differences, and ours; the article's main term and rest."""
    rng, layer = np.random.default_rng(1), layers.LSTM(1)
    for _ in range(10):
        weights = rng.normal(size=(3, 4)) * [[1], [2], [1]]
        rows = weights[:1], weights[1:2], weights[2]
        xs, start = rng.normal(size=(30, 2)), rng.normal(size=(30, 2))
        found = recurrent_gradient_norms(
            one_unit(layer, rows), xs[..., None], "c", initial_state=columns(start)
        )
        for x, s, norm in zip(xs, start, found[:, 1], strict=True):
            h, c = reference.lstm(x[:1], s, rows)
            o = h / np.tanh(c)
            closed = reference.lstm_derivative(c, o, x[1], weights)

            def memory(c, x=x[1:], o=o, rows=rows):
                return reference.lstm(x, np.array([o * np.tanh(c), c]), rows)[1]

            assert abs(closed - central_difference(memory, c)) < 1e-9
            assert norm == pytest.approx(abs(closed), rel=1e-3, abs=1e-5)


def test_closed_form_of_the_gru():
    """dh_t/dh_(t-1); Keras's z is 1 - z, so that its weights have the other sign."""
    rng, layer = np.random.default_rng(2), layers.GRU(1, reset_after=False)
    for _ in range(10):
        weights = rng.normal(size=(3, 3)) * [[1], [2], [1]]
        turned = weights * [-1, 1, 1]
        rows = turned[:1], turned[1:2], turned[2]
        xs, start = rng.normal(size=(30, 2)), rng.normal(size=(30, 1))
        found = recurrent_gradient_norms(
            one_unit(layer, rows), xs[..., None], initial_state=columns(start)
        )
        for x, s, norm in zip(xs, start, found[:, 1], strict=True):
            (h,) = reference.gru(x[:1], s, rows)
            closed = reference.gru_derivative(h, x[1], weights)

            def output(h, x=x[1:], rows=rows):
                return reference.gru(x, np.array([h]), rows)[0]

            assert abs(closed - central_difference(output, h)) < 1e-9
            assert norm == pytest.approx(abs(closed), rel=1e-3, abs=1e-5)


def test_the_bounds_of_the_article():
    """|(1 - tanh^2 c) c| <= 0.44774; so the SimpleRNN's derivative is bounded in U, by 0.44774 /
    |h'|, and with relu it is U, which is not."""
    c = np.linspace(-10, 10, 2_000_001)
    values = np.abs((1 - np.tanh(c) ** 2) * c)
    assert values.max() == pytest.approx(0.44774, abs=5e-6)
    assert abs(c[values.argmax()]) == pytest.approx(0.7717, abs=5e-5)
    h, u = 0.3, np.linspace(0.1, 20, 60)
    # a first step to h' = 0.3, whatever U is, then one without an input
    xs = np.array([[[np.arctanh(h)], [0.0]], [[h], [0.0]]], "float32")
    expected = {"tanh": 0.44774 / h, "relu": 20}
    for i, (activation, norm) in enumerate(expected.items()):
        layer = layers.SimpleRNN(60, activation, use_bias=False)
        layer.build((None, None, 1))
        layer.set_weights([np.ones((1, 60)), np.diag(u)])
        found = recurrent_gradient_norms(layer, xs[i : i + 1])[0, 1]
        assert found == pytest.approx(norm, rel=2e-3)


@pytest.mark.parametrize("name", ["gru", "gru, reset before", "output reset"])
def test_outputs_stay_between_minus_one_and_one(name):
    """A mean of what was, 0 at first, and of a tanh."""
    layer, step = built(name)
    step = functools.partial(step, weights=[3 * w for w in float64(layer)])
    state = np.zeros(2 * UNITS if name in BOTH_STATES else UNITS)
    largest = 0
    for x in RNG.normal(size=(500, 3)) * 3:
        state = step(x, state)
        largest = max(largest, np.abs(state).max())
    assert 0.9 < largest < 1
    layer.set_weights([3 * w for w in layer.get_weights()])
    assert np.abs(to_numpy(layer(X * 3))).max() <= 1


# ---- extremes, other cells, the rest


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_norms_that_float32_does_not_have(factor):
    layer = layers.SimpleRNN(3, "linear", use_bias=False)
    layer.build((None, None, 1))
    layer.set_weights([np.zeros((1, 3)), factor * np.eye(3)])
    found = recurrent_gradient_norms(layer, np.zeros((1, 200, 1)))
    np.testing.assert_allclose(np.log10(found[0]), np.arange(200) * np.log10(factor), atol=1e-3)
    layer.set_weights([np.zeros((1, 3)), np.zeros((3, 3))])
    found = recurrent_gradient_norms(layer, np.zeros((1, 4, 1)))
    np.testing.assert_array_equal(found, [[1, 0, 0, 0]])


def test_dropout_is_that_of_inference_and_nothing_stays_in_the_cell():
    layer = layers.SimpleRNN(UNITS, dropout=0.5, recurrent_dropout=0.5, seed=1)
    layer(X)
    weights = [to_numpy(w).astype("float64") for w in layer.trainable_weights]
    step = functools.partial(reference.simple_rnn, weights=weights)
    seeds = [to_numpy(v) for v in layer.non_trainable_variables]
    expected = [reference_norms(step, "h", x.astype("float64"), np.zeros(UNITS)) for x in X]
    np.testing.assert_allclose(recurrent_gradient_norms(layer, X), expected, rtol=1e-4, atol=1e-6)
    for before, after in zip(seeds, layer.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(before, to_numpy(after))
    layer(X, training=True)  # and finds no tensor of the compiled program


def test_a_kept_program_sees_new_weights_and_lets_the_layer_go():
    layer, step = built("simple")
    before = recurrent_gradient_norms(layer, X)
    layer.set_weights([w / 2 for w in layer.get_weights()])
    step = functools.partial(reference.simple_rnn, weights=float64(layer))
    after = recurrent_gradient_norms(layer, X)
    expected = [reference_norms(step, "h", x.astype("float64"), np.zeros(UNITS)) for x in X]
    np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(after - before).max() > 1e-2
    kept = len(recurrent_gradients._programs)
    del layer
    gc.collect()
    assert len(recurrent_gradients._programs) < kept


class Doubling(keras.layers.Layer):
    """A cell of ours of one state that is no list, twice what it was plus the input."""

    state_size = 3

    def call(self, inputs, state):
        state = state[0] if isinstance(state, (list, tuple)) else state
        return -inputs, 2 * state + inputs


def test_any_cell_of_the_protocol():
    found = recurrent_gradient_norms(layers.RNN(Doubling()), X)
    np.testing.assert_allclose(found, [2.0 ** np.arange(6)] * 2, rtol=1e-5)


def test_mixed_precision():
    exact, step = built("gru")
    layer = layers.GRU(UNITS, dtype="mixed_float16")
    layer(X)
    layer.set_weights(exact.get_weights())
    expected = [reference_norms(step, "h", x.astype("float64"), np.zeros(UNITS)) for x in X]
    np.testing.assert_allclose(recurrent_gradient_norms(layer, X), expected, rtol=5e-2, atol=1e-3)


def test_bad_arguments():
    layer = layers.GRU(2)
    with pytest.raises(ValueError, match="`state` must be 'h', 'c' or 'all'. Received: 'x'"):
        recurrent_gradient_norms(layer, X, "x")
    with pytest.raises(ValueError, match="`norm` must be 'spectral' or 'frobenius'. Received: 1"):
        recurrent_gradient_norms(layer, X, norm=1)
    with pytest.raises(ValueError, match="`state` 'c' is for LSTM cells.*a GRUCell"):
        recurrent_gradient_norms(layer, X, "c")
    stack = layers.RNN([layers.GRUCell(2), layers.GRUCell(3)])
    for wrong in (layers.Dense(2), layers.Bidirectional(layer), stack, layer.cell):
        with pytest.raises(ValueError, match="`layer` must be a recurrent layer of one cell"):
            recurrent_gradient_norms(wrong, X)
    with pytest.raises(ValueError, match=r"`inputs` must have the shape .* Received: \(6, 3\)"):
        recurrent_gradient_norms(layer, X[0])
    with pytest.raises(ValueError, match=r"`initial_state` must have .*\(2, 2\).*\(2, 3\)"):
        recurrent_gradient_norms(layer, X, initial_state=np.zeros((2, 3)))
