"""The best threshold, against all thresholds that make a difference."""

import numpy as np
import pytest

from kexue_keras.metrics import optimal_threshold


def best_accuracy(y_true, scores):
    values = np.sort(scores.astype("float64"))
    candidates = np.r_[values[0] - 1, (values[1:] + values[:-1]) / 2, values[-1] + 1]
    return max(np.mean((scores > t) == (y_true == 1)) for t in candidates)


@pytest.mark.parametrize("seed", range(60))
def test_accuracy_is_the_best_of_all_midpoints(seed):
    generator = np.random.default_rng(seed)
    n = int(generator.integers(1, 40))
    y_true = generator.integers(0, 2, n)
    scores = y_true * generator.uniform(-1, 2) + generator.normal(size=n)
    if seed % 2:
        scores = scores.round(1)
    threshold, accuracy = optimal_threshold(y_true, scores)
    assert type(threshold) is float and type(accuracy) is float
    assert accuracy == pytest.approx(best_accuracy(y_true, scores), abs=1e-12)
    assert np.mean((scores > threshold) == (y_true == 1)) == pytest.approx(accuracy, abs=1e-12)


@pytest.mark.parametrize("label", [0, 1])
def test_one_label_only(label):
    scores = np.array([-1e4, 0.0, 1e4])
    threshold, accuracy = optimal_threshold([label] * 3, scores)
    assert accuracy == 1 and ((scores > threshold) == label).all()
    assert np.isfinite(threshold)


def test_the_widest_of_equally_good_gaps():
    assert optimal_threshold([0, 1, 0, 1], [0, 1, 2, 5]) == (3.5, 0.75)


def test_neighbouring_floats_and_the_range_of_floats():
    low, high = 1.0, np.nextafter(1.0, 2)
    assert optimal_threshold([0, 1], [low, high]) == (low, 1.0)
    largest = np.finfo("float64").max
    assert optimal_threshold([0, 1], [-largest, largest]) == (0.0, 1.0)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_dtypes(dtype):
    scores = np.array([0.25, 0.5, 0.75], dtype)
    assert optimal_threshold(np.array([False, False, True]), scores) == (0.625, 1.0)


def test_a_large_sample_takes_no_time():
    generator = np.random.default_rng(0)
    y_true = generator.integers(0, 2, 200_000)
    _, accuracy = optimal_threshold(y_true, y_true + generator.normal(0, 0.5, 200_000))
    assert accuracy == pytest.approx(0.8413, abs=5e-3)


@pytest.mark.parametrize(
    "y_true,scores,match",
    [
        ([0, 1], [0.5], r"must have the same shape .*y_true.shape=\(2,\), scores.shape=\(1,\)"),
        ([], [], r"n > 0.*scores.shape=\(0,\)"),
        ([0, 2], [0.1, 0.2], "`y_true` must be 0 or 1. Received: 2"),
        ([0, 1], [0.1, np.nan], "`scores` must be finite. Received: nan"),
    ],
)
def test_errors(y_true, scores, match):
    with pytest.raises(ValueError, match=match):
        optimal_threshold(y_true, scores)
