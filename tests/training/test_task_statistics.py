"""Means of weights and cosines: which batches count."""

import keras
import numpy as np
import pytest
from contract import check_serialization

from kexue_keras.training.task_statistics import TaskStatistics


def results(statistics):
    return {name: float(value) for name, value in statistics.result().items()}


def test_pairs_with_a_zero_gradient_and_batches_that_are_not_finite_do_not_count():
    statistics = TaskStatistics()
    assert results(statistics) == {}
    statistics.names = ["a", "b", "c"]
    statistics.update_state([1.0, 2.0, 3.0], np.array([[4.0, 3, -4], [3, 9, 0], [-4, 0, 16]]))
    statistics.update_state([3.0, 4.0, 0.0], np.array([[1.0, -1, 0], [-1, 1, 0], [0, 0, 0]]))
    expected = {"weight_a": 2, "weight_b": 3, "weight_c": 1.5}
    expected |= {"cosine_a_b": -0.25, "cosine_a_c": -0.5, "cosine_b_c": 0}
    assert results(statistics) == pytest.approx(expected)
    statistics.update_state([9.0, 9.0, 9.0], np.eye(3), finite=False)
    statistics.update_state([2.0, 3.0, np.nan], np.full((3, 3), np.inf))
    assert results(statistics) == pytest.approx(expected)
    statistics.reset_state()
    assert set(results(statistics).values()) == {0.0}


def test_registered():
    again = check_serialization(TaskStatistics(name="x"))
    assert isinstance(again, keras.metrics.Metric) and again.name == "x"
