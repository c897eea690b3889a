"""Values that hold inside a context only."""

import keras
import numpy as np
import pytest
from contract import to_numpy
from keras import ops

from kexue_keras import backend

X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")


def variable(*values):
    return keras.Variable(np.array(values, "float32"))


def test_undone_leaves_no_trace():
    dropout = keras.layers.Dropout(0.5, seed=1)
    norm = keras.layers.BatchNormalization()
    mean = keras.metrics.Mean()
    norm.build((None, 3))
    dropout(X, training=True)
    states = [dropout.seed_generator.state, norm.moving_mean, mean.total]
    before = [to_numpy(v.value).copy() for v in states]
    with backend.undone():
        masks = [to_numpy(dropout(X, training=True)) for _ in range(2)]
        norm(X, training=True)
        mean.update_state(3.0)
        assert float(mean.result()) == 3
    for variable_, value in zip(states, before, strict=True):
        np.testing.assert_array_equal(to_numpy(variable_.value), value)
    assert (masks[0] != masks[1]).any()
    np.testing.assert_array_equal(to_numpy(dropout(X, training=True)), masks[0])


def test_replaced_is_seen_and_differentiated_and_never_written():
    w, counter = variable(1, 2), variable(0)
    with backend.replaced(w, w * 10.0):
        with backend.replaced(w, w + 1.0):
            value, (gradient,) = backend.value_and_grad(lambda: ops.sum(w**2), [w])()
        counter.assign(w[:1])
    assert float(value) == 11**2 + 21**2 and to_numpy(gradient).tolist() == [22, 42]
    assert to_numpy(w.value).tolist() == [1, 2] and float(counter[0]) == 10
    with pytest.raises(KeyError), backend.replaced(w, w * 3.0):
        counter.assign(w[:1])
        raise KeyError
    assert to_numpy(w.value).tolist() == [1, 2] and float(counter[0]) == 10


def test_regularizers_inside_a_scope():
    """Keras asks the scope for the weight, which has the values of some variables only."""
    dense = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.5), use_bias=False)
    dense.build((None, 3))
    dense.kernel.assign([[1.0], [2.0], [3.0]])
    other = variable(1)
    value, _ = backend.value_and_grad(lambda: dense.losses[0] + ops.sum(other), [other])()
    assert float(value) == 8
    with backend.undone():
        assert float(dense.losses[0]) == 7


def test_another_pass_draws_the_same():
    """From the state of the generators before the first pass; nothing is drawn twice outside."""
    model = keras.Sequential([keras.Input((50,)), keras.layers.Dropout(0.5, seed=3)])
    x = np.ones((2, 50), "float32")
    state = backend.random_state(model)
    first = to_numpy(model(x, training=True))
    with backend.undone(state):
        again = to_numpy(model(x, training=True))
    second = to_numpy(model(x, training=True))
    np.testing.assert_array_equal(first, again)
    assert (second != first).any()
