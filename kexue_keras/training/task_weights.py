"""Weights of the losses of several tasks, from the losses themselves."""

import math

from keras import ops


def inverse(values):
    """1 / x of positive numbers, and 0 of zeros: weights of losses, or of gradients by norms.

    The weights 1 / L with the gradient stopped make of the losses the sum of their logarithms, but
    for a constant; so the update is that of their geometric mean, up to its length.

    Args:
        values: float `(n,)`. The inverse of a negative number is not a number, as its logarithm.

    Returns:
        float32 `(n,)`.

    Example:

    >>> from kexue_keras.training.task_weights import inverse
    >>> [float(x) for x in inverse([0.5, 4.0, 0.0])]
    [2.0, 0.25, 0.0]

    Reference: https://kexue.fm/archives/8870
    """
    values = ops.cast(ops.convert_to_tensor(values), "float32")
    found = 1.0 / ops.where(values == 0, 1.0, values)
    found = ops.where(values < 0, math.nan, found)
    return ops.where(values == 0, 0.0, found)


def generalized_mean(losses, gamma):
    r"""The mean $(\frac1n\sum_i L_i^\gamma)^{1/\gamma}$ of losses.

    It grows with `gamma`: 1 is the arithmetic mean, 0 stands for the limit, the geometric mean, -1
    is the harmonic mean, and very large or small numbers come near the largest or the smallest
    loss.

    Args:
        losses: float `(n,)`, positive; zeros do not count.
        gamma: a finite number.

    Returns:
        float32 scalar.

    Example:

    >>> from kexue_keras.training.task_weights import generalized_mean
    >>> [round(float(generalized_mean([1.0, 4.0], gamma)), 4) for gamma in (-1, 0, 1, 2)]
    [1.6, 2.0, 2.5, 2.9155]

    Reference: https://kexue.fm/archives/8870
    """
    return ops.exp(_log_mean(*_logarithms(losses), gamma))


def generalized_mean_weights(losses, gamma):
    r"""The derivatives $\frac1n (L_i / M)^{\gamma - 1}$ of the generalized mean $M$.

    Args:
        losses: float `(n,)`, positive; a zero has weight 0.
        gamma: a finite number. 1 gives $1/n$, 0 gives $M / (n L_i)$, the geometric mean's.

    Returns:
        float32 `(n,)`.

    Example:

    >>> from kexue_keras.training.task_weights import generalized_mean_weights
    >>> [round(float(w), 4) for w in generalized_mean_weights([1.0, 4.0], 0)]
    [1.0, 0.25]

    Reference: https://kexue.fm/archives/8870
    """
    logs, counted = _logarithms(losses)
    mean = _log_mean(logs, counted, gamma)
    weights = ops.exp((gamma - 1) * (logs - mean)) / ops.maximum(ops.sum(counted), 1.0)
    return ops.where(counted > 0, weights, 0.0)


def _logarithms(losses):
    """Logarithms, 0 of zeros, and 1 where a loss counts."""
    losses = ops.cast(ops.convert_to_tensor(losses), "float32")
    counted = ops.cast(losses != 0, "float32")
    return ops.log(ops.where(losses == 0, 1.0, losses)), counted


def _log_mean(logs, counted, gamma):
    """The logarithm of the generalized mean; exact near gamma = 0 and for large exponents."""
    n = ops.maximum(ops.sum(counted), 1.0)
    center = ops.sum(logs * counted) / n
    if gamma == 0:
        return center
    powers = ops.where(counted > 0, gamma * (logs - center), 0.0)
    top = ops.max(ops.where(counted > 0, powers, -math.inf))
    top = ops.where(ops.isfinite(top), top, 0.0)
    large = ops.log(ops.sum(counted * ops.exp(powers - top)) / n) + top
    small = ops.clip(powers, -1.0, 1.0)
    small = ops.log1p(ops.sum(counted * ops.expm1(small)) / n)
    return center + ops.where(ops.max(ops.abs(powers)) < 1, small, large) / gamma
