"""The states of a minimal automaton, each once.

Two nodes with the same (final, edges) are one state. Nodes are looked up by a 64-bit hash and then
compared in full. Should two different ones ever have the same hash, the later one becomes a state
that is not shared: the language stays exact.
"""

import numpy as np

from kexue_keras.decoding.prefix_tree.growing import Growing
from kexue_keras.decoding.prefix_tree.hash_table import HashTable
from kexue_keras.decoding.prefix_tree.nodes import Nodes, ragged

_LEAF_HASH = np.array([0], "u8")


class Register:
    """All states of the automaton so far; state 0 is final and has no edges.

    The edges of all states stand one after another in the order of the states.

    Args:
        hash_mask: bits of the hashes that are used.

    Attributes:
        token: token of an edge, uint16 `(edges,)`.
        target: state that an edge leads to, int32 `(edges,)`.
        stop: place after a state's last edge, which is that of the next state's first one, uint32
            `(states,)`.
        count: number of keys that begin in a state: its paths to final states, uint32 `(states,)`.
        final: whether a key ends in the state, bool `(states,)`.
        hash: its hash, uint64 `(states,)`.
    """

    def __init__(self, hash_mask: int = (1 << 64) - 1):
        self.token, self.target = Growing("<u2"), Growing("<i4")
        self.stop, self.count = Growing("u4"), Growing("u4")
        self.final, self.hash = Growing("?"), Growing("u8")
        self._append_states(np.array([0]), np.array([1]), np.array([True]), _LEAF_HASH)
        self._table = HashTable(self.hash)
        self._hash_mask = np.uint64(hash_mask)

    def intern(
        self, final: np.ndarray, starts: np.ndarray, tokens: np.ndarray, targets: np.ndarray
    ) -> np.ndarray:
        """The states of nodes; those not known yet are added.

        Args:
            final: whether a key ends at the node, bool `(nodes,)`. One without edges is final.
            starts: the edges of node i are `starts[i] : starts[i + 1]`, int64 `(nodes + 1,)`.
            tokens: of the edges, ascending within a node, uint16 `(edges,)`.
            targets: states that the edges lead to, int64 `(edges,)`.

        Returns:
            int64 `(nodes,)`.
        """
        states = np.zeros(len(final), np.int64)
        degrees = np.diff(starts)
        inner = np.flatnonzero(degrees)
        if len(inner):
            nodes = Nodes(final, starts[:-1], degrees, tokens, targets).take(inner)
            states[inner] = self._intern_inner(nodes)
        return states

    def _intern_inner(self, nodes: Nodes) -> np.ndarray:
        """States of nodes with edges: one for all of a hash, unless they are different."""
        hashes = nodes.hashes() & self._hash_mask
        heads, owner, copies = _group(hashes)
        twins = nodes.take(copies).equal(nodes.take(heads[owner[copies]]))
        states = self._intern_distinct(nodes.take(heads), hashes[heads])[owner]
        odd = copies[~twins]
        if len(odd):
            states[odd] = self._append(nodes.take(odd), hashes[odd])
        return states

    def _intern_distinct(self, nodes: Nodes, hashes: np.ndarray) -> np.ndarray:
        """States of nodes that have different hashes: known ones or new."""
        states, slots = self._table.look_up(hashes)
        known, fresh = np.flatnonzero(states >= 0), np.flatnonzero(states < 0)
        twins = nodes.take(known).equal(self._nodes(states[known]))
        clash = known[~twins]
        if len(fresh):
            states[fresh] = self._append(nodes.take(fresh), hashes[fresh])
            self._table.insert(states[fresh], slots[fresh])
        if len(clash):
            states[clash] = self._append(nodes.take(clash), hashes[clash])
        return states

    def _nodes(self, states: np.ndarray) -> Nodes:
        """States other than 0 as nodes."""
        begin = self.stop.values[states - 1].astype(np.int64)
        degree = self.stop.values[states] - begin
        final = self.final.values[states]
        return Nodes(final, begin, degree, self.token.values, self.target.values)

    def _append(self, nodes: Nodes, hashes: np.ndarray) -> np.ndarray:
        """Makes each node a new state; their numbers."""
        number = self.stop.size + np.arange(len(nodes.final))
        edges = nodes.edges()
        first = np.cumsum(nodes.degree) - nodes.degree
        keys = self.count.values[nodes.target[edges]]
        counts = np.add.reduceat(keys, first) + nodes.final
        stops = self.token.size + first + nodes.degree
        self.token.extend(nodes.token[edges])
        self.target.extend(nodes.target[edges])
        self._append_states(stops, counts, nodes.final, hashes)
        return number

    def _append_states(self, stops, counts, finals, hashes) -> None:
        self.stop.extend(stops)
        self.count.extend(counts)
        self.final.extend(finals)
        self.hash.extend(hashes)

    def arrays(self, root: int) -> tuple[dict, dict[str, np.ndarray]]:
        """Header numbers and arrays of the automaton, see `automaton`; the register is emptied.

        States get new numbers: first the one without edges, then those with one edge, then those
        with several, in the old order each.
        """
        self._table = self.hash = None
        degrees = np.diff(self.stop.values, prepend=np.uint32(0))
        unary, branching = np.flatnonzero(degrees == 1), np.flatnonzero(degrees > 1)
        number = np.zeros(len(degrees), np.int32)
        number[unary] = np.arange(1, len(unary) + 1)
        number[branching] = np.arange(len(unary) + 1, len(degrees))
        final = self.final.values[np.concatenate([[0], unary, branching])]
        begins = (self.stop.values[branching] - degrees[branching]).astype(np.int64)
        sizes = degrees[branching].astype(np.int64)
        branch_start = np.append(0, np.cumsum(sizes)) + len(unary)
        edges = np.concatenate([self.stop.values[unary] - np.uint32(1), ragged(begins, sizes)])
        token, target = self.token.values[edges], self.target.values[edges]
        self.token = self.target = None
        ranks = _ranks(self.count.values[target[len(unary) :]], sizes, self.final.values[branching])
        meta = {
            "root": int(number[root]),
            "num_keys": int(self.count.values[root]),
            "num_states": len(degrees),
            "max_degree": int(degrees.max()),
            "first_branching": len(unary) + 1,
        }
        return meta, {
            "edge_token": token,
            "edge_target": number[target],
            "branch_start": branch_start.astype("<u4"),
            "branch_rank": ranks.astype("<u4"),
            "final_bits": np.packbits(final, bitorder="little"),
        }


def _group(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups equal hashes `(n,)`.

    Returns:
        heads: one place of each different hash, `(groups,)`.
        owner: the group that each place belongs to, `(n,)`.
        copies: all places that are no head, `(n - groups,)`.
    """
    order = np.argsort(hashes)
    first = np.empty(len(order), bool)
    first[0] = True
    np.not_equal(hashes[order[1:]], hashes[order[:-1]], out=first[1:])
    owner = np.empty(len(order), np.int64)
    owner[order] = np.cumsum(first) - 1
    return order[first], owner, order[~first]


def _ranks(counts: np.ndarray, sizes: np.ndarray, final: np.ndarray) -> np.ndarray:
    """How many keys of a state come before those of each of its edges but the first.

    Args:
        counts: number of keys behind each edge, `(edges,)`.
        sizes: number of edges of each state, `(states,)`.
        final: whether a key ends in the state itself, which comes before all others, `(states,)`.

    Returns:
        int64 `(edges - states,)`.
    """
    running = np.cumsum(counts, dtype=np.int64)
    before = running - counts
    firsts = np.cumsum(sizes) - sizes
    base = before[firsts] - final
    later = np.ones(len(running), bool)
    later[firsts] = False
    return (before - np.repeat(base, sizes))[later]
