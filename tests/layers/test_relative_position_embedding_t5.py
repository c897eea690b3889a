"""T5's ranges of distances."""

import math

import numpy as np
import pytest
from contract import assert_close, check_layer, compute, perturb, to_numpy

from kexue_keras.layers import RelativePositionEmbeddingT5

QUERIES = np.array([[0, 3, 40, 300], [7, 8, 9, 10]])
KEYS = np.array([[0, 1, 2, 17, 44, 170], [0, 5, 9, 33, 34, 35]])


def range_of(distance, ranges, bidirectional, max_distance=128):
    """The formula, for one distance."""
    start = 0
    if bidirectional:
        ranges //= 2
        start = ranges if distance < 0 else 0
        distance = abs(distance)
    distance, exact = max(distance, 0), ranges // 2
    if distance < exact:
        return start + distance
    grown = math.log2(distance / exact) / math.log2(max_distance / exact) * (ranges - exact)
    return start + min(exact + math.floor(grown + 1e-9), ranges - 1)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_equals_the_formula(bidirectional):
    layer = RelativePositionEmbeddingT5(32, 3, bidirectional=bidirectional)
    compute(layer, QUERIES, KEYS)
    perturb(layer)
    table = to_numpy(layer.embeddings)
    expected = np.zeros((2, 3, 4, 6))
    for b, i, j in np.ndindex(2, 4, 6):
        place = range_of(int(QUERIES[b, i] - KEYS[b, j]), 32, bidirectional)
        expected[b, :, i, j] = table[place]
    assert_close(compute(layer, QUERIES, KEYS), expected)
    one = compute(layer, QUERIES[:1], KEYS[:1])
    assert_close(one[0], expected[0])
    of_states = compute(layer, QUERIES, np.zeros((2, 6, 5), "float32"))
    assert_close(of_states, compute(layer, QUERIES, np.arange(6)[None]))


def test_known_ranges():
    """Of 32 ranges: 8 exact ones on either side, and the last from distance 91 on."""
    layer = RelativePositionEmbeddingT5(32, 1)
    layer.build((1, 1), (1, 1))
    layer.embeddings.assign(np.arange(32.0)[:, None])
    keys = np.array([[100, 93, 92, 84, 68, 36, 8, 0, 101, 108, 227]])
    found = to_numpy(layer(np.array([[100]]), keys))[0, 0, 0]
    assert found.tolist() == [0, 7, 8, 10, 12, 14, 15, 15, 17, 24, 31]


@pytest.mark.parametrize("bidirectional", [True, False])
def test_contract(bidirectional, tmp_path):
    layer = RelativePositionEmbeddingT5(8, 2, max_distance=20, bidirectional=bidirectional)
    check_layer(layer, (QUERIES.astype("int32"), KEYS.astype("int32")), tmp_path)


def test_bad_arguments():
    with pytest.raises(ValueError, match="`input_dim` must be an even number.*Received: 5"):
        RelativePositionEmbeddingT5(5, 2)
    with pytest.raises(ValueError, match="`max_distance` must be greater than 8. Received: 8"):
        RelativePositionEmbeddingT5(32, 2, max_distance=8)
