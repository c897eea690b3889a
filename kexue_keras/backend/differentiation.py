"""Gradients of functions by variables: first and second ones, of one loss or several."""

import threading

import keras
from keras import ops

from kexue_keras.backend.platform import known_backend
from kexue_keras.backend.scopes import RecordingScope


def value_and_grad(function, variables):
    """Makes a function that returns `function`'s value and its gradients.

    Works eagerly, inside `fit`, and nested (second derivatives on JAX and TensorFlow; PyTorch has
    first ones only). State that `function` changes (seeds, statistics) stays changed.

    Args:
        function: callable that returns a scalar tensor, or a tuple `(scalar, auxiliary)`; a
            ValueError if it is no scalar.
        variables: list of `keras.Variable` to differentiate by.

    Returns:
        A callable with `function`'s arguments that returns what `function` returned, and a list of
        one dense tensor per variable, zeros where the value does not depend on it.

    >>> w = keras.Variable([1.0, 2.0])
    >>> value, (gradient,) = value_and_grad(lambda: ops.sum(w**2), [w])()
    >>> [float(g) for g in gradient]
    [2.0, 4.0]
    """
    differentiate, variables = _differentiation(), list(variables)

    def evaluate(*args, **kwargs):
        output, (gradients,) = differentiate(lambda: function(*args, **kwargs), _first, variables)
        return output, gradients

    return evaluate


def gradients_of(losses, variables):
    """Like `value_and_grad`, for several losses of one forward pass.

    `losses` returns a list or tuple of scalar tensors, or a tuple of such a list and anything
    else. What comes is what it returned, and for every loss a list of a dense tensor per variable.

    >>> w = keras.Variable(3.0)
    >>> _, gradients = gradients_of(lambda: [w * 2.0, w**2], [w])()
    >>> [float(gradient) for (gradient,) in gradients]
    [2.0, 6.0]
    """
    differentiate, variables = _differentiation(), list(variables)
    return lambda *args, **kwargs: differentiate(lambda: losses(*args, **kwargs), _all, variables)


def vector_jacobian_product(function, inputs, cotangents=None):
    """The value of a function of tensors, and the gradients of its product with `cotangents`.

    Args:
        function: callable of the tensors in `inputs` to a tensor, or a list of tensors. It must
            change no variable.
        inputs: list of floating tensors to differentiate by.
        cotangents: as what `function` returns: shape and dtype; None: ones.

    Returns:
        What `function` returned, and a list of a tensor per input, zeros where it does not matter.

    >>> x = ops.convert_to_tensor([1.0, 2.0])
    >>> weights = ops.convert_to_tensor([1.0, 10.0])
    >>> _, (gradient,) = vector_jacobian_product(ops.square, [x], weights)
    >>> [float(g) for g in gradient]
    [2.0, 40.0]
    """
    products = (_product_tensorflow, _product_jax, _product_torch)
    backends = dict(zip(("tensorflow", "jax", "torch"), products, strict=True))
    return backends[known_backend(backends)](function, list(inputs), cotangents)


def _product_tensorflow(function, inputs, cotangents):
    import tensorflow as tf

    inputs = [tf.convert_to_tensor(x) for x in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        output = function(*inputs)
    found = tape.gradient(output, inputs, cotangents, unconnected_gradients="zero")
    return output, [tf.convert_to_tensor(gradient) for gradient in found]


def _product_jax(function, inputs, cotangents):
    import jax

    output, pull = jax.vjp(function, *inputs)
    return output, list(pull(_or_ones(cotangents, output)))


def _product_torch(function, inputs, cotangents):
    import torch

    inputs = [x.detach().requires_grad_() for x in inputs]
    with torch.enable_grad():
        output = function(*inputs)
    options = {"allow_unused": True, "materialize_grads": True}
    found = torch.autograd.grad(output, inputs, _or_ones(cotangents, output), **options)
    return keras.tree.map_structure(lambda x: x.detach(), output), list(found)


def _or_ones(cotangents, output):
    return keras.tree.map_structure(ops.ones_like, output) if cotangents is None else cotangents


def _first(output):
    return [_scalar(output[0] if isinstance(output, tuple) else output)]


def _all(output):
    with_auxiliary = len(output) == 2 and isinstance(output[0], (list, tuple))
    return [_scalar(loss) for loss in (output[0] if with_auxiliary else output)]


def _scalar(value):
    value = ops.convert_to_tensor(value)
    if len(value.shape):
        raise ValueError(
            "A function to differentiate must return scalars. "
            f"Received: a tensor of shape {tuple(value.shape)}"
        )
    return value


def _differentiation():
    functions = (_differentiate_tensorflow, _differentiate_jax, _differentiate_torch)
    backends = dict(zip(("tensorflow", "jax", "torch"), functions, strict=True))
    return backends[known_backend(backends)]


# of TensorFlow: .depth, how many differentiations are going on
_inside = threading.local()


def _make_moments_twice_differentiable(nn, stop_gradient):
    """In the variance of `tf.nn.moments` (Keras's normalizations) TensorFlow stops the gradient by
    the mean, which is zero; but its derivative is not. What is added here is zero and so is its
    gradient: only inside a second differentiation anything changes."""
    original = nn.moments

    def moments(*args, **kwargs):
        mean, variance = original(*args, **kwargs)
        if getattr(_inside, "depth", 0) > 1:
            variance -= (mean - stop_gradient(mean)) ** 2
        return mean, variance

    if original.__module__ != __name__:
        nn.moments = moments


def _differentiate_tensorflow(function, scalars, variables):
    import tensorflow as tf

    _make_moments_twice_differentiable(tf.nn, tf.stop_gradient)
    values, depth = [v.value for v in variables], getattr(_inside, "depth", 0)
    with tf.GradientTape(persistent=scalars is _all) as tape:
        tape.watch(values)
        try:
            _inside.depth = depth + 1
            output = function()
        finally:
            _inside.depth = depth
        losses = scalars(output)
    found = [tape.gradient(loss, values, unconnected_gradients="zero") for loss in losses]
    return output, [[tf.convert_to_tensor(g) for g in gradients] for gradients in found]


def _differentiate_jax(function, scalars, variables):
    import jax

    recorded = {}

    def pure(values):
        with RecordingScope() as scope:
            for variable, value in zip(variables, values, strict=True):
                scope.state_mapping[id(variable)] = value
            output = function()
        recorded.update(scope.assigned)
        updates = {key: scope.state_mapping[key] for key in scope.assigned}
        return scalars(output), (output, updates)

    current = [ops.convert_to_tensor(v.value) for v in variables]
    losses, pull, (output, updates) = jax.vjp(pure, current, has_aux=True)
    for key, variable in recorded.items():
        variable.assign(updates[key])
    units = [[ops.full_like(x, i == k) for i, x in enumerate(losses)] for k in range(len(losses))]
    return output, [pull(unit)[0] for unit in units]


def _differentiate_torch(function, scalars, variables):
    import torch

    options = {"allow_unused": True, "materialize_grads": True, "retain_graph": True}
    with torch.enable_grad():
        output = function()
        losses = scalars(output)
    values = [v.value for v in variables]
    found = [list(torch.autograd.grad(loss, values, **options)) for loss in losses]
    detach = lambda x: x.detach() if isinstance(x, torch.Tensor) else x  # noqa: E731
    return keras.tree.map_structure(detach, output), found
