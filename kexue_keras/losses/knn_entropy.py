"""The entropy of a distribution, estimated from samples by their nearest neighbours."""

import math

from keras import ops

from kexue_keras.ops import LOWEST

# candidates beyond the k nearest: distances of near points are not exact before they are compared
_MORE = 8
# least squared distance, so that duplicates have a logarithm
_FLOOR = 1e-24


def knn_entropy(samples, k=1):
    r"""Estimate of the differential entropy of the distribution that samples come from, in nats.

    $H \approx \frac{d}{n} \sum_i \log \epsilon_k(i) + \log B_d + \psi(n) - \psi(k)$, where
    $\epsilon_k(i)$ is the Euclidean distance of sample $i$ from its $k$-th nearest neighbour and
    $B_d = \pi^{d/2} / \Gamma(d/2 + 1)$ the volume of the unit ball (Kozachenko and Leonenko). It
    is biased for finite $n$, more so in many dimensions. To be maximized it spreads samples out:
    with mean 0 and variance 1 given, towards a normal distribution.

    A step needs memory for a few matrices of $n \times n$ distances. The gradient flows only
    between every sample and its $k$-th neighbour. Samples nearer to each other than 1e-12, such as
    duplicates, count as that far apart, and no gradient flows between them.

    Args:
        samples: floating `(n, d)`, `d` known; computed in float32.
        k: which neighbour, at least 1 and less than `n`. A larger one has less variance.

    Returns:
        Scalar, float32. Where `n` is not known beforehand, as in `fit` on TensorFlow, and turns out
        to be no larger than `k`, it is infinite, or TensorFlow reports an error.

    Raises:
        ValueError: a bad `k`, `k` not less than `n`, or samples that are no matrix.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import losses
    >>> samples = np.random.default_rng(0).normal(size=(2000, 2))
    >>> round(float(losses.knn_entropy(samples, k=3)), 1)  # 2.838 is that of the distribution
    2.8

    Reference: https://kexue.fm/archives/7343; Kozachenko and Leonenko 1987; Lombardi and Pant 2015,
    https://arxiv.org/abs/1506.06501
    """
    samples = ops.cast(ops.convert_to_tensor(samples), "float32")
    _check(samples.shape, k)
    d = samples.shape[1]
    neighbours = _neighbours(ops.stop_gradient(samples), k)
    differences = samples - ops.take(samples, neighbours, axis=0)
    squared = ops.sum(differences**2, axis=1)
    # duplicates have no direction: the gradient of `maximum` would halve that of zero over zero
    some = squared > _FLOOR
    logs = 0.5 * ops.log(ops.where(some, squared, _FLOOR))
    # nothing is the neighbour of itself
    places = ops.arange(ops.shape(samples)[0], dtype="int32")
    logs = ops.where(neighbours == places, math.inf, logs)
    n = ops.cast(ops.shape(samples)[0], "float32")
    ball = 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d + 1)
    return d * ops.mean(logs) + (ball - digamma(float(k), math.log)) + digamma(n, ops.log)


def digamma(x, log):
    r"""The function $\psi$, the derivative of $\log \Gamma$, of a number of at least 1.

    Args:
        x: number or tensor.
        log: the logarithm of such things.

    Example:

    >>> round(digamma(1.0, math.log), 6), round(digamma(2.0, math.log), 6)
    (-0.577216, 0.422784)
    """
    # psi(x) = psi(x + 1) - 1 / x, up to where the asymptotic series is exact
    y = x + 6
    series = log(y) - 1 / (2 * y) - 1 / (12 * y**2) + 1 / (120 * y**4) - 1 / (252 * y**6)
    return series - sum(1 / (x + i) for i in range(6))


def _check(shape, k):
    if not isinstance(k, int) or k < 1:
        raise ValueError(f"`k` must be a positive integer. Received: {k!r}")
    if len(shape) != 2 or not shape[1]:
        raise ValueError(f"`samples` must be of the shape (n, d). Received: {tuple(shape)}")
    if shape[0] is not None and k >= shape[0]:
        raise ValueError(
            f"`k` must be less than the number of samples. Received: {k} of {shape[0]}"
        )


def _neighbours(samples, k):
    """Index of the `k`-th nearest other sample of each, int32 `(n,)`."""
    n = samples.shape[0] if samples.shape[0] is not None else ops.shape(samples)[0]
    # |x|^2 + |y|^2 - 2 x y is not exact, so it finds candidates, which are then compared exactly
    centred = samples - ops.mean(samples, axis=0)
    squares = ops.sum(centred**2, axis=1)
    near = 2 * ops.matmul(centred, ops.transpose(centred)) - squares[:, None] - squares[None]
    places = ops.arange(n, dtype="int32")
    near = ops.where(places[:, None] == places[None], LOWEST, near)
    count = min(k + _MORE, n - 1) if isinstance(n, int) else ops.minimum(k + _MORE, n - 1)
    # too few samples are no reason to take a nearer neighbour than the k-th
    count = max(count, k) if isinstance(n, int) else ops.maximum(count, k)
    _, candidates = ops.top_k(near, count)
    differences = samples[:, None] - ops.take(samples, candidates, axis=0)
    far = ops.where(candidates == places[:, None], math.inf, ops.sum(differences**2, axis=-1))
    _, order = ops.top_k(-far, k)
    return ops.cast(ops.take_along_axis(candidates, order, axis=1)[:, k - 1], "int32")
