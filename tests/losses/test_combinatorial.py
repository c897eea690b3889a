"""The softmax over sets of labels, against the enumeration of all sets and Newton's identities."""

from itertools import combinations

import keras
import numpy as np
import pytest
from contract import compile, to_numpy

from kexue_keras import backend
from kexue_keras.losses import combinatorial_softmax_crossentropy as loss_of

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(5, 7)).astype("float32")


def sets(scores, sizes):
    """log of the sum over all sets of these sizes of exp(sum of scores)."""
    s = np.asarray(scores, "float64")
    return np.log(sum(np.exp(s[list(c)].sum()) for k in sizes for c in combinations(range(7), k)))


def labels(k):
    rows = np.zeros((5, 7), "int32")
    for row in rows:
        row[RNG.choice(7, k, replace=False)] = 1
    return rows


@pytest.mark.parametrize("k", [1, 2, 3, 6, 7])
def test_equals_the_enumeration_of_all_sets(k):
    y_true = labels(k)
    expected = [sets(s, [k]) - s[t == 1].sum() for s, t in zip(SCORES, y_true, strict=True)]
    found = to_numpy(loss_of(y_true, SCORES, k))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_at_most_k(k):
    y_true = labels(k)
    y_true[0] = 0
    sizes = range(k + 1)
    expected = [sets(s, sizes) - s[t == 1].sum() for s, t in zip(SCORES, y_true, strict=True)]
    found = to_numpy(loss_of(y_true, SCORES, k, at_most=True))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_equals_newton_s_identities():
    """k Z_k = sum_i (-1)^(i-1) Z_(k-i) S_i with the power sums S_i = sum exp(i s)."""
    for s in SCORES.astype("float64"):
        z = [1.0]
        for k in range(1, 5):
            terms = [(-1) ** (i - 1) * z[k - i] * np.exp(i * s).sum() for i in range(1, k + 1)]
            z.append(sum(terms) / k)
            y_true = np.zeros((1, 7), "int32")
            y_true[0, :k] = 1
            found = float(loss_of(y_true, s[None].astype("float32"), k)[0])
            assert found == pytest.approx(np.log(z[k]) - s[:k].sum(), rel=1e-5, abs=1e-5)


def test_one_label_is_softmax_crossentropy():
    y_true = labels(1)
    expected = keras.ops.categorical_crossentropy(y_true * 1.0, SCORES, from_logits=True)
    np.testing.assert_allclose(to_numpy(loss_of(y_true, SCORES, 1)), to_numpy(expected), rtol=1e-5)


def test_gradient_is_the_probability_of_a_class_minus_its_label():
    variable, y_true, k = keras.Variable(SCORES), labels(3), 3
    objective = backend.value_and_grad(
        lambda: keras.ops.sum(loss_of(y_true, variable.value, k)), [variable]
    )
    _, (gradient,) = compile(objective, [variable])()
    for s, t, found in zip(SCORES.astype("float64"), y_true, to_numpy(gradient), strict=True):
        weights = {c: np.exp(s[list(c)].sum()) for c in combinations(range(7), k)}
        probability = [sum(w for c, w in weights.items() if i in c) for i in range(7)]
        expected = np.array(probability) / sum(weights.values()) - t
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("at_most", [False, True])
def test_extreme_and_masked_scores_stay_finite(at_most):
    scores = np.array([[1e4, -1e4, 0, 3, -np.inf], [-1e4] * 5, [1e4] * 5], "float32")
    y_true = np.array([[1, 0, 0, 1, 0], [1, 1, 0, 0, 0], [0, 1, 0, 0, 1]])
    variable = keras.Variable(scores)
    objective = backend.value_and_grad(
        lambda: keras.ops.sum(loss_of(y_true, variable.value, 2, at_most)), [variable]
    )
    value, (gradient,) = compile(objective, [variable])()
    assert np.isfinite(to_numpy(value)) and np.isfinite(to_numpy(gradient)).all()
    assert to_numpy(gradient)[0, 4] == 0
    without = float(loss_of(y_true[:1, :4], scores[:1, :4], 2, at_most)[0])
    assert float(loss_of(y_true[:1], scores[:1], 2, at_most)[0]) == pytest.approx(without)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_scores_are_computed_in_float32(dtype):
    scores = keras.ops.cast(SCORES, dtype)
    y_true = labels(2)
    found = loss_of(y_true, scores, 2)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    rounded = to_numpy(keras.ops.cast(scores, "float32"))
    expected = [sets(s, [2]) - s[t == 1].sum() for s, t in zip(rounded, y_true, strict=True)]
    np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-5, atol=1e-5)


def test_refused_arguments():
    with pytest.raises(ValueError, match="`y_true` must have the shape of `y_pred`. Received"):
        loss_of(np.zeros((2, 3)), np.zeros((2, 4)), 1)
    for k in (0, 5, 1.0):
        with pytest.raises(ValueError, match="`k` must be an integer from 1 to 4"):
            loss_of(np.zeros((2, 4)), np.zeros((2, 4)), k)
