"""Nodes as arrays: edges, equality and hashes."""

import numpy as np
import pytest

from kexue_keras.decoding.prefix_tree.nodes import Nodes, ragged

# (final, ((token, target), ...)) of every node
SOME = [
    (False, ((1, 5), (2, 6))),
    (True, ((1, 5), (2, 6))),
    (False, ((1, 5),)),
    (False, ((2, 6),)),
    (False, ((1, 5), (2, 7))),
    (False, ((1, 5), (3, 6))),
    (False, ((1, 5), (2, 6), (9, 0))),
    (False, ((1, 5), (2, 6))),
]


def nodes(rows):
    degree = np.array([len(edges) for _, edges in rows])
    flat = np.array([edge for _, edges in rows for edge in edges])
    final = np.array([final for final, _ in rows])
    return Nodes(final, np.cumsum(degree) - degree, degree, flat[:, 0].astype("u2"), flat[:, 1])


@pytest.mark.parametrize("lengths", [[], [1], [1, 1, 1], [2, 1, 5], [3]])
def test_ragged(lengths):
    starts = 10 * np.arange(len(lengths)) + 4
    expected = [s + i for s, length in zip(starts, lengths, strict=True) for i in range(length)]
    assert ragged(starts, np.array(lengths, int)).tolist() == expected


def test_take_keeps_the_edges():
    some = nodes(SOME).take(np.array([6, 2]))
    assert some.token[some.edges()].tolist() == [1, 2, 9, 1]
    assert some.target[some.edges()].tolist() == [5, 6, 0, 5]


def test_equal_compares_final_degree_tokens_and_targets():
    some = nodes(SOME)
    for i, row in enumerate(SOME):
        other = nodes(SOME).take(np.full(len(SOME), i))
        assert some.equal(other).tolist() == [row == mine for mine in SOME]
    nobody = np.zeros(0, int)
    assert some.take(nobody).equal(some.take(nobody)).tolist() == []


def test_hashes_tell_different_nodes_apart():
    hashes = nodes(SOME).hashes().tolist()
    assert hashes[0] == hashes[-1] and len(set(hashes)) == len(SOME) - 1
    # one edge each takes a way of its own
    single = nodes([(False, ((1, 5),)), (True, ((1, 5),)), (False, ((5, 1),))])
    assert len(set(single.hashes().tolist())) == 3
    assert single.hashes()[0] == nodes(SOME).hashes()[2]
