"""The best threshold, against all thresholds that make a difference."""

import numpy as np
import pytest
from scipy import optimize

from kexue_keras import metrics
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
@pytest.mark.parametrize("seed", range(20))
def test_the_comparison_comes_out_the_same_in_the_scores_dtype(dtype, seed):
    generator = np.random.default_rng(seed)
    y_true = generator.integers(0, 2, 30)
    scores = (y_true + generator.normal(size=30)).round(2).astype(dtype)
    if seed < 3:
        y_true[:] = 1
    threshold, accuracy = optimal_threshold(y_true, scores)
    assert accuracy == pytest.approx(best_accuracy(y_true, scores), abs=1e-12)
    assert np.mean((scores > threshold) == (y_true == 1)) == pytest.approx(accuracy, abs=1e-12)


def test_all_positive_and_neighbours_in_float32():
    scores = np.array([0.3, 0.5], "float32")
    threshold, accuracy = optimal_threshold([1, 1], scores)
    assert accuracy == 1 and (scores > threshold).all()
    one = np.float32(1)
    following = np.nextafter(one, np.float32(2))
    scores = np.array([following, np.nextafter(following, np.float32(2))])
    threshold, accuracy = optimal_threshold([0, 1], scores)
    assert accuracy == 1 and (scores > threshold).tolist() == [False, True]


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


def right(y_true, probabilities, weights):
    return np.mean(np.argmax(probabilities * weights, axis=1) == y_true)


@pytest.mark.parametrize("seed", range(6))
def test_thresholds_of_two_classes_are_the_best(seed):
    rng = np.random.default_rng(seed)
    y_true = rng.integers(0, 2, 60)
    probabilities = rng.dirichlet([1.0, 2.0], 60)
    weights, accuracy = metrics.optimal_thresholds(y_true, probabilities)
    ratio = np.log(probabilities[:, 1] / probabilities[:, 0])
    assert accuracy == metrics.optimal_threshold(y_true, ratio)[1]
    assert right(y_true, probabilities, weights) == accuracy


@pytest.mark.parametrize("seed", range(4))
def test_thresholds_of_three_classes_beat_a_fine_grid(seed):
    rng = np.random.default_rng(seed)
    y_true = rng.integers(0, 3, 40)
    probabilities = rng.dirichlet([3.0, 1.0, 1.0], 40)
    probabilities[np.arange(40), y_true] += 0.2
    weights, accuracy = metrics.optimal_thresholds(y_true, probabilities)
    assert weights.shape == (3,) and np.isclose(weights.sum(), 1)
    assert right(y_true, probabilities, weights) == accuracy
    steps = np.exp(np.linspace(-3, 3, 121))
    grid = max(right(y_true, probabilities, [1, a, b]) for a in steps for b in steps)
    assert accuracy >= grid - 1 / 40
    assert accuracy >= right(y_true, probabilities, np.ones(3))
    for j in range(3):
        for factor in steps:
            changed = weights * np.where(np.arange(3) == j, factor, 1)
            assert right(y_true, probabilities, changed) <= accuracy


@pytest.mark.parametrize("seed", range(4))
def test_as_good_as_the_published_search(seed):
    """The article minimises the errors with Powell's method, from a threshold in the middle."""
    rng = np.random.default_rng(seed)
    y_true = rng.integers(0, 2, 80)
    scores = np.tanh(y_true - 0.5 + rng.normal(size=80))
    found = optimize.minimize(
        lambda t: -np.mean((scores > t) == y_true), 0.0, method="Powell", tol=1e-10
    )
    assert metrics.optimal_threshold(y_true, scores)[1] >= -found.fun
    y_true = rng.integers(0, 3, 80)
    probabilities = rng.dirichlet([1.0, 1.0, 1.0], 80)
    probabilities[np.arange(80), y_true] += 0.3
    logs = np.log(probabilities)
    found = optimize.minimize(
        lambda shift: -np.mean(np.argmax(logs + np.tanh(shift), axis=1) == y_true),
        np.zeros(3),
        method="Powell",
        tol=1e-10,
    )
    assert metrics.optimal_thresholds(y_true, probabilities)[1] >= -found.fun


def test_thresholds_with_zeros_and_what_they_refuse():
    weights, accuracy = metrics.optimal_thresholds([0, 1], [[1.0, 0.0], [0.9, 0.1]])
    assert accuracy == 1 and np.isfinite(weights).all()
    for y_true, probabilities, message in (
        ([], np.zeros((0, 2)), "must have shapes"),
        ([0, 1], [[0.5, 0.5]], "must have shapes"),
        ([0], [[1.0]], "must have shapes"),
        ([2], [[0.5, 0.5]], "`y_true` must be below 2, the classes. Received: 2"),
        ([0], [[np.nan, 0.5]], "`probabilities` must be finite"),
        ([0], [[-0.1, 0.5]], "`probabilities` must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            metrics.optimal_thresholds(y_true, probabilities)


def test_a_probability_of_zero_cannot_be_raised_by_any_weight():
    y_true, probabilities = [1, 1, 0], [[1.0, 0.0], [1.0, 0.0], [0.6, 0.4]]
    weights, accuracy = metrics.optimal_thresholds(y_true, probabilities)
    assert accuracy == pytest.approx(1 / 3)
    assert np.mean(np.argmax(probabilities * weights, axis=1) == y_true) == accuracy


@pytest.mark.parametrize("seed", range(30))
def test_thresholds_of_votes_are_never_worse_than_argmax_and_best_for_two_classes(seed):
    generator = np.random.default_rng(seed)
    classes = 2 + seed % 3
    votes = generator.integers(0, 4, (25, classes)) / 4
    y_true = generator.integers(0, classes, 25)
    weights, accuracy = metrics.optimal_thresholds(y_true, votes)
    assert np.mean(np.argmax(votes * weights, axis=1) == y_true) == accuracy
    assert accuracy >= np.mean(np.argmax(votes, axis=1) == y_true)
    if classes == 2:
        ratios = np.r_[np.exp(np.linspace(-4, 4, 4001))]
        grid = [np.mean(np.argmax(votes * [1, r], axis=1) == y_true) for r in ratios]
        assert accuracy >= max(grid)
