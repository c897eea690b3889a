"""Scores and weights of attention: float32 where it matters, half precision where it is kept."""

import keras
from keras import ops

from kexue_keras import backend
from kexue_keras.layers.attention_part import KEY_AXES
from kexue_keras.ops import LOWEST


def scores_in_float32(query, key):
    """Dot products `(batch, heads, queries, keys)` of float32 precision, whatever goes in.

    Of half-precision queries and keys the products are summed in float32, without a copy of the
    keys in float32 where the backend can; their gradients are products in half precision.

    Args:
        query: `(batch, heads, queries, size)`.
        key: see `AttentionPart`.
    """
    axes, dtype = KEY_AXES[len(key.shape)], keras.backend.standardize_dtype(query.dtype)
    if dtype not in ("float16", "bfloat16"):
        return ops.einsum(f"bhqd,{axes}->bhqk", query, key)

    @ops.custom_gradient
    def product(query, key):
        def gradient(*args, upstream=None):
            (upstream,) = args if upstream is None else (upstream,)
            upstream = ops.cast(upstream, dtype)
            of_query = ops.einsum(f"bhqk,{axes}->bhqd", upstream, key)
            return of_query, ops.einsum(f"bhqk,bhqd->{axes}", upstream, query)

        if len(key.shape) < 5:
            return backend.matmul_in_float32(query, key), gradient
        by_query = ops.expand_dims(ops.transpose(query, (0, 2, 1, 3)), 3)
        found = ops.squeeze(backend.matmul_in_float32(by_query, key), 3)
        return ops.transpose(found, (0, 2, 1, 3)), gradient

    return product(query, key)


def softmax_to_half(scores, visible, dtype):
    """Softmax over the last axis in float32, of which the result is kept in half precision only.

    The gradient needs nothing else, so that no float32 scores or weights wait for it.

    Args:
        scores: float32.
        visible: bool, broadcastable to `scores`, or None.
        dtype: "float16" or "bfloat16".

    Returns:
        Of the shape of `scores` and `dtype`, 0 where not visible.
    """
    if scores.shape[-1] == 1:
        return ops.cast(ops.ones_like(scores), dtype)

    @ops.custom_gradient
    def softmax(scores):
        hidden = scores if visible is None else ops.where(visible, scores, LOWEST)
        weights = ops.cast(ops.softmax(hidden, axis=-1), dtype)

        def gradient(*args, upstream=None):
            (upstream,) = args if upstream is None else (upstream,)
            w, g = ops.cast(weights, "float32"), ops.cast(upstream, "float32")
            found = w * (g - ops.sum(w * g, axis=-1, keepdims=True))
            return found if visible is None else ops.where(visible, found, 0.0)

        return weights, gradient

    return softmax(scores)
