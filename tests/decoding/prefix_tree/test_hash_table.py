"""States by their hashes."""

import numpy as np
import pytest

from kexue_keras.decoding.prefix_tree.growing import Growing
from kexue_keras.decoding.prefix_tree.hash_table import HashTable


@pytest.mark.parametrize("spread", [1, 4096, 1 << 50])
def test_finds_what_was_inserted_and_nothing_else(spread):
    """Hashes that share all their low bits, so that slots are always taken, and others."""
    hashes = np.arange(1, 9001, dtype=np.uint64)
    hashes = hashes * np.uint64(spread) if spread < 1 << 50 else hashes << np.uint64(50)
    hashes = np.unique(hashes)[: 2000 if spread > 1 else None]
    column = Growing("u8")
    table = HashTable(column)
    for start in range(0, len(hashes), 700):
        new = hashes[start : start + 700]
        found, slots = table.look_up(new)
        assert (found == -1).all()
        states = column.size + np.arange(len(new))
        column.extend(new)
        table.insert(states, slots)
        found, _ = table.look_up(hashes[: start + len(new)])
        assert found.tolist() == list(range(column.size))
