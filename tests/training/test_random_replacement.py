"""Random replacement: what may change, how often, and what it is good for."""

import numpy as np
import pytest
from references.robustness import replacement_expectation, replacement_faults, two_step_beam

from kexue_keras.training import random_replacement

pytestmark = pytest.mark.once

RNG = np.random.default_rng(0)
TOKENS = RNG.integers(5, 40, (2000, 12))
SEGMENTS = (np.arange(12) >= RNG.integers(2, 10, (2000, 1))).astype("int32")


@pytest.mark.parametrize(("rate", "keep"), [(0.3, 0.5), (0.9, 0.1), (1.0, 0.0), (0.0, 0.0)])
def test_only_targets_change_by_their_own_tokens_as_often_as_expected(rate, keep):
    before = TOKENS.copy()
    found = random_replacement(TOKENS, SEGMENTS, rate, keep, seed=1)
    np.testing.assert_array_equal(TOKENS, before)
    assert found.dtype == TOKENS.dtype and found.shape == TOKENS.shape
    assert replacement_faults(before, found, SEGMENTS) == (0, 0)
    mean, deviation = replacement_expectation(TOKENS, SEGMENTS, rate, keep)
    share = (found != before)[SEGMENTS == 1].mean()
    assert abs(share - mean) <= 4 * deviation


def test_a_text_is_left_alone_as_often_as_asked():
    found = random_replacement(TOKENS, SEGMENTS, rate=1.0, keep_probability=0.7, seed=3)
    long = SEGMENTS.sum(1) >= 8  # these change if they are not left alone
    changed = (found != TOKENS).any(1)[long]
    assert abs(changed.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / long.sum())


def test_the_article_s_example_of_exposure_bias():
    first = {"a": 0.6, "c": 0.4}
    second = {"a": {"b": 0.55, "d": 0.45}, "c": {"b": 0.1, "d": 0.9}}
    assert two_step_beam(first, second, 1) == (("a", "b"), pytest.approx(0.33))
    assert two_step_beam(first, second, 2) == (("c", "d"), pytest.approx(0.36))


def test_single_texts_lists_and_seeds():
    ids, segments = [2, 7, 3, 8, 9, 3], [0, 0, 0, 1, 1, 1]
    found = [random_replacement(ids, segments, 0.8, 0.0, seed=seed) for seed in (4, 4, 5)]
    np.testing.assert_array_equal(found[0], found[1])
    assert found[0].shape == (6,) and (found[0] != found[2]).any()
    rng = np.random.default_rng(4)
    np.testing.assert_array_equal(random_replacement(ids, segments, 0.8, 0.0, rng), found[0])
    assert random_replacement(ids, [0] * 6, 1.0, 0.0).tolist() == ids


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [0]), "must have one shape"),
        (([[[1]]], [[[1]]]), r"Received: \(1, 1, 1\)"),
        (([1, 2], [0, 2]), r"`segment_ids` must be 0 or 1. Received: \[0 2\]"),
        (([1, 2], [0, 1], 1.5), "`rate` must be from 0 to 1. Received: 1.5"),
        (([1, 2], [0, 1], 0.5, -1), "`keep_probability` must be from 0 to 1. Received: -1"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        random_replacement(*arguments)
