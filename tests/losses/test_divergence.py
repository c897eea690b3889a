"""Divergences against SciPy-free sums, against each other, and where they end."""

import keras
import numpy as np
import pytest
from contract import check_config, check_serialization, compile, to_numpy

from kexue_keras import backend, losses

RNG = np.random.default_rng(0)
P, Q = (RNG.normal(size=(4, 3, 5)).astype("float32") for _ in range(2))
KINDS = [losses.CategoricalDivergence, losses.BinaryDivergence]


def softmax(x):
    x = np.exp(x.astype("float64") - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def expected(kind, p, q):
    if kind is losses.CategoricalDivergence:
        p, q = softmax(p), softmax(q)
        return (p * np.log(p / q)).sum(-1)
    p, q = (1 / (1 + np.exp(-x.astype("float64"))) for x in (p, q))
    return (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean(-1)


@pytest.mark.parametrize("kind", KINDS)
def test_of_logits_and_of_probabilities(kind):
    value = expected(kind, P, Q)
    found = to_numpy(kind(from_logits=True, reduction=None)(P, Q))
    np.testing.assert_allclose(found, value, rtol=1e-4)
    if kind is losses.CategoricalDivergence:
        p, q = softmax(P), softmax(Q)
    else:
        p, q = 1 / (1 + np.exp(-P)), 1 / (1 + np.exp(-Q))
    np.testing.assert_allclose(float(kind()(p, q)), value.mean(), rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_zero_and_flat_at_itself_and_finite_for_certain_predictions(kind):
    loss = kind(from_logits=True)
    variable = keras.Variable(P)
    function = backend.value_and_grad(lambda: loss(P, variable.value), [variable])
    value, (gradient,) = compile(function, [variable])()
    assert abs(float(value)) < 1e-6 and np.abs(to_numpy(gradient)).max() < 1e-6
    certain = np.array([[1.0, 0.0], [0.0, 1.0]], "float32")
    assert np.isfinite(float(kind()(certain, certain[::-1])))
    assert float(kind()(certain, certain)) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(float(loss(P * 1e4, Q * 1e4)))


@pytest.mark.parametrize("kind", KINDS)
def test_configs(kind):
    check_config(kind(from_logits=True))
    assert check_serialization(kind(from_logits=True)).from_logits
