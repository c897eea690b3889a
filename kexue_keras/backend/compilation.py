"""Programs compiled by XLA, and what only such programs can do."""

import threading

import keras
from keras import ops

from kexue_keras.backend.platform import known_backend

# of TensorFlow: .program, whether a `jit` is traced
_inside = threading.local()


def jit(function, variables=()):
    """Compiles `function` with XLA, one program per combination of shapes and dtypes.

    Args:
        function: callable of nested tensors to nested tensors. It must change no variable.
        variables: the `keras.Variable`s that it reads; their values at the call are taken.

    >>> w = keras.Variable(2.0)
    >>> double = jit(lambda x: w * x, variables=[w])
    >>> float(double(ops.convert_to_tensor(3.0)))
    6.0
    """
    variables = list(variables)
    name = known_backend(("tensorflow", "jax"))

    def with_values(values, args):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*args)

    if name == "tensorflow":
        import tensorflow as tf

        def compiled(*args):
            # read here, once: a loop would carry the variables it reads, and copy them every time
            values = [tf.convert_to_tensor(v.value) for v in variables]
            before, _inside.program = getattr(_inside, "program", False), True
            try:
                return with_values(values, args)
            finally:
                _inside.program = before

        return tf.function(compiled, jit_compile=True, autograph=False)
    import jax

    pure = jax.jit(with_values)
    return lambda *args: pure([v.value for v in variables], args)


def one_program(function):
    """`function` of tensors to tensors as one program on JAX, where many small operations that are
    called one by one take seconds to compile; elsewhere, the function itself. It must read and
    change no variable.

    >>> double = one_program(lambda x: x + x)
    >>> float(double(ops.convert_to_tensor(3.0)))
    6.0
    """
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function)


def matmul_in_float32(a, b):
    """Products of half-precision rows `(..., m, size)` and `(..., n, size)`, summed in float32:
    float32 `(..., m, n)`. JAX, and TensorFlow in a program of `jit`, make no float32 copy of `b`;
    TensorFlow's own kernels have no such product.

    >>> x = ops.full((1, 1), 400.0, dtype="float16")
    >>> float(matmul_in_float32(x, x)[0, 0])
    160000.0
    """
    name = keras.backend.backend()
    if name == "jax":
        import jax.numpy as jnp

        return jnp.matmul(a, jnp.swapaxes(b, -1, -2), preferred_element_type="float32")
    if name == "tensorflow" and getattr(_inside, "program", False):
        import tensorflow as tf

        return tf.raw_ops.BatchMatMulV3(x=a, y=b, Tout=tf.float32, adj_y=True)
    a, b = ops.cast(a, "float32"), ops.cast(b, "float32")
    return ops.matmul(a, ops.swapaxes(b, -1, -2))
