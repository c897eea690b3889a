"""Dividing samples at random."""

import pytest

from kexue_keras.datasets import split


def test_split():
    samples = list(range(1000))
    first, second, third = split(samples, (0.8, 0.1, 0.1), seed=3)
    assert [len(first), len(second), len(third)] == [800, 100, 100]
    assert sorted(first + second + third) == samples and first == sorted(first)
    assert split(samples, (800, 100, 100), seed=3) == (first, second, third)
    assert split(samples, (0.8, 0.1, 0.1), seed=4)[0] != first
    assert split(samples, (5, 0), seed=3)[1] == [] and split([], (0.5, 0.5)) == ([], [])


def test_split_keeps_groups_together_in_any_order():
    samples = [(i % 40, i) for i in range(1000)]
    parts = split(samples, (0.5, 0.5), key=lambda sample: sample[0])
    groups = [{group for group, _ in part} for part in parts]
    assert not groups[0] & groups[1] and sum(map(len, parts)) == 1000
    again = split(samples[::-1], (0.5, 0.5), key=lambda sample: sample[0])
    assert [set(part) for part in again] == [set(part) for part in parts]


@pytest.mark.parametrize("parts", [(), (-1,), (True,), (0.5, 1), (0.7, 0.7), (8, 8)])
def test_split_refuses(parts):
    with pytest.raises(ValueError, match="`parts` must .* Received: "):
        split(range(10), parts)
