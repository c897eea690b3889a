"""States by their hashes: open addressing with linear probing, many at a time."""

import numpy as np

from kexue_keras.decoding.prefix_tree.growing import Growing

_EMPTY = np.uint32(0xFFFFFFFF)
_REHASHED_AT_ONCE = 1 << 20


class HashTable:
    """Finds the state that was inserted with a hash.

    `_slots`, uint32, holds a state's number or `_EMPTY`; its length is a power of two, and at most
    three fifths of it are used. A state stands in the first free slot from `hash % length` on.

    Args:
        hashes: the hash of every state, uint64, by number; it may grow.
    """

    def __init__(self, hashes: Growing):
        self._hashes = hashes
        self._slots, self._used = np.full(1 << 12, _EMPTY), 0

    def look_up(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The state of each hash, or -1, and the slot where the search ended: int64 `(n,)` both."""
        mask = len(self._slots) - 1
        slots = (hashes & np.uint64(mask)).astype(np.int64)
        found = np.full(len(hashes), -1, np.int64)
        pending = np.arange(len(hashes))
        while len(pending):
            states = self._slots[slots[pending]]
            taken = states != _EMPTY
            pending, states = pending[taken], states[taken]
            hit = self._hashes.values[states] == hashes[pending]
            found[pending[hit]] = states[hit]
            pending = pending[~hit]
            slots[pending] = (slots[pending] + 1) & mask
        return found, slots

    def insert(self, states: np.ndarray, slots: np.ndarray) -> None:
        """Inserts states of different hashes that `look_up` did not find.

        Args:
            states: their numbers, integers `(n,)`.
            slots: where `look_up` ended, int64 `(n,)`.
        """
        self._used += len(states)
        if self._used * 5 > len(self._slots) * 3:
            self._grow(states)
        else:
            self._place(states, slots)

    def _grow(self, states: np.ndarray) -> None:
        """A larger table of the old states and the new ones."""
        size = len(self._slots)
        registered = np.sort(np.concatenate([self._slots[self._slots != _EMPTY], states]))
        while self._used * 5 > size * 3:
            size *= 2
        self._slots = np.full(size, _EMPTY)
        for start in range(0, len(registered), _REHASHED_AT_ONCE):
            states = registered[start : start + _REHASHED_AT_ONCE]
            slots = (self._hashes.values[states] & np.uint64(size - 1)).astype(np.int64)
            self._place(states, slots)

    def _place(self, states: np.ndarray, slots: np.ndarray) -> None:
        """Puts states into the first free slots; of several that want one, one gets it."""
        mask = len(self._slots) - 1
        while len(states):
            free = self._slots[slots] == _EMPTY
            self._slots[slots[free]] = states[free]
            lost = self._slots[slots] != states
            states, slots = states[lost], (slots[lost] + 1) & mask
