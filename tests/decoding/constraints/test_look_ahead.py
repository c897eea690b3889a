"""A tree that prefers what will still be found in the question, against brute force."""

import numpy as np
import pytest

from kexue_keras.decoding import PrefixTree
from kexue_keras.decoding.constraints.look_ahead import LookAhead
from kexue_keras.metrics.subsequences import longest_common_subsequence

pytestmark = pytest.mark.once

SEP = 3


def brute_force_gain(tree, question, prefix, token):
    def length(key):
        return longest_common_subsequence(question, key)

    return max(length(key) for key in tree.keys((*prefix, token))) - length(prefix)


def test_look_ahead_equals_brute_force():
    rng = np.random.default_rng(0)
    parts = [rng.integers(4, 12, rng.integers(1, 5)).tolist() for _ in range(60)]
    keys = [[9, SEP, *part, SEP, SEP] for part in parts]
    tree = PrefixTree(keys)
    question = rng.integers(4, 14, 9).tolist()
    look = LookAhead(tree, [2, *question, SEP], SEP)
    for prefix in {tuple(key[:n]) for key in keys for n in range(2, len(key))}:
        tokens = tree.next_tokens(prefix)
        p = rng.dirichlet(np.ones(len(tokens))) * 0.7
        found = look.rescore(prefix, tokens, np.log(p))
        gain = np.array([brute_force_gain(tree, question, prefix, t) for t in tokens.tolist()])
        expected = p ** (1 / (gain + 1)) if len(tokens) > 1 else p
        np.testing.assert_allclose(np.exp(found), expected / expected.sum() * p.sum(), rtol=1e-9)


def test_look_ahead_without_gain_or_before_the_subject_changes_nothing():
    tree = PrefixTree([[5, SEP, 6, SEP], [5, SEP, 7, SEP], [8, SEP]])
    logs = np.log([0.2, 0.3])
    look = LookAhead(tree, [2, 20, 21, SEP], SEP)
    np.testing.assert_allclose(look.rescore((5, SEP), np.array([6, 7]), logs), logs, rtol=1e-12)
    look = LookAhead(tree, [2, 7, SEP], SEP)
    np.testing.assert_array_equal(look.rescore((), np.array([5, 8]), logs), logs)
    changed = look.rescore((5, SEP), np.array([6, 7]), logs)
    assert changed[1] > logs[1] and changed[0] < logs[0]
