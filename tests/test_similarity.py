"""Transport distances, against SciPy's solvers of linear programs and assignments."""

import builtins
import os

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment, linprog

from kexue_keras import optimal_transport, similarity

# POT imports every framework it finds, for tensors; here are arrays only
for framework in ("PYTORCH", "JAX", "TENSORFLOW"):
    os.environ.setdefault(f"POT_BACKEND_DISABLE_{framework}", "1")

RNG = np.random.default_rng(0)
DISTANCES = {
    "word_mover": similarity.word_mover_distance,
    "word_rotator": similarity.word_rotator_distance,
}


def sentence(n=None, d=5):
    return RNG.normal(size=(n or RNG.integers(1, 8), d)) * RNG.uniform(0.2, 3)


PAIRS = [(sentence(), sentence()) for _ in range(50)]


def linear_program(p, q, cost):
    """The definition, without the last equality, which follows from the others."""
    n, m = cost.shape
    rows = np.kron(np.eye(n), np.ones(m))
    columns = np.kron(np.ones(n), np.eye(m))
    found = linprog(cost.ravel(), A_eq=np.r_[rows, columns][:-1], b_eq=np.r_[p, q][:-1])
    return found.fun


def reference(name, x, y):
    if name == "word_mover":
        cost = np.sqrt(((x[:, None] - y) ** 2).sum(-1))
        return linear_program(np.full(len(x), 1 / len(x)), np.full(len(y), 1 / len(y)), cost)
    a, b = np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
    return linear_program(a / a.sum(), b / b.sum(), 1 - x @ y.T / a[:, None] / b)


@pytest.mark.parametrize("name", DISTANCES)
def test_equals_the_linear_program_is_symmetric_and_above_its_bounds(name):
    for x, y in PAIRS:
        found = DISTANCES[name](x, y)
        assert found == pytest.approx(reference(name, x, y), abs=1e-9)
        assert found == pytest.approx(DISTANCES[name](y, x), abs=1e-9)
        relaxed = similarity.relaxed_lower_bound(x, y, name)
        assert similarity.centroid_lower_bound(x, y, name) <= found + 1e-9
        assert 0 <= relaxed <= found + 1e-9


def test_centroid_bounds_are_the_articles():
    x, y = PAIRS[0]
    expected = np.linalg.norm(x.mean(0) - y.mean(0))
    assert similarity.centroid_lower_bound(x, y) == pytest.approx(expected)
    means = [z.sum(0) / np.linalg.norm(z, axis=1).sum() for z in (x, y)]
    expected = np.sum((means[0] - means[1]) ** 2) / 2
    assert similarity.centroid_lower_bound(x, y, "word_rotator") == pytest.approx(expected)


@pytest.mark.parametrize("name", DISTANCES)
def test_sentences_of_the_same_words_have_distance_0(name):
    x = sentence(6)
    for y in (x, RNG.permutation(x), np.r_[x, x]):
        assert DISTANCES[name](x, y) == pytest.approx(0, abs=1e-12)


def test_equally_long_sentences_are_an_assignment():
    x, y = sentence(7), sentence(7)
    cost = np.sqrt(((x[:, None] - y) ** 2).sum(-1))
    expected = cost[linear_sum_assignment(cost)].mean()
    assert similarity.word_mover_distance(x, y) == pytest.approx(expected)


def test_word_mover_uses_the_norm_not_the_root_mean_square():
    assert similarity.word_mover_distance(np.zeros((1, 16)), np.ones((1, 16))) == 4


def test_word_rotator_ignores_scale_and_common_rotation():
    x, y = PAIRS[1]
    rotation = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    expected = similarity.word_rotator_distance(x, y)
    for a, b in ((1e4 * x, y), (x, 1e-4 * y), (x @ rotation, y @ rotation), (1e300 * x, y)):
        assert similarity.word_rotator_distance(a, b) == pytest.approx(expected)
    assert similarity.word_rotator_similarity(x, y) == pytest.approx(1 - expected)
    assert similarity.word_rotator_distance(x[:1], -x[:1]) == pytest.approx(2)
    assert similarity.word_rotator_distance(np.r_[x, np.zeros((1, 5))], y) == pytest.approx(
        expected
    )


def test_wasserstein_distance_of_any_masses():
    p, q, cost = RNG.uniform(size=4), RNG.uniform(size=6), RNG.uniform(size=(4, 6))
    p[1] = 0
    p, q = 3 * p / p.sum(), 3 * q / q.sum()
    expected = linear_program(p, q, cost)
    assert similarity.wasserstein_distance(p, q, cost) == pytest.approx(expected)
    low = similarity.wasserstein_distance(*(x.astype("float32") for x in (p, q, cost)))
    assert low == pytest.approx(expected, rel=1e-5)


def test_many_pairs():
    xs, ys = zip(*PAIRS[:5], strict=True)
    for function, one in (
        (similarity.word_mover_distances, similarity.word_mover_distance),
        (similarity.word_rotator_distances, similarity.word_rotator_distance),
    ):
        expected = [one(x, y) for x, y in PAIRS[:5]]
        np.testing.assert_array_equal(function(xs, ys), expected)
        assert function([], []).shape == (0,)


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("k", [1, 7, 200])
def test_nearest_is_exact_with_ties_by_index(name, k):
    corpus = [sentence() + RNG.normal(size=5) for _ in range(50)]
    corpus += [corpus[3], corpus[20][::-1], corpus[7]]
    query = corpus[20] + 0.01
    distances = np.array([DISTANCES[name](query, x) for x in corpus])
    indices, found = similarity.nearest(query, corpus, k, name)
    assert indices.dtype == "int64" and len(indices) == min(k, len(corpus))
    np.testing.assert_allclose(found, np.sort(distances)[:k], atol=1e-12)
    np.testing.assert_array_equal(found, distances[indices])
    assert set(indices[:2]) <= {20, 51}


def test_nearest_solves_few_problems(monkeypatch):
    corpus = [sentence(6) + 3 * RNG.normal(size=5) for _ in range(200)]
    solved = []
    solve = similarity.least_cost
    monkeypatch.setattr(
        similarity, "least_cost", lambda *problem: solved.append(1) or solve(*problem)
    )
    similarity.nearest(corpus[0] + 0.1, corpus, 5)
    assert 5 <= len(solved) < 50


def test_nearest_in_nothing():
    indices, distances = similarity.nearest(sentence(), [], 3)
    assert len(indices) == len(distances) == 0


@pytest.mark.parametrize(
    "call,match",
    [
        (lambda: similarity.wasserstein_distance([1], [2], [[0]]), "equal sums.*1.0 and 2.0"),
        (lambda: similarity.wasserstein_distance([1e-9], [2e-9], [[1]]), "equal sums.*e-09"),
        (lambda: similarity.wasserstein_distance([-1], [1], [[0]]), r"`p` must be .*\[-1.0\]"),
        (lambda: similarity.wasserstein_distance([1], [], [[0]]), r"`q` must be .*\[\]"),
        (lambda: similarity.wasserstein_distance([1], [1], [[0, 1]]), r"\(1, 1\).* \(1, 2\)"),
        (lambda: similarity.wasserstein_distance([1], [1], [[np.nan]]), "infinities or NaN"),
        (lambda: similarity.word_mover_distance(np.ones((2, 3)), np.ones((2, 4))), "`y` must be"),
        (lambda: similarity.word_mover_distance(np.ones(3), np.ones((2, 3))), "`x` must be"),
        (lambda: similarity.word_mover_distance([[np.inf]], [[1]]), "`x` must be finite"),
        (lambda: similarity.word_rotator_distance([[0, 0]], [[1, 1]]), "only zeros"),
        (lambda: similarity.word_mover_distances([], [[[1]]]), "equally long.*0 and 1"),
        (lambda: similarity.nearest([[1]], [[[1]]], k=0), "`k` must be .*Received: 0"),
        (lambda: similarity.nearest([[1]], [[[1]], [[1, 2]]]), r"`corpus\[1\]` must be"),
        (lambda: similarity.nearest([[1]], [], distance="cosine"), "`distance`.*cosine"),
    ],
)
def test_errors(call, match):
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.parametrize("missing,package", [("ot", "POT"), ("scipy", "SciPy")])
def test_a_missing_package_is_named(monkeypatch, missing, package):
    def import_module(name):
        if name.split(".")[0] == missing:
            raise ImportError(name)
        return builtins.__import__(name, fromlist=["_"])

    monkeypatch.setattr(optimal_transport.importlib, "import_module", import_module)
    with pytest.raises(ImportError, match=rf"needs the package {package}: .*\[similarity\]"):
        similarity.word_rotator_distance([[1, 2]], [[3, 4]])


def test_word_distances_where_a_matrix_product_cancels():
    base = RNG.normal(size=300) * 1e4
    x, y = base + RNG.normal(size=(6, 300)) * 1e-3, base + RNG.normal(size=(6, 300)) * 1e-3
    cost = np.linalg.norm(x[:, None] - y[None], axis=-1)
    rows, columns = linear_sum_assignment(cost)
    expected = cost[rows, columns].mean()
    assert similarity.word_mover_distance(x, y) == pytest.approx(expected, rel=1e-9)
    assert similarity.word_mover_distance([[1e200, 0]], [[-1e200, 0]]) == pytest.approx(2e200)
    with np.errstate(over="ignore", invalid="ignore"):
        with pytest.raises(ValueError, match="must be finite. Received: overflow"):
            similarity.word_mover_distance([[1.7e308, 0]], [[-1.7e308, 0]])


@pytest.mark.parametrize("scale", [1e-14, 1e-200, 1e-300, 1e200])
def test_word_vectors_of_any_scale(scale):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    expected = similarity.word_mover_distance(x, y)
    assert similarity.word_mover_distance(x * scale, y * scale) / scale == pytest.approx(expected)
    ((i,), (found,)) = similarity.nearest(x * scale, [y * scale], k=1)
    assert i == 0 and found / scale == pytest.approx(expected)
