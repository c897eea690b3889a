"""Gradients of functions by their arguments."""

from keras import ops

from kexue_keras.backend.differentiation import vector_jacobian_product


def value_and_input_gradients(function, tensors):
    """The value of a function of tensors, and the gradients of its sum by each of them.

    Where the function treats every sample by itself, these are the gradients of every sample's own
    value. Works eagerly and inside `jit`, on TensorFlow, JAX and PyTorch.

    Args:
        function: callable of the tensors to one tensor of any shape.
        tensors: list of floating tensors.

    Returns:
        The value, and a list of one tensor for each of `tensors`, zeros where the value does not
        depend on it.

    >>> value, (gradient,) = value_and_input_gradients(lambda x: x**2, [ops.array([1.0, 3.0])])
    >>> [float(x) for x in value], [float(x) for x in gradient]
    ([1.0, 9.0], [2.0, 6.0])
    """
    tensors = [ops.convert_to_tensor(x) for x in tensors]
    return vector_jacobian_product(lambda *args: ops.convert_to_tensor(function(*args)), tensors)
