"""Choices of Python objects: selection, rescoring, errors."""

import numpy as np
import pytest

from kexue_keras.decoding.constraints.host import HostConstraint
from kexue_keras.ops import LOWEST


class Fixed:
    def __init__(self, allowed, rescored=None):
        self.allowed = allowed
        if rescored is not None:
            self.rescore = lambda prefix, tokens, log_probabilities: rescored

    def next_tokens(self, prefix):
        return self.allowed


LOGITS = np.array([[[0.0, 3.0, 1.0, 2.0]]], "float32")
TOKENS = np.zeros((1, 1, 4), "int32")
ALIVE = np.zeros((1, 1), "float32")


def choices(rule, scores=ALIVE, topk=2):
    return HostConstraint(rule, 1).choices(LOGITS, TOKENS, scores, 0, end_id=0, topk=topk)


def test_the_best_allowed_tokens():
    values, tokens, ending, together = choices(Fixed([0, 2, 3]))
    assert tokens[0, 0].tolist() == [3, 2, 0]
    assert values[0, 0].tolist() == [2.0, 1.0, 0.0]
    assert ending[0, 0] == 0.0
    assert together[0, 0] == pytest.approx(np.log(np.exp([0.0, 1.0, 2.0]).sum()))


def test_repeated_tokens_count_once():
    for once, twice in zip(choices(Fixed([3, 1])), choices(Fixed([3, 3, 1, 3])), strict=True):
        np.testing.assert_array_equal(once, twice)
    values, tokens, *_ = choices(Fixed([2, 2, 1], rescored=[-5.0, -0.5]))
    assert tokens[0, 0, :2].tolist() == [1, 2] and values[0, 0, 0] > values[0, 0, 1]


def test_nothing_allowed_and_dead_hypotheses():
    for found in (choices(Fixed([])), choices(Fixed([1]), np.full((1, 1), LOWEST))):
        assert all((array <= LOWEST / 2).all() for array in (found[0], found[2]))


def test_rescored_values_are_log_probabilities():
    normalizer = np.log(np.exp(LOGITS[0, 0].astype("float64")).sum())
    values, tokens, _, together = choices(Fixed([1, 2], rescored=[-5.0, -0.5]))
    assert tokens[0, 0, :2].tolist() == [2, 1]
    np.testing.assert_allclose(values[0, 0, :2] - normalizer, [-0.5, -5.0], rtol=1e-6)
    expected = np.logaddexp(-0.5, -5.0) + normalizer
    assert together[0, 0] == pytest.approx(expected)


@pytest.mark.parametrize(
    "rule, message",
    [
        (Fixed([9]), "`constraint.next_tokens` must return ids below 4. Received: 9 to 9"),
        (Fixed([1, 2], rescored=[0.0]), "`constraint.rescore` must return 2 log probabilities"),
        (Fixed([1], rescored=[np.nan]), "`constraint.rescore` must return 1 log probabilities"),
        (object(), "`constraint` must have a method `next_tokens`"),
        ([Fixed([1])] * 2, "`constraint` must be one object or a list of 1, one per sample"),
    ],
)
def test_errors(rule, message):
    with pytest.raises(ValueError, match=message):
        choices(rule)
