"""Points and weights of integrals."""

import numpy as np
import pytest

from kexue_keras.analysis.quadrature import RULES, quadrature

pytestmark = pytest.mark.once


def error(rule, steps):
    """Of the integral of the derivative of tanh(x) + x^3."""
    points, weights = quadrature(rule, steps)
    derivative = 1 / np.cosh(points) ** 2 + 3 * points**2
    return abs(np.sum(weights * derivative) - (np.tanh(1) + 1))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_weights_sum_to_one_and_points_lie_within(rule, steps):
    points, weights = quadrature(rule, steps)
    assert points.shape == weights.shape == (steps,) and abs(weights.sum() - 1) < 1e-14
    assert (points > 0).all() and (points <= 1).all() and (np.diff(points) > 0).all()


def test_the_right_sum_falls_with_the_steps_and_the_midpoint_rule_with_their_square():
    rights = [error("right", n) for n in (20, 200, 2000)]
    middles = [error("midpoint", n) for n in (20, 200, 2000)]
    np.testing.assert_allclose(np.divide(rights[:-1], rights[1:]), 10, rtol=0.1)
    np.testing.assert_allclose(np.divide(middles[:-1], middles[1:]), 100, rtol=0.05)
    assert middles[0] < rights[0] / 50 and error("gauss_legendre", 20) < 1e-12


def test_gauss_legendre_is_exact_for_polynomials():
    points, weights = quadrature("gauss_legendre", 5)
    for degree in range(10):
        assert abs(np.sum(weights * points**degree) - 1 / (degree + 1)) < 1e-14


def test_other_rules_are_callables_and_what_cannot_be_is_refused():
    points, weights = quadrature(lambda n: ([0.0, 1.0], [0.5, 0.5]), 2)
    assert points.tolist() == [0, 1] and weights.dtype == "float64"
    for rule, steps, message in (
        ("midpoint", 0, "`steps` must be an integer of at least 1. Received: 0"),
        ("midpoint", 2.0, "`steps` must be an integer"),
        ("simpson", 2, "`rule` must be one of gauss_legendre, midpoint, right. Received"),
        (lambda n: ([0.0], [0.5, 0.5]), 2, "as many points as weights"),
    ):
        with pytest.raises(ValueError, match=message):
            quadrature(rule, steps)
