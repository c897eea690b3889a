"""Measures of samples, against loops over all pairs and where the value is known."""

import numpy as np
import pytest

from kexue_keras import metrics
from kexue_keras.metrics import samples


def two_kinds(seed, n=30, m=24, d=5, rounded=False):
    generator = np.random.default_rng(seed)
    x, y = generator.normal(size=(n, d)), generator.normal(0.3, 1.2, size=(m, d))
    return (x.round(), y.round()) if rounded else (x, y)


def distance(x, y):
    return np.sqrt(((x - y) ** 2).sum())


def accuracy_by_loops(real, generated):
    shares = []
    for own, other in ((real, generated), (generated, real)):
        found = []
        for i, x in enumerate(own):
            pool = [(distance(x, y), 1) for j, y in enumerate(own) if j != i]
            pool += [(distance(x, y), 0) for y in other]
            least = min(d for d, _ in pool)
            found.append(np.mean([kind for d, kind in pool if d == least]))
        shares.append(np.mean(found))
    return np.mean(shares)


def mmd_by_loops(real, generated, kernel):
    def mean(xs, ys, same):
        pairs = [(i, j) for i in range(len(xs)) for j in range(len(ys)) if not (same and i == j)]
        return np.mean([kernel(xs[i], ys[j]) for i, j in pairs])

    within = mean(real, real, True) + mean(generated, generated, True)
    return within - 2 * mean(real, generated, False)


def precision_by_loops(real, generated, k):
    radii = [sorted(distance(x, y) for y in real)[k] for x in real]
    inside = [any(distance(x, y) <= r for x, r in zip(real, radii, strict=True)) for y in generated]
    return np.mean(inside)


@pytest.fixture(params=[None, 50], ids=["one block", "many blocks"])
def blocks(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(samples, "_BLOCK", request.param)


@pytest.mark.parametrize("rounded", [False, True])  # rounded: many ties and equal samples
@pytest.mark.parametrize("seed", range(3))
def test_all_equal_the_loops(seed, rounded, blocks):
    d = 2 if rounded else 5
    real, generated = two_kinds(seed, d=d, rounded=rounded)
    found = metrics.nearest_neighbour_accuracy(real, generated)
    assert found == pytest.approx(accuracy_by_loops(real, generated), abs=1e-12)
    found = metrics.kernel_mmd(real, generated)
    expected = mmd_by_loops(real, generated, lambda x, y: (x @ y / d + 1) ** 3)
    assert found == pytest.approx(expected, rel=1e-9)
    width = np.median([distance(x, y) for i, x in enumerate(real) for y in real[:i]])
    found = metrics.kernel_mmd(real, generated, kernel="gaussian")
    gaussian = lambda x, y: np.exp(-(distance(x, y) ** 2) / (2 * width**2))  # noqa: E731
    assert found == pytest.approx(mmd_by_loops(real, generated, gaussian), abs=1e-12)
    for k in (1, 3):
        found = metrics.precision_and_recall(real, generated, k)
        assert found[0] == precision_by_loops(real, generated, k)
        assert found[1] == precision_by_loops(generated, real, k)


def test_one_distribution_and_two():
    generator = np.random.default_rng(0)
    real, same, far = generator.normal(size=(3, 600, 3)) + np.array([0, 0, 50])[:, None, None]
    assert metrics.nearest_neighbour_accuracy(real, same) == pytest.approx(0.5, abs=0.05)
    assert metrics.nearest_neighbour_accuracy(real, far) == 1
    assert abs(metrics.kernel_mmd(real, same, "gaussian")) < 3e-3
    assert metrics.kernel_mmd(real, far, "gaussian") > 0.4
    assert abs(metrics.kernel_mmd(real, same)) < 0.1 < metrics.kernel_mmd(real, 2 * same)
    assert min(metrics.precision_and_recall(real, same)) > 0.9
    assert metrics.precision_and_recall(real, far) == (0, 0)


def test_sizes_that_differ_leave_the_best_accuracy_at_half():
    generator = np.random.default_rng(1)
    real, same = generator.normal(size=(1200, 2)), generator.normal(size=(200, 2))
    assert metrics.nearest_neighbour_accuracy(real, same) == pytest.approx(0.5, abs=0.06)


def test_the_discrepancy_has_no_bias():
    """Over many pairs of small sets its mean is 0; with the diagonal it would be far above."""
    generator = np.random.default_rng(2)
    for kernel in ("polynomial", "gaussian"):
        x = generator.normal(size=(2000, 2, 8, 2))
        found = [metrics.kernel_mmd(*pair, kernel) for pair in x]
        assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))


def test_the_polynomial_kernel_sees_a_mean_in_closed_form():
    """In one dimension of points `a` and `b` alone, repeated: k(a, a) + k(b, b) - 2 k(a, b)."""
    found = metrics.kernel_mmd(np.full((3, 1), 2.0), np.full((4, 1), -1.0))
    assert found == pytest.approx(5**3 + 2**3 - 2 * (-1) ** 3)


def test_copies_one_mode_and_the_whole():
    real = np.random.default_rng(3).normal(size=(80, 4))
    assert metrics.nearest_neighbour_accuracy(real, real) == 0
    assert metrics.precision_and_recall(real, real) == (1, 1)
    mode = np.concatenate([real[:4]] * 20)
    precision, recall = metrics.precision_and_recall(real, mode)
    assert precision == 1 and recall == 4 / 80
    real[40:] += 100
    precision, recall = metrics.precision_and_recall(real, real[:40] + 0.01)
    assert precision == 1 and recall == 0.5


def test_equal_samples_far_from_the_origin_are_at_distance_0():
    real = np.random.default_rng(4).normal(size=(20, 3)) * 1e-3 + 1e4
    assert metrics.nearest_neighbour_accuracy(real, real) == 0
    expected = accuracy_by_loops(real[:10], real[10:])
    assert metrics.nearest_neighbour_accuracy(real[:10], real[10:]) == pytest.approx(expected)


def test_thousands_of_samples_make_no_tensor_of_three_dimensions():
    """2,000 x 4,000 x 784 numbers would be 50 GB."""
    x, y = np.random.default_rng(5).normal(size=(2, 2000, 784)).astype("float32")
    assert metrics.nearest_neighbour_accuracy(x, y) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    "real,generated,match",
    [
        ([[1.0]], [[1.0], [2.0]], r"`real` must be samples \(n, d\), n >= 2.*shapes \(1, 1\)"),
        ([[1.0], [2.0]], [1.0, 2.0], r"`generated` must be .* and \(2,\)"),
        (np.ones((3, 2)), np.ones((3, 4)), r"`generated` must be .*d the same.* and \(3, 4\)"),
        ([[1.0], [np.nan]], [[1.0], [2.0]], "`real` must be finite. Received: infinities or NaN"),
    ],
)
def test_errors_of_samples(real, generated, match):
    for measure in (metrics.nearest_neighbour_accuracy, metrics.kernel_mmd):
        with pytest.raises(ValueError, match=match):
            measure(real, generated)


def test_errors_of_options():
    x = np.ones((3, 2))
    with pytest.raises(ValueError, match="`kernel` must be .* Received: 'cubic'"):
        metrics.kernel_mmd(x, x, kernel="cubic")
    with pytest.raises(ValueError, match="`real` must have a median distance that is not 0"):
        metrics.kernel_mmd(x, x, kernel="gaussian")
    with pytest.raises(ValueError, match="`k` must be a positive integer. Received: 0"):
        metrics.precision_and_recall(x, x, k=0)
    with pytest.raises(ValueError, match=r"`real` must be samples \(n, d\), n >= 4"):
        metrics.precision_and_recall(x, x)
