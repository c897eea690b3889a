"""What is special to a CRF; see also test_label_paths.py."""

import itertools

import keras
import numpy as np
import pytest
from contract import compile
from keras import ops
from layers.test_label_lattice import LABELS, LENGTH, LENGTHS, LOGITS, MASK, TRANS, crf_score, numpy

from kexue_keras import backend, layers
from kexue_keras.layers.label_lattice import log_partition


def test_log_partition_is_that_of_all_paths():
    mask = np.ones(LOGITS.shape[:2], bool)
    found = layers.label_paths.log_partition(
        ops.convert_to_tensor(LOGITS), ops.convert_to_tensor(mask), ops.convert_to_tensor(TRANS)
    )
    for logits, value in zip(LOGITS.astype("float64"), numpy(found), strict=True):
        paths = itertools.product(range(LABELS), repeat=LENGTH)
        scores = [crf_score(logits, TRANS, path) for path in paths]
        assert value == pytest.approx(np.log(np.exp(scores).sum()), rel=1e-5)


def test_transitions_start_at_zero_and_learn_faster_with_a_multiplier():
    layer = layers.ConditionalRandomField(lr_multiplier=10)
    layer(LOGITS)
    assert not numpy(layer.trans).any()
    layer.weights[0].assign(np.ones((LABELS, LABELS)))
    assert (numpy(layer.trans) == 10).all()


@pytest.mark.parametrize("accelerator", [False, True])
@pytest.mark.parametrize("spread", [1.0, 55.0, 70.0, 1e4])
def test_transitions_of_any_spread_sum_as_by_enumeration(spread, accelerator, monkeypatch):
    """Narrow ones are summed by matrix products on a CPU, where wide ones would underflow."""
    monkeypatch.setattr(backend, "on_accelerator", lambda: accelerator)
    trans = spread * np.array([[0, -1, 0], [0, 0, -1], [-1, 0, -0.5]])
    logits = LOGITS.copy()
    logits[0, 0] = [0, -100, -100]  # the best label has no way to go on but to the worst
    variables = [keras.Variable(x.astype("float32")) for x in (logits, trans)]
    objective = backend.value_and_grad(
        lambda: ops.sum(log_partition(variables[0].value, MASK, variables[1].value)), variables
    )
    value, (by_logits, by_trans) = compile(objective, variables)()
    expected, marginals, pairs = 0.0, np.zeros(logits.shape), np.zeros((3, 3))
    for row, n in enumerate(LENGTHS):
        f = logits[row, :n].astype("float64")
        paths = list(itertools.product(range(3), repeat=n))
        scores = np.array([crf_score(f, trans, p) for p in paths])
        total = scores.max() + np.log(np.exp(scores - scores.max()).sum())
        expected += total
        for path, p in zip(paths, np.exp(scores - total), strict=True):
            for k, label in enumerate(path):
                marginals[row, k, label] += p
            for a, b in itertools.pairwise(path):
                pairs[a, b] += p
    assert float(value) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(numpy(by_logits), marginals, atol=2e-5)
    np.testing.assert_allclose(numpy(by_trans), pairs, atol=5e-5)
