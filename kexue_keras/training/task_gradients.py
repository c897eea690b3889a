"""The gradients of several tasks: their inner products over shared weights, and their sum."""

import dataclasses
from typing import Any

from keras import ops


@dataclasses.dataclass
class Products:
    """What the gradients of `n` tasks have to do with each other.

    Inner products are of gradients divided by `scale`, so that none overflows or vanishes.
    """

    gram: Any
    """float32 `(n, n)`: inner products over the shared weights."""
    squares: Any
    """float32 `(n,)`: squared norms over all weights."""
    scale: Any
    """float32 scalar: the largest absolute value of all gradients; 1 if all are zero."""
    finite: Any
    """bool scalar: whether all gradients are finite."""
    shared: list
    """bool scalars, for every weight whether more than one task has a gradient there."""

    @property
    def norms(self):
        """float32 `(n,)`: norms over the shared weights; over all weights, of a task that shares
        none."""
        squares = ops.diagonal(self.gram)
        return self.scale * ops.sqrt(ops.where(squares > 0, squares, self.squares))


def products_of(gradients):
    """Inner products of gradients, weight by weight, so that nothing is copied together.

    A weight is shared if more than one task reaches it: if their gradients there are not zero.

    Args:
        gradients: of every task a list of a float tensor per weight.

    Returns:
        `Products`.

    Example:

    >>> from keras import ops
    >>> from kexue_keras.training.task_gradients import products_of
    >>> shared, head, none = ops.array([3.0, 4.0]), ops.array([5.0]), ops.array([0.0])
    >>> products = products_of([[shared, head, none], [-shared, none, head]])
    >>> [float(x) for x in products.norms], [bool(x) for x in products.shared]
    ([5.0, 5.0], [True, False, False])
    """
    n, by_weight = len(gradients), list(zip(*gradients, strict=True))
    by_weight = [[ops.cast(g, "float32") for g in group] for group in by_weight]
    peaks = [ops.stack([ops.max(ops.abs(g)) for g in group]) for group in by_weight]
    largest = ops.max(ops.stack(peaks))
    scale = ops.where(ops.logical_and(ops.isfinite(largest), largest > 0), largest, 1.0)
    shared = [ops.sum(ops.cast(peak > 0, "int32")) > 1 for peak in peaks]
    gram, squares = ops.zeros((n, n)), ops.zeros((n,))
    for group, is_shared in zip(by_weight, shared, strict=True):
        group = [g / scale for g in group]
        upper = {(i, j): ops.sum(group[i] * group[j]) for i in range(n) for j in range(i, n)}
        rows = [[upper[min(i, j), max(i, j)] for j in range(n)] for i in range(n)]
        block = ops.stack([ops.stack(row) for row in rows])
        gram = gram + ops.where(is_shared, block, 0.0)
        squares = squares + ops.diagonal(block)
    # sums tell: the maximum of numbers and of what is none may be a number
    return Products(gram, squares, scale, ops.isfinite(ops.sum(squares)), shared)


def weighted_sum(gradients, shared, weights, own_weights):
    """The sum over tasks, weight by weight.

    Args:
        gradients: of every task a list of a float tensor per weight.
        shared: for every weight a bool scalar.
        weights: float `(n,)`: of the tasks, for shared weights.
        own_weights: float `(n,)`: of the tasks, for the others.

    Returns:
        List of a tensor per weight.

    Example:

    >>> from keras import ops
    >>> from kexue_keras.training.task_gradients import weighted_sum
    >>> gradients = [[ops.array([1.0]), ops.array([2.0])], [ops.array([3.0]), ops.array([0.0])]]
    >>> both = ops.array([0.5, 0.5]), ops.array([1.0, 1.0])
    >>> [float(g[0]) for g in weighted_sum(gradients, [True, False], *both)]
    [2.0, 2.0]
    """
    found = []
    for group, is_shared in zip(zip(*gradients, strict=True), shared, strict=True):
        factors = ops.where(is_shared, weights, own_weights)
        factors = [ops.cast(factors[i], g.dtype) for i, g in enumerate(group)]
        found.append(sum(f * g for f, g in zip(factors, group, strict=True)))
    return found
