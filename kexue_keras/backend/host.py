"""Functions of NumPy inside compiled programs."""

import keras
import numpy as np

from kexue_keras.backend.platform import known_backend


def host_call(function, arguments, shape, dtype):
    """What a Python function of NumPy arrays returns, asked from inside a compiled program.

    The function runs on the host whenever the program comes there, so it should depend on its
    arguments alone. There is no gradient: to differentiate by an argument is an error. XLA on
    TensorFlow cannot leave its program; see `calls_from_xla`.

    Args:
        function: callable of NumPy arrays to an array or number.
        arguments: list of tensors.
        shape: of what it returns; None where TensorFlow does not know a size yet.
        dtype: of what it returns, which is cast to it.

    Raises:
        ValueError: the gradient is asked for. What the function raises, and that it returned
            another shape, comes as the backend's own error.

    >>> x = keras.ops.convert_to_tensor([1.0, 2.0])
    >>> float(host_call(lambda x: x.sum(), [x], (), "float32"))
    3.0
    """
    backends = {"tensorflow": _call_tensorflow, "jax": _call_jax}
    call = backends[known_backend(backends)]

    def checked(*arrays):
        value = np.asarray(function(*[np.asarray(x) for x in arrays])).astype(dtype)
        sizes = zip(value.shape, shape, strict=False)
        if value.ndim != len(shape) or any(b not in (a, None) for a, b in sizes):
            raise ValueError(
                f"A Python function must return an array of shape {shape} here. "
                f"Received: shape {value.shape}"
            )
        return value

    return call(checked, arguments, tuple(shape), dtype)


def calls_from_xla():
    """Whether a program of XLA can use `host_call`, for `supports_jit`."""
    return keras.backend.backend() != "tensorflow"


def _no_gradient(*_):
    raise ValueError(
        "A Python function has no gradient: take a way to train that needs none of it "
        "(`ZerothOrder`, the objective of `GuidedParameterSearch`, the reward of `PolicyGradient`)"
    )


def _call_tensorflow(function, arguments, shape, dtype):
    import tensorflow as tf

    @tf.custom_gradient
    def call(*tensors):
        value = tf.numpy_function(function, tensors, dtype)
        return tf.ensure_shape(value, shape), _no_gradient

    return call(*arguments)


def _call_jax(function, arguments, shape, dtype):
    import jax

    result = jax.ShapeDtypeStruct(shape, dtype)

    @jax.custom_vjp
    def call(*tensors):
        return jax.pure_callback(function, result, *tensors, vmap_method="sequential")

    call.defvjp(lambda *tensors: (call(*tensors), None), _no_gradient)
    return call(*arguments)
