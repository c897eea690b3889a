"""Keys and values for one softmax over several sources."""

from typing import Any, NamedTuple

from keras import ops

KEY_AXES = {3: "hkd", 4: "bhkd", 5: "bqhkd"}
"""Axes of the keys of a part by their number: batch, queries, heads, keys, d for size."""


class AttentionPart(NamedTuple):
    """Keys, their values, and who sees them: a part of what queries attend to.

    Ordinary attention has one part. A decoder has two, whose keys are kept apart because they
    are kept differently: the prompt's, the same for all hypotheses of a sample, and those of what
    was generated. `MultiHeadAttention.attend` takes one softmax over all parts.

    Attributes:
        key, value: `(batch, heads, keys, size)`; or, the same for the whole batch,
            `(heads, keys, size)`; or, keys of its own for every query,
            `(batch, queries, heads, keys, size)`.
        visible: bool `(batch or 1, queries or 1, keys)`, or None: all keys are seen.
        positions: int32 `(keys,)` or `(batch, keys)`, needed by relative positions; None: 0, 1, ...
        bias: None, or what is added to the scores, broadcastable to
            `(batch, heads, queries, keys)`.
    """

    key: Any
    value: Any
    visible: Any = None
    positions: Any = None
    bias: Any = None


def heads_first(x):
    """`(batch, length, heads, size)` to `(batch, heads, length, size)`, and back."""
    return ops.transpose(x, (0, 2, 1, 3))
