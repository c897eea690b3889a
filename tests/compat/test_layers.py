"""Layers under bert4keras's names."""

import keras
import numpy as np
from contract import to_numpy
from keras import ops

from kexue_keras import layers as ours
from kexue_keras.compat import layers


def test_a_loss_sees_floating_numbers_only():
    class Product(layers.Loss):
        def compute_loss(self, inputs, mask=None):
            ids, weights, x = inputs
            assert mask == [None] * 3
            return ops.sum(ids * weights * x)

    layer = Product(0)
    ids, x = np.array([[1, 2]], "int32"), np.array([[0.5, 0.5]], "float32")
    output = layer([ops.convert_to_tensor(v) for v in (ids, ids, x)])
    assert float(layer.losses[0]) == 2.5
    assert keras.backend.standardize_dtype(output.dtype) == "int32"
    assert issubclass(layers.Loss, ours.Loss)


def test_pooling_and_concatenation():
    x = np.array([[[1.0, -5], [3, -2], [9, 9]]], "float32")
    mask = ops.convert_to_tensor(np.array([[True, True, False]]))
    found = layers.GlobalMaxPooling1D()(x, mask=mask)
    np.testing.assert_array_equal(to_numpy(found), [[3, -2]])
    np.testing.assert_array_equal(to_numpy(layers.GlobalMaxPooling1D()(x)), [[9, 9]])
    mean = layers.GlobalAveragePooling1D()(x, mask=mask)
    np.testing.assert_array_equal(to_numpy(mean), [[2, -3.5]])
    assert layers.Concatenate1D()([x, x]).shape == (1, 6, 2)


def test_those_of_keras_are_here_too():
    assert layers.Dense is keras.layers.Dense
    assert layers.Layer().supports_masking
