"""The largest singular values of many matrices, by matrix products alone."""

from keras import backend, ops

_SQUARINGS = 20


def spectral_norms(matrices):
    """Spectral norms of a batch of matrices.

    The Gram matrix `G` of the shorter side is squared 20 times and kept at a trace of 1:
    `(trace(G^2m) / trace(G^m))^(1/m)` is at most the largest eigenvalue of `G`, and at least that
    divided by `size^(1/m)`, which for `m = 2^19` is 1 + 1.2e-5 for a size of 500, whatever the gap
    between the eigenvalues. So there is no iteration to watch, and a compiled program of either
    backend needs nothing that is slow on accelerators or in XLA, as a singular value decomposition
    is.

    Args:
        matrices: floating `(..., m, n)`.

    Returns:
        Tensor `(...)`, float32, or float64 for float64 matrices; zero for a matrix of zeros, NaN
        for one that is not finite.

    Example:

    >>> import numpy as np
    >>> from kexue_keras.analysis import spectral_norms
    >>> norms = spectral_norms(np.array([[[3.0, 0.0], [0.0, -4.0]], np.zeros((2, 2))], "float32"))
    >>> [round(float(norm), 4) for norm in norms]
    [4.0, 0.0]
    """
    matrices = ops.convert_to_tensor(matrices)
    matrices = ops.cast(matrices, backend.result_type(matrices.dtype, "float32"))
    if len(matrices.shape) < 2:
        raise ValueError(
            "`matrices` must have at least two axes. "
            f"Received: a tensor of shape {tuple(matrices.shape)}"
        )
    if matrices.shape[-2] > matrices.shape[-1]:
        matrices = ops.swapaxes(matrices, -1, -2)
    largest = ops.max(ops.abs(matrices), axis=(-2, -1))
    matrices = matrices / _or_one(largest)[..., None, None]
    gram = ops.matmul(matrices, ops.swapaxes(matrices, -1, -2))

    def square(i, carry):
        power, logarithm, weight = carry
        trace = _or_one(ops.trace(power, axis1=-2, axis2=-1))
        power = power / trace[..., None, None]
        return ops.matmul(power, power), logarithm + weight * ops.log(trace), weight / 2

    start = gram, ops.zeros_like(largest), ops.ones_like(largest)
    power, logarithm, weight = ops.fori_loop(0, _SQUARINGS, square, start)
    # the last power is that of trace 1, squared; it has one eigenvalue or several equal ones
    trace = _or_one(ops.trace(power, axis1=-2, axis2=-1))
    return largest * ops.exp((logarithm + 2 * weight * ops.log(trace)) / 2)


def _or_one(x):
    """One in place of zero, to divide by."""
    return ops.where(x == 0, ops.ones_like(x), x)
