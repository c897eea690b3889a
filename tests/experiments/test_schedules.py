"""The two learning rates, against their formulas."""

import math

import pytest

from kexue_keras.experiments.schedules import cosine, linear


def test_a_straight_line_to_zero():
    rate = linear(0.1, 8)
    for step in range(10):
        assert float(rate(step)) == pytest.approx(0.1 * max(0, 1 - step / 8), abs=1e-8)


@pytest.mark.parametrize("steps, rise, warmup", [(100, 20, 5), (100, 10, 10), (7, 20, 1)])
def test_a_rise_then_a_cosine(steps, rise, warmup):
    rate, rest = cosine(0.1, steps, rise), max(1, steps - warmup)
    for step in range(steps + 3):
        done = min(1, max(0, step - warmup) / rest)
        expected = step / warmup if step < warmup else (1 + math.cos(math.pi * done)) / 2
        assert float(rate(step)) == pytest.approx(0.1 * expected, abs=1e-8)
