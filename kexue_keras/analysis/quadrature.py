"""Points and weights of integrals from 0 to 1."""

import numpy as np


def midpoint(steps):
    """The middles of equal steps; the error falls with the square of their number.

    >>> [x.tolist() for x in midpoint(2)]
    [[0.25, 0.75], [0.5, 0.5]]
    """
    return (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)


def right(steps):
    """The right ends of equal steps, the article's Riemann sum; the error falls with their number.

    A single step is the gradient at the input.

    >>> [x.tolist() for x in right(2)]
    [[0.5, 1.0], [0.5, 0.5]]
    """
    return np.arange(1, steps + 1) / steps, np.full(steps, 1 / steps)


def gauss_legendre(steps):
    """Zeros of Legendre polynomials, exact for polynomials of degree `2 * steps - 1`.

    >>> points, weights = gauss_legendre(2)
    >>> round(float(np.sum(weights * points**3)), 12)
    0.25
    """
    points, weights = np.polynomial.legendre.leggauss(steps)
    return (points + 1) / 2, weights / 2


RULES = {"gauss_legendre": gauss_legendre, "midpoint": midpoint, "right": right}


def quadrature(rule, steps):
    """Points and weights, float64 `(steps,)`.

    Args:
        rule: a name in `RULES`, or a callable that takes `steps` and returns both.
        steps: their number.

    Raises:
        ValueError: `steps` is no positive number, or `rule` is unknown or gives something else.
    """
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise ValueError(f"`steps` must be an integer of at least 1. Received: {steps!r}")
    if not callable(rule) and rule not in RULES:
        raise ValueError(f"`rule` must be one of {', '.join(RULES)}. Received: {rule!r}")
    points, weights = (rule if callable(rule) else RULES[rule])(int(steps))
    points, weights = np.asarray(points, "float64"), np.asarray(weights, "float64")
    if points.ndim != 1 or points.shape != weights.shape or not points.size:
        raise ValueError(
            "`rule` must give as many points as weights. "
            f"Received: {points.shape} and {weights.shape}"
        )
    return points, weights
