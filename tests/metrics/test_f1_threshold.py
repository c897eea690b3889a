"""The best threshold by micro F1, against all thresholds."""

import numpy as np
import pytest

from kexue_keras.metrics.f1_threshold import optimal_f1_threshold


@pytest.mark.parametrize("seed", range(5))
def test_best_threshold_against_all(seed):
    rng = np.random.default_rng(seed)
    truth = rng.random((12, 3)) < 0.4
    scores = np.round(rng.normal(size=(12, 3)) + truth, 1).astype("float32")
    threshold, value = optimal_f1_threshold(truth, scores)

    def f1(t):
        found = scores > t
        return 2 * (truth & found).sum() / (truth.sum() + found.sum())

    assert value == pytest.approx(f1(threshold))
    assert value == pytest.approx(max(f1(t) for t in [scores.min() - 1, *np.unique(scores)[:-1]]))


def test_best_threshold_at_the_edges():
    scores = np.array([[0.5, 0.5], [0.5, 0.25]], "float32")
    threshold, value = optimal_f1_threshold(np.array([[1, 1], [1, 1]], bool), scores)
    assert threshold < 0.25 and value == 1.0
    threshold, value = optimal_f1_threshold(np.array([[1, 1], [1, 0]], bool), scores)
    assert threshold == 0.375 and value == 1.0
    threshold, value = optimal_f1_threshold(np.array([[True]]), np.array([[0.3]], "float32"))
    assert value == 1.0 and (np.array([[0.3]], "float32") > threshold).all()
