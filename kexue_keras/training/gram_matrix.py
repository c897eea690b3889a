"""The smallest combination of a few gradients, exactly, from their inner products alone."""

import functools
import itertools

import keras
import numpy as np
from keras import ops

from kexue_keras import backend

LIMIT = 8
"""The largest number of tasks."""

# units of the last place: violations of the conditions of the optimum below it are not told apart
_ROUNDING = 2


def smallest_combination(gram, main, present=None):
    r"""Weights $w$ of the smallest $\|\sum_i w_i g_i\|$ with $w \ge 0$ of sum 1 over `main`.

    Every set of tasks that may have positive weights is tried: within a set the optimum is the
    solution of a linear system, and all systems are solved at once. Of the solutions the one is
    taken that satisfies the conditions of the optimum best, fewer tasks first. So the number of
    operations depends on the number of tasks alone, and nothing iterates.

    Args:
        gram: float `(n, n)`, inner products of `n` gradients; of any scale, also of very different
            gradients, zero ones, equal and opposite ones. It must be finite.
        main: indices of the tasks whose weights sum to 1, at least one.
        present: bool `(n,)` tensor; weights of the others are 0. Without it, all.

    Returns:
        `(n,)`, float64 if `gram` is, else float32. If a gradient of `main` is zero, it alone has a
        weight. If none of `main` is present, zeros.

    Raises:
        ValueError: `gram` is not square, or has more than 8 rows; `main` has other indices.
    """
    gram = ops.convert_to_tensor(gram)
    n = check_gram(gram)
    present = ops.ones((n,), dtype="bool") if present is None else ops.cast(present, "bool")
    return _program(tuple(check_indices(main, n)))(gram, present)


@functools.cache
def _program(main):
    return backend.one_program(lambda gram, present: _smallest_combination(gram, main, present))


def _smallest_combination(gram, main, present):
    n = gram.shape[0]
    dtype = "float64" if keras.backend.standardize_dtype(gram.dtype) == "float64" else "float32"
    gram = ops.cast(gram, dtype)
    masks = ops.cast(_supports(n, main), dtype)
    in_main = np.isin(np.arange(n), main)

    squares, gram = ops.diagonal(gram), 0.5 * gram + 0.5 * ops.transpose(gram)
    largest = ops.max(squares)
    gram = gram / ops.where(largest > 0, largest, 1.0)
    norms = ops.sqrt(ops.maximum(ops.diagonal(gram), 0.0))
    zero = ops.logical_and(in_main, ops.logical_and(present, norms <= 0))
    usable = ops.logical_and(present, norms > 0)
    safe = ops.where(usable, norms, 1.0)
    # in units of each gradient's length: unit vectors, whose weights are b = w * norms / unit
    cosines = gram / safe[:, None] / safe[None, :]
    in_use = ops.logical_and(in_main, usable)
    unit = ops.min(ops.where(in_use, safe, np.inf))
    unit = ops.where(ops.any(in_use), unit, 1.0)
    sides = ops.where(in_use, unit / safe, 0.0)

    b, violation = _candidates(cosines, sides, masks, usable)
    # the squared norm is known to the rounding of sum(b)^2: large weights that cancel come last
    rounding = float(np.finfo(dtype).eps) * ops.maximum(_ROUNDING, ops.sum(b, axis=1) / 16)
    violation = ops.where(ops.isfinite(violation), ops.maximum(violation, rounding), np.inf)
    chosen = _first_largest(-violation)
    b = ops.sum(ops.where(chosen[:, None] > 0, b, 0.0), axis=0)
    weights = ops.where(usable, b * unit / safe, 0.0)
    weights = ops.where(ops.any(in_use), weights, 0.0)
    return ops.where(ops.any(zero), _first_largest(ops.cast(zero, dtype)), weights)


def check_gram(gram, limit=LIMIT):
    """The number of tasks of a Gram matrix, at most `limit`."""
    shape = tuple(gram.shape)
    if len(shape) != 2 or shape[0] != shape[1] or not shape[0]:
        raise ValueError(f"`gram` must be of shape (n, n). Received: shape {shape}")
    if limit and shape[0] > limit:
        raise ValueError(f"`gram` must be of at most {limit} tasks. Received: {shape[0]}")
    return shape[0]


def check_indices(main, n):
    """`main` as ascending indices from 0 to n - 1, each once, at least one."""
    indices = [main] if isinstance(main, (int, np.integer)) else list(main)
    valid = [isinstance(i, (int, np.integer)) and not isinstance(i, bool) for i in indices]
    if not indices or not all(valid) or not all(0 <= i < n for i in indices):
        raise ValueError(f"`main` must be indices of {n} tasks, from 0. Received: {main!r}")
    if len(set(indices)) != len(indices):
        raise ValueError(f"`main` must have every index once. Received: {main!r}")
    return sorted(int(i) for i in indices)


@functools.cache
def _all_supports(n):
    sizes = range(1, n + 1)
    return [set(s) for size in sizes for s in itertools.combinations(range(n), size)]


def _supports(n, main):
    """0 and 1 `(m, n)`: all sets with a task of `main`, small ones first."""
    sets = [s for s in _all_supports(n) if s & set(main)]
    return np.array([[i in s for i in range(n)] for s in sets])


def _candidates(cosines, sides, masks, usable):
    """The solution `(m, n)` of every support, and by how much `(m,)` it is not the optimum."""
    n = masks.shape[1]
    others = (1 - masks)[:, :, None] * ops.eye(n, dtype=masks.dtype)
    inside = masks[:, :, None] * masks[:, None, :] * cosines + others
    border = (masks * sides)[:, :, None]
    corner = ops.zeros_like(border[:, :1])
    below = ops.concatenate([ops.transpose(border, (0, 2, 1)), corner], axis=2)
    system = ops.concatenate([ops.concatenate([inside, border], axis=2), below], axis=1)
    b = ops.maximum(_solve(system)[:, :n] * masks, 0.0)
    total = ops.sum(b * sides, axis=1, keepdims=True)
    b = b / ops.where(total > 0, total, 1.0)
    products = ops.sum(b[:, None, :] * cosines, axis=2)
    square = ops.sum(b * products, axis=1, keepdims=True)
    excess = ops.where(usable, square * sides - products, -np.inf)
    violation = ops.max(excess, axis=1) / ops.sum(b, axis=1)
    absent = ops.any(ops.logical_and(masks > 0, ops.logical_not(usable)), axis=1)
    bad = ops.logical_or(absent, ops.logical_not(ops.isfinite(violation)))
    bad = ops.logical_or(bad, total[:, 0] <= 0)
    return b, ops.where(bad, np.inf, violation)


def _solve(systems):
    """Solves many systems `(m, k, k)` with the right side (0, ..., 0, 1) by elimination; a
    singular one has some solution that is not finite, or is wrong."""
    m, k = systems.shape[:2]
    right = np.zeros((m, k, 1))
    right[:, -1] = 1
    rows = ops.concatenate([systems, ops.cast(right, systems.dtype)], axis=2)
    # sums with these rows take a column, by the same operation for every one
    columns = ops.cast(np.eye(k + 1), systems.dtype)
    free, pivots = ops.ones_like(rows[:, :, 0]), []
    for column in range(k):
        values = ops.sum(rows * columns[column], axis=2)
        chosen = _first_largest(ops.where(free > 0, ops.abs(values), -1.0))
        pivot = ops.sum(ops.where(chosen[:, :, None] > 0, rows, 0.0), axis=1)
        divisor = ops.sum(pivot * columns[column], axis=1, keepdims=True)
        free = free * (1 - chosen)
        rows = rows - (free * values / divisor)[:, :, None] * pivot[:, None, :]
        pivots.append((pivot, divisor))
    solution = -columns[k]
    for column in reversed(range(k)):
        pivot, divisor = pivots[column]
        value = -ops.sum(pivot * solution, axis=1, keepdims=True) / divisor
        solution = solution + value * columns[column]
    return solution[:, :k]


def _first_largest(values):
    """1 at the largest of every row, the first of equal ones, else 0."""
    return ops.cast(ops.one_hot(ops.argmax(values, axis=-1), values.shape[-1]), values.dtype)
