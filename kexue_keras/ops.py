"""The lowest score, and Mitchell's multiplication: products and quotients by adding integers.

The bits of a float32 `2^n (1 + x)`, read as an integer, are `2^23 (n + 127 + x)`: nearly its
logarithm. Adding the integers of two numbers so gives nearly their product. The gradient is that of
the exact operation (straight-through), so that a layer can be trained on it.
"""

import keras
from keras import ops

LOWEST = -1e30
"""The score, in float32, of what must not be: a hidden place, a forbidden token or label.

Its exponential is 0, as that of -inf. But -inf times 0, and -inf minus -inf, are NaN: a softmax or
log-sum-exp in which nothing is allowed, and many gradients, would be so. -1e30 is far below any
score of a model, and far enough above float32's limit of -3.4e38 that many may be added up.
"""

_ONE = 0x3F800000  # bits of 1.0
_SMALLEST = 0x00800000  # of the smallest normal number
_LARGEST = 0x7F7FFFFF  # of the largest finite number


def mitchell_multiply(x, y):
    """Approximates `x * y`: the result is 8/9 to 1 times the product.

    Exact if either factor is a power of two (of any sign); at worst where both mantissas are 1.5.
    Zeros, infinities and NaN give what the exact product gives; subnormal numbers count as 0.

    Args:
        x: tensor; the bits are those of float32 whatever the dtype.
        y: tensor, broadcast against `x`.

    Returns:
        Floating tensor, of the wider dtype of the two; float32 where both are integers.

    Example:

    >>> from kexue_keras import ops
    >>> float(ops.mitchell_multiply(1.5, 1.5)), float(ops.mitchell_multiply(-3.0, 4.0))
    (2.0, -12.0)

    Reference: https://kexue.fm/archives/7991; https://arxiv.org/abs/2012.03458
    """
    x, y, dtype = _float32(x, y)
    regular = ops.logical_and(ops.isfinite(x), ops.isfinite(y))
    a, b = ops.where(regular, x, 1.0), ops.where(regular, y, 1.0)
    result = _product(a, b) + _change(a, b)
    return ops.cast(ops.where(regular, result, x * y), dtype)


def mitchell_divide(x, y):
    """Approximates `x / y`: the result is 1 to 9/8 times the quotient.

    Exact if `y` is a power of two (of any sign). Zeros, infinities and NaN give what the exact
    quotient gives; a subnormal `x` counts as 0.

    Args:
        x: tensor; the bits are those of float32 whatever the dtype.
        y: tensor, broadcast against `x`.

    Returns:
        Floating tensor, of the wider dtype of the two; float32 where both are integers.

    Example:

    >>> from kexue_keras import ops
    >>> float(ops.mitchell_divide(3.0, 1.5)), float(ops.mitchell_divide(1.0, 1.5))
    (2.0, 0.75)

    Reference: https://kexue.fm/archives/7991; https://arxiv.org/abs/2012.03458
    """
    x, y, dtype = _float32(x, y)
    regular = ops.logical_and(ops.isfinite(x), ops.isfinite(y))
    regular = ops.logical_and(regular, ops.abs(y) >= 2.0**-126)
    a, b = ops.where(regular, x, 1.0), ops.where(regular, y, 1.0)
    fixed_a, fixed_b = ops.stop_gradient(a), ops.stop_gradient(b)
    # zero, with the gradient of a / b, of which no part overflows before the whole does
    change = (a - fixed_a) / fixed_b - fixed_a * ((b - fixed_b) / fixed_b) / fixed_b
    # the branch that is not taken must not bring its infinite derivatives either
    exact = ops.where(regular, 1.0, x) / ops.where(regular, 1.0, y)
    return ops.cast(ops.where(regular, _quotient(a, b) + change, exact), dtype)


def mitchell_matmul(a, b, block_size=32):
    """Matrix product made of `mitchell_multiply` and exact sums.

    Args:
        a: finite, `(..., m, k)`, k known.
        b: finite, `(..., k, n)`.
        block_size: how many of the k products are held in memory at a time.

    Returns:
        `(..., m, n)`, of the dtype `a @ b` has; sums are taken in float32.

    Raises:
        ValueError: if `a` and `b` do not fit, or `block_size` is less than 1.

    Example:

    >>> from kexue_keras import ops
    >>> ops.mitchell_matmul([[1.0, 3.0]], [[3.0], [1.5]]).shape == (1, 1)
    True
    >>> float(ops.mitchell_matmul([[1.0, 3.0]], [[3.0], [1.5]])[0, 0])
    7.0

    Reference: https://kexue.fm/archives/7991; https://arxiv.org/abs/2012.03458
    """
    a, b, dtype = _float32(a, b)
    if len(a.shape) < 2 or len(b.shape) < 2 or a.shape[-1] != b.shape[-2] or not a.shape[-1]:
        raise ValueError(
            "`a` and `b` must have shapes (..., m, k) and (..., k, n) with k > 0. "
            f"Received: a.shape={tuple(a.shape)}, b.shape={tuple(b.shape)}"
        )
    if block_size < 1:
        raise ValueError(f"`block_size` must be at least 1. Received: {block_size}")
    fixed_a, fixed_b = ops.stop_gradient(a), ops.stop_gradient(b)
    result = 0.0
    for start in range(0, a.shape[-1], block_size):
        rows = fixed_a[..., :, start : start + block_size, None]
        columns = fixed_b[..., None, start : start + block_size, :]
        result = result + ops.sum(_product(rows, columns), axis=-2)
    # zero, with the gradient of a @ b
    change = ops.matmul(a - fixed_a, b) + ops.matmul(fixed_a, b - fixed_b)
    return ops.cast(result + change, dtype)


def _change(x, y):
    """Zero, exactly, with the gradient of `x * y`."""
    fixed_x, fixed_y = ops.stop_gradient(x), ops.stop_gradient(y)
    return (x - fixed_x) * y + fixed_x * (y - fixed_y)


def _product(x, y):
    x, y = ops.stop_gradient(x), ops.stop_gradient(y)
    return ops.sign(x) * ops.sign(y) * _from_sum(_bits(x), _bits(y) - _ONE, x, y)


def _quotient(x, y):
    x, y = ops.stop_gradient(x), ops.stop_gradient(y)
    return ops.sign(x) * ops.sign(y) * _from_sum(_bits(x), _ONE - _bits(y), x, y)


def _from_sum(bits, shift, x, y):
    """The float with bits `bits + shift`; 0 and infinity where it would be out of range."""
    too_small, too_large = shift < _SMALLEST - bits, shift > _LARGEST - bits
    # clipped before it is added: the sum can then not wrap around in 32 bits
    total = bits + ops.minimum(ops.maximum(shift, _SMALLEST - bits), _LARGEST - bits)
    value = ops.where(too_large, float("inf"), ops.view(total[..., None], "float32")[..., 0])
    normal = ops.logical_and(ops.abs(x) >= 2.0**-126, ops.abs(y) >= 2.0**-126)
    return ops.where(ops.logical_and(normal, ops.logical_not(too_small)), value, 0.0)


def _bits(x):
    return ops.view(ops.abs(x)[..., None], "int32")[..., 0]


def _float32(x, y):
    x, y = ops.convert_to_tensor(x), ops.convert_to_tensor(y)
    dtype = keras.backend.result_type(x.dtype, y.dtype, float)
    return ops.cast(x, "float32"), ops.cast(y, "float32"), dtype
