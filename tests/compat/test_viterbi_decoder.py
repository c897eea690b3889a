"""The best path, against all paths."""

import itertools

import numpy as np
import pytest

from kexue_keras.compat.viterbi_decoder import ViterbiDecoder

pytestmark = pytest.mark.once


@pytest.mark.parametrize("starts, ends", [(None, None), ([0], [2]), ([1, 2], [0])])
@pytest.mark.parametrize("length", [1, 2, 5])
def test_the_best_of_all_paths(starts, ends, length):
    random = np.random.default_rng(length)
    trans, nodes = random.normal(size=(3, 3)), random.normal(size=(length, 3))
    before = nodes.copy()

    def total(path):
        inside = starts is None or path[0] in starts
        inside &= ends is None or path[-1] in ends
        steps = sum(trans[a, b] for a, b in itertools.pairwise(path))
        return sum(nodes[i, y] for i, y in enumerate(path)) + steps if inside else -np.inf

    best = max(itertools.product(range(3), repeat=length), key=total)
    found = ViterbiDecoder(trans, starts, ends).decode(nodes)
    if np.isfinite(total(best)):
        assert tuple(found) == best
    np.testing.assert_array_equal(nodes, before)
