"""Multi-head attention with bert4keras's arguments."""

import functools
import math
import operator

import keras
from keras import layers, ops

from kexue_keras import backend
from kexue_keras.activations import taylor_exp
from kexue_keras.layers.attention_part import KEY_AXES, AttentionPart, heads_first
from kexue_keras.layers.attention_scores import scores_in_float32, softmax_to_half
from kexue_keras.layers.head_projections import HeadProjections
from kexue_keras.layers.positions import apply_rotary_positions, relative_positions
from kexue_keras.ops import LOWEST

_CHOICES = {
    "attention_scale": ("sqrt_dim", "entropy_invariant", "none"),
    "normalizer": ("softmax", "taylor_softmax"),
    "position": (None, "rotary", "relative"),
}
# by the axes of the vectors of distances
_DISTANCE_SCORES = {"qkd": "bhqd,qkd->bhqk", "bkd": "bhqd,bkd->bhqk", "bqkd": "bhqd,bqkd->bhqk"}
_DISTANCE_VALUES = {"qkd": "bhqk,qkd->bhqd", "bkd": "bhqk,bkd->bhqd", "bqkd": "bhqk,bqkd->bhqd"}


@keras.saving.register_keras_serializable(package="kexue_keras")
class MultiHeadAttention(HeadProjections):
    """Multi-head dot-product attention.

    `softmax(Q K^T / sqrt(key_size)) V` per head. The scores, their softmax and the mask are
    computed in float32 whatever the compute dtype is; in half precision a training step keeps only
    the weights, in half precision. Where the backend has a fused kernel (JAX on accelerators)
    plain softmax attention without dropout of its weights takes it, and no score is kept at all.

    The steps (`project_query`, `project_key`, `project_value`, `attend`, `merge_heads`) are public
    because a decoder that caches keys and values composes them differently.

    Args:
        heads: number of heads.
        head_size: size of a head; `None` means the last axis of the query divided by `heads`.
        output_size: size of the output; `None` means the last axis of the query.
        use_bias: whether the four projections have a bias.
        attention_scale: "sqrt_dim": divide the scores by the square root of `head_size`;
            "entropy_invariant": multiply them by `log(n) / log(train_length)` besides, n the number
            of keys that the query sees, so that attention stays as sharp on longer sequences.
            (bert4keras counts at least 16 keys, which the article's formula does not.) "none":
            the plain dot products, as in T5.
        train_length: length at which the two scales are the same.
        normalizer: "softmax", or "taylor_softmax": `1 + s + s^2 / 2` in place of exp.
        position: None; or "rotary": queries and keys are turned by angles that grow with their
            positions (RoFormer), so that scores depend on distances; or "relative": the fixed
            vector of a distance, of at most 64, is added to the key in the score and to the value
            (NEZHA). `head_size` must be even for both.
        dropout: dropout rate of the attention probabilities.
        kernel_initializer: initializer of the four kernels.
        key_size: size of a head's queries and keys; `None` means that of its values, `head_size`.
        return_scores: whether the scores come too, `(batch, heads, queries, keys)`, float32: scaled
            and with relative positions, before `bias` and mask.

    Call arguments:
        query: floating, `(batch, queries, features)`.
        key, value: floating, `(batch, keys, features)`; `key` defaults to `query` (self-attention)
            and `value` to `key`.
        attention_mask: bool, `(batch, queries or 1, keys)`, True where a query may look. Every
            query must see at least one key. If given, it is the whole mask.
        positions: int32 `(length,)` or `(batch, length)`, of query and key in self-attention with
            rotary or relative positions; by default 0, 1, 2, ...
        bias: floating, added to the scores, broadcastable to `(batch, heads, queries, keys)`.

    Output shape: `(batch, queries, output_size)`.

    Masking: without an `attention_mask`, a Keras mask of `key` hides the keys it marks False.

    Example:

    >>> import numpy as np
    >>> from kexue_keras import layers
    >>> attention = layers.MultiHeadAttention(heads=2)
    >>> attention(np.ones((3, 5, 8), "float32")).shape[1:] == (5, 8)
    True

    Reference: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; entropy-invariant scale:
    https://kexue.fm/archives/8823; Taylor-softmax: https://kexue.fm/archives/7919; rotary
    positions: https://kexue.fm/archives/8265; relative ones: https://arxiv.org/abs/1909.00204
    """

    def __init__(
        self,
        heads,
        head_size=None,
        output_size=None,
        use_bias=True,
        attention_scale="sqrt_dim",
        dropout=0.0,
        kernel_initializer="glorot_uniform",
        train_length=512,
        normalizer="softmax",
        position=None,
        max_distance=64,
        key_size=None,
        return_scores=False,
        **kwargs,
    ):
        sizes = (heads, head_size, output_size)
        super().__init__(*sizes, use_bias, kernel_initializer, key_size, **kwargs)
        chosen = {
            "attention_scale": attention_scale,
            "normalizer": normalizer,
            "position": position,
        }
        for name, value in chosen.items():
            if value not in _CHOICES[name]:
                raise ValueError(f"`{name}` must be one of {_CHOICES[name]}. Received: {value!r}")
        if train_length < 2:
            raise ValueError(f"`train_length` must be at least 2. Received: {train_length}")
        if max_distance < 1:
            raise ValueError(f"`max_distance` must be at least 1. Received: {max_distance}")
        self.max_distance = max_distance
        self.attention_scale = attention_scale
        self.train_length = train_length
        self.normalizer = normalizer
        self.position = position
        self.dropout = dropout
        self.return_scores = return_scores

    def build(self, query_shape, key_shape=None, value_shape=None):
        super().build(query_shape, key_shape, value_shape)
        if self.position and self._key_size % 2:
            raise ValueError(
                f'`head_size` must be even with position "{self.position}". '
                f"Received: {self._key_size}"
            )
        if self.position == "relative" and self._key_size != self._head_size:
            raise ValueError(
                "`key_size` must be `head_size` with relative positions, whose vectors are added "
                f"to keys and values. Received: {self._key_size} and {self._head_size}"
            )
        self.dropout_layer = layers.Dropout(self.dropout, dtype=self.dtype_policy)

    def call(
        self,
        query,
        key=None,
        value=None,
        attention_mask=None,
        positions=None,
        bias=None,
        mask=None,
        query_mask=None,
        key_mask=None,
        training=None,
    ):
        if key is None:
            # Keras calls the mask of a single tensor `mask`, else that of the query `query_mask`
            key, key_mask = query, query_mask if mask is None else mask
        elif mask is not None:
            raise ValueError("`mask` goes without `key`; use `key_mask`. Received both")
        elif positions is not None:
            raise ValueError("`positions` are of self-attention, without `key`. Received both")
        if value is None:
            value = key
        if attention_mask is None and key_mask is not None:
            attention_mask = key_mask[:, None, :]
        part = AttentionPart(
            heads_first(self.project_key(key, positions)),
            heads_first(self.project_value(value)),
            attention_mask,
            positions,
            bias,
        )
        query = self.project_query(query, positions)
        attended, scores = self._attended(query, [part], positions, training)
        output = self.merge_heads(attended)
        return (output, scores[0]) if self.return_scores else output

    def project_query(self, x, positions=None):
        """`(batch, length, features)` -> queries `(batch, length, heads, key_size)`, scaled.

        `positions`, int32 `(length,)` or `(batch, length)`, matter for rotary ones only and are
        0, 1, 2, ... by default.
        """
        query = self._split(self.query_dense(x))
        if self.attention_scale != "none":
            query = query * (1 / math.sqrt(self._key_size))
        return self._placed(query, positions)

    def project_key(self, x, positions=None):
        """`(batch, length, features)` -> keys `(batch, length, heads, key_size)`."""
        return self._placed(self._split(self.key_dense(x)), positions)

    def _placed(self, x, positions):
        if self.position != "rotary":
            return x
        return ops.cast(apply_rotary_positions(x, positions), self.compute_dtype)

    def project_value(self, x):
        """`(batch, length, features)` -> values `(batch, length, heads, head_size)`."""
        return self._split(self.value_dense(x))

    def attend(self, query, parts, positions=None, training=False):
        """Weighted mean of the values for every query: one softmax over all parts.

        Args:
            query: `(batch, queries, heads, head_size)`, already scaled.
            parts: list of `AttentionPart`.
            positions: int32 `(queries,)`, `(batch, queries)` or `(batch, 1)`, of the queries;
                needed by relative positions only, by default 0, 1, 2, ...
            training: whether weights are dropped.

        Returns:
            `(batch, queries, heads, head_size)`.
        """
        return self._attended(query, parts, positions, training)[0]

    def _attended(self, query, parts, positions, training):
        """What `attend` returns, and the scores of each part without its bias, if computed."""
        if len(parts) == 1 and self._takes_fused_kernel(parts[0], training):
            key, value, visible = parts[0][:3]
            visible = None if visible is None else ops.expand_dims(visible, 1)
            key, value = heads_first(key), heads_first(value)
            return ops.dot_product_attention(query, key, value, mask=visible, scale=1.0), None
        query = heads_first(ops.cast(query, self.compute_dtype))
        distances = [self._distances(query, part, positions) for part in parts]
        own = [self._scores(query, *pair) for pair in zip(parts, distances, strict=True)]
        scores = [_with_bias(x, part.bias) for x, part in zip(own, parts, strict=True)]
        visible = _visible(parts, scores)
        joined = scores[0] if len(parts) == 1 else ops.concatenate(scores, axis=-1)
        weights = self._weights(joined, visible)
        weights = self.dropout_layer(weights, training=training)
        sums, start = [], 0
        for part, vectors, of_part in zip(parts, distances, scores, strict=True):
            taken = weights
            if len(parts) > 1:
                taken = weights[..., start : start + of_part.shape[-1]]
                start += of_part.shape[-1]
            value = ops.cast(part.value, self.compute_dtype)
            sums.append(ops.einsum(f"bhqk,{KEY_AXES[len(value.shape)]}->bhqd", taken, value))
            if vectors is not None:
                sums.append(ops.einsum(_DISTANCE_VALUES[vectors[0]], taken, vectors[1]))
        return heads_first(functools.reduce(operator.add, sums)), own

    def _takes_fused_kernel(self, part, training):
        plain = self.attention_scale != "entropy_invariant" and self.normalizer == "softmax"
        plain = plain and self.position != "relative" and part.bias is None
        plain = plain and self._key_size == self._head_size and not self.return_scores
        dropped = self.dropout and training
        return plain and not dropped and len(part.key.shape) == 4 and backend.has_fused_attention()

    def _distances(self, query, part, positions):
        """Vectors of the distances from queries to keys, after the names of their axes, or None."""
        if self.position != "relative":
            return None
        queries = ops.shape(query)[2] if positions is None else positions
        keys = ops.shape(part.key)[-2] if part.positions is None else part.positions
        vectors = relative_positions(queries, keys, self._head_size, self.max_distance)
        vectors = ops.cast(vectors, self.compute_dtype)
        if len(vectors.shape) == 3:
            return "qkd", vectors
        one_place = vectors.shape[1] == 1  # all queries of a sample stand there
        return ("bkd", vectors[:, 0]) if one_place else ("bqkd", vectors)

    def _scores(self, query, part, distances):
        scores = scores_in_float32(query, ops.cast(part.key, self.compute_dtype))
        if distances is not None:
            added = ops.einsum(_DISTANCE_SCORES[distances[0]], query, distances[1])
            scores += ops.cast(added, scores.dtype)
        return scores

    def _weights(self, scores, visible):
        """What `normalize` gives, in the compute dtype."""
        dtype = self.compute_dtype
        if self.normalizer != "softmax" or dtype not in ("float16", "bfloat16"):
            return ops.cast(self.normalize(scores, visible), dtype)
        scale = self._entropy_scale(scores, visible)
        return softmax_to_half(scores if scale is None else scores * scale, visible, dtype)

    def normalize(self, scores, visible=None):
        """Attention weights of scaled dot products.

        Args:
            scores: float32 `(..., queries, keys)`.
            visible: bool, broadcastable to `scores`, or None.

        Returns:
            float32, of the shape of `scores`; the last axis sums to 1, hidden keys get 0.
        """
        if scores.shape[-1] == 1:
            return ops.ones_like(scores)  # Keras warns about a softmax of one number
        scale = self._entropy_scale(scores, visible)
        scores = scores if scale is None else scores * scale
        if self.normalizer == "softmax":
            scores = scores if visible is None else ops.where(visible, scores, LOWEST)
            return ops.softmax(scores, axis=-1)
        weights = taylor_exp(scores)
        weights = weights if visible is None else ops.where(visible, weights, 0.0)
        total = ops.sum(weights, axis=-1, keepdims=True)
        return weights / ops.maximum(total, 1e-30)

    def _entropy_scale(self, scores, visible):
        if self.attention_scale != "entropy_invariant":
            return None
        seen = ops.ones_like(scores[..., :1, :]) if visible is None else visible
        count = ops.sum(ops.cast(seen, "float32"), axis=-1, keepdims=True)
        # a hidden query, say of padding, may see nothing
        scale = ops.log(ops.maximum(count, 1.0)) / math.log(self.train_length)
        return ops.cast(scale, scores.dtype)

    def compute_mask(self, query, mask=None):
        return [mask, None] if self.return_scores else mask

    def compute_output_spec(self, query, key=None, *args, **kwargs):
        shape = (*query.shape[:-1], self.output_size or query.shape[-1])
        output = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if not self.return_scores:
            return output
        keys = query.shape[1] if key is None else key.shape[1]
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        shape = (query.shape[0], self.heads, query.shape[1], keys)
        return output, keras.KerasTensor(shape, dtype=dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "attention_scale": self.attention_scale,
            "train_length": self.train_length,
            "normalizer": self.normalizer,
            "position": self.position,
            "max_distance": self.max_distance,
            "dropout": self.dropout,
            "return_scores": self.return_scores,
        }


def _with_bias(scores, bias):
    return scores if bias is None else scores + ops.cast(bias, scores.dtype)


def _visible(parts, scores):
    """The masks of all parts as one, broadcastable to the joined scores."""
    if all(part.visible is None for part in parts):
        return None
    if len(parts) == 1:
        return ops.expand_dims(parts[0].visible, 1)
    masks = []
    for part, of_part in zip(parts, scores, strict=True):
        shape = (of_part.shape[0], 1, *of_part.shape[2:])
        mask = True if part.visible is None else ops.expand_dims(part.visible, 1)
        masks.append(ops.broadcast_to(mask, shape))
    return ops.concatenate(masks, axis=-1)
