"""Measures of generated samples that are not the loss of a model: NumPy, exact, in blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

# numbers of a block of distances at once, and of the differences that refine it
_BLOCK = 4_000_000


def nearest_neighbour_accuracy(real, generated) -> float:
    """How often the nearest other sample is of the same kind: 0.5 is best, 1 is worst.

    The two-sample test by a classifier of one nearest neighbour, leaving out the sample itself.
    Where both kinds come from one distribution, neighbours are of either kind. Above 0.5 the kinds
    are apart: samples of low quality, or without variety. Below 0.5 the generated samples sit
    closer to the real ones than those to each other, as copies do, whose accuracy is 0. The two
    kinds count half each, however many samples they have; of equally near neighbours each counts
    its share.

    Args:
        real: `(n, d)`, n > 1, finite.
        generated: `(m, d)`, m > 1, finite.

    Returns:
        Accuracy, from 0 to 1.

    Raises:
        ValueError: if an argument does not fit.

    Example:

    >>> from kexue_keras import metrics
    >>> metrics.nearest_neighbour_accuracy([[0.0], [1.0]], [[7.0], [8.0]])
    1.0
    >>> metrics.nearest_neighbour_accuracy([[0.0], [1.0]], [[0.1], [1.1]])
    0.0

    Reference: Lopez-Paz and Oquab 2017, https://arxiv.org/abs/1610.06545
    """
    real, generated = _samples(real, generated, at_least=2)
    return (_own_share(real, generated) + _own_share(generated, real)) / 2


def kernel_mmd(real, generated, kernel="polynomial") -> float:
    r"""Squared maximum mean discrepancy of two sets of samples, without bias: 0 is best.

    $$\frac{1}{n(n-1)} \sum_{i \ne j} k(x_i, x_j) + \frac{1}{m(m-1)} \sum_{i \ne j} k(y_i, y_j)
    - \frac{2}{nm} \sum_{i, j} k(x_i, y_j)$$

    Its expectation is 0 if both come from one distribution, so that it may be a little below.

    Args:
        real: `(n, d)`, n > 1, finite.
        generated: `(m, d)`, m > 1, finite.
        kernel: "polynomial" is $(x \cdot y / d + 1)^3$, that of the kernel Inception distance
            (which takes features of a network as samples): it compares the first three moments and
            has no width to choose. "gaussian" is $e^{-\|x - y\|^2 / 2 s^2}$, which sees any
            difference; $s$ is the median distance of two real samples, so that it is the same for
            all that is compared with them.

    Returns:
        The squared discrepancy.

    Raises:
        ValueError: if an argument does not fit, or all real samples are one (gaussian).

    Example:

    >>> from kexue_keras import metrics
    >>> metrics.kernel_mmd([[0.0], [0.0]], [[1.0], [1.0]])
    7.0

    Reference: Gretton et al. 2012, https://jmlr.org/papers/v13/gretton12a.html; Binkowski et al.
    2018, https://arxiv.org/abs/1801.01401
    """
    real, generated = _samples(real, generated, at_least=2)
    if kernel not in ("polynomial", "gaussian"):
        raise ValueError(f'`kernel` must be "polynomial" or "gaussian". Received: {kernel!r}')
    width = _median_square(real) if kernel == "gaussian" else None

    def sums(x, y, same):
        total = 0.0
        for start, rows in _blocks(x, y):
            if width is None:
                values = (rows @ y.T / x.shape[1] + 1) ** 3
            else:
                values = np.exp(_squares(rows, y) / (-2 * width))
            if same:
                values[np.arange(len(rows)), start + np.arange(len(rows))] = 0
            total += values.sum()
        return total

    n, m = len(real), len(generated)
    within = sums(real, real, True) / (n * (n - 1))
    within += sums(generated, generated, True) / (m * (m - 1))
    return float(within - 2 * sums(real, generated, False) / (n * m))


def precision_and_recall(real, generated, k=3) -> tuple[float, float]:
    """How many generated samples lie among the real ones, and the other way round: 1 is best.

    A kind of samples is taken to fill the balls around its samples that reach to the `k`th nearest
    other one. Precision is the share of generated samples inside the balls of the real ones, which
    bad samples lower; recall the share of real samples inside the balls of the generated ones,
    which missing variety lowers. Both depend on the numbers of samples: compare at equal ones.

    Args:
        real: `(n, d)`, n > k, finite.
        generated: `(m, d)`, m > k, finite.
        k: number of neighbours, positive.

    Returns:
        Precision and recall, from 0 to 1.

    Raises:
        ValueError: if an argument does not fit.

    Example:

    >>> from kexue_keras import metrics
    >>> real = [[0.0], [1.0], [10.0], [11.0]]
    >>> metrics.precision_and_recall(real, [[0.5], [0.6], [0.7], [9.5]], k=1)
    (1.0, 0.75)

    Reference: Kynkaanniemi et al. 2019, https://arxiv.org/abs/1904.06991
    """
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"`k` must be a positive integer. Received: {k!r}")
    real, generated = _samples(real, generated, at_least=k + 1)
    return _share_inside(generated, real, k), _share_inside(real, generated, k)


def _own_share(own: np.ndarray, other: np.ndarray) -> float:
    """Share of the nearest neighbours of `own` that are of its kind."""
    total = 0.0
    for start, rows in _blocks(own, np.concatenate([own, other])):
        inside, across = _squares(rows, own), _squares(rows, other)
        inside[np.arange(len(rows)), start + np.arange(len(rows))] = np.inf
        least = np.minimum(inside.min(1), across.min(1))[:, None]
        found = (inside == least).sum(1)
        total += (found / (found + (across == least).sum(1))).sum()
    return float(total / len(own))


def _share_inside(points: np.ndarray, centers: np.ndarray, k: int) -> float:
    """Share of the points inside a ball around a center as far as its `k`th neighbour."""
    # the nearest of all is the center itself, at 0
    radii = [np.partition(_squares(rows, centers), k, axis=1)[:, k] for _, rows in _blocks(centers)]
    radii = np.concatenate(radii)
    inside = [(_squares(rows, centers) <= radii).any(1) for _, rows in _blocks(points, centers)]
    return float(np.concatenate(inside).mean())


def _median_square(x: np.ndarray) -> float:
    """The square of the median distance of two samples."""
    distances = np.concatenate(
        [
            np.sqrt(_squares(rows, x)[np.arange(len(x)) > start + np.arange(len(rows))[:, None]])
            for start, rows in _blocks(x)
        ]
    )
    width = float(np.median(distances)) ** 2
    if not width:
        raise ValueError("`real` must have a median distance that is not 0. Received: 0")
    return width


def _blocks(x: np.ndarray, y: np.ndarray | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Rows of `x`, some at a time, whose distances to all of `y` are a block."""
    size = max(1, _BLOCK // len(x if y is None else y))
    for start in range(0, len(x), size):
        yield start, x[start : start + size]


def _squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared distances of all pairs of rows: a matrix product, and differences where that
    cancels, so that equal rows have the distance 0."""
    own = np.einsum("id,id->i", x, x)[:, None] + np.einsum("jd,jd->j", y, y)
    squares = own - 2 * (x @ y.T)
    i, j = (squares < 1e-4 * own).nonzero()
    size = max(1, _BLOCK // x.shape[1])
    for start in range(0, len(i), size):
        a, b = i[start : start + size], j[start : start + size]
        difference = x[a] - y[b]
        squares[a, b] = np.einsum("nd,nd->n", difference, difference)
    return squares


def _samples(real, generated, at_least: int) -> tuple[np.ndarray, np.ndarray]:
    arrays = np.asarray(real, "float64"), np.asarray(generated, "float64")
    for name, x in zip(("real", "generated"), arrays, strict=True):
        if x.ndim != 2 or len(x) < at_least or not x.shape[1] or x.shape[1] != arrays[0].shape[-1]:
            raise ValueError(
                f"`{name}` must be samples (n, d), n >= {at_least}, d the same for both. Received: "
                f"shapes {arrays[0].shape} and {arrays[1].shape}"
            )
        if not np.isfinite(x).all():
            raise ValueError(f"`{name}` must be finite. Received: infinities or NaN")
    return arrays
