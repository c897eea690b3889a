"""New values for variables without a second copy of them in memory."""

import math

import keras

_PIECE_BYTES = 1 << 22


def assign_by_rows(variable, rows):
    """Assigns to a variable, on TensorFlow in place and some rows at a time.

    `Variable.assign` on TensorFlow makes a tensor of the whole array, and a copy of that. JAX takes
    an array as it is.

    Args:
        variable: a `keras.Variable`.
        rows: called as `rows(start, stop)`, gives these rows of the new value, an array.

    Example:

    >>> import numpy as np
    >>> variable = keras.Variable(np.zeros((3, 2)))
    >>> assign_by_rows(variable, lambda start, stop: np.arange(6.0).reshape(3, 2)[start:stop])
    >>> keras.ops.convert_to_numpy(variable).tolist()
    [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    """
    value, shape = variable.value, tuple(variable.shape)
    count = shape[0] if shape else 1
    # variables on several devices are of another class
    single = type(value).__name__ == "ResourceVariable"
    step = max(1, _PIECE_BYTES // (4 * max(1, math.prod(shape[1:]))))
    if keras.backend.backend() != "tensorflow" or not single or count <= step:
        variable.assign(rows(0, count))
        if keras.backend.backend() == "jax" and isinstance(variable, keras.Variable):
            variable.value.block_until_ready()  # it copies later, and keeps the array until then
        return
    import tensorflow

    for start in range(0, count, step):
        stop = min(start + step, count)
        # `value[start:stop].assign` would read the whole variable, and copy it to write to it
        tensorflow.raw_ops.ResourceStridedSliceAssign(
            ref=value.handle,
            begin=[start],
            end=[stop],
            strides=[1],
            value=keras.ops.cast(rows(start, stop), value.dtype),
        )
