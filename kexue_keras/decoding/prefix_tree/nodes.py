"""Nodes of a trie or automaton as arrays: their edges, when two are equal, their hashes."""

from typing import NamedTuple

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def ragged(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Indices `starts[i], ..., starts[i] + lengths[i] - 1` of all `i`, one after another.

    Args:
        starts: integers `(n,)`.
        lengths: integers `(n,)`, at least 1.

    Example:

    >>> ragged(np.array([7, 2]), np.array([2, 3])).tolist()
    [7, 8, 2, 3, 4]
    """
    stops = np.cumsum(lengths)
    total = int(stops[-1]) if len(stops) else 0
    if total == len(lengths):
        return starts
    return np.repeat(starts - (stops - lengths), lengths) + np.arange(total)


class Nodes(NamedTuple):
    """Nodes with at least one edge each; a node's edges stand side by side, sorted by token.

    Attributes:
        final: whether a key ends at the node, bool `(nodes,)`.
        begin: place of its first edge, integers `(nodes,)`.
        degree: number of its edges, integers `(nodes,)`.
        token: token of an edge, uint16 `(edges,)`.
        target: state that an edge leads to, integers `(edges,)`.
    """

    final: np.ndarray
    begin: np.ndarray
    degree: np.ndarray
    token: np.ndarray
    target: np.ndarray

    def take(self, rows: np.ndarray) -> "Nodes":
        """Some of the nodes, by number; the edges stay where they are."""
        return self._replace(
            final=self.final[rows], begin=self.begin[rows], degree=self.degree[rows]
        )

    def edges(self) -> np.ndarray:
        """Places of the edges of all nodes, node by node."""
        return ragged(self.begin, self.degree)

    def equal(self, other: "Nodes") -> np.ndarray:
        """Whether node i equals node i of `other`, edge by edge, bool `(nodes,)`.

        The edges of the two may stand in different arrays.
        """
        equal = (self.final == other.final) & (self.degree == other.degree)
        alike = np.flatnonzero(equal)
        if len(alike):
            mine, theirs = self.take(alike), other.take(alike)
            places, other_places = mine.edges(), theirs.edges()
            differs = self.token[places] != other.token[other_places]
            differs |= self.target[places] != other.target[other_places]
            if differs.any():
                first = np.cumsum(mine.degree) - mine.degree
                equal[alike] = ~np.logical_or.reduceat(differs, first)
        return equal

    def hashes(self) -> np.ndarray:
        """64-bit hashes, uint64 `(nodes,)`: equal nodes have the same.

        All edges must belong to these nodes, and stand in the order of the nodes.
        """
        packed = self.token.astype(np.uint64) << np.uint64(32) | self.target.astype(np.uint64)
        edges = _mix(packed)
        sums = edges if len(edges) == len(self.begin) else np.add.reduceat(edges, self.begin)
        return _mix(sums + self.final * _GOLDEN)


def _mix(x: np.ndarray) -> np.ndarray:
    """One step of splitmix64, in place on uint64."""
    x += _GOLDEN
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x ^= x >> np.uint64(shift)
        x *= np.uint64(factor)
    x ^= x >> np.uint64(31)
    return x
