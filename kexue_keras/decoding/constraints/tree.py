"""Limits a beam search to the keys of a prefix tree, inside the compiled loop."""

import numpy as np
from keras import ops

from kexue_keras.decoding.beam_search import top_k
from kexue_keras.ops import LOWEST

_WIDTHS = (32, 512)


def tree_tensors(tree):
    """The arrays of a `PrefixTree` as tensors of the backend: 6 bytes an edge and a little more."""
    nothing = not tree.num_edges
    tensors = {
        "edge_token": np.zeros(1, "uint16") if nothing else tree.edge_token,
        "edge_target": np.zeros(1, "int32") if nothing else tree.edge_target,
        "branch_start": np.asarray(tree.branch_start, "int32"),
        "final_bits": tree.final_bits,
    }
    return {name: ops.convert_to_tensor(array) for name, array in tensors.items()}


class TreeConstraint:
    """The allowed continuations of many hypotheses at once, found in the arrays of a tree.

    A hypothesis is a state of the tree, -1 if it has left it. Only the tokens of its edges are
    looked at, in arrays as wide as the largest number of edges among the hypotheses needs (three
    widths are compiled), so that the vocabulary is not searched at all.

    Args:
        tensors: from `tree_tensors`; arguments of the compiled program, not constants in it.
        root, first_branching, max_degree: of the tree.
    """

    def __init__(self, tensors, root, first_branching, max_degree):
        self.tensors = tensors
        self.root = root
        self.first_branching = first_branching
        self.max_degree = max(max_degree, 1)

    def start(self, batch):
        """States `(batch, 1)` of empty hypotheses."""
        return ops.full((batch, 1), self.root, "int32")

    def candidates(self, logits, states, topk):
        """The `topk` allowed tokens of the largest logits.

        Args:
            logits: `(batch, rows, vocabulary)`.
            states: int32 `(batch, rows)`.

        Returns:
            Logits and tokens `(batch, rows, topk)`; the logit is `LOWEST` where there is no more.
            The log of the summed exponentials of all allowed logits `(batch, rows)`, 0 where there
            are none.
        """
        low, high = self._edges(states)
        degree = high - low
        batch, rows, vocabulary = logits.shape
        flat = ops.reshape(logits, (batch * rows * vocabulary,))
        first = ops.arange(batch * rows, dtype="int32") * vocabulary
        first = ops.reshape(first, (batch, rows, 1))

        def best_of(width):
            def look():
                place = ops.arange(width, dtype="int32")
                edges = ops.minimum(low[..., None] + place, self._last_edge)
                tokens = self._tokens(edges)
                allowed = ops.logical_and(place < degree[..., None], tokens < vocabulary)
                where = first + ops.minimum(tokens, vocabulary - 1)
                values = ops.where(allowed, ops.take(flat, where, axis=0), LOWEST)
                tokens = ops.where(allowed, tokens, 0)  # JAX embeds what it does not know as NaN
                some = ops.max(values, axis=-1) > LOWEST / 2
                together = ops.where(some, ops.logsumexp(values, axis=-1), 0.0)
                missing = max(topk - width, 0)
                values, picked = top_k(values, min(topk, width))
                tokens = ops.take_along_axis(tokens, picked, axis=-1)
                padding = ((0, 0), (0, 0), (0, missing))
                values = ops.pad(values, padding, constant_values=LOWEST)
                return values, ops.pad(tokens, padding), together

            return look

        largest = ops.max(degree)
        look = best_of(self.max_degree)
        for width in reversed([w for w in _WIDTHS if w < self.max_degree]):
            look = _either(largest <= width, best_of(width), look)
        return look()

    def ending(self, logits, states, end_id):
        """The logit of `end_id`, `(batch, rows)`, `LOWEST` where no key ends with it."""
        after = self.advance(states, ops.full(states.shape, end_id, "int32"))
        byte = ops.take(self.tensors["final_bits"], ops.maximum(after, 0) // 8, axis=0)
        bit = ops.cast(byte, "int32") // ops.power(2, ops.maximum(after, 0) % 8) % 2
        final = ops.logical_and(after >= 0, ops.equal(bit, 1))
        return ops.where(final, logits[..., end_id], LOWEST)

    def advance(self, states, tokens):
        """The states after one more token each, int32 `(batch, rows)`, by binary search."""
        low, stop = self._edges(states)
        high = stop
        for _ in range(self.max_degree.bit_length()):
            middle = (low + high) // 2
            inside = self._tokens(ops.minimum(middle, self._last_edge))
            below = ops.logical_and(low < high, inside < tokens)
            low, high = ops.where(below, middle + 1, low), ops.where(below, high, middle)
        edge = ops.minimum(low, self._last_edge)
        found = ops.logical_and(low < stop, ops.equal(self._tokens(edge), tokens))
        return ops.where(found, ops.take(self.tensors["edge_target"], edge, axis=0), -1)

    @property
    def _last_edge(self):
        return self.tensors["edge_token"].shape[0] - 1

    def _tokens(self, edges):
        return ops.cast(ops.take(self.tensors["edge_token"], edges, axis=0), "int32")

    def _edges(self, states):
        """First edge and the one after the last, of every state; none for state -1."""
        starts = self.tensors["branch_start"]
        branch = states - self.first_branching
        places = ops.clip(ops.stack([branch, branch + 1]), 0, starts.shape[0] - 1)
        low, high = ops.take(starts, places[0], axis=0), ops.take(starts, places[1], axis=0)
        branching = branch >= 0
        low = ops.where(branching, low, ops.maximum(states - 1, 0))
        return low, ops.where(branching, high, ops.maximum(states, 0))


def _either(condition, yes, no):
    return lambda: ops.cond(condition, yes, no)
