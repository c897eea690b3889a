"""Longest common subsequences against the classical table."""

import random

import pytest

from kexue_keras.metrics.subsequences import CommonSubsequence, longest_common_subsequence


def table(a, b):
    row = [0] * (len(b) + 1)
    for x in a:
        diagonal = 0
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], diagonal + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]


def test_equals_the_classical_table():
    rng = random.Random(0)
    for _ in range(2000):
        letters = "abcdefgh"[: rng.randint(1, 8)]
        a, b = (rng.choices(letters, k=rng.randint(0, 90)) for _ in range(2))
        assert longest_common_subsequence(a, b) == table(a, b)


def test_states_are_shared_by_prefixes():
    rng = random.Random(1)
    question = [rng.randint(0, 9) for _ in range(30)]
    reference = CommonSubsequence(question)
    prefix = [rng.randint(0, 9) for _ in range(10)]
    state = reference.extend(reference.start, prefix)
    assert reference.length(state) == table(question, prefix)
    for _ in range(100):
        rest = [rng.randint(0, 12) for _ in range(rng.randint(0, 10))]
        found = reference.length(reference.extend(state, rest))
        assert found == table(question, prefix + rest)


@pytest.mark.parametrize("a, b, expected", [("", "", 0), ("abc", "", 0), ("abc", "abc", 3)])
def test_ends(a, b, expected):
    assert longest_common_subsequence(a, b) == expected
