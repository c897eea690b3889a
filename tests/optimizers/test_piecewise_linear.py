"""The schedule: its values, inside an optimizer, saved and read."""

import keras
import numpy as np
import pytest
from contract import check_config, check_serialization
from optimizer_runs import steps, variables_of

from kexue_keras.optimizers import PiecewiseLinear


@pytest.mark.parametrize(
    "schedule, expected",
    [
        ({2: 1, 4: 0.5}, [0, 0.5, 1, 0.75, 0.5, 0.5]),
        ({0: 1}, [1] * 6),
        ({3: 2}, [0, 2 / 3, 4 / 3, 2, 2, 2]),
        ({4: 0, 0: 1, 1: 3}, [1, 3, 2, 1, 0, 0]),
    ],
)
def test_values(schedule, expected):
    rate = PiecewiseLinear(0.1, schedule)
    found = [float(rate(step)) for step in range(6)]
    np.testing.assert_allclose(found, 0.1 * np.array(expected), rtol=1e-6, atol=1e-9)
    assert float(rate(10**6)) == pytest.approx(0.1 * expected[-1], rel=1e-6, abs=1e-9)


def test_between_points_numpy_interpolates():
    points = {0: 0.3, 100: 1.0, 1700: 0.25, 2000: 0.0}
    rate = PiecewiseLinear(2.0, points)
    at = np.random.default_rng(0).integers(0, 2500, 40)
    expected = 2 * np.interp(at, list(points), list(points.values()))
    np.testing.assert_allclose([float(rate(int(t))) for t in at], expected, rtol=1e-5, atol=1e-6)


def test_inside_an_optimizer():
    schedule = PiecewiseLinear(0.1, {2: 1, 4: 0.5})
    optimizer = keras.optimizers.SGD(schedule)
    path = steps(optimizer, variables_of([0.0]), [[np.array(1.0)]] * 5)
    moves = -np.diff([0, *(values[0] for values in path)])
    np.testing.assert_allclose(moves, [0, 0.05, 0.1, 0.075, 0.05], atol=1e-6)


def test_saved_and_read():
    schedule = PiecewiseLinear(0.1, {20: 1, 4: 0.5})
    check_config(schedule)
    assert check_serialization(schedule).schedule == {4: 0.5, 20: 1.0}
    assert check_serialization(keras.optimizers.Adam(schedule)).learning_rate == 0


@pytest.mark.parametrize("schedule", [{}, {-1: 1}])
def test_what_is_refused(schedule):
    with pytest.raises(ValueError, match="`schedule` must have a factor.*Received: {"):
        PiecewiseLinear(0.1, schedule)
