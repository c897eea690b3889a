"""Programs of XLA: what they read, and when they compile."""

import keras
import numpy as np
from contract import to_numpy
from keras import ops

from kexue_keras import backend

X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")


def variable(*values):
    return keras.Variable(np.array(values, "float32"))


def test_jit_sees_later_training():
    dense = keras.layers.Dense(1, kernel_initializer="ones")
    dense.build((None, 3))
    run = backend.jit(lambda x: dense(x), dense.variables)
    np.testing.assert_allclose(to_numpy(run(X)), X.sum(1, keepdims=True), rtol=1e-5, atol=1e-6)
    dense.kernel.assign(2 * to_numpy(dense.kernel.value))
    np.testing.assert_allclose(to_numpy(run(X)), 2 * X.sum(1, keepdims=True), rtol=1e-5, atol=1e-6)


def test_jit_of_nested_arguments_compiles_once_per_shape():
    traces = []

    def function(first, second):
        traces.append(1)
        return {"sum": first["a"] + second[0], "length": ops.shape(first["a"])[0]}

    run = backend.jit(function)
    for length in (2, 3, 2, 3):
        x = ops.convert_to_tensor(np.arange(length, dtype="float32"))
        found = run({"a": x}, [x])
        np.testing.assert_array_equal(to_numpy(found["sum"]), 2 * np.arange(length))
        assert int(found["length"]) == length
    assert len(traces) == 2


def test_jit_of_a_gradient():
    w = variable(1, 2)
    run = backend.jit(lambda x: backend.value_and_grad(lambda: ops.sum(w**2 * x), [w])(), [w])
    value, (gradient,) = run(ops.convert_to_tensor([3.0, 4.0]))
    assert float(value) == 19
    assert to_numpy(gradient).tolist() == [6, 16]


def test_one_program_is_the_function():
    run = backend.one_program(lambda x, y: (x + y, x * y))
    found = run(ops.convert_to_tensor(X), ops.convert_to_tensor(2 * X))
    for result, expected in zip(found, (3 * X, 2 * X**2), strict=True):
        np.testing.assert_allclose(to_numpy(result), expected, rtol=1e-6)
    inside = backend.jit(lambda x: run(x, x)[0])(ops.convert_to_tensor(X))
    np.testing.assert_allclose(to_numpy(inside), 2 * X, rtol=1e-6)
