"""Python functions inside compiled programs."""

import keras
import numpy as np
import pytest
from contract import to_numpy
from keras import ops

from kexue_keras import backend

X = np.arange(6, dtype="float32").reshape(2, 3)


def compiled(function):
    """As the steps of `fit` are compiled: on TensorFlow without XLA."""
    if keras.backend.backend() == "jax":
        return backend.jit(function)
    import tensorflow as tf

    return tf.function(function)


def test_inside_a_program_and_a_loop():
    seen = []

    def largest(x, scale):
        seen.append((type(x), x.dtype.name, scale.dtype.name))
        return x.max(axis=1) * scale

    def program(x):
        def body(i, total):
            scale = ops.cast(i, "int32")
            return total + backend.host_call(largest, [x, scale], (2,), "float32")

        return ops.fori_loop(0, 3, body, ops.zeros((2,)))

    found = compiled(program)(ops.convert_to_tensor(X))
    np.testing.assert_array_equal(to_numpy(found), X.max(1) * 3)
    assert seen == [(np.ndarray, "float32", "int32")] * 3


def test_what_is_returned_is_cast_and_its_shape_checked():
    call = lambda value: backend.host_call(lambda x: value, [X], (None,), "float32")  # noqa: E731
    if keras.backend.backend() == "tensorflow":
        assert to_numpy(call(np.array([1, 2]))).dtype == "float32"
    with pytest.raises(Exception, match=r"must return an array of shape \(\) here.*shape \(2,\)"):
        to_numpy(backend.host_call(lambda x: x[:, 0], [X], (), "float32"))


def test_there_is_no_gradient_and_none_is_made_up():
    w = keras.Variable(X)

    def loss():
        return ops.sum(w.value) * backend.host_call(np.sum, [w.value], (), "float32")

    with pytest.raises(ValueError, match="A Python function has no gradient.*ZerothOrder"):
        backend.value_and_grad(loss, [w])()

    def constant():
        fixed = ops.stop_gradient(ops.cast(w.value > 2, "int32"))
        return ops.sum(w.value) * backend.host_call(np.sum, [fixed], (), "float32")

    _, (gradient,) = backend.value_and_grad(constant, [w])()
    np.testing.assert_array_equal(to_numpy(gradient), np.full((2, 3), 3.0))


def test_xla():
    assert backend.calls_from_xla() == (keras.backend.backend() == "jax")
