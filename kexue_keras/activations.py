"""Even Taylor polynomials of exp, and the softmax made of them."""

import functools
import math

import keras
import numpy as np
from keras import ops

_LARGEST = 1e12  # the square of a sum of many such values is a float32 too


def taylor_exp(x, order=2, monotone=False):
    """Taylor polynomial of exp around 0: `1 + x + x^2 / 2! + ... + x^order / order!`.

    An even order makes it positive everywhere, with a single minimum, so that it can stand for exp
    in a softmax. Its derivative is the polynomial of one order less.

    Args:
        x: tensor of any shape; computed in float32 at least, returned in its own dtype.
        order: even int, 2 or more.
        monotone: replace `x` by `max(x, x*)`, `x*` the place of the minimum.

    Returns:
        Tensor of the shape of `x`.

    Raises:
        ValueError: if `order` is odd or less than 2.

    Example:

    >>> from kexue_keras import activations
    >>> [float(y) for y in activations.taylor_exp([-1.0, 0.0, 2.0])]
    [0.5, 1.0, 5.0]

    Reference: https://kexue.fm/archives/7919; https://arxiv.org/abs/2011.11538
    """
    x, dtype = _prepared(x, order, monotone)
    return ops.cast(_polynomial(x, 1.0, order), dtype)


def taylor_softmax(x, order=2, axis=-1, monotone=False):
    """Softmax with a Taylor polynomial in place of exp.

    `f(x_i) / sum_k f(x_k)` with f the `taylor_exp` of that order. It tends to softmax as the order
    grows. Unlike softmax it changes when a constant is added to all `x`, and without `monotone` a
    very negative `x` gets a large share; -inf can therefore not serve as a mask.

    Args:
        x: tensor, finite; computed in float32 at least, returned in its own dtype.
        order: even int, 2 or more.
        axis: axis, or tuple of axes, along which the result sums to 1.
        monotone: replace `x` by `max(x, x*)`, `x*` the place of the minimum of f, so that a larger
            logit always means a larger share.

    Returns:
        Tensor of the shape of `x`.

    Raises:
        ValueError: if `order` is odd or less than 2.

    Example:

    >>> from kexue_keras import activations
    >>> [round(float(y), 4) for y in activations.taylor_softmax([0.0, 2.0])]
    [0.1667, 0.8333]

    Reference: https://kexue.fm/archives/7919; https://arxiv.org/abs/2011.11538
    """
    x, dtype = _prepared(x, order, monotone)
    # f(x) / scale^order instead of f(x); scale is 1 unless x is so large that f would overflow
    limit = (_LARGEST * math.factorial(order)) ** (1 / order)
    scale = ops.maximum(ops.max(ops.abs(x), axis=axis, keepdims=True) / limit, 1.0)
    scale = ops.stop_gradient(scale)
    values = _polynomial(x / scale, 1 / scale, order)
    return ops.cast(values / ops.sum(values, axis=axis, keepdims=True), dtype)


def log_taylor_softmax(x, order=2, axis=-1, monotone=False):
    """Logarithm of `taylor_softmax`, finite where a share is too small for the dtype.

    Args:
        x: tensor, finite; computed in float32 at least, returned in its own dtype.
        order: even int, 2 or more.
        axis: axis, or tuple of axes, along which the shares sum to 1.
        monotone: as for `taylor_softmax`.

    Returns:
        Tensor of the shape of `x`, in nats.

    Raises:
        ValueError: if `order` is odd or less than 2.

    Example:

    >>> from kexue_keras import activations
    >>> [round(float(y), 4) for y in activations.log_taylor_softmax([0.0, 2.0])]
    [-1.7918, -0.1823]

    Reference: https://kexue.fm/archives/7919; https://arxiv.org/abs/2011.11538
    """
    x, dtype = _prepared(x, order, monotone)
    # log f(x) = order log s + log(f(x) / s^order)
    scale = ops.maximum(ops.stop_gradient(ops.abs(x)), 1.0)
    values = ops.log(_polynomial(x / scale, 1 / scale, order)) + order * ops.log(scale)
    logarithms = values - ops.logsumexp(values, axis=axis, keepdims=True)
    return ops.cast(logarithms, dtype)


@functools.lru_cache
def taylor_minimum(order: int) -> tuple[float, float]:
    """Where `taylor_exp` of an even order is smallest, and its value there.

    Example:

    >>> from kexue_keras import activations
    >>> activations.taylor_minimum(2)
    (-1.0, 0.5)
    """
    check_order(order)
    derivative = [1 / math.factorial(k) for k in range(order)]
    roots = np.roots(derivative[::-1])
    place = float(roots[np.argmin(np.abs(roots.imag))].real)
    for _ in range(3):
        slope, curvature = (
            sum(place**k / math.factorial(k) for k in range(n)) for n in (order, order - 1)
        )
        place -= slope / curvature
    return place, sum(place**k / math.factorial(k) for k in range(order + 1))


def _polynomial(x, unit, order):
    """`sum_k x^k unit^(order - k) / k!` by Horner's rule."""
    result, power = 1.0, 1.0
    for k in range(order, 0, -1):
        power = power * unit
        result = power + x / k * result
    return result


def _prepared(x, order, monotone):
    """`x` in float32 at least, raised to the place of the minimum if `monotone`; and its dtype."""
    check_order(order)
    x = ops.convert_to_tensor(x)
    dtype = keras.backend.standardize_dtype(x.dtype)
    if dtype != "float64":
        x, dtype = ops.cast(x, "float32"), dtype if "float" in dtype else "float32"
    return (ops.maximum(x, taylor_minimum(order)[0]) if monotone else x), dtype


def check_order(order):
    """Raises a ValueError unless `order` is an even number, 2 or more."""
    if order < 2 or order % 2:
        raise ValueError(f"`order` must be even and at least 2. Received: {order}")
