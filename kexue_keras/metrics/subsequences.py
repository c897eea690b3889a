"""Longest common subsequences, many of them against one text, by bit-parallel arithmetic."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence


class CommonSubsequence:
    """Length of the longest common subsequence of one sequence with others, item by item.

    The state of a sequence read so far is one integer: a row of the classical table, in which bit j
    is 0 where the length grows from column j to j + 1. Reading an item costs four operations on an
    integer of `len(reference)` bits, and sequences with a common prefix share its states.

    Args:
        reference: sequence of hashable items.

    Example:

    >>> reference = CommonSubsequence("abcde")
    >>> state = reference.extend(reference.start, "xbd")
    >>> reference.length(state), reference.length(reference.extend(state, "e"))
    (2, 3)

    Reference: Hyyrö 2004, Bit-parallel LCS-length computation revisited.
    """

    def __init__(self, reference: Sequence[Hashable]):
        self._places: dict[Hashable, int] = {}
        for position, item in enumerate(reference):
            self._places[item] = self._places.get(item, 0) | 1 << position
        self._all = (1 << len(reference)) - 1
        self.start = self._all

    def extend(self, state: int, items: Iterable[Hashable]) -> int:
        """The state after reading `items` from `state`."""
        places, everything = self._places, self._all
        for item in items:
            matches = state & places.get(item, 0)
            state = ((state + matches) | (state - matches)) & everything
        return state

    def length(self, state: int) -> int:
        """Length of the longest common subsequence of what was read and the reference."""
        return (self._all ^ state).bit_count()


def longest_common_subsequence(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence of `a` and `b`.

    Example:

    >>> longest_common_subsequence("天气预报", "今天的预报")
    3
    """
    reference = CommonSubsequence(a)
    return reference.length(reference.extend(reference.start, b))
