"""Minimal acyclic automaton of sorted keys, built bottom-up with NumPy, many nodes at a time.

Of a sorted partition, the common prefix lengths of its keys give all nodes of the trie, depth by
depth. From the deepest level up, nodes with equal (final, edges) become one state. Their children
are states already, so equal signatures mean equal sets of completions. The path to the last key
stays open for the next partition, as in Daciuk's algorithm for sorted input.

Signatures are looked up by a 64-bit hash and then compared in full. Should two different ones ever
have the same hash, the later state is left unshared: the language stays exact.

Reference:
    - [Incremental Construction of Minimal Acyclic Finite-State Automata](
      https://arxiv.org/abs/cs/0007009)
"""

import numpy as np

_EMPTY = np.uint32(0xFFFFFFFF)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Growing:
    """Array that grows at its end; `values` is a view valid until the next `extend`."""

    def __init__(self, dtype: str):
        self._buffer, self.size = np.empty(1024, dtype), 0

    def extend(self, values: np.ndarray) -> None:
        stop = self.size + len(values)
        if stop > len(self._buffer):
            self._buffer.resize(max(stop, len(self._buffer) * 3 // 2), refcheck=False)
        self._buffer[self.size : stop] = values
        self.size = stop

    @property
    def values(self) -> np.ndarray:
        return self._buffer[: self.size]


def _mix(x: np.ndarray) -> np.ndarray:
    """One step of splitmix64, in place on uint64."""
    x += _GOLDEN
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x ^= x >> np.uint64(shift)
        x *= np.uint64(factor)
    x ^= x >> np.uint64(31)
    return x


def ragged(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Indices `starts[i], ..., starts[i] + lengths[i] - 1` of all `i`, one after another."""
    stops = np.cumsum(lengths)
    total = int(stops[-1]) if len(stops) else 0
    if total == len(lengths):
        return starts
    return np.repeat(starts - (stops - lengths), lengths) + np.arange(total)


class Register:
    """All states of the automaton so far; state 0 is final and has no edges."""

    def __init__(self, hash_mask: int = (1 << 64) - 1):
        self.token, self.target = Growing("<u2"), Growing("<i4")
        self.stop, self.count = Growing("u4"), Growing("u4")
        self.final, self.hash = Growing("?"), Growing("u8")
        self._append_states(np.array([0]), np.array([1]), np.array([True]), np.array([0], "u8"))
        self._slots, self._used = np.full(1 << 12, _EMPTY), 0
        self._hash_mask = np.uint64(hash_mask)

    def _append_states(self, stops, counts, finals, hashes) -> None:
        for column, values in zip(
            (self.stop, self.count, self.final, self.hash),
            (stops, counts, finals, hashes),
            strict=True,
        ):
            column.extend(values)

    def intern(
        self, final: np.ndarray, starts: np.ndarray, tokens: np.ndarray, targets: np.ndarray
    ) -> np.ndarray:
        """States (int64) of nodes given by `final` (m,), `starts` (m + 1,) and flat edges.

        Every node has an edge or is final.
        """
        states = np.zeros(len(final), np.int64)
        degrees = np.diff(starts)
        inner = np.flatnonzero(degrees)
        if not len(inner):
            return states
        final, starts, degrees = final[inner], starts[:-1][inner], degrees[inner]
        edges = _mix(tokens.astype(np.uint64) << np.uint64(32) | targets.astype(np.uint64))
        hashes = edges if len(edges) == len(inner) else np.add.reduceat(edges, starts)
        hashes = _mix(hashes + final * _GOLDEN) & self._hash_mask
        order = np.argsort(hashes)
        first = np.empty(len(order), bool)
        first[0] = True
        np.not_equal(hashes[order[1:]], hashes[order[:-1]], out=first[1:])
        heads = order[first]
        owner = np.empty(len(order), np.int64)
        owner[order] = np.cumsum(first) - 1

        def same(rows, other_final, other_starts, other_degrees, other_tokens, other_targets):
            """Whether nodes `rows` equal other nodes, edge by edge."""
            equal = (final[rows] == other_final) & (degrees[rows] == other_degrees)
            kept = np.flatnonzero(equal)
            if len(kept):
                sizes = degrees[rows[kept]]
                mine = ragged(starts[rows[kept]], sizes)
                theirs = ragged(other_starts[kept], sizes)
                differs = tokens[mine] != other_tokens[theirs]
                differs |= targets[mine] != other_targets[theirs]
                if differs.any():
                    begin = np.cumsum(sizes) - sizes
                    equal[kept] = ~np.logical_or.reduceat(differs, begin)
            return equal

        def append(rows):
            """New states of nodes `rows`."""
            number = self.stop.size + np.arange(len(rows))
            picked = ragged(starts[rows], degrees[rows])
            begin = np.cumsum(degrees[rows]) - degrees[rows]
            counts = np.add.reduceat(self.count.values[targets[picked]], begin) + final[rows]
            stops = self.token.size + begin + degrees[rows]
            self.token.extend(tokens[picked])
            self.target.extend(targets[picked])
            self._append_states(stops, counts, final[rows], hashes[rows])
            return number

        rest = order[~first]
        copied = heads[owner[rest]]
        twin = same(rest, final[copied], starts[copied], degrees[copied], tokens, targets)
        odd = [rest[~twin]]
        found, slots = self._look_up(hashes[heads])
        known = np.flatnonzero(found >= 0)
        old = found[known]
        stops = self.stop.values
        begins = stops[old - 1].astype(np.int64)
        twin = same(
            heads[known], self.final.values[old], begins, stops[old] - begins,
            self.token.values, self.target.values,
        )  # fmt: skip
        clash = known[~twin]
        fresh = np.flatnonzero(found < 0)
        if len(fresh):
            found[fresh] = append(heads[fresh])
            self._insert(found[fresh], slots[fresh])
        if len(clash):
            found[clash] = append(heads[clash])
        owned = found[owner]
        if len(odd[0]):
            owned[odd[0]] = append(odd[0])
        states[inner] = owned
        return states

    def _look_up(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """State with each hash or -1, and the slot where the search ended."""
        mask = len(self._slots) - 1
        slots = (hashes & np.uint64(mask)).astype(np.int64)
        found = np.full(len(hashes), -1, np.int64)
        pending = np.arange(len(hashes))
        while len(pending):
            states = self._slots[slots[pending]]
            taken = states != _EMPTY
            pending, states = pending[taken], states[taken]
            hit = self.hash.values[states] == hashes[pending]
            found[pending[hit]] = states[hit]
            pending = pending[~hit]
            slots[pending] = (slots[pending] + 1) & mask
        return found, slots

    def _insert(self, states: np.ndarray, slots: np.ndarray) -> None:
        self._used += len(states)
        if self._used * 5 > len(self._slots) * 3:
            size = len(self._slots)
            registered = np.sort(np.concatenate([self._slots[self._slots != _EMPTY], states]))
            while self._used * 5 > size * 3:
                size *= 2
            self._slots = np.full(size, _EMPTY)
            for start in range(0, len(registered), 1 << 20):
                states = registered[start : start + (1 << 20)]
                slots = (self.hash.values[states] & np.uint64(size - 1)).astype(np.int64)
                self._place(states, slots)
        else:
            self._place(states, slots)

    def _place(self, states: np.ndarray, slots: np.ndarray) -> None:
        mask = len(self._slots) - 1
        while len(states):
            free = self._slots[slots] == _EMPTY
            self._slots[slots[free]] = states[free]
            lost = self._slots[slots] != states
            states, slots = states[lost], (slots[lost] + 1) & mask

    def arrays(self, root: int) -> tuple[dict, dict[str, np.ndarray]]:
        """Header numbers and arrays of the automaton; the register is emptied."""
        self._slots = self.hash = None
        degrees = np.diff(self.stop.values, prepend=np.uint32(0))
        unary, branching = np.flatnonzero(degrees == 1), np.flatnonzero(degrees > 1)
        number = np.zeros(len(degrees), np.int32)
        number[unary] = np.arange(1, len(unary) + 1)
        number[branching] = np.arange(len(unary) + 1, len(degrees))
        final = self.final.values[np.concatenate([[0], unary, branching])]
        begins = self.stop.values[branching] - degrees[branching]
        sizes = degrees[branching].astype(np.int64)
        branch_start = np.append(0, np.cumsum(sizes)) + len(unary)
        edges = np.concatenate(
            [self.stop.values[unary] - np.uint32(1), ragged(begins.astype(np.int64), sizes)]
        )
        token, target = self.token.values[edges], self.target.values[edges]
        self.token = self.target = None
        tail = slice(len(unary), None)
        running = np.cumsum(self.count.values[target[tail]], dtype=np.int64)
        before = running - self.count.values[target[tail]]
        lows = branch_start[:-1] - len(unary)
        base = before[lows] - self.final.values[branching]
        inner = np.ones(len(running), bool)
        inner[lows] = False
        ranks = (before - np.repeat(base, sizes))[inner]
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


class Minimiser:
    """Turns sorted partitions into states of a `Register`."""

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
        common = np.full(len(tokens), -1, np.int64)
        if len(tokens) > 1 and tokens.shape[1]:
            differs = tokens[1:] != tokens[:-1]
            common[1:] = np.where(differs.any(1), differs.argmax(1), tokens.shape[1])
        elif len(tokens) > 1:
            common[1:] = 0
        common[1:] = np.minimum(common[1:], np.minimum(lengths[1:], lengths[:-1]))
        open_depth = -1 if closing else int(lengths[-1])
        spine: list = [None] * (open_depth + 1)
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
