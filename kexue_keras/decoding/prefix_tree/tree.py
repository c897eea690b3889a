"""Prefix tree over token ids for constrained decoding, small enough for 20 million keys.

It is stored as the minimal acyclic automaton of the keys: states with the same set of completions
are one state, so the tails `P [SEP] M [SEP]` that many entities share are stored once.
"""

import tempfile
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from operator import index
from pathlib import Path

import numpy as np

from kexue_keras.decoding.prefix_tree.builder import build_arrays
from kexue_keras.decoding.prefix_tree.file import read_arrays, write_arrays
from kexue_keras.decoding.prefix_tree.payloads import Payloads


class PrefixTree:
    """Exact set of token sequences that answers "which tokens may follow?".

    A key may be a prefix of another key, may be empty, may repeat a token; duplicates are one key.
    Each key can carry strings (the objects of a knowledge triple), first one first, none twice.

    States are integers; `root` is where decoding starts. Edges of state `s` are numbers
    `edge_start[s] : edge_start[s + 1]` of `edge_token` (sorted within a state) and `edge_target`.

    Args:
        sequences: iterable of sequences of token ids in `[0, 65535]`, or of pairs
            `(sequence, payload)`; a payload is a string, a list of strings or None.
        payloads: optional iterable of payloads beside `sequences`.

    Example:

    >>> tree = PrefixTree([([1, 2, 3], "a"), ([1, 5], "b"), ([1, 2], "c"), ([1, 5], "d")])
    >>> tree.next_tokens([1])
    array([2, 5], dtype=int32)
    >>> tree.is_key([1, 2]), tree.is_key([1]), tree.next_tokens([1, 5]).size
    (True, False, 0)
    >>> list(tree)
    [(1, 2), (1, 2, 3), (1, 5)]
    >>> tree.payloads([1, 5])
    ('b', 'd')

    Reference:
        - [Seq2Seq+前缀树：检索任务新范式](https://kexue.fm/archives/8802)
        - [Autoregressive Entity Retrieval](https://arxiv.org/abs/2010.00904)
        - [Incremental Construction of Minimal Acyclic Finite-State Automata](
          https://arxiv.org/abs/cs/0007009)
    """

    def __init__(self, sequences: Iterable = (), payloads: Iterable | None = None):
        with tempfile.TemporaryDirectory() as folder:
            self._attach(*build_arrays(sequences, payloads, folder, in_memory=True))

    @classmethod
    def build(
        cls,
        stream: Iterable,
        path: str | Path | None = None,
        payloads: Iterable | None = None,
        progress: bool = True,
        memory: int = 1 << 30,
        total: int | None = None,
    ) -> "PrefixTree":
        """Build from a stream of any length with bounded memory.

        Args:
            stream: as `sequences` of the class. It is read once.
            path: write the tree there and return it memory-mapped; its folder also holds the
                temporary files. None keeps the tree in memory.
            payloads: as in the class.
            progress: show progress bars.
            memory: bytes of working memory for sorting and merging. The automaton itself comes on
                top: about 35 bytes per state.
            total: number of items in `stream`, if known, for the progress bar.

        Example:

        >>> tree = PrefixTree.build(((i % 3, i % 2) for i in range(9)), progress=False)
        >>> len(tree)
        6
        """
        if path is None:
            tree = cls.__new__(cls)
            with tempfile.TemporaryDirectory() as folder:
                built = build_arrays(stream, payloads, folder, True, memory, progress, total)
                tree._attach(*built)
            return tree
        with tempfile.TemporaryDirectory(dir=Path(path).parent) as folder:
            built = build_arrays(stream, payloads, folder, False, memory, progress, total)
            write_arrays(path, *built)
        return cls.load(path)

    def save(self, path: str | Path) -> None:
        """Write the tree to one file; an existing file is replaced only when all is written."""
        write_arrays(path, self._meta, self._arrays)

    @classmethod
    def load(cls, path: str | Path, verify: bool = False) -> "PrefixTree":
        """Open a saved tree as a memory map; `verify=True` also reads it all and checks it.

        Raises:
            ValueError: the file is foreign, of another version, truncated or damaged.
        """
        tree = cls.__new__(cls)
        tree._attach(*read_arrays(path, verify))
        if verify and len(tree.edge_target) and tree.edge_target.max() >= tree.num_states:
            raise ValueError(f"`path` has an edge to no state. Received: {path}")
        return tree

    def _attach(self, meta: dict, arrays: dict[str, np.ndarray]) -> None:
        self._meta, self._arrays = meta, arrays
        self.root: int = meta["root"]
        self.num_states: int = meta["num_states"]
        self.max_degree: int = meta["max_degree"]
        self.edge_token = arrays["edge_token"]
        self.edge_target = arrays["edge_target"]
        self.branch_start = arrays["branch_start"]
        self.final_bits = arrays["final_bits"]
        self.first_branching: int = meta["first_branching"]
        self._token, self._target = memoryview(self.edge_token), memoryview(self.edge_target)
        self._branch_start = memoryview(arrays["branch_start"])
        self._branch_rank = memoryview(arrays["branch_rank"])
        self._final_bits = memoryview(arrays["final_bits"])
        self._payloads = Payloads(arrays["payload_start"], arrays["payload_bytes"])

    @property
    def num_edges(self) -> int:
        """Number of edges."""
        return len(self.edge_token)

    @cached_property
    def edge_start(self) -> np.ndarray:
        """First edge of every state, `(num_states + 1,)` int64; expanded at first use."""
        states = np.arange(self.num_states + 1)
        return np.append(self._ranges(states[:-1])[0], self.num_edges)

    @cached_property
    def final(self) -> np.ndarray:
        """Whether a key ends in the state, `(num_states,)` bool; expanded at first use."""
        bits = np.unpackbits(self._arrays["final_bits"], count=self.num_states, bitorder="little")
        return bits.view(np.bool_)

    # States 0 .. first_branching - 1 have at most one edge: state 0 none, state s edge s - 1.
    # The edges of a later state s are branch_start[s - first_branching] up to the next one.

    def _bounds(self, state: int) -> tuple[int, int]:
        branch = state - self.first_branching
        if branch < 0:
            return (state - 1, state) if state else (0, 0)
        return self._branch_start[branch], self._branch_start[branch + 1]

    def _ranges(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        start = np.asarray(self._arrays["branch_start"])
        branch = np.maximum(states - self.first_branching, 0)
        branching = states >= self.first_branching
        if len(start) == 1:
            return np.maximum(states - 1, 0), states.astype(np.int64)
        low = np.where(branching, start[branch].astype(np.int64), np.maximum(states - 1, 0))
        return low, np.where(branching, start[branch + 1].astype(np.int64), states)

    def _is_final(self, state: int) -> bool:
        return bool(self._final_bits[state >> 3] >> (state & 7) & 1)

    def _find(self, prefix: Sequence[int]) -> int:
        state, token_view, target_view = self.root, self._token, self._target
        for token in _as_list(prefix):
            low, high = self._bounds(state)
            edge = bisect_left(token_view, index(token), low, high)
            if edge == high or token_view[edge] != token:
                return -1
            state = target_view[edge]
        return state

    def next_tokens(self, prefix: Sequence[int]) -> np.ndarray:
        """Sorted ids (int32) that may follow `prefix`; empty if it is unknown or only a key."""
        state = self._find(prefix)
        low, high = self._bounds(state) if state >= 0 else (0, 0)
        return self.edge_token[low:high].astype(np.int32)

    def is_key(self, prefix: Sequence[int]) -> bool:
        """Whether a key ends exactly here."""
        state = self._find(prefix)
        return state >= 0 and self._is_final(state)

    __contains__ = is_key

    def __len__(self) -> int:
        return self._meta["num_keys"]

    def rank(self, sequence: Sequence[int]) -> int:
        """Position of a key in sorted order.

        Raises:
            KeyError: `sequence` is no key.

        Example:

        >>> PrefixTree([[5], [1, 2], []]).rank([1, 2])
        1
        """
        state, rank = self.root, 0
        for token in _as_list(sequence):
            low, high = self._bounds(state)
            edge = bisect_left(self._token, index(token), low, high)
            if edge == high or self._token[edge] != token:
                raise KeyError(tuple(sequence))
            if edge == low:
                rank += self._is_final(state)
            else:
                rank += self._branch_rank[edge - state]
            state = self._target[edge]
        if not self._is_final(state):
            raise KeyError(tuple(sequence))
        return rank

    def payloads(self, sequence: Sequence[int]) -> tuple[str, ...]:
        """The strings of a key in the order given; KeyError if `sequence` is no key."""
        return self._payloads[self.rank(sequence)]

    def keys(self, prefix: Sequence[int] = ()) -> Iterator[tuple[int, ...]]:
        """All keys that begin with `prefix`, sorted.

        Example:

        >>> list(PrefixTree([[1], [2, 3], [2]]).keys([2]))
        [(2,), (2, 3)]
        """
        state, path = self._find(prefix), _as_list(prefix)
        if state < 0:
            return
        if self._is_final(state):
            yield tuple(path)
        pending = [iter(range(*self._bounds(state)))]
        while pending:
            edge = next(pending[-1], None)
            if edge is None:
                pending.pop()
                if pending:
                    path.pop()
                continue
            path.append(self._token[edge])
            state = self._target[edge]
            if self._is_final(state):
                yield tuple(path)
            pending.append(iter(range(*self._bounds(state))))

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return self.keys()

    def items(self) -> Iterator[tuple[tuple[int, ...], tuple[str, ...]]]:
        """Pairs `(key, payloads)`, sorted by key."""
        for rank, key in enumerate(self.keys()):
            yield key, self._payloads[rank]

    def children(self, state: int) -> tuple[np.ndarray, np.ndarray]:
        """Sorted tokens (int32) and target states (int32) of one state."""
        if not 0 <= state < self.num_states:
            raise ValueError(f"`state` must be in [0, {self.num_states}). Received: {state}")
        low, high = self._bounds(int(state))
        return self.edge_token[low:high].astype(np.int32), np.array(self.edge_target[low:high])

    def step(self, states: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Follow one token from each state.

        Args:
            states: integers `(n,)`; -1 stays -1.
            tokens: integers `(n,)`.

        Returns:
            int32 `(n,)`: the next states, -1 where the token is not allowed.

        Example:

        >>> tree = PrefixTree([[7, 8], [9]])
        >>> bool(tree.step([tree.root] * 2, [7, 8])[1] == -1)
        True
        """
        states, tokens = np.broadcast_arrays(np.asarray(states), np.asarray(tokens))
        if states.size and states.max() >= self.num_states:
            raise ValueError(f"`states` must be below {self.num_states}. Received: {states.max()}")
        if not self.num_edges or not states.size:
            return np.full(states.shape, -1, np.int32)
        known = states >= 0
        low, high = self._ranges(np.where(known, states, 0).astype(np.int64))
        stop, last = high, self.num_edges - 1
        for _ in range(self.max_degree.bit_length()):
            middle = (low + high) >> 1
            below = (low < high) & (self.edge_token[np.minimum(middle, last)] < tokens)
            low, high = np.where(below, middle + 1, low), np.where(below, high, middle)
        edge = np.minimum(low, last)
        found = known & (low < stop) & (self.edge_token[edge] == tokens)
        return np.where(found, self.edge_target[edge], -1).astype(np.int32)


def _as_list(sequence: Sequence[int]) -> list[int]:
    return sequence.tolist() if isinstance(sequence, np.ndarray) else list(sequence)
