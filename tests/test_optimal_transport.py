"""The least cost of transport, of costs of any scale."""

from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest

from kexue_keras import similarity

pytestmark = pytest.mark.once


def least_cost(cost):
    """Of equal masses, exactly: the best of all assignments."""
    rows, n = [[Fraction(c) for c in row] for row in cost.tolist()], len(cost)
    return min(sum(rows[i][j] for i, j in enumerate(way)) for way in permutations(range(n)))


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        ([[0, 0, 0], [0, 0, 0], [1, 1e18, 0]], 0.0),
        ([[0, 0], [1e-16, 2e-16]], 1e-16),
        ([[0, 1e-300], [1e-300, 3e-300]], 2e-300),
        ([[1e300, 1], [2, 1e300]], 3.0),
        ([[-1e-20, 0], [0, 0]], -1e-20),
    ],
)
def test_costs_of_any_scale_and_of_a_wide_range(cost, expected):
    masses = [1] * len(cost)
    found = similarity.wasserstein_distance(masses, masses, cost)
    assert found == pytest.approx(expected, rel=1e-9, abs=0)


@pytest.mark.parametrize("kind", ["wide", "tiny", "two scales", "zeros"])
def test_a_cost_that_is_not_the_least_is_never_returned(kind):
    """Where the solver cannot tell, an error says so."""
    rng, told = np.random.default_rng(0), 0
    for _ in range(60):
        n = rng.integers(2, 6)
        cost = {
            "wide": lambda n: 10 ** rng.uniform(-20, 20, (n, n)),
            "tiny": lambda n: rng.uniform(0, 1, (n, n)) * 1e-15,
            "two scales": lambda n: rng.uniform(0, 1, (n, n)) * rng.choice([1, 1e18], (n, n)),
            "zeros": lambda n: rng.integers(0, 2, (n, n)) * 10 ** rng.uniform(-10, 18, (n, n)),
        }[kind](n)
        try:
            found = similarity.wasserstein_distance([1] * n, [1] * n, cost)
        except ArithmeticError as error:
            assert "so wide a range" in str(error)
            continue
        told += 1
        assert abs(Fraction(found) - least_cost(cost)) <= least_cost(cost) / 10**8
    assert told == 60 if kind == "tiny" else told > 30
