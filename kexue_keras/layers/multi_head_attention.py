"""Multi-head attention with bert4keras's arguments."""

import math

import keras
from keras import layers, ops

from kexue_keras.activations import taylor_exp
from kexue_keras.layers.head_projections import HeadProjections
from kexue_keras.layers.positions import apply_rotary_positions, relative_positions

_CHOICES = {
    "attention_scale": ("sqrt_dim", "entropy_invariant"),
    "normalizer": ("softmax", "taylor_softmax"),
    "position": (None, "rotary", "relative"),
}


@keras.saving.register_keras_serializable(package="kexue_keras")
class MultiHeadAttention(HeadProjections):
    """Multi-head dot-product attention.

    `softmax(Q K^T / sqrt(head_size)) V` per head. The scores, their softmax and the mask are
    computed in float32 whatever the compute dtype is.

    The parts (`project_query`, `project_key`, `project_value`, `attend`, `merge_heads`) are public
    because a decoder that caches keys and values composes them differently.

    Args:
        heads: number of heads.
        head_size: size of a head; `None` means the last axis of the query divided by `heads`.
        output_size: size of the output; `None` means the last axis of the query.
        use_bias: whether the four projections have a bias.
        attention_scale: "sqrt_dim": divide the scores by the square root of `head_size`;
            "entropy_invariant": multiply them by `log(n) / log(train_length)` besides, n the number
            of keys that the query sees, so that attention stays as sharp on longer sequences.
            (bert4keras counts at least 16 keys, which the article's formula does not.)
        train_length: length at which the two scales are the same.
        normalizer: "softmax", or "taylor_softmax": `1 + s + s^2 / 2` in place of exp.
        position: None; or "rotary": queries and keys are turned by angles that grow with their
            positions (RoFormer), so that scores depend on distances; or "relative": the fixed
            vector of a distance, of at most 64, is added to the key in the score and to the value
            (NEZHA). `head_size` must be even for both.
        dropout: dropout rate of the attention probabilities.
        kernel_initializer: initializer of the four kernels.

    Call arguments:
        query: floating, `(batch, queries, features)`.
        key, value: floating, `(batch, keys, features)`; `key` defaults to `query` (self-attention)
            and `value` to `key`.
        attention_mask: bool, `(batch, queries or 1, keys)`, True where a query may look. Every
            query must see at least one key. If given, it is the whole mask.

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
        **kwargs,
    ):
        super().__init__(heads, head_size, output_size, use_bias, kernel_initializer, **kwargs)
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
        self.attention_scale = attention_scale
        self.train_length = train_length
        self.normalizer = normalizer
        self.position = position
        self.dropout = dropout

    def build(self, query_shape, key_shape=None, value_shape=None):
        super().build(query_shape, key_shape, value_shape)
        if self.position and self._head_size % 2:
            raise ValueError(
                f'`head_size` must be even with position "{self.position}". '
                f"Received: {self._head_size}"
            )
        self.dropout_layer = layers.Dropout(self.dropout, dtype=self.dtype_policy)

    def call(
        self,
        query,
        key=None,
        value=None,
        attention_mask=None,
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
        if value is None:
            value = key
        if attention_mask is None and key_mask is not None:
            attention_mask = key_mask[:, None, :]
        attended = self.attend(
            self.project_query(query),
            self.project_key(key),
            self.project_value(value),
            attention_mask,
            training=training,
        )
        return self.merge_heads(attended)

    def project_query(self, x, positions=None):
        """`(batch, length, features)` -> queries `(batch, length, heads, head_size)`, scaled.

        `positions`, int32 `(length,)` or `(batch, length)`, matter for rotary ones only and are
        0, 1, 2, ... by default.
        """
        query = self._split(self.query_dense(x)) * (1 / math.sqrt(self._head_size))
        return self._placed(query, positions)

    def project_key(self, x, positions=None):
        """`(batch, length, features)` -> keys `(batch, length, heads, head_size)`."""
        return self._placed(self._split(self.key_dense(x)), positions)

    def _placed(self, x, positions):
        return apply_rotary_positions(x, positions) if self.position == "rotary" else x

    def project_value(self, x):
        """`(batch, length, features)` -> values `(batch, length, heads, head_size)`."""
        return self._split(self.value_dense(x))

    def attend(self, query, key, value, attention_mask=None, training=False):
        """Weighted mean of the values for every query.

        Args:
            query: `(batch, queries, heads, head_size)`, already scaled.
            key, value: `(batch, keys, heads, head_size)`.
            attention_mask: bool `(batch, queries or 1, keys)` or None.

        Returns:
            `(batch, queries, heads, head_size)`.
        """
        query, key = ops.cast(query, "float32"), ops.cast(key, "float32")
        scores = ops.einsum("bqhd,bkhd->bhqk", query, key)
        if self.position == "relative":
            sizes = ops.shape(query)[1], ops.shape(key)[1]
            distances = relative_positions(*sizes, self._head_size)
            scores = scores + ops.einsum("bqhd,qkd->bhqk", query, distances)
        visible = None if attention_mask is None else ops.expand_dims(attention_mask, 1)
        weights = self.normalize(scores, visible)
        weights = ops.cast(weights, value.dtype)
        weights = self.dropout_layer(weights, training=training)
        attended = ops.einsum("bhqk,bkhd->bqhd", weights, value)
        if self.position == "relative":
            distances = ops.cast(distances, value.dtype)
            attended = attended + ops.einsum("bhqk,qkd->bqhd", weights, distances)
        return attended

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
        if self.attention_scale == "entropy_invariant":
            seen = ops.ones_like(scores[..., :1, :]) if visible is None else visible
            count = ops.sum(ops.cast(seen, "float32"), axis=-1, keepdims=True)
            # a hidden query, say of padding, may see nothing
            scores = scores * (ops.log(ops.maximum(count, 1.0)) / math.log(self.train_length))
        if self.normalizer == "softmax":
            scores = scores if visible is None else ops.where(visible, scores, -1e30)
            return ops.softmax(scores, axis=-1)
        weights = taylor_exp(scores)
        weights = weights if visible is None else ops.where(visible, weights, 0.0)
        total = ops.sum(weights, axis=-1, keepdims=True)
        return weights / ops.maximum(total, 1e-30)

    def compute_mask(self, query, mask=None):
        return mask

    def get_config(self):
        return {
            **super().get_config(),
            "attention_scale": self.attention_scale,
            "train_length": self.train_length,
            "normalizer": self.normalizer,
            "position": self.position,
            "dropout": self.dropout,
        }
