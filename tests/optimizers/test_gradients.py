"""Gradients made dense, and in which dtype."""

import keras
import numpy as np
import pytest
from contract import to_numpy

from kexue_keras.optimizers.gradients import add_slot, computation_dtype, dense


@pytest.mark.parametrize(
    "dtype, expected", [("float16", "float32"), ("bfloat16", "float32"), ("float32", "float32")]
)
def test_half_precision_is_computed_in_float32(dtype, expected):
    variable = keras.Variable(np.ones(3), dtype=dtype)
    assert computation_dtype(variable) == expected
    found = dense(keras.ops.ones(3, dtype), variable)
    assert keras.backend.standardize_dtype(found.dtype) == expected
    slot = add_slot(keras.optimizers.SGD(0.1), variable, "past")
    assert slot.dtype == expected and "past" in slot.name
    np.testing.assert_array_equal(to_numpy(slot), [0, 0, 0])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's gradients")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_that_occur_twice_are_summed(dtype):
    import tensorflow as tf

    variable = keras.Variable(np.ones((4, 2)), dtype=dtype)
    values = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype)
    slices = tf.IndexedSlices(values, tf.constant([3, 1, 3], "int32"), (4, 2))
    expected = [[0, 0], [3, 4], [0, 0], [6, 8]]
    np.testing.assert_array_equal(to_numpy(dense(slices, variable)), expected)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's functions")
def test_a_gradient_of_unknown_shape_has_the_weight_s():
    import tensorflow as tf

    variable, shapes = keras.Variable(np.ones((4, 2))), []

    @tf.function(input_signature=[tf.TensorSpec(None)])
    def look(gradient):
        shapes.append(tuple(dense(gradient, variable).shape))
        slices = tf.IndexedSlices(gradient, tf.constant([3, 1]), (4, 2))
        shapes.append(tuple(dense(slices, variable).shape))

    look(tf.ones((4, 2)))
    assert shapes == [(4, 2), (4, 2)]
