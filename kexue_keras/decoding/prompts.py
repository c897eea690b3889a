"""Prompts as arrays of few different sizes, so that a compiled program is used again."""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from kexue_keras.decoding.cached_transformer import segment_of_generated

_LENGTHS = (16, 32, 64, 128)


class Prompts(NamedTuple):
    """A padded batch of prompts.

    Attributes:
        token_ids, segment_ids: int32 `(batch, length)`, filled up with 0 on the right.
        lengths: int32 `(batch,)`.
        active: bool `(batch,)`; False for rows that only fill up the batch.
        condition: None, or float32 `(batch, size)`.
    """

    token_ids: Any
    segment_ids: Any
    lengths: Any
    active: Any
    condition: Any = None


class PromptReader:
    """Checks prompts and makes arrays of them.

    The batch is filled up to a power of two, the prompts to a power of two or, above 128, a
    multiple of 128; sizes that were used before are taken again if they fit.

    Args:
        model: a `CachedModel`.
        end_id: id of the token that ends a text; fills up the batch.
        start_id: id of a token to append to every prompt, or None.
        maxlen: largest number of tokens that will be generated.
    """

    def __init__(self, model, end_id, start_id, maxlen):
        self.model = model
        self.end_id, self.start_id, self.maxlen = end_id, start_id, maxlen
        self._sizes = set()

    def read(self, token_ids, segment_ids=None, condition=None):
        """The `Prompts`; see `Generator.beam_search` for the arguments."""
        token_ids, segment_ids = (
            x if x is None or isinstance(x, list | tuple) else ops.convert_to_numpy(x)
            for x in (token_ids, segment_ids)
        )
        tokens = [_row("token_ids", i, row) for i, row in enumerate(token_ids)]
        if isinstance(token_ids, np.ndarray):
            tokens = [row[: _length(row)] for row in tokens]
        if segment_ids is None:
            segments = [np.zeros_like(row) for row in tokens]
        else:
            segments = [_row("segment_ids", i, row) for i, row in enumerate(segment_ids)]
        if len(segments) != len(tokens):
            raise ValueError(
                f"`segment_ids` must have as many rows as `token_ids`, {len(tokens)}. "
                f"Received: {len(segments)}"
            )
        if isinstance(segment_ids, np.ndarray):
            segments = [s[: len(t)] for s, t in zip(segments, tokens, strict=True)]
        if self.start_id is not None:
            tokens = [np.append(row, self.start_id) for row in tokens]
            segments = [self._with_start(row) for row in segments]
        for i, (row, segment) in enumerate(zip(tokens, segments, strict=True)):
            self._check(i, row, segment)
        batch, length = self._padded_sizes(len(tokens), max(map(len, tokens), default=1))
        padded = np.zeros((2, batch, length), "int32")
        padded[0, :, 0] = self.end_id
        lengths = np.ones(batch, "int32")
        for i, rows in enumerate(zip(tokens, segments, strict=True)):
            for array, row in zip(padded, rows, strict=True):
                array[i, : len(row)] = row
            lengths[i] = len(rows[0])
        condition = self._condition(condition, len(tokens), batch)
        return Prompts(*padded, lengths, np.arange(batch) < len(tokens), condition)

    def _with_start(self, segments):
        last = segments[-1] if len(segments) else np.array(1, "int64")
        return np.append(segments, segment_of_generated(self.model.application, last))

    def _condition(self, condition, samples, batch):
        size = getattr(self.model, "condition_size", None)
        if condition is None:
            if size is None:
                return None
            raise ValueError(f"`condition` must be `(samples, {size})`. Received: None")
        if size is None and hasattr(self.model, "condition_size"):
            raise ValueError("`condition` must be None for a model without. Received: one")
        condition = np.asarray(ops.convert_to_numpy(condition), "float32")
        expected = (samples, condition.shape[-1] if size is None else size)
        if condition.shape != expected:
            raise ValueError(f"`condition` must be {expected}. Received: {condition.shape}")
        return np.concatenate([condition, np.zeros((batch - samples, expected[1]), "float32")])

    def _padded_sizes(self, batch, length):
        """Sizes to pad to: those of an earlier call if they fit and are not far too large."""
        if not batch:
            return 0, length
        small = [n for n in _LENGTHS if n >= length]
        length = small[0] if small else -(-length // _LENGTHS[-1]) * _LENGTHS[-1]
        sizes = (1 << (batch - 1).bit_length(), min(length, self.model.max_position or length))
        fitting = [
            (b, n)
            for b, n in tuple(self._sizes)
            if b >= sizes[0] and n >= sizes[1] and b * n <= 4 * sizes[0] * sizes[1]
        ]
        sizes = min(fitting, key=lambda size: size[0] * size[1], default=sizes)
        self._sizes.add(sizes)
        return sizes

    def _check(self, index, tokens, segments):
        if len(tokens) == 0:
            raise ValueError(f"`token_ids[{index}]` must hold at least one token. Received: []")
        if len(tokens) != len(segments):
            raise ValueError(
                f"`segment_ids[{index}]` must have the length of `token_ids[{index}]`, "
                f"{len(tokens)}. Received: {len(segments)}"
            )
        if tokens.min() < 0 or tokens.max() >= self.model.vocab_size:
            raise ValueError(
                f"`token_ids[{index}]` must hold ids from 0 to {self.model.vocab_size - 1}. "
                f"Received: {tokens.min()} to {tokens.max()}"
            )
        kinds = getattr(self.model, "segment_vocab_size", None)
        if kinds and not 0 <= segments.min() <= segments.max() < kinds:
            raise ValueError(
                f"`segment_ids[{index}]` must hold ids from 0 to {kinds - 1}. "
                f"Received: {segments.min()} to {segments.max()}"
            )
        longest = self.model.max_position
        if longest is not None and len(tokens) + self.maxlen - 1 > longest:
            raise ValueError(
                f"`token_ids[{index}]` and `maxlen` {self.maxlen} must fit into the model's "
                f"{longest} positions. Received: {len(tokens)} tokens"
            )


def _row(name, index, row):
    row = np.asarray(row)
    if row.ndim != 1 or (row.size and row.dtype.kind not in "iu"):
        raise ValueError(
            f"`{name}[{index}]` must be a list of int. "
            f"Received: shape {row.shape}, dtype {row.dtype}"
        )
    return row.astype("int64")


def _length(row):
    """Length without padding on the right; the first token is never padding."""
    present = np.flatnonzero(row)
    return max(int(present[-1]) + 1 if present.size else 1, min(1, row.size))
