"""Ways to bound the slope of a network: clipped weights, spectral norms, gradient penalties."""

import keras
import numpy as np
from keras import ops

from kexue_keras import backend
from kexue_keras.losses.transport import safe_sqrt


def clip_weights(variables, limit):
    """Cuts every weight to the interval from `-limit` to `limit`.

    Args:
        variables: list of `keras.Variable`.
        limit: positive number.

    Example:

    >>> w = keras.Variable([-3.0, 0.25])
    >>> clip_weights([w], 0.5)
    >>> [float(x) for x in w.value]
    [-0.5, 0.25]
    """
    for variable in variables:
        variable.assign(ops.clip(variable.value, -limit, limit))


def kernels_of(model):
    """The kernels of the dense and convolutional layers inside a model, those of nested ones too.

    Raises:
        ValueError: there are none, or a layer normalizes its kernel itself.
    """
    found = []
    for layer in backend.layers_of(model):
        if isinstance(layer, keras.layers.SpectralNormalization):
            raise ValueError(
                "`critic` must have no layer `SpectralNormalization`, whose work is done by "
                f"`lipschitz='spectral'`. Received: {layer.name!r} inside"
            )
        kernel = getattr(layer, "kernel", None)
        if isinstance(kernel, keras.Variable) and len(kernel.shape) > 1:
            found.append(kernel)
    if not found:
        raise ValueError(
            "`critic` must have layers with a `kernel` for `lipschitz='spectral'`. "
            f"Received: {model.name!r} with none"
        )
    return found


def largest_direction(kernel):
    """The right singular vector of a kernel's largest singular value: float32 `(outputs,)`."""
    matrix = ops.convert_to_numpy(kernel.value).astype("float64")
    return np.linalg.svd(matrix.reshape(-1, matrix.shape[-1]))[2][0].astype("float32")


def normalize_kernels(kernels, directions, iterations=1):
    r"""Divides every kernel by its spectral norm, the largest singular value.

    A kernel counts as a matrix of inputs (for a convolution all places and channels) by outputs.
    The norm comes by iteration, which goes on from where the last call came to: $v = W u$,
    $u = W^\top v$, both of length 1, and $\|W\| \approx v^\top W u$. A kernel of zeros stays.

    Args:
        kernels: list of `keras.Variable`, `(..., outputs)`.
        directions: list of a `keras.Variable` `(outputs,)` for each, not 0: the $u$, updated.
        iterations: how many.

    Example:

    >>> w, u = keras.Variable([[0.0, 2.0], [0.5, 0.0]]), keras.Variable([0.0, 1.0])
    >>> normalize_kernels([w], [u])
    >>> float(w[0, 1]), float(w[1, 0])
    (1.0, 0.25)
    """
    for kernel, direction in zip(kernels, directions, strict=True):
        matrix = ops.reshape(ops.cast(kernel.value, "float32"), (-1, kernel.shape[-1]))
        u = direction.value + 0
        for _ in range(iterations):
            v = _unit(ops.matmul(matrix, u))
            u = _unit(ops.matmul(v, matrix))
        norm = ops.sum(v * ops.matmul(matrix, u))
        some = norm > 0
        kernel.assign(kernel.value / ops.cast(ops.where(some, norm, 1.0), kernel.dtype))
        direction.assign(ops.where(some, u, direction.value))


def gradient_penalty(critic, points, center=1.0, power=2.0, training=True):
    r"""The mean of $\big|\,\|\nabla_x f(x)\| - c\,\big|^p$ over points, a scalar in float32.

    The pass that is differentiated is only a means: it leaves no trace in statistics and seeds. A
    critic that normalizes over the batch has no gradient of its own at every point.

    Args:
        critic: model $f$ of one number for every point.
        points: `(batch, ...)`.
        center: $c$, at least 0.
        power: $p$, at least 1.
        training: how the critic is called.

    Example:

    >>> slope = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> slope.set_weights([np.array([[3.0], [4.0]]), np.zeros(1)])
    >>> float(gradient_penalty(slope, ops.ones((6, 2))))
    16.0

    Reference: https://arxiv.org/abs/1704.00028 (centre 1); https://arxiv.org/abs/1712.01026 (0)
    """

    def values(points):
        with backend.undone():
            return ops.cast(critic(points, training=training), "float32")

    _, (gradient,) = backend.value_and_input_gradients(values, [points])
    gradient = ops.cast(gradient, "float32")
    squares = ops.sum(gradient**2, axis=tuple(range(1, len(gradient.shape))))
    return ops.mean(ops.abs(safe_sqrt(squares) - center) ** power)


def _unit(x):
    return x / ops.maximum(safe_sqrt(ops.sum(x**2)), 1e-30)
