"""The automaton stays exact when its hash is as bad as can be."""

import random

import numpy as np
import pytest

from kexue_keras.decoding.prefix_tree.automaton import Minimiser
from kexue_keras.decoding.prefix_tree.register import Register


def accepted(meta, arrays):
    """All sequences of the automaton's arrays, depth first."""
    first, starts = meta["first_branching"], arrays["branch_start"]
    final = np.unpackbits(arrays["final_bits"], bitorder="little")

    def walk(state, path):
        if final[state]:
            yield path
        low, high = max(state - 1, 0), state
        if state >= first:
            low, high = starts[state - first], starts[state - first + 1]
        for edge in range(low, high):
            token = int(arrays["edge_token"][edge])
            yield from walk(int(arrays["edge_target"][edge]), (*path, token))

    return list(walk(meta["root"], ()))


def automaton(keys, parts, hash_mask):
    minimiser = Minimiser(Register(hash_mask))
    size = -(-len(keys) // parts)
    for start in range(0, len(keys), size):
        part = keys[start : start + size]
        lengths = np.array([len(key) for key in part])
        tokens = np.zeros((len(part), lengths.max()), np.uint16)
        for row, key in zip(tokens, part, strict=True):
            row[: len(key)] = key
        minimiser.add(tokens, lengths)
    return minimiser.finish()


@pytest.mark.parametrize("hash_mask", [0, 1, 7, 255, (1 << 64) - 1])
@pytest.mark.parametrize("parts", [1, 3, 40])
def test_language_is_exact_under_hash_collisions(hash_mask, parts):
    generator = random.Random(parts)
    keys = sorted(
        {tuple(generator.choices(range(4), k=generator.randint(0, 6))) for _ in range(300)}
    )
    meta, arrays = automaton(keys, parts, hash_mask)
    assert accepted(meta, arrays) == keys
    assert meta["num_keys"] == len(keys)
    best = automaton(keys, 1, (1 << 64) - 1)[0]["num_states"]
    assert meta["num_states"] >= best
    if hash_mask == (1 << 64) - 1:
        assert meta["num_states"] == best


def test_register_grows():
    generator = np.random.default_rng(0)
    keys = np.unique(generator.integers(0, 60_000, (20_000, 3)), axis=0)
    minimiser = Minimiser(Register())
    minimiser.add(keys.astype(np.uint16), np.full(len(keys), 3))
    meta, arrays = minimiser.finish()
    assert meta["num_keys"] == len(keys)
    assert accepted(meta, arrays) == list(map(tuple, keys.tolist()))


def test_no_key():
    meta, arrays = Minimiser(Register()).finish()
    assert meta["num_keys"] == 0 and accepted(meta, arrays) == []
