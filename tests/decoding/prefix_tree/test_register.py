"""Nodes become states, equal ones the same state."""

import numpy as np
import pytest

from kexue_keras.decoding.prefix_tree.register import Register


def intern(register, rows):
    """States of nodes `(final, {token: target})`."""
    edges = [edge for _, edges in rows for edge in sorted(edges.items())]
    tokens, targets = np.array(edges or np.zeros((0, 2), int)).T
    starts = np.cumsum([0] + [len(edges) for _, edges in rows])
    final = np.array([final for final, _ in rows])
    return register.intern(final, starts, tokens.astype("u2"), targets.astype("i8")).tolist()


@pytest.mark.parametrize("hash_mask", [0, (1 << 64) - 1])
def test_equal_nodes_are_one_state(hash_mask):
    register = Register(hash_mask)
    leaf = intern(register, [(True, {}), (True, {})])
    assert leaf == [0, 0]
    rows = [(False, {3: 0}), (True, {3: 0}), (False, {3: 0, 4: 0}), (False, {3: 0})]
    states = intern(register, rows)
    again = intern(register, rows[::-1])
    different = [tuple(sorted(edges.items())) + (final,) for final, edges in rows]
    for found in (states, again[::-1]):
        for a, x in zip(found, different, strict=True):
            for b, y in zip(found, different, strict=True):
                assert a != b or x == y
    if hash_mask:
        assert states == again[::-1] == [states[0], states[1], states[2], states[0]]
        assert len(set(states)) == 3 and 0 not in states


def test_counts_of_keys():
    register = Register()
    (one,) = intern(register, [(False, {1: 0})])
    (two,) = intern(register, [(True, {1: 0})])
    (root,) = intern(register, [(True, {5: one, 6: two, 7: 0})])
    assert register.count.values[[0, one, two, root]].tolist() == [1, 1, 2, 5]


def test_arrays():
    """The keys (), 5 1, 6, 6 1, 7: one state without edges, two with one, one with three."""
    register = Register()
    one, two = intern(register, [(False, {1: 0}), (True, {1: 0})])
    (root,) = intern(register, [(True, {5: one, 6: two, 7: 0})])
    meta, arrays = register.arrays(root)
    assert meta == {
        "root": 3, "num_keys": 5, "num_states": 4, "max_degree": 3, "first_branching": 3,
    }  # fmt: skip
    unary = {one: min(one, two) == one, two: min(one, two) == two}
    numbers = {one: 1 if unary[one] else 2, two: 1 if unary[two] else 2}
    assert arrays["edge_token"].tolist() == [1, 1, 5, 6, 7]
    assert arrays["edge_target"].tolist() == [0, 0, numbers[one], numbers[two], 0]
    assert arrays["branch_start"].tolist() == [2, 5]
    # before 6 come () and 5 1; before 7 also 6 and 6 1
    assert arrays["branch_rank"].tolist() == [2, 4]
    final = np.unpackbits(arrays["final_bits"], count=4, bitorder="little").tolist()
    assert final == [1, int(numbers[two] == 1), int(numbers[two] == 2), 1]
    assert {name: array.dtype.str for name, array in arrays.items()} == {
        "edge_token": "<u2", "edge_target": "<i4", "branch_start": "<u4",
        "branch_rank": "<u4", "final_bits": "|u1",
    }  # fmt: skip
