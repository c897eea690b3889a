"""Gradients and slots as optimizers compute with them: dense, and in float32 at least."""

import keras
from keras import ops


def computation_dtype(variable):
    """The dtype to update a weight in: float32 for half precision too, float64 for float64.

    Example:

    >>> import keras
    >>> from kexue_keras.optimizers.gradients import computation_dtype
    >>> [computation_dtype(keras.Variable([1.0], dtype=x)) for x in ("float16", "float32")]
    ['float32', 'float32']
    """
    dtype = keras.backend.standardize_dtype(variable.dtype)
    return keras.backend.result_type(dtype, "float32")


def dense(gradient, variable):
    """The gradient as one tensor of the weight's shape, in `computation_dtype`.

    TensorFlow's gradients of embedding tables are `tf.IndexedSlices`, in which a row may occur more
    than once; its parts are summed here. In a graph they may not know their shape; it is the
    weight's.

    Args:
        gradient: tensor or `tf.IndexedSlices`.
        variable: the weight it belongs to.

    Example:

    >>> import keras
    >>> from kexue_keras.optimizers.gradients import dense
    >>> x = dense(keras.ops.ones((2,), "float16"), keras.Variable([1.0, 2.0]))
    >>> keras.backend.standardize_dtype(x.dtype)
    'float32'
    """
    dtype = computation_dtype(variable)
    if hasattr(gradient, "indices"):
        values, places = ops.cast(gradient.values, dtype), ops.expand_dims(gradient.indices, -1)
        return ops.scatter(places, values, tuple(variable.shape))
    return ops.reshape(ops.cast(gradient, dtype), tuple(variable.shape))


def add_slot(optimizer, variable, name):
    """A variable of an optimizer, zeros of the weight's shape, in `computation_dtype`.

    Args:
        optimizer: `keras.optimizers.Optimizer`.
        variable: the weight. If the slot has its dtype, it is also placed, or sharded, like it.
        name: of the slot.

    Example:

    >>> import keras
    >>> from kexue_keras.optimizers.gradients import add_slot
    >>> weight = keras.Variable([1.0, 2.0], dtype="float16")
    >>> slot = add_slot(keras.optimizers.SGD(0.1), weight, "past")
    >>> tuple(slot.shape), slot.dtype
    ((2,), 'float32')
    """
    dtype = computation_dtype(variable)
    if dtype == keras.backend.standardize_dtype(variable.dtype):
        return optimizer.add_variable_from_reference(variable, name=name)
    name = f"{variable.path.replace('/', '_')}_{name}"
    return optimizer.add_variable(tuple(variable.shape), dtype=dtype, name=name)
