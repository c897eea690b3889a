"""Minimal acyclic automaton of sorted keys, built bottom-up with NumPy, many nodes at a time.

Of a sorted partition, the common prefix lengths of its keys give all nodes of the trie, depth by
depth. From the deepest level up, nodes with equal (final, edges) become one state. Their children
are states already, so equal nodes mean equal sets of completions. The path to the last key stays
open for the next partition, as in Daciuk's algorithm for sorted input.

The result: `S` states with `E` edges, numbered so that the `U` states with one edge need no place
for where their edges begin. State 0 has no edge; state `s` of 1 ... `U` has edge `s - 1`; the `B`
states from `U + 1` on have several edges each, and are called branching.

- `edge_token`, uint16 `(E,)`: token of an edge; ascending within a state.
- `edge_target`, int32 `(E,)`: state that the edge leads to.
- `branch_start`, uint32 `(B + 1,)`: first edge of each branching state, and `E`.
- `branch_rank`, uint32 `(E - U - B,)`: at `e - s`, for an edge `e` of a branching state `s`, how
  many of the state's keys come before those that go through the edge. First edges are left out:
  only a key that ends in the state comes before them.
- `final_bits`, uint8 `(ceil(S / 8),)`: bit `s % 8` of byte `s // 8` tells whether a key ends in
  state `s`.

With them come the numbers `root`, `num_keys`, `num_states` (`S`), `max_degree` (most edges of a
state) and `first_branching` (`U + 1`).

Reference:
    - [Incremental Construction of Minimal Acyclic Finite-State Automata](
      https://arxiv.org/abs/cs/0007009)
"""

import numpy as np

from kexue_keras.decoding.prefix_tree.register import Register


class Minimiser:
    """Turns sorted partitions into states of a `Register`.

    Args:
        register: takes the states.

    `_last` is the last key, uint16 `(length,)`, and `_spine` its open path, for every depth
    0 ... length: whether a key ends there, and tokens and targets of the edges that are closed.
    """

    def __init__(self, register: Register):
        self.register = register
        self._last: np.ndarray | None = None
        self._spine: list[tuple[bool, np.ndarray, np.ndarray]] = []

    def add(self, tokens: np.ndarray, lengths: np.ndarray) -> None:
        """Add distinct sorted keys, `tokens` (n, width) zero-padded, all above earlier ones."""
        if self._last is not None:
            width = max(tokens.shape[1], len(self._last))
            joined = np.zeros((len(tokens) + 1, width), tokens.dtype)
            joined[0, : len(self._last)] = self._last
            joined[1:, : tokens.shape[1]] = tokens
            tokens, lengths = joined, np.append(len(self._last), lengths)
        self._process(tokens, lengths, closing=False)

    def finish(self) -> tuple[dict, dict[str, np.ndarray]]:
        """Close the open path; header numbers and arrays of the automaton."""
        if self._last is None:
            return _empty_automaton()
        root = self._process(self._last[None, :], np.array([len(self._last)]), closing=True)
        return self.register.arrays(root)

    def _process(self, tokens: np.ndarray, lengths: np.ndarray, closing: bool) -> int:
        """Makes states of all nodes but those of the last key, or of those too if `closing`.

        Row r makes the nodes of its key that are deeper than what it shares with the row before.
        Rows begin with the last key of the partition before, whose nodes continue the spine.

        Args:
            tokens: keys, sorted, zero-padded, `(rows, width)`.
            lengths: of the keys, `(rows,)`.
            closing: no key follows.

        Returns:
            The state of the root if `closing`.
        """
        common = _common_prefixes(tokens, lengths)
        open_depth = -1 if closing else int(lengths[-1])
        spine: list = [None] * (open_depth + 1)
        # of the level below, the row of each node and its state, -1 for an open one
        child = states = np.zeros(0, np.int64)
        for depth in range(int(lengths.max()), -1, -1):
            nodes = np.flatnonzero((lengths >= depth) & (common < depth))
            starts = np.append(np.searchsorted(child, nodes), len(child))
            labels = tokens[child, depth] if len(child) else np.zeros(0, tokens.dtype)
            targets = states
            final = lengths[nodes] == depth
            if depth < len(self._spine):
                was_final, old_labels, old_targets = self._spine[depth]
                labels = np.concatenate([old_labels, labels])
                targets = np.concatenate([old_targets, targets])
                starts[1:] += len(old_labels)
                final[0] |= was_final
            if depth <= open_depth:
                closed = slice(starts[-2], starts[-1] - (depth < open_depth))
                spine[depth] = bool(final[-1]), labels[closed].copy(), targets[closed].copy()
                stop = starts[-2]
                final, starts = final[:-1], starts[:-1]
                states = self.register.intern(final, starts, labels[:stop], targets[:stop])
                states = np.append(states, -1)
            else:
                states = self.register.intern(final, starts, labels, targets)
            child = nodes
        self._last, self._spine = tokens[-1, : lengths[-1]].copy(), spine
        return int(states[0])


def _common_prefixes(tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """How many tokens each key shares with the one before, int64 `(rows,)`; -1 for the first."""
    common = np.full(len(tokens), -1, np.int64)
    if len(tokens) > 1 and tokens.shape[1]:
        differs = tokens[1:] != tokens[:-1]
        common[1:] = np.where(differs.any(1), differs.argmax(1), tokens.shape[1])
    elif len(tokens) > 1:
        common[1:] = 0
    common[1:] = np.minimum(common[1:], np.minimum(lengths[1:], lengths[:-1]))
    return common


def _empty_automaton() -> tuple[dict, dict[str, np.ndarray]]:
    """No key: one state that is not final."""
    meta = {"root": 0, "num_keys": 0, "num_states": 1, "max_degree": 0, "first_branching": 1}
    return meta, {
        "edge_token": np.zeros(0, "<u2"),
        "edge_target": np.zeros(0, "<i4"),
        "branch_start": np.zeros(1, "<u4"),
        "branch_rank": np.zeros(0, "<u4"),
        "final_bits": np.zeros(1, np.uint8),
    }
