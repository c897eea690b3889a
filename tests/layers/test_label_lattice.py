"""Sums and best paths against enumeration of all paths, in plain NumPy."""

import itertools

import keras
import numpy as np
import pytest
from contract import compile
from keras import ops
from label_paths import (
    LABELS,
    LENGTH,
    LENGTHS,
    LOGITS,
    MASK,
    TRANS,
    Y,
    crf_score,
    log_softmax,
    numpy,
)

from kexue_keras import backend
from kexue_keras.layers.label_lattice import (
    best_path,
    has_gap,
    log_partition,
    mask_logits,
    only_visible,
    path_score,
    split_mask,
    stepwise_crossentropy,
)
from kexue_keras.ops import LOWEST


def test_log_partition_is_that_of_all_paths():
    mask = np.ones(LOGITS.shape[:2], bool)
    found = log_partition(
        ops.convert_to_tensor(LOGITS), ops.convert_to_tensor(mask), ops.convert_to_tensor(TRANS)
    )
    for logits, value in zip(LOGITS.astype("float64"), numpy(found), strict=True):
        paths = itertools.product(range(LABELS), repeat=LENGTH)
        scores = [crf_score(logits, TRANS, path) for path in paths]
        assert value == pytest.approx(np.log(np.exp(scores).sum()), rel=1e-5)


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


def test_a_mask_leaves_marks_in_the_logits():
    logits = LOGITS.copy()
    logits[0, 0, 1] = -np.inf
    mask = MASK.copy()
    mask[:, 0] = False  # the first position always counts
    marked = mask_logits(ops.cast(logits, "float32"), mask)
    expected = np.maximum(np.where(MASK[..., None], logits, LOWEST), LOWEST)
    np.testing.assert_array_equal(numpy(marked), expected.astype("float32"))
    visible, found = (numpy(x) for x in split_mask(marked))
    np.testing.assert_array_equal(visible, MASK)
    np.testing.assert_array_equal(found, np.where(MASK[..., None], expected, 0).astype("float32"))
    np.testing.assert_array_equal(numpy(mask_logits(logits, None)), np.maximum(logits, LOWEST))


def test_best_path_and_its_score_are_those_of_enumeration():
    def pair_scores(after):
        return TRANS[None] + after[:, None, :]

    one_hot = np.eye(LABELS, dtype="float32")
    inputs = (ops.convert_to_tensor(LOGITS[:, 1:].swapaxes(0, 1)),)
    ends = np.array([0.5, -3, 1], "float32")
    found = numpy(best_path(ops.convert_to_tensor(LOGITS[:, 0]), pair_scores, inputs, MASK, ends))
    labels = ops.convert_to_tensor(one_hot[found] * MASK[..., None])
    scores = numpy(path_score(LOGITS * MASK[..., None], MASK, TRANS, labels))
    for f, n, path, score in zip(LOGITS, LENGTHS, found, scores, strict=True):
        paths = list(itertools.product(range(LABELS), repeat=n))
        best = max(paths, key=lambda p: crf_score(f, TRANS, p) + ends[p[-1]])
        assert path[:n].tolist() == list(best) and not path[n:].any()
        assert score == pytest.approx(crf_score(f, TRANS, best), rel=1e-5)


def test_stepwise_crossentropy_is_summed_over_visible_steps():
    labels = only_visible(ops.convert_to_tensor(np.eye(LABELS)[Y]), ops.convert_to_tensor(MASK))
    found = numpy(stepwise_crossentropy(labels, LOGITS))
    for f, y, n, cost in zip(LOGITS, Y, LENGTHS, found, strict=True):
        steps = zip(f[:n], y[:n], strict=True)
        assert cost == pytest.approx(-sum(log_softmax(row)[k] for row, k in steps), rel=1e-5)


def test_gaps():
    mask = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1], [1, 0, 0]], bool)
    assert numpy(has_gap(ops.convert_to_tensor(mask))).tolist() == [False, True, True, False, False]
