"""Optimal transport by POT's network simplex, exact whatever the scale of the costs."""

from __future__ import annotations

import importlib
import math

import numpy as np

# a least cost below this share of the largest cost is checked: the network simplex works with
# absolute tolerances of a few 1e-15
_SAFE_SHARE = 1e-5
_SAFE_ERROR = 1e-9


def least_cost(p: np.ndarray, q: np.ndarray, cost: np.ndarray) -> float:
    """The least cost of moving masses to masses, whatever the scale of the costs.

    Args:
        p, q: float64 `(n,)` and `(m,)`, not negative, of sum 1.
        cost: float64 `(n, m)`.

    Raises:
        ImportError: POT is not installed.
        ValueError: the costs are not finite.
        ArithmeticError: their range is so wide that the solver cannot tell which plan is the best.

    Example:

    >>> half = np.array([0.5, 0.5])
    >>> least_cost(half, half, np.array([[0.0, 0.0], [1e-16, 2e-16]]))
    5e-17
    """
    if not np.isfinite(cost.sum()):
        raise ValueError("The distances between words must be finite. Received: overflow")
    lowest = cost.min()
    if lowest < 0:
        return float(least_cost(p, q, cost - lowest) + lowest * p.sum())
    largest = cost.max()
    if not largest:
        return 0.0
    # by a power of two, which changes no digit
    unit = math.ldexp(1.0, math.frexp(largest)[1] - 1)
    cost = cost / unit
    plan, value, dual = _simplex(p, q, cost)
    if 0 < value < _SAFE_SHARE * largest / unit:
        value = _refined(p, q, cost, plan, value, dual)
    return float(value * unit)


def _simplex(p: np.ndarray, q: np.ndarray, cost: np.ndarray):
    """A plan, its cost and the potentials of the columns, by POT without `emd2`'s checks."""
    simplex = package("ot.lp.emd_wrap")
    plan, value, _, dual, code = simplex.emd_c(p, q, cost, 10_000_000, 1)
    if (warning := simplex.check_result(code)) is not None:
        raise ArithmeticError(f"The network simplex found no optimum: {warning}")
    return plan, value, dual


def _refined(p, q, cost, plan, value, dual) -> float:
    """The least cost where it is tiny beside the largest one, so that the solver may not see it.

    Costs above what a plan uses are cut down to that, which is a problem of a smaller range whose
    least cost is no larger. If its plan uses no cost that was cut, it is the best of all.
    """
    while not _is_optimal(p, q, cost, value, dual):
        limit = cost[plan > 0].max()
        cut = np.minimum(cost, limit)
        plan, _, dual = _simplex(p, q, cut / limit)
        better, dual = (plan * cost).sum(), dual * limit
        if better < value:
            value = better
        elif not _is_optimal(p, q, cost, value, dual):
            raise ArithmeticError(
                "`cost` must not have so wide a range that the best plan cannot be told from "
                f"others: from {cost[cost > 0].min() / cost.max():.0e} to 1 of the largest one"
            )
    return value


def _is_optimal(p, q, cost, value, dual) -> bool:
    """Whether potentials prove that no plan costs less: the duality of transport."""
    rows = (cost - dual).min(1)
    return value - (p @ rows + q @ dual) <= _SAFE_ERROR * value


def package(name: str):
    """A module of POT or SciPy; an ImportError that says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing = "POT" if name.startswith("ot.") else "SciPy"
        raise ImportError(
            f"kexue_keras.similarity needs the package {missing}: "
            'pip install "kexue_keras[similarity]"'
        ) from error
