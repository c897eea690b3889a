"""Distances between sentences as optimal transport between their word vectors.

Needs the packages POT and SciPy: `pip install "kexue_keras[similarity]"`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import numpy as np

from kexue_keras.optimal_transport import least_cost, package

Problem = tuple[np.ndarray, np.ndarray, np.ndarray]


def wasserstein_distance(p, q, cost) -> float:
    """Least cost of moving the masses `p` to the masses `q` (earth mover's distance).

    `min sum_ij g_ij cost_ij` over `g >= 0` with row sums `p` and column sums `q`, solved exactly.

    Args:
        p: `(n,)`, not negative.
        q: `(m,)`, not negative, with the sum of `p`.
        cost: `(n, m)`, finite.

    Raises:
        ImportError: if POT is not installed.
        ValueError: if an argument does not fit.
        ArithmeticError: if the costs have so wide a range that the solver cannot tell which plan is
            the best.

    Example:

    >>> from kexue_keras import similarity
    >>> similarity.wasserstein_distance([0.5, 0.5], [0.25, 0.75], [[0, 1], [1, 0]])
    0.25

    Reference: https://kexue.fm/archives/7388
    """
    p, q, cost = (np.ascontiguousarray(x, "float64") for x in (p, q, cost))
    for name, x in (("p", p), ("q", q)):
        if x.ndim != 1 or not len(x) or not np.isfinite(x).all() or x.min() < 0 or not x.any():
            raise ValueError(
                f"`{name}` must be a vector of numbers >= 0, not all 0. Received: {x.tolist()}"
            )
    if cost.shape != (len(p), len(q)) or not np.isfinite(cost).all():
        raise ValueError(
            f"`cost` must be finite, of shape {(len(p), len(q))}. Received: shape {cost.shape}"
            + ("" if np.isfinite(cost).all() else " with infinities or NaN")
        )
    if not np.isclose(p.sum(), q.sum(), rtol=1e-6, atol=0):
        raise ValueError(f"`p` and `q` must have equal sums. Received: {p.sum()} and {q.sum()}")
    total = p.sum()
    return float(total * least_cost(p / total, q / q.sum(), cost))


def word_mover_distance(x, y) -> float:
    """Least mean Euclidean distance that the words of one sentence travel to those of another.

    All words have the same mass, `1 / n` and `1 / m`. The Euclidean norm is the true one; the
    listing in the article divides it by the square root of the dimension.

    Args:
        x: word vectors, `(n, d)`, n > 0.
        y: word vectors, `(m, d)`, m > 0.

    Raises:
        ImportError: if POT or SciPy is not installed.
        ValueError: if an argument does not fit.

    Example:

    >>> from kexue_keras import similarity
    >>> similarity.word_mover_distance([[0, 0], [3, 4]], [[0, 0]])
    2.5

    Reference: https://kexue.fm/archives/7388; Kusner et al., From Word Embeddings To Document
    Distances, ICML 2015
    """
    x, y = _same_dimensions(x, y)
    # costs tell whether the vectors are finite, at much less than a look at every number
    with np.errstate(invalid="ignore", over="ignore"):
        problem = _word_mover_problem(x, y)
    if not np.isfinite(problem[2].sum()):
        _check_finite(x, y)
    return least_cost(*problem)


def word_rotator_distance(x, y) -> float:
    """Transport between word directions: masses are the vectors' norms, costs `1 - cos`.

    From 0 to 2; unchanged if all vectors of one sentence are scaled, or both sentences rotated.

    Args:
        x: word vectors, `(n, d)`, not all 0.
        y: word vectors, `(m, d)`, not all 0.

    Raises:
        ImportError: if POT or SciPy is not installed.
        ValueError: if an argument does not fit.

    Example:

    >>> from kexue_keras import similarity
    >>> similarity.word_rotator_distance([[0, 3], [1, 0]], [[0, 2]])
    0.25

    Reference: https://kexue.fm/archives/7388; https://arxiv.org/abs/2004.15003
    """
    return least_cost(*_word_rotator_problem(*_pair(x, y)))


def word_rotator_similarity(x, y) -> float:
    """`1 - word_rotator_distance(x, y)`, from -1 to 1.

    Example:

    >>> from kexue_keras import similarity
    >>> similarity.word_rotator_similarity([[0, 3], [1, 0]], [[0, 2]])
    0.75
    """
    return 1 - word_rotator_distance(x, y)


def word_mover_distances(xs: Sequence, ys: Sequence) -> np.ndarray:
    """`word_mover_distance` of many pairs: `(pairs,)` float64 for two lists of that length.

    Example:

    >>> from kexue_keras import similarity
    >>> similarity.word_mover_distances([[[0, 0]], [[1, 1]]], [[[3, 4]], [[1, 1]]]).tolist()
    [5.0, 0.0]
    """
    return _distances(word_mover_distance, xs, ys)


def word_rotator_distances(xs: Sequence, ys: Sequence) -> np.ndarray:
    """`word_rotator_distance` of many pairs: `(pairs,)` float64 for two lists of that length.

    Example:

    >>> from kexue_keras import similarity
    >>> similarity.word_rotator_distances([[[0, 1]], [[1, 1]]], [[[3, 0]], [[2, 2]]]).tolist()
    [1.0, 0.0]
    """
    return _distances(word_rotator_distance, xs, ys)


def centroid_lower_bound(x, y, distance: str = "word_mover") -> float:
    """A number not above the distance, from the sentences' means alone.

    For "word_mover" the distance of the means; for "word_rotator" half the squared distance of the
    means of directions, weighted by the norms.

    Example:

    >>> from kexue_keras import similarity
    >>> similarity.centroid_lower_bound([[0, 0], [3, 4]], [[0, 0]])
    2.5

    Reference: https://kexue.fm/archives/7388
    """
    kind = _kind(distance)
    x, y = _pair(x, y)
    return float(kind.bound(kind.centroid(x) - kind.centroid(y)))


def relaxed_lower_bound(x, y, distance: str = "word_mover") -> float:
    """A number not above the distance, from moving every word to its nearest one.

    Drops the condition on the column sums, or on the row sums, and takes the larger result. Much
    tighter than `centroid_lower_bound`; needs all distances between words but no solver.

    Example:

    >>> from kexue_keras import similarity
    >>> similarity.relaxed_lower_bound([[0, 0], [3, 4]], [[0, 0], [0, 0]])
    2.5

    Reference: Kusner et al., From Word Embeddings To Document Distances, ICML 2015
    """
    return _relaxed(*_kind(distance).problem(*_pair(x, y)))


def nearest(query, corpus: Sequence, k: int = 1, distance: str = "word_mover"):
    """The k sentences of a corpus nearest to a query, exactly, solving few transport problems.

    Goes through the corpus by increasing `centroid_lower_bound` and stops where that exceeds the
    k-th distance found; solves the problem only where `relaxed_lower_bound` does not exceed it.

    Args:
        query: word vectors, `(n, d)`.
        corpus: arrays of word vectors, `(n_i, d)`.
        k: how many to find.
        distance: "word_mover" or "word_rotator".

    Returns:
        Indices, `(k,)` int64, nearest first (ties: lower index first), and distances, `(k,)`
        float64; all of the corpus if it is smaller than k.

    Raises:
        ImportError: if POT or SciPy is not installed.
        ValueError: if an argument does not fit.

    Example:

    >>> from kexue_keras import similarity
    >>> indices, distances = similarity.nearest([[0, 0]], [[[5, 0]], [[1, 0]], [[0, 2]]], k=2)
    >>> indices.tolist(), distances.tolist()
    ([1, 2], [1.0, 2.0])
    """
    kind = _kind(distance)
    if k < 1:
        raise ValueError(f"`k` must be at least 1. Received: {k}")
    pairs = [_pair(query, x, ("query", f"corpus[{i}]")) for i, x in enumerate(corpus)]
    center = kind.centroid(pairs[0][0]) if pairs else None
    bounds = np.array([kind.bound(kind.centroid(y) - center) for _, y in pairs])
    found: list[tuple[float, int]] = []  # a heap, the farthest first
    for i in np.argsort(bounds, kind="stable").tolist():
        # rounding may lift a bound a little above the distance
        limit = -found[0][0] * (1 + 1e-9) + 1e-9 if len(found) == k else np.inf
        if bounds[i] > limit:
            break
        problem = kind.problem(*pairs[i])
        if len(found) == k and _relaxed(*problem) > limit:
            continue
        heapq.heappush(found, (-least_cost(*problem), -i))
        if len(found) > k:
            heapq.heappop(found)
    ranked = sorted((-negative, -i) for negative, i in found)
    return (
        np.array([i for _, i in ranked], "int64"),
        np.array([value for value, _ in ranked], "float64"),
    )


def _word_mover_problem(x: np.ndarray, y: np.ndarray) -> Problem:
    return np.full(len(x), 1 / len(x)), np.full(len(y), 1 / len(y)), _euclidean(x, y)


_LEAST_SQUARE = 1e-280


def _euclidean(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distances of all pairs of rows: a matrix product, and differences where that cancels."""
    own = np.einsum("id,id->i", x, x)[:, None] + np.einsum("jd,jd->j", y, y)
    if not _LEAST_SQUARE < own.max() < 1 / _LEAST_SQUARE:  # squares that float64 does not have
        scale = max(np.abs(x).max(), np.abs(y).max())
        if 0 < scale < np.inf and scale != 1:
            return _euclidean(x / scale, y / scale) * scale
    squares = own - 2 * (x @ y.T)
    near = squares < 1e-4 * own
    if near.any():
        i, j = near.nonzero()
        difference = x[i] - y[j]
        squares[i, j] = np.einsum("nd,nd->n", difference, difference)
    return np.sqrt(squares)


def _word_rotator_problem(x: np.ndarray, y: np.ndarray) -> Problem:
    (p, x), (q, y) = _directions(x), _directions(y)
    # 1 - cos of unit vectors, without cancellation
    return p, q, package("scipy.spatial.distance").cdist(x, y, "sqeuclidean") / 2


def _directions(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masses and unit vectors of the words that are not 0."""
    x = x / (np.abs(x).max() or 1.0)
    norms = np.linalg.norm(x, axis=1)
    x, norms = x[norms > 0], norms[norms > 0]
    if not len(x):
        raise ValueError("Sentences must have a word vector that is not 0. Received: only zeros")
    return norms / norms.sum(), x / norms[:, None]


class _WordMover:
    problem = staticmethod(_word_mover_problem)

    @staticmethod
    def centroid(x: np.ndarray) -> np.ndarray:
        return x.mean(0)

    @staticmethod
    def bound(difference: np.ndarray) -> float:
        largest = np.abs(difference).max()  # whose square float64 may not have
        return largest * np.linalg.norm(difference / largest) if largest else 0.0


class _WordRotator:
    problem = staticmethod(_word_rotator_problem)

    @staticmethod
    def centroid(x: np.ndarray) -> np.ndarray:
        masses, directions = _directions(x)
        return masses @ directions

    @staticmethod
    def bound(difference: np.ndarray) -> float:
        return difference @ difference / 2


def _kind(distance: str):
    kinds = {"word_mover": _WordMover, "word_rotator": _WordRotator}
    if distance not in kinds:
        raise ValueError(f"`distance` must be one of {', '.join(kinds)}. Received: {distance}")
    return kinds[distance]


def _relaxed(p: np.ndarray, q: np.ndarray, cost: np.ndarray) -> float:
    return float(max(p @ cost.min(1), q @ cost.min(0)))


def _distances(distance: Callable, xs: Sequence, ys: Sequence) -> np.ndarray:
    if len(xs) != len(ys):
        raise ValueError(f"`xs` and `ys` must be equally long. Received: {len(xs)} and {len(ys)}")
    return np.array([distance(x, y) for x, y in zip(xs, ys, strict=True)], "float64")


def _pair(x, y, names: tuple[str, str] = ("x", "y")) -> tuple[np.ndarray, np.ndarray]:
    x, y = _same_dimensions(x, y, names)
    _check_finite(x, y, names)
    return x, y


def _same_dimensions(x, y, names: tuple[str, str] = ("x", "y")) -> tuple[np.ndarray, np.ndarray]:
    arrays = np.asarray(x, "float64"), np.asarray(y, "float64")
    for name, array in zip(names, arrays, strict=True):
        if array.ndim != 2 or 0 in array.shape or array.shape[1] != arrays[0].shape[1]:
            raise ValueError(
                f"`{name}` must be word vectors (n, d), n > 0, d the same for both. Received: "
                f"shapes {arrays[0].shape} and {arrays[1].shape}"
            )
    return arrays


def _check_finite(x: np.ndarray, y: np.ndarray, names: tuple[str, str] = ("x", "y")):
    for name, array in zip(names, (x, y), strict=True):
        if not np.isfinite(array).all():
            raise ValueError(f"`{name}` must be finite. Received: infinities or NaN")
