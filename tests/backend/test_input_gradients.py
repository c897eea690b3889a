"""Gradients of functions by their arguments."""

import keras
import numpy as np
from contract import to_numpy
from keras import ops

from kexue_keras import backend

X = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(5, 2)).astype("float32")


def test_every_sample_has_its_own_gradient_and_what_is_not_used_has_zeros():
    w = keras.Variable(2.0)

    def function(x, y, z):
        return w * ops.sum(x**3, -1) + ops.prod(y, -1)

    def differentiate(x, y):
        return backend.value_and_input_gradients(function, [x, y, ops.ones((2, 2))])

    arguments = ops.convert_to_tensor(X), ops.convert_to_tensor(Y)
    for call in (differentiate, backend.jit(differentiate, [w])):
        value, gradients = call(*arguments)
        np.testing.assert_allclose(to_numpy(value), 2 * (X**3).sum(-1) + Y.prod(-1), rtol=1e-5)
        expected = [6 * X**2, Y[:, ::-1], np.zeros((2, 2))]
        for found, wanted in zip(gradients, expected, strict=True):
            np.testing.assert_allclose(to_numpy(found), wanted, rtol=1e-5, atol=1e-6)
